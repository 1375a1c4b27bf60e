"""A pool: several processes of one actor, supervised together, grown and shrunk while they run.

Owns how many there are, and which of them gets a message (see routing). Each is a member of the group
that has the pool's name, so that actors elsewhere can reach them without this process. A Group gives work to
the members of a group in the same way, though they were started elsewhere, as on other hosts. Knows nothing
of how processes are kept alive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from actors.actor import Actor
from actors.address import Address
from actors.asks import Pending
from actors.envelope import GroupChanged, Terminated
from actors.errors import AskFailed
from actors.handlers import Request, handles
from actors.patterns.routing import Router, Routing

if TYPE_CHECKING:
    from actors.processes.system import ProcessSystem

Answer = TypeVar("Answer")
IN_HAND: Final = 2
"""Of what `map` gives out, for each worker: one to do, and one that waits so that none is idle."""
ASK_AGAIN_SECONDS: Final = 1.0
UNTAKEN_MAX: Final = 8
"""For each worker: results that wait for an earlier one, or for their reader, before no more is given out."""


class Workers:
    """Several actors as if they were one, for the program of a system."""

    def __init__(self, system: ProcessSystem, name: str, what: str, routing: Routing) -> None:
        self.name = name
        self._system = system
        self._router = Router(
            system.runtime, (), routing, name=what, is_up=lambda member: system.reaches(member.process)
        )

    @property
    def members(self) -> tuple[Address, ...]:
        """Those that get messages: they run, or will again."""
        return self._router.members

    def load(self, member: Address) -> int:
        """How many asks one has in its hands that come from here."""
        return self._router.load(member)

    def tell(self, message: object, *, key: str | bytes | None = None) -> Address:
        """Tell one of them; returns which. Raises NoWorkers, or Undeliverable while none is up."""
        return self._router.tell(message, key=key)

    def tell_all(self, message: object) -> int:
        """Tell each of them; returns how many there are."""
        return self._router.tell_all(message)

    @overload
    def submit(
        self,
        message: Request[Answer],
        timeout_seconds: float | None = None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Pending[Answer]: ...
    @overload
    def submit(
        self,
        message: object,
        timeout_seconds: float | None = None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Pending[Any]: ...
    def submit(
        self,
        message: object,
        timeout_seconds: float | None = None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Pending[Any]:
        """Ask one of them, and return at once; see Router.ask. It is sent when the system runs."""
        return self._router.ask(message, timeout_seconds, key=key, retries=retries)

    def ask(
        self,
        message: object,
        timeout_seconds: float | None = None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Any:
        """Ask one of them and return the reply; raises AskFailed."""
        pending = self.submit(message, timeout_seconds, key=key, retries=retries)
        return wait_for(self._system, pending)

    def map(
        self,
        messages: Iterable[object],
        *,
        timeout_seconds: float | None = None,
        retries: int = 0,
        in_hand: int = IN_HAND,
    ) -> Iterator[Any]:
        """Ask for each message, and yield the replies in the order of the messages; raises AskFailed.

        Messages are taken from their iterator as workers become free, and no sooner: each has at most
        `in_hand`. Replies that are not taken stop it, too.
        """
        if in_hand < 1:
            raise ValueError(f"a worker has at least one message in hand, not {in_hand}")
        return map_asks(
            self._system,
            lambda message: self.submit(message, timeout_seconds, retries=retries),
            messages,
            window=lambda: max(1, len(self.members)) * in_hand,
        )


class Pool(Workers):
    """Processes of one actor, started here; see ProcessSystem.spawn_pool."""

    def __init__(
        self,
        system: ProcessSystem,
        name: str,
        spawn: Callable[[str], Address],
        size: int,
        routing: Routing,
    ) -> None:
        super().__init__(system, name, f"the pool {name}", routing)
        self._spawn = spawn
        self._started = 0
        self.resize(size)

    def resize(self, size: int) -> None:
        """Grow, by starting processes, or shrink: the newest get nothing more, and stop when done."""
        if size < 0:
            raise ValueError(f"a pool has 0 workers or more, not {size}")
        for member in self.members[size:]:
            self._router.drain(member, partial(self._stop, member))
        while len(self.members) < size:
            self._started += 1
            member = self._spawn(f"{self.name}-{self._started}")
            self._router.update((*self.members, member))

    def _stop(self, member: Address) -> None:
        if member.process in self._system.processes:
            self._system.stop_process(member.process)


class Group(Workers):
    """The members of a group, wherever they run, as the directory tells; see ProcessSystem.group."""

    def __init__(self, system: ProcessSystem, name: str, routing: Routing) -> None:
        super().__init__(system, name, f"the group {name}", routing)
        number = len(system.runtime.actors)
        system.runtime.spawn(partial(_Follower, name, self._router.update), f"follower-{number}-of-{name}")


class _Follower(Actor):
    """Knows who is in a group, also when the directory has been away."""

    def __init__(self, group: str, update: Callable[[tuple[Address, ...]], None]) -> None:
        self._group = group
        self._update = update

    def on_start(self) -> None:
        self._ask()

    def _ask(self) -> None:
        directory = self.context.directory
        self.context.watch(directory.address)
        directory.monitor_group(self._group).then(lambda _group: None, self._failed)

    def _failed(self, _failure: AskFailed) -> None:
        self.context.after(ASK_AGAIN_SECONDS, self._ask, key="again")

    @handles(Terminated)
    def on_terminated(self, terminated: Terminated) -> None:
        """The directory cannot be reached, or is another one now."""
        del terminated
        self.context.after(ASK_AGAIN_SECONDS, self._ask, key="again")

    @handles(GroupChanged)
    def on_group(self, changed: GroupChanged) -> None:
        """Give work to those that are there now."""
        self._update(changed.members)


def wait_for(system: ProcessSystem, pending: Pending[Any]) -> Any:
    """Let the system run until an ask has ended; its reply, or its AskFailed."""
    while not system.run_until(lambda: pending.done):
        pass
    return pending.result()


def map_asks(
    system: ProcessSystem,
    submit: Callable[[object], Pending[Any]],
    messages: Iterable[object],
    *,
    window: Callable[[], int],
) -> Iterator[Any]:
    """Replies in the order of their messages, with at most `window` asks open at a time."""
    source, asked = iter(messages), deque[Pending[Any]]()
    open_asks = 0

    def ended(_end: object) -> None:
        nonlocal open_asks
        open_asks -= 1

    def give_out() -> None:
        nonlocal open_asks
        limit = window()
        while open_asks < limit and len(asked) < limit * UNTAKEN_MAX:
            try:
                message = next(source)
            except StopIteration:
                return
            pending = submit(message)
            open_asks += 1
            pending.then(ended, ended)
            asked.append(pending)

    def is_ready() -> bool:
        give_out()
        return not asked or asked[0].done

    try:
        while True:
            while not system.run_until(is_ready):
                pass
            if not asked:
                return
            yield asked.popleft().result()
    finally:
        for pending in asked:
            pending.cancel()
