"""A snapshot on its way to this node: put together from its pieces, in order, each checked.

Owns the receiver's half. What is incomplete is nothing yet: only a whole snapshot is handed on, to be
written and to take effect at once. Knows nothing of what a snapshot holds.
"""

from __future__ import annotations

from zlib import crc32

from raft.core.messages import InstallSnapshot
from raft.core.types import Index, NodeId, Snapshot, Term
from raft.wire import SnapshotPiece, SnapshotProgress

Answer = tuple[SnapshotProgress | None, InstallSnapshot | None]
"""What to tell the sender, and the snapshot if it is whole now."""


class Receiver:
    """Collects one snapshot at a time: that of the latest term, and in that the newest."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self._version: tuple[Term, Index] = (0, 0)
        self._size = 0
        self._data: bytearray | None = None

    def take(self, piece: SnapshotPiece, committed: Index) -> Answer:
        """Add a piece. Whatever comes twice, late or out of order changes nothing."""
        version = (piece.term, piece.index)
        if piece.index <= committed:
            return self._progress(piece, piece.size), None  # It is here already, by this way or another.
        if self._data is None or version > self._version:
            if piece.offset:
                return self._progress(piece, 0), None
            self._version, self._size, self._data = version, piece.size, bytearray()
        data = self._data
        if version < self._version or piece.size != self._size:
            return None, None
        fits = piece.offset == len(data) and len(data) + len(piece.data) <= piece.size
        if fits and crc32(piece.data) == piece.checksum:
            data += piece.data
        progress = self._progress(piece, len(data))
        if len(data) < piece.size:
            return progress, None
        self._data = None
        snapshot = Snapshot(piece.index, piece.snapshot_term, piece.conf_state, data)
        return progress, InstallSnapshot(piece.sender, piece.to, piece.term, snapshot)

    def forget_before(self, term: Term) -> None:
        """Nobody goes on with what the leaders of earlier terms have begun."""
        if self._version[0] < term:
            self._data = None

    def _progress(self, piece: SnapshotPiece, received: int) -> SnapshotProgress:
        return SnapshotProgress(self._node, piece.sender, piece.term, piece.index, received)
