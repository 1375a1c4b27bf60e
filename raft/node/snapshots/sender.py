"""The sending side of snapshot transfers: in chunks, so that other messages don't have to wait.

Owns the sender's half, one transfer for each peer, and its end: the core always gets the result. A transfer
survives a broken connection, and continues from what the peer has acknowledged. The data are compared with
the snapshot's checksum while they are read: a damaged one is never sent completely. Knows nothing of what
a snapshot holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from zlib import crc32

from raft.core.messages import InstallSnapshot
from raft.core.progress import ProgressState
from raft.core.raft import Raft
from raft.core.types import Index, NodeId, Role, Snapshot
from raft.node.reporter import Journal
from raft.protocol.registry import SnapshotChunk, SnapshotProgress, address_of
from raft.storage.snapshots import head_checksum

if TYPE_CHECKING:
    from actors.context import Context

CHUNK_BYTES = 256 * 1024
# Heartbeats queue behind the chunks in flight. So there are few, and more only where they arrive quickly.
CHUNKS_IN_FLIGHT_MIN = 2
CHUNKS_IN_FLIGHT_MAX = 16
QUICK_PART = 1 / 20  # Of the shortest election timeout: from sending a chunk until it is acknowledged.


class Transfer:
    """The transfer of one snapshot to one peer; not replaced by a newer snapshot."""

    def __init__(self, message: InstallSnapshot, now: float) -> None:
        assert message.snapshot.checksum is not None, "a snapshot has the checksum with which it was taken"
        self.message = message
        self._checksum_sent = message.snapshot.checksum
        self._checksum_read = head_checksum(message.snapshot, len(message.snapshot.data))
        self._read = 0  # The number of bytes in `_checksum_read`.
        self.received = 0  # As acknowledged by the peer.
        self.sent = 0
        self.checked = 0
        self.moved_at = now
        self.in_flight_max = CHUNKS_IN_FLIGHT_MIN
        self._in_flight: deque[tuple[int, float]] = deque()  # Where each chunk ends, and when it was sent.

    @property
    def size(self) -> int:
        """The total number of bytes to send."""
        return len(self.message.snapshot.data)

    @property
    def may_send(self) -> bool:
        """Whether another chunk may leave before the peer acknowledges one."""
        return self.sent < min(self.received + self.in_flight_max * CHUNK_BYTES, self.size)

    def left(self, now: float) -> None:
        """Another chunk is in flight."""
        self._in_flight.append((self.sent, now))

    def acknowledged(self, received: int, now: float, quick_seconds: float) -> None:
        """The peer has written so much: if that was quick, more may be in flight."""
        self.received, self.moved_at = received, now
        self.sent = max(self.sent, received)
        took_seconds = None
        while self._in_flight and self._in_flight[0][0] <= received:
            took_seconds = now - self._in_flight.popleft()[1]
        if took_seconds is not None and took_seconds <= quick_seconds:
            self.in_flight_max = min(self.in_flight_max + 1, CHUNKS_IN_FLIGHT_MAX)
        else:
            self.in_flight_max = max(self.in_flight_max // 2, CHUNKS_IN_FLIGHT_MIN)

    def go_back(self, received: int) -> None:
        """Send again from there: what is in flight is lost."""
        self.received = self.sent = received
        self.in_flight_max = CHUNKS_IN_FLIGHT_MIN
        self._in_flight.clear()

    def chunk(self) -> SnapshotChunk | None:
        """The next chunk; None in place of the last one if the checksum is wrong."""
        message, snapshot, offset = self.message, self.message.snapshot, self.sent
        data = bytes(memoryview(snapshot.data)[offset : offset + CHUNK_BYTES])
        if offset == self._read:  # Not read before.
            self._checksum_read = crc32(data, self._checksum_read)
            self._read += len(data)
        if self._read == self.size and self._checksum_read != snapshot.checksum:
            return None
        self.sent += len(data)
        return SnapshotChunk(
            message.sender, message.to, message.term, snapshot.index, snapshot.term, snapshot.conf_state,
            offset, self.size, crc32(data), data, self._checksum_sent,
        )  # fmt: skip


class Transfers:
    """All transfers of this leader. Without progress for `resend_seconds` they repeat, and finally give up.

    `damaged` is called with a snapshot whose data have changed since it was taken.
    """

    def __init__(
        self,
        raft: Raft,
        context: Context,
        journal: Journal,
        *,
        resend_seconds: float,
        give_up_seconds: float,
        damaged: Callable[[Snapshot], None],
    ) -> None:
        self._raft = raft
        self._damaged = damaged
        self._context = context
        self._resend_seconds = resend_seconds
        self._give_up_seconds = give_up_seconds
        self._journal = journal
        self.in_progress: dict[NodeId, Transfer] = {}

    @property
    def oldest(self) -> Index | None:
        """The index of the oldest snapshot in transfer: the log after it will be needed."""
        return min((each.message.snapshot.index for each in self.in_progress.values()), default=None)

    def begin(self, message: InstallSnapshot) -> None:
        """Send a snapshot; it replaces an earlier transfer to the same peer."""
        transfer = self.in_progress[message.to] = Transfer(message, self._context.now())
        if self._tell(transfer):
            self._check_later(message.to, transfer)

    def progress(self, report: SnapshotProgress) -> None:
        """The peer acknowledges what it has written."""
        transfer = self.in_progress.get(report.sender)
        if transfer is None or not self._is_wanted(transfer):
            return
        if (report.term, report.index) != (transfer.message.term, transfer.message.snapshot.index):
            return  # Of an earlier transfer.
        if report.damaged:  # The core begins another transfer, from the first byte.
            self._end(report.sender, ok=False)
        elif report.received >= transfer.size:
            self._end(report.sender, ok=True)
        elif report.received > transfer.received:
            quick_seconds = QUICK_PART * self._resend_seconds
            transfer.acknowledged(report.received, self._context.now(), quick_seconds)
            self._fill(transfer)
        elif report.received == 0 < transfer.received:
            transfer.go_back(0)  # The peer has restarted.
            self._fill(transfer)

    def reconnected(self, peer: NodeId) -> None:
        """A peer is reachable again: chunks in flight are lost."""
        transfer = self.in_progress.get(peer)
        if transfer is not None:
            self._send_again(transfer)

    def _fill(self, transfer: Transfer) -> None:
        while transfer.may_send and self._tell(transfer):
            pass

    def _tell(self, transfer: Transfer) -> bool:
        """Send the next chunk; False if the snapshot turned out to be damaged."""
        peer, chunk = transfer.message.to, transfer.chunk()
        if chunk is None:
            self._end(peer, ok=False)
            self._damaged(transfer.message.snapshot)
            return False
        self._context.tell(address_of(peer), chunk)
        transfer.left(self._context.now())
        return True

    def _send_again(self, transfer: Transfer) -> None:
        transfer.go_back(transfer.received)
        self._tell(transfer)  # One chunk is enough to get the peer's acknowledgement.

    def _check_later(self, peer: NodeId, transfer: Transfer) -> None:
        self._context.after(self._resend_seconds, partial(self._check, peer, transfer))

    def _check(self, peer: NodeId, transfer: Transfer) -> None:
        if self.in_progress.get(peer) is not transfer:
            return
        waited_seconds = self._context.now() - transfer.moved_at
        if not self._is_wanted(transfer) or waited_seconds > self._give_up_seconds:
            self._end(peer, ok=False)
            return
        if transfer.received == transfer.checked:
            self._send_again(transfer)
        transfer.checked = transfer.received
        self._check_later(peer, transfer)

    def _is_wanted(self, transfer: Transfer) -> bool:
        raft, message = self._raft, transfer.message
        progress = raft.tracker.progress.get(message.to)
        return (
            raft.role is Role.LEADER
            and raft.term == message.term
            and progress is not None
            and progress.state is ProgressState.SNAPSHOT
            and progress.pending_snapshot == message.snapshot.index
        )

    def _end(self, peer: NodeId, *, ok: bool) -> None:
        transfer = self.in_progress.pop(peer)
        if self._is_wanted(transfer):
            self._raft.report_snapshot(peer, ok)
        index, size = transfer.message.snapshot.index, transfer.size
        if ok:
            self._journal.event(
                "snapshot-sent", f"sent the snapshot at {index} to n{peer}", to=peer, bytes=size
            )
        else:
            text = f"gave up on the snapshot at {index} for n{peer}, {transfer.received} of {size} bytes sent"
            self._journal.event("snapshot-abandoned", text, to=peer, index=index)
