"""Committed entries into the machine, in order, and each result to whoever waits for it.

Owns the machine and the index up to which it stands. Knows nothing of the log or the network; a
configuration change is handed to `on_config`, which lives with the core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

from msgspec import Struct

from raft.core.messages import Message, StorageApply
from raft.core.types import Entry, EntryKind, Index, entries_size
from raft.machines.machine import COMMAND_ERRORS, InParts, StateMachine, reason_of
from raft.node.snapshots import Parts, restore_machine
from raft.node.worker import Worker, gently

T = TypeVar("T")


class Rejection(Struct, frozen=True, gc=False):
    """The machine turned a command or a query down, as it would on every replica."""

    reason: str


Outcome = bytes | Rejection | None
"""What became of an entry: the machine's answer, its rejection, or nothing for an entry of Raft's own."""


class _Restore(Struct, frozen=True):
    index: Index
    parts: Parts


class _Freeze(Struct, frozen=True):
    then: Callable[[Iterator[bytes]], None]


class Waiters(Protocol):
    """Those who wait for entries."""

    def applied(self, entries: Sequence[Entry], outcomes: Sequence[Outcome], configuration: Index) -> None:
        """All these entries are applied, in this order, and the configuration is that of an index."""
        ...

    def restored(self, index: Index) -> None:
        """The machine jumped to `index` by a snapshot: what the entries up to it did is not known."""
        ...


class Applier:
    """Applies `StorageApply`s one after another, on a worker if it has one, else at once.

    What takes long with a large state is done on the `slow` worker. The machine belongs to one thread at a
    time: while a worker has it, queries wait.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        applied: Index,
        waiters: Waiters,
        on_config: Callable[[Entry], None],
        answer: Callable[[Sequence[Message]], None],
        slow: Worker,
        worker: Worker | None = None,
    ) -> None:
        self.applied = applied
        self.bytes_applied = 0  # By this life.
        self.configuration: Index = 0  # The last index at which it was changed, if that is known.
        self._machine = machine
        self._waiters = waiters
        self._on_config = on_config
        self._answer = answer
        self._slow = slow
        self._worker = worker
        self._queue: deque[StorageApply | _Restore | _Freeze] = deque()
        self.free = True
        """The machine may be queried: no thread of ours is inside it."""

    def apply(self, message: StorageApply) -> None:
        """Apply the committed entries, then give out the responses."""
        self._queue.append(message)
        self._next()

    def restore(self, index: Index, parts: Parts) -> None:
        """Replace the machine's state by that of `index`, in order with what is being applied."""
        self._queue.append(_Restore(index, parts))
        self._next()

    def freeze(self, then: Callable[[Iterator[bytes]], None]) -> None:
        """Hand out the machine's state, in order with what is being applied; not in the midst of that.

        When `then` is called, machine and configuration both stand at `applied`.
        """
        self._queue.append(_Freeze(then))
        self._next()

    def query(self, body: bytes) -> bytes | Rejection:
        """Ask the machine; only while `free`."""
        assert self.free, "the machine is in another thread's hands"
        try:
            return self._machine.query(body)
        except COMMAND_ERRORS as error:
            return Rejection(reason_of(error))

    def close(self) -> None:
        """Let the batch in hand end, and begin no other."""
        self._queue.clear()
        if self._worker is not None:
            self._worker.close()

    def _next(self) -> None:
        while self._queue and self.free:
            work = self._queue.popleft()
            if isinstance(work, _Restore):
                self._restore(work)
            elif isinstance(work, _Freeze):
                self._freeze(work)
            elif self._worker is None:
                self._finish(work, self._run(work.entries))
            else:
                self._lend(self._worker, partial(self._run, work.entries), partial(self._finish, work))

    def _lend(self, worker: Worker, job: Callable[[], T], then: Callable[[T], None]) -> None:
        """Let a worker have the machine, and go on when it gives it back."""
        self.free = False

        def finished(result: T, error: Exception | None) -> None:
            if error is not None:
                raise error
            self.free = True
            then(result)
            self._next()

        worker.submit(job, finished)

    def _run(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Touches nothing but the machine, for it may run on the worker's thread."""
        apply = self._machine.apply
        outcomes: list[Outcome] = []
        for entry in entries:
            outcome: Outcome = None
            # An empty entry is the one with which a leader opens its term.
            if entry.data and entry.kind is EntryKind.NORMAL:
                try:
                    outcome = apply(entry.index, entry.data)
                except COMMAND_ERRORS as error:
                    outcome = Rejection(reason_of(error))
            outcomes.append(outcome)
        return outcomes

    def _finish(self, work: StorageApply, outcomes: list[Outcome]) -> None:
        entries = work.entries
        if entries:
            assert entries[0].index == self.applied + 1, (
                f"entry {entries[0].index} does not follow {self.applied}"
            )
            for entry in entries:
                if entry.kind is not EntryKind.NORMAL:
                    self._on_config(entry)
                    self.configuration = entry.index
            self.applied = entries[-1].index
            self.bytes_applied += entries_size(entries)
            self._waiters.applied(entries, outcomes, self.configuration)
        self._answer(work.responses)

    def _restore(self, work: _Restore) -> None:
        if work.index <= self.applied:
            return

        def restored(_result: None) -> None:
            self.applied = self.configuration = work.index
            self._waiters.restored(work.index)

        parts = gently(self._slow, work.parts)
        self._lend(self._slow, lambda: restore_machine(self._machine, parts), restored)

    def _freeze(self, work: _Freeze) -> None:
        machine = self._machine
        if isinstance(machine, InParts):
            work.then(machine.snapshot_parts())
        elif self._worker is None:
            work.then(iter((machine.snapshot(),)))
        else:
            self._lend(self._worker, machine.snapshot, lambda state: work.then(iter((state,))))
