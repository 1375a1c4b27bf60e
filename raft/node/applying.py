"""Committed entries into the machine, in order, and each result to whoever waits for it.

Owns the machine and the index up to which it stands. Knows nothing of the log or the network; a
configuration change is handed to `on_config`, which lives with the core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from raft.core.messages import Message, StorageApply
from raft.core.types import Entry, EntryKind, Index
from raft.machines.machine import COMMAND_ERRORS, StateMachine, reason_of
from raft.node.worker import Worker


class Rejection(Struct, frozen=True, gc=False):
    """The machine turned a command or a query down, as it would on every replica."""

    reason: str


Outcome = bytes | Rejection | None
"""What became of an entry: the machine's answer, its rejection, or nothing for an entry of Raft's own."""


class _Restore(Struct, frozen=True, gc=False):
    index: Index
    state: bytes


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

    The machine belongs to one thread at a time: while a batch is on the worker, queries wait.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        applied: Index,
        waiters: Waiters,
        on_config: Callable[[Entry], None],
        answer: Callable[[Sequence[Message]], None],
        worker: Worker | None = None,
    ) -> None:
        self.applied = applied
        self.configuration: Index = 0  # The last index at which it was changed, if that is known.
        self._machine = machine
        self._waiters = waiters
        self._on_config = on_config
        self._answer = answer
        self._worker = worker
        self._queue: deque[StorageApply | _Restore] = deque()
        self._busy = False
        self._changing = False

    @property
    def free(self) -> bool:
        """The machine may be queried: no thread of ours is inside it."""
        return not self._busy

    def apply(self, message: StorageApply) -> None:
        """Apply the committed entries, then give out the responses."""
        self._queue.append(message)
        self._next()

    def restore(self, index: Index, state: bytes) -> None:
        """Replace the machine's state by that of `index`, in order with what is being applied."""
        self._queue.append(_Restore(index, state))
        self._next()

    @property
    def at_rest(self) -> bool:
        """Machine and configuration both stand at `applied`, and not somewhere after it."""
        return not self._busy and not self._changing

    def snapshot(self) -> bytes:
        """The machine's state; only while `at_rest`."""
        assert self.at_rest, f"the machine is on its way from {self.applied}"
        return self._machine.snapshot()

    def query(self, body: bytes) -> bytes | Rejection:
        """Ask the machine; only while `free`."""
        assert not self._busy, "the machine is in another thread's hands"
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
        while self._queue and not self._busy:
            work = self._queue.popleft()
            if isinstance(work, _Restore):
                self._restore(work)
            elif self._worker is None:
                self._finish(work, self._run(work.entries))
            else:
                self._busy = True
                self._submit(self._worker, work)

    def _submit(self, worker: Worker, work: StorageApply) -> None:
        def finished(outcomes: list[Outcome], error: Exception | None) -> None:
            if error is not None:
                raise error
            self._busy = False
            self._finish(work, outcomes)
            self._next()

        worker.submit(lambda: self._run(work.entries), finished)

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
            self._changing = True
            for entry in entries:
                if entry.kind is not EntryKind.NORMAL:
                    self._on_config(entry)
                    self.configuration = entry.index
            self.applied = entries[-1].index
            self._changing = False
            self._waiters.applied(entries, outcomes, self.configuration)
        self._answer(work.responses)

    def _restore(self, work: _Restore) -> None:
        if work.index <= self.applied:
            return
        self._machine.restore(work.state)
        self.applied = self.configuration = work.index
        self._waiters.restored(work.index)
