"""Questions that wait for a reply.

Owns the open asks of a runtime, their deadlines, and the two ends of one: Pending for who asked, Reply
for who answers. A reply that answers nothing open, or comes from another process than was asked, is
told apart here, so that what a dead or paused process left behind never counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from functools import partial
from operator import attrgetter
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from actors.address import Address
from actors.clock import Clock
from actors.envelope import Refused
from actors.errors import AskFailed, AskRefused, AskTimeout, TargetDown, Undeliverable
from actors.timers import Timer, Timers

_CORRELATION_MASK: Final = (1 << 48) - 1

R = TypeVar("R")
Runner = Callable[[Callable[[], None]], None]

_deadline_of = attrgetter("deadline")


class AskTable(Protocol):
    """Where an ask is open."""

    def forget(self, pending: Pending[Any]) -> None:
        """Drop an ask: its end is not wanted any more."""


class Pending(msgspec.Struct, Generic[R], eq=False):
    """A reply that has not come yet. Ends exactly once: with a reply, with an AskFailed, or cancelled.

    A coroutine may await it: cancelled, it loses interest.
    """

    _table: AskTable
    correlation: int
    target: Address
    timeout_seconds: float | None
    deadline: float
    _run: Runner | None = None
    """What calls the callbacks; they are called at once without it."""
    _group: set[Pending[Any]] | None = None
    """Where it is until it ends."""
    done: bool = False
    _cancelled: bool = False
    reply: Any = None
    failure: AskFailed | None = None
    _first: Callable[[Any], object] | None = None
    _on_reply: Callable[[Any], object] | None = None
    _on_failure: Callable[[AskFailed], object] | None = None

    def result(self) -> R:
        """The reply; raises the AskFailed that it ended with. Only when `done`."""
        assert self.done, f"{self.target} has not answered yet"
        if self.failure is not None:
            raise self.failure
        reply: R = self.reply
        return reply

    def then(self, on_reply: Callable[[R], object], on_failure: Callable[[AskFailed], object]) -> None:
        """Call one of the two when it ends, or at once when it has."""
        self._on_reply = on_reply
        self._on_failure = on_failure
        if self.done:
            self._call_back()

    def __await__(self) -> Generator[Any, None, R]:
        import asyncio

        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()

        def fail(failure: AskFailed) -> None:
            if not future.done():
                future.set_exception(failure)

        def end(reply: R) -> None:
            if not future.done():
                future.set_result(reply)

        self._run = None  # The coroutine goes on by itself, in a step of its own.
        self.then(end, fail)
        try:
            return (yield from future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def before(self, on_reply: Callable[[R], object]) -> None:
        """Call something with the reply before anyone else is told of it, in the turn that callbacks have."""
        self._first = on_reply

    def cancel(self) -> None:
        """Lose interest: neither callback is called, and the reply is dropped."""
        self._cancelled = True
        self._table.forget(self)
        if self._group is not None:
            self._group.discard(self)

    def end(self, reply: Any, failure: AskFailed | None) -> None:
        """End it, by way of its runner of callbacks; for the table that has just dropped it."""
        if self._run is not None:
            run, self._run = self._run, None
            run(partial(self.end, reply, failure))
        elif not self._cancelled:
            self.reply = reply
            self.failure = failure
            self.done = True
            if self._group is not None:
                self._group.discard(self)
            self._call_back()

    def _call_back(self) -> None:
        failure = self.failure
        if failure is None:
            if self._first is not None:
                self._first(self.reply)
            if self._on_reply is not None:
                self._on_reply(self.reply)
        elif self._on_failure is not None:
            self._on_failure(failure)


class Asks:
    """The open asks of one runtime, by correlation.

    One timer watches over all their deadlines; most asks are answered long before theirs.
    """

    def __init__(self, incarnation: int, clock: Clock, timers: Timers) -> None:
        # Each incarnation counts from elsewhere, so that a reply meant for an earlier one finds nothing open.
        self._last = (incarnation * 0x9E3779B97F4A7C15 >> 16) & _CORRELATION_MASK
        self._open: dict[int, Pending[Any]] = {}
        self._clock = clock
        self._timers = timers
        self._expiry: Timer | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        target: Address,
        timeout_seconds: float | None,
        run: Runner | None = None,
        group: set[Pending[Any]] | None = None,
    ) -> Pending[Any]:
        """A new ask, for ever without a timeout; `run` calls its callbacks, at once when not given."""
        deadline = math.inf
        if timeout_seconds is not None:
            deadline = self._clock.now() + timeout_seconds
            if self._expiry is None or not deadline >= self._expiry.deadline:
                self._expire_at(deadline)
        self._last = self._last + 1 & _CORRELATION_MASK or 1
        pending: Pending[Any] = Pending(self, self._last, target, timeout_seconds, deadline, run, group)
        if group is not None:
            group.add(pending)
        self._open[self._last] = pending
        return pending

    def settle(self, process: str, correlation: int, reply: Any) -> bool:
        """Let a reply from `process` end its ask; False when it answers nothing that is open there."""
        pending = self._open.get(correlation)
        if pending is None or pending.target.process != process:
            return False
        if type(reply) is Refused:
            kind: type[AskFailed] = TargetDown if reply.delivered else Undeliverable
            if reply.by_actor:
                kind = AskRefused
            self.fail(correlation, kind(f"{pending.target}: {reply.reason}"))
        else:
            del self._open[correlation]
            pending.end(reply, None)
        return True

    def fail(self, correlation: int, failure: AskFailed) -> None:
        """End an ask without a reply; does nothing when it isn't open any more."""
        pending = self._open.pop(correlation, None)
        if pending is not None:
            pending.end(None, failure)

    def fail_process(self, process: str, reason: str) -> None:
        """End all that was asked of a process that is gone."""
        for correlation in self.open_at(process):
            self.fail(correlation, TargetDown(f"{process}: {reason}"))

    def open_at(self, process: str) -> list[int]:
        """The correlations of what was asked of a process and is open."""
        return [key for key, pending in self._open.items() if pending.target.process == process]

    def forget(self, pending: Pending[Any]) -> None:
        """Drop an ask: its end is not wanted any more."""
        self._open.pop(pending.correlation, None)

    def _expire_at(self, deadline: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._timers.at(deadline, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = self._clock.now()
        late = sorted((p for p in self._open.values() if p.deadline <= now), key=_deadline_of)
        for pending in late:
            reason = f"{pending.target} did not answer within {pending.timeout_seconds:g} seconds"
            self.fail(pending.correlation, AskTimeout(reason))
        earliest = min(map(_deadline_of, self._open.values()), default=math.inf)
        if earliest < math.inf and (self._expiry is None or earliest < self._expiry.deadline):
            self._expire_at(earliest)


class Answerable(Protocol):
    """What can be answered: a Reply, or what stands for one."""

    def send(self, message: object) -> None:
        """Answer it."""


class Reply(msgspec.Struct, eq=False):
    """The right to answer one ask, once, and until then a debt.

    When the actor that took it crashes or stops without having answered, the asker is told.
    """

    to: Address
    correlation: int
    _answer: Callable[[Address, int, object], None]
    _debts: dict[Reply, None] | None = None
    """Where it is until it is used up."""
    _open: bool = True

    def send(self, message: object) -> None:
        """Answer. A second answer does nothing; one that comes too late is a dead letter over there."""
        if self.claim():
            self._answer(self.to, self.correlation, message)

    def claim(self) -> bool:
        """Use the right up; False if it was used up before."""
        if not self._open:
            return False
        self._open = False
        if self._debts is not None:
            self._debts.pop(self, None)
        return True

    def refuse(self, reason: str) -> None:
        """Answer with a failure: the asker is given AskRefused, with that reason."""
        self.send(Refused(reason, delivered=True, by_actor=True))

    def drop(self) -> None:
        """Never answer; the asker waits until its time is up."""
        self.claim()
