"""Taking snapshots of a node's own state, and forgetting the entries that they cover.

Owns when one is due, the way from the machine to the disk, and how much of the log stays. The loop doesn't
wait: the machine gives its state in parts, and another thread reads, encodes and writes them.
Knows nothing of files, or of how a snapshot travels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct

from raft.core.raft import Raft
from raft.core.types import ConfState, Index, Snapshot, Term
from raft.node.applier import Applier
from raft.node.log_writer import DiskFailed
from raft.node.reporter import Journal
from raft.node.snapshots.contents import State, pack_state
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.snapshots.receiver import DraftLog
from raft.node.worker import Worker
from raft.storage.errors import SnapshotDamaged, StoreError, StoreFull
from raft.storage.snapshots import sealed

RETRY_SECONDS = 5.0
ENTRIES_FORGOTTEN_AT_ONCE = 2048
# A slow peer with a transfer of an older snapshot keeps the log from being compacted for so many snapshots.
HELD_SNAPSHOTS_MAX = 4


class SnapshotLog(DraftLog, Protocol):
    """A log that keeps snapshots; see `Store`."""

    def snapshot(self) -> Snapshot:
        """The newest."""
        ...

    def first_index(self) -> Index:
        """Of the entries that are still there."""
        ...

    def write_snapshot(self, snapshot: Snapshot, rest: Callable[[], None]) -> None:
        """Make it durable, with a `rest` after each step; from any thread."""
        ...

    def accept_snapshot(self, snapshot: Snapshot) -> None:
        """Show it to readers."""
        ...

    def distrust(self, index: Index) -> None:
        """The newest snapshot is damaged, if that is its index: let one of the same index replace it."""
        ...

    def accept_compaction(self, index: Index) -> None:
        """Forget entries in memory."""
        ...

    def release(self, index: Index) -> object:
        """Forget entries on disk; from any thread."""
        ...

    def sweep(self) -> None:
        """Free what an installed snapshot has replaced; from any thread."""
        ...


SnapshotCallback = Callable[[Index, str], None]
"""Called with the index of the newest snapshot, and with the reason of a failure, or ""."""


class Abandoned(StoreError):
    """The node ends before its snapshot was written."""


class Head(Struct, frozen=True):
    """What belongs to a snapshot besides the machine's state, as of the same moment."""

    index: Index
    term: Term
    conf_state: ConfState
    state: State
    size: int  # Of all commands applied by then, since this process started.
    began: float


class Snapshotter:
    """Takes one snapshot at a time. `held`: the index of the oldest snapshot in transfer.

    While space is `tight` no entries are kept that a snapshot covers.
    """

    def __init__(
        self,
        *,
        raft: Raft,
        log: SnapshotLog,
        applier: Applier,
        worker: Worker,
        state: Callable[[], State],
        held: Callable[[], Index | None],
        policy: SnapshotPolicy,
        journal: Journal,
        now: Callable[[], float],
        tight: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tight = tight
        self._raft = raft
        self._log = log
        self._applier = applier
        self._worker = worker
        self._state = state
        self._held = held
        self._policy = policy
        self._journal = journal
        self._now = now
        self._busy = False
        self._abandoned = False
        self._head: Head
        self.wanted = False
        """Whether one is to be taken soon, even if none is due."""
        self._waiting: list[SnapshotCallback] = []
        self._served: list[SnapshotCallback] = []
        self._bytes_covered = 0
        self._not_before = 0.0
        self.due_index: Index = 0
        self.due_bytes = 0
        """None is due before so much is applied: an index, or as many bytes as the applier counts."""
        self._taken: deque[Index] = deque([log.snapshot().index], maxlen=HELD_SNAPSHOTS_MAX)
        self._damaged: Index = 0

    def want(self) -> None:
        """Take a snapshot soon, even if none is due."""
        self.wanted = True

    def take(self, done: SnapshotCallback) -> None:
        """Take a snapshot soon, and call back when it is durable."""
        self._waiting.append(done)
        self.wanted = True
        self._not_before = 0.0

    def abandon(self) -> None:
        """Abandon the current one, on its thread too: the node ends, and must not wait for it."""
        self._abandoned = True

    def _rest(self) -> None:
        if self._abandoned:
            raise Abandoned
        self._worker.rest()

    def _in_steps(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            yield part
            self._rest()

    def replace(self, damaged: Snapshot) -> None:
        """The stored copy of a snapshot is damaged, and the machine is not: take another one soon."""
        if damaged.index == self._log.snapshot().index:
            self._damaged = damaged.index
            self._log.distrust(damaged.index)
            self.wanted = True

    def is_damaged(self, snapshot: Snapshot) -> bool:
        """Whether that snapshot is known to be damaged, and must not be sent."""
        return 0 < snapshot.index == self._damaged

    def installed(self) -> None:
        """A snapshot of the leader is the newest: what was applied before makes no other one due."""
        self._bytes_covered = self._applier.bytes_applied
        self.due_index = 0

    def consider(self) -> None:
        """Begin a snapshot if one is `wanted` or due; at the end of a turn."""
        if self._busy or self._now() < self._not_before or not (self.wanted or self._is_due()):
            return
        self._busy, self.wanted = True, False
        self._served, self._waiting = self._waiting, []
        self._applier.freeze(self._begin, self._frozen)

    def _is_due(self) -> bool:
        applier, newest = self._applier, self._log.snapshot()
        entries, size = self._policy.limits(applier.applied - newest.index, len(newest.data))
        self.due_index, self.due_bytes = newest.index + entries, self._bytes_covered + size
        return applier.applied >= self.due_index or applier.bytes_applied >= self.due_bytes

    def _begin(self) -> bool:
        """Note what belongs to the state of now; whether that is to become a snapshot."""
        raft, index = self._raft, self._applier.applied
        # The core is ahead of the machine while a leader's snapshot is on its way to the disk and into it.
        if self._is_nothing_new(index) or raft.log.unstable_snapshot is not None:
            self._end("")
            return False
        self._head = Head(
            index=index,
            term=raft.log.term(index),
            conf_state=raft.tracker.configuration.conf_state(),
            state=self._state(),
            size=self._applier.bytes_applied,
            began=self._now(),
        )
        return True

    def _frozen(self, parts: Iterator[bytes]) -> None:
        head = self._head
        index, term, conf_state, state = head.index, head.term, head.conf_state, head.state
        size, began = head.size, head.began

        def work() -> Snapshot:
            # The checksum is computed before the snapshot is sent or stored.
            data = pack_state(state, self._in_steps(parts))
            snapshot = sealed(Snapshot(index, term, conf_state, data))
            self._log.write_snapshot(snapshot, self._rest)
            return snapshot

        def written(snapshot: Snapshot, error: Exception | None) -> None:
            if error is None:
                self._bytes_covered = size
                self._journal.event(
                    "snapshot-taken",
                    f"took a snapshot at {index}, {len(snapshot.data)} bytes",
                    index=index,
                    bytes=len(snapshot.data),
                    seconds=round(self._now() - began, 6),
                )
                self._accept(snapshot)
            else:
                self._fail(error)

        self._worker.submit(work, written)

    def _accept(self, snapshot: Snapshot) -> None:
        log = self._log
        before = log.snapshot().index
        if self._is_nothing_new(snapshot.index):  # A snapshot of the leader was installed meanwhile.
            self._end("")
            return
        log.accept_snapshot(snapshot)
        self._damaged = 0
        self._taken.append(snapshot.index)
        kept = 0 if self._tight() else self._policy.entries_kept
        forget = max(before, snapshot.index - kept)
        held = self._held()
        if held is not None:
            forget = min(forget, max(held, self._taken[0]))
        self._forget(forget)

    def _is_nothing_new(self, index: Index) -> bool:
        newest = self._log.snapshot().index
        # Before the first entry there is nothing, damaged or not; a stored snapshot of it would not open.
        return not index or index < newest or (index == newest != self._damaged)

    def _forget(self, index: Index) -> None:
        """Free the entries up to an index, a few at a time: freeing all at once takes long."""
        log = self._log
        step = min(index, log.first_index() + ENTRIES_FORGOTTEN_AT_ONCE)
        log.accept_compaction(step)

        def released(_result: object, error: Exception | None) -> None:
            if error is not None:
                self._fail(error)
            elif step < index:
                self._forget(index)
            else:
                self._end("")

        self._worker.submit(lambda: log.release(step), released)

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, StoreFull | SnapshotDamaged):
            raise DiskFailed(f"a snapshot could not be written: {error}") from error
        self._not_before = self._now() + RETRY_SECONDS
        self._journal.event("snapshot-failed", str(error))
        self._end(str(error))

    def _end(self, reason: str) -> None:
        self._busy = False
        self.due_index = 0  # To be computed anew.
        served, self._served = self._served, []
        for done in served:
            done(self._log.snapshot().index, reason)
