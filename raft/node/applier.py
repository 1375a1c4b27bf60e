"""Applies committed entries to the machine, in order, and passes each result to the waiting request.

Owns the application and its applied index. One turn of the loop applies a limited amount, and the next turns
continue. Tasks of the user's own machine go to its worker, in the same order, and
nothing waits for it. Knows nothing of the log or the network; a configuration change is handed to
`on_config`, which lives with the core.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from msgspec import Struct

from raft.core.messages import Message, StorageApply
from raft.core.types import Entry, EntryKind, Index, Term
from raft.machines import elections, store
from raft.machines.application import UNFINISHED, Application, Unfinished
from raft.machines.commands import Call, Operation
from raft.machines.machine import COMMAND_ERRORS, reason_of
from raft.machines.state import parts_of
from raft.node.histogram import Histogram
from raft.node.machine_worker import OwnMachineWorker
from raft.node.snapshots.contents import Parts
from raft.node.worker import Worker, gently
from raft.protocol.client import Invalid

TOO_MANY_KEYS = Invalid(store.TOO_MANY_KEYS.reason)
TOO_MUCH_ANNOUNCED = Invalid(elections.TOO_MUCH_ANNOUNCED.reason)
KNOWN_MAX = 20_000
WORK_PER_TURN_MAX = 1_500  # Of entries and of the events that they make: a few milliseconds.


class Rejection(Struct, frozen=True, gc=False):
    """The machine turned a command or a query down, as it would on every replica."""

    reason: str


class AnsweredLater(Struct, frozen=True, gc=False):
    """The user's own machine will answer."""


ANSWERED_LATER = AnsweredLater()
Outcome = bytes | Rejection | AnsweredLater | None
"""What became of an entry: the machine's answer, its rejection, or nothing for an entry of Raft's own."""


class _Restore(Struct, frozen=True):
    index: Index
    parts: Parts
    configuration: Index


class _Freeze(Struct, frozen=True):
    begin: Callable[[], bool]
    then: Callable[[Iterator[bytes]], None]


class _Apply(Struct):
    """A StorageApply of which the first `done` entries are applied."""

    message: StorageApply
    done: int = 0


class Waiters(Protocol):
    """The requests that wait for entries."""

    def applied(self, entries: Sequence[Entry], outcomes: Sequence[Outcome], configuration: Index) -> None:
        """All these entries are applied, in this order, and the configuration is that of an index."""
        ...

    def answered(self, index: Index, answer: bytes, configuration: Index) -> None:
        """The user's own machine has answered the command at `index`, which was applied."""
        ...

    def restored(self, index: Index) -> None:
        """The machine jumped to `index` by a snapshot: what the entries up to it did is not known."""
        ...


class Applier:
    """Applies `StorageApply`s one after another, a few milliseconds per turn.

    Restoring is done on the `slow` worker. `again` requests another turn, which begins with `resume`.
    """

    def __init__(
        self,
        *,
        machine: Application,
        applied: Index,
        waiters: Waiters,
        on_config: Callable[[Entry], None],
        answer: Callable[[Sequence[Message]], None],
        slow: Worker,
        own_machine: OwnMachineWorker,
        again: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timing = Timing(now)
        self.applied = applied
        self.bytes_applied = 0  # Since the process started.
        self.configuration: Index = 0  # The last index at which it was changed, if that is known.
        self.own_machine = own_machine
        self._machine = machine
        self._waiters = waiters
        self._on_config = on_config
        self._answer = answer
        self._slow = slow
        self._again = again
        self._queue: deque[_Apply | _Restore | _Freeze] = deque()
        self._work = 0  # Done in this turn.
        self._known: dict[Index, Call] = {}  # Commands of `_known_term`: a term has one leader, and one log.
        self._known_term: Term = 0
        self.free = True
        """Whether the machine may be queried: it is between two commands, and no thread uses it."""

    @property
    def has_own_machine(self) -> bool:
        """Whether there is a user's own machine."""
        return self._machine.own.machine is not None

    @property
    def waiting(self) -> int:
        """How many batches of committed entries, and other steps, are still to be done."""
        return len(self._queue)

    def note(self, term: Term, first: Index, decoded: Sequence[Call]) -> None:
        """A leader has decoded commands as it took them in: that need not be done again to apply them."""
        if term != self._known_term or len(self._known) >= KNOWN_MAX:
            self._known.clear()
            self._known_term = term
        self._known.update(enumerate(decoded, first))
        if self.timing.due:
            self.timing.logged(term, first)

    def apply(self, message: StorageApply) -> None:
        """Apply the committed entries, then deliver the responses."""
        if self.timing.due:
            self.timing.committed(message.entries)
        self._queue.append(_Apply(message))
        self._next()

    def restore(self, index: Index, parts: Parts, configuration: Index = 0) -> None:
        """Replace the machine's state by that of `index`, in order with what is being applied."""
        self._queue.append(_Restore(index, parts, configuration or index))
        self._next()

    def freeze(self, begin: Callable[[], bool], then: Callable[[Iterator[bytes]], None]) -> None:
        """Hand out the machine's state, in order with what is being applied; not in the midst of that.

        When `begin` is called, machine and configuration are both at `applied`. `then` gets that state, once
        the user's own machine has reached it; unless `begin` returns False.
        """
        self._queue.append(_Freeze(begin, then))
        self._next()

    def resume(self) -> None:
        """At the beginning of a turn: continue what the last one left."""
        self._work = 0
        if self.own_machine.commands or self.own_machine.queries:
            self.own_machine.deliver()
        if self._queue:
            self._next()

    def query(self, body: bytes, then: Callable[[bytes | Rejection], None]) -> bytes | Rejection | None:
        """The machine's answer; only while `free`.

        None if the user's own machine answers, as of now or later: then `then` is called with its answer.
        """
        assert self.free, "the machine is in another thread's hands"
        try:
            answer = self._machine.look_up(body)
        except COMMAND_ERRORS as error:
            return Rejection(reason_of(error))
        except MemoryError:  # A command would end the node; a query has changed nothing.
            return Rejection("this node has no memory left for the answer: ask for less of it")
        if isinstance(answer, bytes):
            return answer
        self.own_machine.query(answer.body, then)
        return None

    def too_big(self, operation: Operation) -> Invalid | None:
        """Why a command would be too much work by the state of now. The machine judges again."""
        if self.free and self._machine.store.too_big(operation):
            return TOO_MANY_KEYS
        if self.free and self._machine.elections.too_big(operation):
            return TOO_MUCH_ANNOUNCED
        return None

    def close(self) -> None:
        """Let the current work end, and begin no other."""
        self._queue.clear()
        self.own_machine.close()

    def _next(self) -> None:
        while self._queue and self._may_go_on():
            work = self._queue[0]
            if isinstance(work, _Apply):
                if not self._apply(work):
                    self._again()
                    return
                self._queue.popleft()
                self.bytes_applied += work.message.size_bytes
                self._answer(work.message.responses)
            elif isinstance(work, _Restore):
                self._queue.popleft()
                self._restore(work)
            else:
                self._queue.popleft()
                self._freeze(work)

    def _may_go_on(self) -> bool:
        # Only an unfinished command can be continued while the machine is not free.
        return (self.free or self._machine.unfinished) and not (
            self.own_machine.commands and self.own_machine.full
        )

    def _apply(self, work: _Apply) -> bool:
        """Apply as much as this turn may; True if that is all of it."""
        entries, begun = work.message.entries, work.done
        assert begun or not entries or entries[0].index == self.applied + 1, (
            f"entry {entries[0].index} does not follow {self.applied}"
        )
        history = self._machine.history
        before = history.added
        # A command counts for one, and so does each event that it makes: most make one.
        room = WORK_PER_TURN_MAX - self._work
        if room <= 0:
            return begun == len(entries)
        limit = before + room
        outcomes: list[Outcome] = []
        if self.free or self._end_unfinished(limit, outcomes):
            self._begin_all(entries[begun + len(outcomes) : begun + (room + 1) // 2], limit, outcomes)
        work.done = begun + len(outcomes)
        self._work += len(outcomes) + history.added - before
        self._finish(entries[begun : work.done], outcomes)
        return work.done == len(entries)

    def _begin_all(self, entries: Sequence[Entry], limit: int, outcomes: list[Outcome]) -> None:
        """Apply entries one after another, until the history has that many events."""
        machine, history = self._machine, self._machine.history
        known = self._known if entries and entries[0].term == entries[-1].term == self._known_term else {}
        for entry in entries:
            # An empty entry is the one with which a leader opens its term.
            if not entry.data or entry.kind is not EntryKind.NORMAL:
                outcomes.append(None)
                continue
            try:
                decoded = known.pop(entry.index, None) if known else None
                outcome = machine.begin(entry.index, entry.data, decoded)
            except COMMAND_ERRORS as error:
                outcomes.append(Rejection(reason_of(error)))
                continue
            if outcome is UNFINISHED:
                self.free = False
                if not self._end_unfinished(limit, outcomes):
                    return
            else:
                outcomes.append(ANSWERED_LATER if outcome is None else outcome)
            if history.added >= limit:
                return

    def _end_unfinished(self, limit: int, outcomes: list[Outcome]) -> bool:
        """Go on with the command in hand until it has ended, or the history has that many events."""
        machine = self._machine
        outcome: Outcome | Unfinished = UNFINISHED
        try:
            while outcome is UNFINISHED:
                outcome = machine.resume()
                if outcome is UNFINISHED and machine.history.added >= limit:
                    return False
        except COMMAND_ERRORS as error:
            outcome = Rejection(reason_of(error))
        self.free = True
        outcomes.append(outcome)
        return True

    def _finish(self, entries: Sequence[Entry], outcomes: list[Outcome]) -> None:
        if not entries:
            return
        for entry in entries:
            if entry.kind is not EntryKind.NORMAL:
                self._on_config(entry)
                self.configuration = entry.index
        self.applied = entries[-1].index
        if self.timing.due:
            self.timing.applied(self.applied)
        self._waiters.applied(entries, outcomes, self.configuration)
        if self._machine.tasks:
            self.own_machine.run(self._machine.take_tasks(), self._answered)

    def _answered(self, index: Index, answer: bytes) -> None:
        self._waiters.answered(index, answer, self.configuration)

    def _restore(self, work: _Restore) -> None:
        if work.index <= self.applied:
            return
        self.free = False

        def restored(own_parts: list[bytes | memoryview] | None, error: Exception | None) -> None:
            if error is not None:
                raise error
            assert own_parts is not None, "restoring ends with the parts that are left, or with an error"
            self.free = True
            self.applied, self.configuration = work.index, work.configuration
            self.timing.skipped()
            self.own_machine.restore(own_parts)
            self._waiters.restored(work.index)
            self._next()

        self._slow.submit(partial(self._machine.restore_apart, gently(self._slow, work.parts)), restored)

    def _freeze(self, work: _Freeze) -> None:
        if not work.begin():
            return
        frozen = self._machine.freeze()
        self.own_machine.freeze(lambda own_parts: work.then(parts_of(frozen, own_parts)))


class Timing:
    """Latencies of commands: until committed, and from then until applied; measured for one batch at a time.

    `arm` makes a measurement due. Timing every batch would cost time, and add little.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.commit_seconds = Histogram()
        """From entering this leader's log until this leader knows that it is committed."""
        self.apply_seconds = Histogram()
        """From being committed to being applied here, or handed to the user's own machine."""
        self.due = True
        """Whether a measurement is in progress; the other calls are needed only then."""
        self._now = now
        self._armed = True
        self._logged: tuple[Term, Index, float] | None = None
        self._committed: tuple[Index, float] | None = None

    def arm(self) -> None:
        """Time the next batch; to be called now and then."""
        self.due = self._armed = True

    def logged(self, term: Term, index: Index) -> None:
        """This leader has an entry in its log."""
        timed = self._logged
        if timed is None or timed[0] != term:
            self._logged = term, index, self._now()

    def committed(self, entries: Sequence[Entry]) -> None:
        """These are committed, and not applied yet."""
        if not entries:
            return
        last, timed = entries[-1].index, self._logged
        if self._armed and self._committed is None:
            self._armed, self._committed = False, (last, self._now())
        if timed is not None and timed[1] <= last:
            self._logged = None
            at = timed[1] - entries[0].index
            if at >= 0 and entries[at].term == timed[0]:  # Else another leader's entry took its place.
                self.commit_seconds.observe(self._now() - timed[2])
        self._settle()

    def skipped(self) -> None:
        """A snapshot took the place of what was to be applied."""
        self._committed = None

    def applied(self, index: Index) -> None:
        """Everything up to `index` is applied."""
        timed = self._committed
        if timed is not None and index >= timed[0]:
            self._committed = None
            self.apply_seconds.observe(self._now() - timed[1])
        self._settle()

    def _settle(self) -> None:
        self.due = self._armed or self._logged is not None or self._committed is not None
