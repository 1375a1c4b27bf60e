"""The receiving side of a snapshot transfer: writes chunks to disk, in order, each checked.

Owns the receiver's half. Only a complete snapshot with the right checksum is passed on, to take effect at
once. Only chunks that are not written yet are in memory. Knows nothing of what a snapshot holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from zlib import crc32

from raft.core.messages import InstallSnapshot
from raft.core.types import Index, NodeId, Snapshot, Term
from raft.node.log_writer import DiskFailed
from raft.node.worker import Worker
from raft.protocol.registry import SnapshotChunk, SnapshotProgress
from raft.storage.errors import SnapshotDamaged, StoreFull


class Draft(Protocol):
    """A snapshot that is being written; see `raft.storage.drafts`."""

    def add(self, data: bytes) -> None:
        """Write the next chunk of the data."""
        ...

    def finish(self) -> Snapshot:
        """All data are written: make it durable. Raises SnapshotDamaged if the checksum is wrong."""
        ...

    def discard(self) -> None:
        """Remove the draft."""
        ...


class DraftLog(Protocol):
    """A log that takes snapshots in chunks; see `Store`."""

    def draft(self, head: Snapshot, size: int) -> Draft:
        """Begin a draft for a snapshot without its data; from any thread."""
        ...


class IncomingSnapshot:
    """One snapshot: how much of it has arrived, and how much is written."""

    def __init__(self, chunk: SnapshotChunk, log: DraftLog) -> None:
        self.version: tuple[Term, Index] = (chunk.term, chunk.index)
        self.size = chunk.size
        self.taken = 0
        self.written = 0
        self._head = Snapshot(
            chunk.index, chunk.snapshot_term, chunk.conf_state, checksum=chunk.snapshot_checksum
        )
        self._log = log
        self._draft: Draft | None = None

    def write(self, data: bytes, *, last: bool) -> Snapshot | None:
        """Write a chunk; returns the snapshot after the last one. On the worker's thread, like `discard`."""
        if self._draft is None:
            self._draft = self._log.draft(self._head, self.size)
        self._draft.add(data)
        return self._draft.finish() if last else None

    def discard(self) -> None:
        """Remove what was written."""
        if self._draft is not None:
            self._draft.discard()


class Receiver:
    """Collects one snapshot at a time: that of the latest term, and in that the newest.

    `tell` sends acknowledgements to the sender, `step` passes a complete snapshot to the core.
    """

    def __init__(
        self,
        node: NodeId,
        *,
        log: DraftLog,
        worker: Worker,
        tell: Callable[[SnapshotProgress], None],
        step: Callable[[InstallSnapshot], None],
        failed: Callable[[str], None],
    ) -> None:
        self._node = node
        self._log = log
        self._worker = worker
        self._tell = tell
        self._step = step
        self._failed = failed
        self._now: IncomingSnapshot | None = None

    def take(self, chunk: SnapshotChunk, committed: Index) -> None:
        """Add a chunk. Duplicates, and chunks that are late or out of order, change nothing."""
        if chunk.index <= committed:
            self._report(chunk, chunk.size)  # This node has it already.
            return
        now, version = self._now, (chunk.term, chunk.index)
        if now is None or version > now.version:
            if chunk.offset:
                self._report(chunk, 0)
                return
            self._give_up()
            now = self._now = IncomingSnapshot(chunk, self._log)
        if version < now.version or chunk.size != now.size:
            return
        fits = chunk.offset == now.taken and now.taken + len(chunk.data) <= now.size
        if fits and crc32(chunk.data) == chunk.checksum:
            now.taken += len(chunk.data)
            self._write(now, chunk)
        else:
            self._report(chunk, now.written)

    def forget_before(self, term: Term) -> None:
        """Drop a transfer that a leader of an earlier term has begun."""
        if self._now is not None and self._now.version[0] < term:
            self._give_up()

    def _write(self, now: IncomingSnapshot, chunk: SnapshotChunk) -> None:
        data, last = chunk.data, now.taken == now.size

        def written(snapshot: Snapshot | None, error: Exception | None) -> None:
            if now is not self._now:
                _raise_if_unexpected(error)
                return
            if error is not None:
                self._give_up()
                _raise_if_unexpected(error)
                self._failed(str(error))
                if isinstance(error, SnapshotDamaged):
                    self._report(chunk, 0, damaged=True)
                return
            now.written += len(data)
            self._report(chunk, now.written)
            if snapshot is not None:
                self._now = None
                self._step(InstallSnapshot(chunk.sender, chunk.to, chunk.term, snapshot))

        self._worker.submit(lambda: now.write(data, last=last), written)

    def _give_up(self) -> None:
        now, self._now = self._now, None
        if now is not None:
            self._worker.submit(now.discard, lambda _result, error: _raise_if_unexpected(error))

    def _report(self, chunk: SnapshotChunk, received: int, *, damaged: bool = False) -> None:
        self._tell(SnapshotProgress(self._node, chunk.sender, chunk.term, chunk.index, received, damaged))


def _raise_if_unexpected(error: Exception | None) -> None:
    if error is not None and not isinstance(error, StoreFull | SnapshotDamaged):
        raise DiskFailed(f"a snapshot could not be written: {error}") from error
