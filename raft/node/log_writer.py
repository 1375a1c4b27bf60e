"""The node's writes to its log: one at a time, each with everything that was queued during the last.

Owns group commit, the rule that nothing is answered before what it depends on is durable, and what
becomes of a write that failed. Knows nothing of files, nor of what the answers say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from raft.core.messages import DurableReply, Message, StorageAppend, StorageAppendReply
from raft.core.types import Entry, HardState, Index, NodeId, Snapshot
from raft.node.histogram import Histogram
from raft.node.worker import Worker
from raft.storage.errors import StoreFull

RETRY_SECONDS = 0.1
# While the disk is full, so many writes may wait; then they are merged.
WAITING_MAX = 256

# After so many quick writes in a row, the next one is expected to be quick.
QUICK_WRITES_MIN = 64
QUICK_SECONDS_MAX = 0.005
LOOP_BYTES_MAX = 64 * 1024

After = Callable[[float, Callable[[], None]], object]


class Log(Protocol):
    """The two halves of a durable save."""

    def write(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        """Make all three durable; may block, and is called on the worker's thread.

        Raises StoreFull without room, and then nothing is written.
        """
        ...

    def accept(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        """Show readers what was written; on the loop's thread."""
        ...

    def check_room(self) -> None:
        """Raise StoreFull if a small write would now; nothing changes. On the worker's thread."""
        ...


class DiskFailed(Exception):
    """The log could not be written, so what is durable is no longer known: the node must stop."""


class DiskObserver(Protocol):
    """Called about the writes, on the loop's thread."""

    slow_seconds: float
    """A write that takes so long is to be reported; 0 while all are."""

    def began(self, write: int) -> None:
        """A write has begun, while all are to be reported; the argument is its number."""
        ...

    def ended(self, seconds: float) -> None:
        """A write to be reported has ended: it is durable, and its responses are not given out yet."""
        ...

    def full(self, reason: str) -> None:
        """The disk is full. The write is retried, and nothing else is written before."""
        ...

    def has_room(self) -> None:
        """The disk has room again."""
        ...


class WritePlacement:
    """Where the next write is made: on the loop while the disk is quick, otherwise by the worker's thread.

    A thread costs two hand-overs of the interpreter, a sixth of the time of a lone write. A write on the loop
    makes heartbeats wait, so one that took longer than `quick_seconds` sends those after it to the thread,
    until QUICK_WRITES_MIN in a row were quick there.
    """

    def __init__(self, quick_seconds: float) -> None:
        self._quick_seconds = quick_seconds
        self._quick_writes = 0

    def on_loop(self, size_bytes: int) -> bool:
        """Whether to make a write of so many bytes on the loop."""
        return self._quick_writes >= QUICK_WRITES_MIN and size_bytes <= LOOP_BYTES_MAX

    def took(self, seconds: float) -> None:
        """Note how long a write took, wherever it was made."""
        self._quick_writes = self._quick_writes + 1 if seconds <= self._quick_seconds else 0


class LogWriter:
    """Writes `StorageAppend`s in order, and delivers their responses once they are durable.

    While one write is under way the next ones queue up, and one write takes them all: under load the
    cost of an fsync is shared by everything that arrived during the last one. A write for which there
    is no room waits until there is; any other failure is final.
    """

    def __init__(
        self,
        log: Log,
        worker: Worker,
        hard_state: HardState,
        restored: Callable[[Snapshot], None],
        answer: Callable[[Sequence[Message]], None],
        watch: DiskObserver,
        after: After,
        now: Callable[[], float],
        placement: WritePlacement,
    ) -> None:
        self._log = log
        self._worker = worker
        self._durable = hard_state
        self._restored = restored
        self._answer = answer
        self._watch = watch
        self._after = after
        self._placement = placement
        self._now = now
        self._queue: list[StorageAppend] = []
        self._late_commit: HardState | None = None
        self._writing = False
        self._lacks_room = False  # Then a write counts as under way until it has been done.
        self._closed = False
        self.write_seconds = Histogram()
        self.in_progress = False
        """Whether one is being made."""
        self.writes = 0
        """How many have begun."""
        self.began_at = now()
        """When the last one began."""
        self.last: Index = 0
        """The index of its last entry, 0 without one."""

    @property
    def waiting(self) -> int:
        """How many writes are waiting for the one that is under way."""
        return len(self._queue)

    def append(self, message: StorageAppend) -> None:
        """Write the message's contents, then deliver its responses."""
        self._queue.append(message)
        if not self._writing:
            self._write_next()
        elif self._lacks_room and len(self._queue) > WAITING_MAX:
            self._fold()

    def probe(self) -> None:
        """Check for room, unless a write is about to do so."""
        if self._writing or self._closed:
            return
        self._writing = True
        self._worker.submit(self._log.check_room, self._probed)

    def close(self) -> None:
        """Let the current write end, and begin no other."""
        self._closed = True
        self._queue.clear()
        self._worker.close()

    def _write_next(self) -> None:
        group = self._take_group()
        hard_state, entries, snapshot = merge(group)
        if not entries and snapshot is None and not self._is_acknowledgement(hard_state):
            # Nothing that a crash must not lose, and nothing under way: the responses are true already.
            self._late_commit = hard_state or self._late_commit
            self._log.accept(hard_state, (), None)
            self._give_out(group)
            if self._lacks_room:  # Found without a write, so no retry is scheduled: keep checking.
                self._worker.submit(self._log.check_room, self._probed)
            elif self._queue:
                self._write_next()
            return
        hard_state = hard_state or self._late_commit
        self._late_commit = None
        self._writing = True
        self.writes += 1
        self.in_progress = True
        self.last = entries[-1].index if entries else 0
        began_at = self.began_at = self._now()
        if not self._watch.slow_seconds:
            self._watch.began(self.writes)

        def write() -> float:
            began_at = self._now()
            self._log.write(hard_state, entries, snapshot)
            return self._now() - began_at

        def written(seconds: float | None, error: Exception | None) -> None:
            self.in_progress = False
            if isinstance(error, StoreFull):
                self._late_commit = hard_state
                self._queue[:0] = group
                self._is_full(error)
                return
            self._succeeded(error)
            assert seconds is not None
            self._placement.took(seconds)
            seconds = self._now() - began_at  # With the way to the thread and back.
            self.write_seconds.observe(seconds)
            if seconds >= self._watch.slow_seconds:
                self._watch.ended(seconds)
            self._durable = hard_state or self._durable
            self._log.accept(hard_state, entries, snapshot)
            if snapshot is not None:
                self._restored(snapshot)
            self._give_out(group)
            if self._queue and not self._writing:
                self._write_next()

        if snapshot is None and self._placement.on_loop(sum(message.size_bytes for message in group)):
            self._worker.do_here(write, written)
        else:
            self._worker.submit(write, written)

    def _probed(self, _result: None, error: Exception | None) -> None:
        if isinstance(error, StoreFull):
            self._is_full(error)
            return
        self._succeeded(error)
        if self._queue:
            self._write_next()

    def _is_full(self, error: StoreFull) -> None:
        self._lacks_room = True
        self._watch.full(str(error))
        self._after(RETRY_SECONDS, self._try_again)

    def _succeeded(self, error: Exception | None) -> None:
        if error is not None:
            raise DiskFailed(f"the log could not be written: {error}") from error
        if self._lacks_room:
            self._watch.has_room()
        self._writing = self._lacks_room = False

    def _fold(self) -> None:
        if all(waiting.snapshot is None for waiting in self._queue):
            self._queue = [fold(self._queue)]

    def _try_again(self) -> None:
        if self._closed:
            return
        if self._queue:
            self._write_next()
        else:
            self._worker.submit(self._log.check_room, self._probed)

    def _is_acknowledgement(self, hard_state: HardState | None) -> bool:
        """Is it more than a commit index, which can always be learnt again?"""
        durable = self._durable
        return hard_state is not None and (hard_state.term, hard_state.vote) != (durable.term, durable.vote)

    def _take_group(self) -> list[StorageAppend]:
        """All that waits, up to the next snapshot: entries before and after one don't join."""
        end = 1
        if self._queue[0].snapshot is None:
            while end < len(self._queue) and self._queue[end].snapshot is None:
                end += 1
        group, self._queue = self._queue[:end], self._queue[end:]
        return group

    def _give_out(self, group: Sequence[StorageAppend]) -> None:
        for message in group:
            self._answer(message.responses)


def merge(
    group: Sequence[StorageAppend],
) -> tuple[HardState | None, Sequence[Entry], Snapshot | None]:
    """One write that leaves the log as the group's writes would, one after another."""
    if len(group) == 1:
        return group[0].hard_state, group[0].entries, group[0].snapshot
    hard_state: HardState | None = None
    entries: list[Entry] = []
    for message in group:
        hard_state = message.hard_state or hard_state
        if message.entries:
            # A write replaces from its first index on, also what was to be written just before.
            overlap = entries[-1].index + 1 - message.entries[0].index if entries else 0
            if overlap > 0:
                del entries[-overlap:]
            entries.extend(message.entries)
    return hard_state, entries, None


def fold(waiting: Sequence[StorageAppend]) -> StorageAppend:
    """Merge waiting messages, without snapshots: the same write, and the last response to each receiver.

    A later response includes what earlier ones said; to a peer the others look like lost messages.
    """
    hard_state, entries, _ = merge(waiting)
    last_words: dict[tuple[type, NodeId], DurableReply | StorageAppendReply] = {}
    for message in waiting:
        for response in message.responses:
            key = (type(response), response.to)
            last_words.pop(key, None)
            last_words[key] = response
    newest = waiting[-1]
    return StorageAppend(
        newest.sender,
        newest.to,
        newest.term,
        [*entries],
        hard_state,
        None,
        [*last_words.values()],
        sum(message.size_bytes for message in waiting),
    )
