"""A state machine of one's own, replicated by three nodes: `python examples/replicated_counter.py`.

The machine is an ordinary class. Its state must follow from the commands alone: no clock, no randomness.
"""

import asyncio
import os
import signal
import tempfile

from raft.embedding import AsyncNode
from raft.machines import MachineError, TypedCommand, TypedMachine, TypedQuery


class Add(TypedCommand[int]):
    """Add to a counter, which is made if need be; answered by its value."""

    counter: str
    amount: int


class Reset(TypedCommand[int]):
    """Set a counter that exists to 0; answered by 0."""

    counter: str


class Value(TypedQuery[int]):
    """What a counter says; 0 if there is none."""

    counter: str


class Counters(TypedMachine[dict[str, int]]):
    """Counters by name."""

    def empty(self) -> dict[str, int]:
        """No counters."""
        return {}

    def carry_out(self, command: Add | Reset) -> int:
        """Called once for each command on every node, in the same order everywhere."""
        match command:
            case Add(counter, amount):
                self.state[counter] = self.state.get(counter, 0) + amount
            case Reset(counter):
                if counter not in self.state:
                    raise MachineError(f"there is no counter {counter!r}")
                self.state[counter] = 0
        return self.state[command.counter]

    def answer(self, query: Value) -> int:
        """As of all commands that were answered before, unless a stale answer will do."""
        return self.state.get(query.counter, 0)


async def main() -> None:
    """Count, kill the leader, and count on."""
    with tempfile.TemporaryDirectory() as directory:
        hosts = {number: f"ipc://{directory}/host{number}" for number in (1, 2, 3)}
        nodes = [
            AsyncNode(
                number, listen=hosts[number], peers=hosts, data_dir=f"{directory}/{number}", machine=Counters
            )
            for number in hosts
        ]
        async with nodes[0], nodes[1], nodes[2], nodes[0].client(timeout_seconds=30) as cluster:
            for visitor in ("alice", "bob", "carol"):
                print(visitor, "is visitor", await cluster.execute(Add("visitors", 1)))
            leader = await nodes[0].wait_for_leader()
            pid = nodes[leader.node - 1].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            print("the leader is dead, and there were", await cluster.evaluate(Value("visitors")), "visitors")
            print("dave is visitor", await cluster.execute(Add("visitors", 1)))


if __name__ == "__main__":
    asyncio.run(main())
