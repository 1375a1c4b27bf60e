"""Two actors in two processes, one of them killed and restarted: `python examples/two_processes.py`."""

import os
from functools import partial
from typing import ClassVar

import msgspec

from actors import Actor, Address, Handlers, ProcessSystem, Reply


class Who(msgspec.Struct):
    """Asks for process ids: the actor's own, and that of the friend whom it is to ask, if any."""

    friend: Address | None = None


class Pids(msgspec.Struct):
    """Answers Who."""

    pids: list[int]


class Player(Actor):
    """Knows its process id, and can ask a friend for his."""

    def on_who(self, who: Who) -> None:
        """Answer, once the friend has answered."""
        if who.friend is None:
            self.context.reply(Pids([os.getpid()]))
        else:
            self.ask_friend(who.friend, self.context.reply_handle())

    def ask_friend(self, friend: Address, reply: Reply) -> None:
        """Answer once the friend has answered; while he is down, ask again."""
        self.context.ask(friend, Who(), timeout_seconds=1.0).then(
            lambda his: reply.send(Pids([os.getpid(), *his.pids])),
            lambda _: self.context.after(0.01, partial(self.ask_friend, friend, reply)),
        )

    handlers: ClassVar[Handlers] = {Who: on_who}


def main() -> None:
    """Ask, kill, ask again."""
    with ProcessSystem({1: Who, 2: Pids}) as system:
        bob = system.spawn_process(Player, "bob")
        alice = system.spawn_process(Player, "alice", connect=("bob",))
        system.wait_for("bob")
        print("alice and bob are", system.ask(alice, Who(bob)).pids)
        system.kill_process("bob")
        system.wait_for("bob")
        print("alice and bob are", system.ask(alice, Who(bob)).pids)


if __name__ == "__main__":
    main()
