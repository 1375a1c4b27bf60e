"""The log in memory, the way the core reads it.

Owns the entries after the last compaction, the newest snapshot and the hard state. Nothing here is
durable; `store` keeps the same values on disk and serves reads from here.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft.core.errors import Compacted, SnapshotOutOfDate, Unavailable
from raft.core.types import ConfState, Entry, HardState, Index, Snapshot, Term, entries_size, limit_size


class MemoryStorage:
    """An implementation of the core's `Storage` that forgets all when the process ends.

    Entries at or below the compaction point are gone; of the entry at that point the term is kept,
    so that the entry after it can still be matched. Not thread-safe.
    """

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._snapshot = Snapshot()
        self._compacted_index: Index = 0
        self._compacted_term: Term = 0
        self._entries: list[Entry] = []
        self.size_bytes = 0
        """The total size of the entries."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return the hard state, and the configuration of the newest snapshot."""
        return self._hard_state, self._snapshot.conf_state

    def first_index(self) -> Index:
        """Return the first index after the compaction point, whether or not there is an entry yet."""
        return self._compacted_index + 1

    def last_index(self) -> Index:
        """Return the index of the last entry, or the compaction point if there is none."""
        return self._compacted_index + len(self._entries)

    def term(self, index: Index) -> Term:
        """Return the term at `index`. Raises Compacted before the compacted one, Unavailable past the end."""
        position = index - self._compacted_index
        if position == 0:
            return self._compacted_term
        if position < 0:
            raise Compacted
        if position > len(self._entries):
            raise Unavailable
        return self._entries[position - 1].term

    def entries(self, lo: Index, hi: Index, max_bytes: int) -> list[Entry]:
        """Return the entries lo to hi-1, cut to the prefix within `max_bytes` (at least one).

        Raises Compacted if `lo` is gone, Unavailable if `hi - 1` is not there yet.
        """
        base = self._compacted_index + 1
        if lo < base:
            raise Compacted
        if hi > base + len(self._entries):
            raise Unavailable
        return limit_size(self._entries[lo - base : hi - base], max_bytes)

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot; its index is 0 if there never was one."""
        return self._snapshot

    def set_hard_state(self, hard_state: HardState) -> None:
        """Replace term, vote and commit."""
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; whatever was stored from the first one's index on is replaced.

        Entries at or below the compaction point are skipped. Raises Unavailable, and changes nothing,
        if the log would get a gap.
        """
        if not entries:
            return
        position = entries[0].index - self._compacted_index - 1
        if position == len(self._entries):
            self._entries += entries
            self.size_bytes += entries_size(entries)
            return
        if entries[-1].index <= self._compacted_index:
            return
        if position > len(self._entries):
            raise Unavailable
        replaced, added = self._entries[max(position, 0) :], entries[max(-position, 0) :]
        self._entries[max(position, 0) :] = added
        self.size_bytes += entries_size(added) - entries_size(replaced)

    def apply_snapshot(self, snapshot: Snapshot) -> list[Entry]:
        """Replace the log by a snapshot, without entries after it; returns the removed entries.

        Raises SnapshotOutOfDate if it is not newer.
        """
        self._replace_snapshot(snapshot)
        self._compacted_index, self._compacted_term = snapshot.index, snapshot.term
        gone, self._entries = self._entries, []
        self.size_bytes = 0
        return gone

    def create_snapshot(
        self,
        index: Index,
        conf_state: ConfState | None,
        data: bytes | bytearray | memoryview,
        checksum: int | None = None,
    ) -> Snapshot:
        """Keep a snapshot of what was applied up to `index`; the log stays as it is.

        None means the configuration of the snapshot before. Raises SnapshotOutOfDate, Compacted, Unavailable.
        """
        kept = self._snapshot.conf_state if conf_state is None else conf_state
        self._replace_snapshot(Snapshot(index, self.term(index), kept, data, checksum))
        return self._snapshot

    def repair_snapshot(self, snapshot: Snapshot) -> None:
        """Put a sound snapshot in the place of the newest one, which has the same index and is damaged."""
        newest = self._snapshot
        assert (snapshot.index, snapshot.term) == (newest.index, newest.term), (
            f"a snapshot at {snapshot.index} is no repair of the one at {newest.index}"
        )
        self._snapshot = snapshot

    def compact(self, index: Index) -> None:
        """Drop the entries up to `index`. Raises Compacted if they are gone, Unavailable past the end."""
        if index <= self._compacted_index:
            raise Compacted
        term = self.term(index)
        count = index - self._compacted_index
        self.size_bytes -= entries_size(self._entries[:count])
        del self._entries[:count]
        self._compacted_index, self._compacted_term = index, term

    def _replace_snapshot(self, snapshot: Snapshot) -> None:
        if snapshot.index <= self._snapshot.index:
            raise SnapshotOutOfDate
        self._snapshot = snapshot
