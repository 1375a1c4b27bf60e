"""Replay of records: the log, the hard state and the snapshots that they name.

Owns the meaning of record order. Knows nothing of segments, checksums or files.

An entry whose index is already taken replaces that entry and everything after it, as in etcd's WAL, so
cutting off a conflicting suffix costs no write of its own. That is safe because one batch is durable as a
whole or not at all, because Raft only ever replaces entries that are not committed, and because the
replacement, not the cut, is what a follower acknowledges: a crash before the batch is durable leaves
the old suffix, one after it the new suffix, and each is a log that this node was entitled to have.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from raft.core.types import Entry, HardState, Index, decode_entry
from raft.storage.batch import Record
from raft.storage.hard_state import step_back
from raft.storage.record import Kind, Marker, decode_hard_state, decode_marker

_ENTRY = int(Kind.ENTRY)  # Compared for each record, and a number is compared faster than a member.


class Contradiction(Exception):
    """Valid records that can't follow each other: something between them is missing."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


class Replay:
    """Record after record, the state that they leave.

    `first` is the index of entries[0], or where the next entry has to go when there is none; None while any
    index may come, because the segments before were dropped. Entries at or below a snapshot may remain.
    """

    def __init__(self, *, complete: bool) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []
        self.first: Index | None = 1 if complete else None
        self.markers: list[Marker] = []
        self._floor: Index = 0  # Where an installed snapshot put the log: nothing before it is ours.

    def apply(self, records: Iterable[Record]) -> Index:
        """Take in a batch; returns the highest index in it. After Contradiction the state is of no use."""
        highest = 0
        entries = self.entries
        add = entries.append
        following = self._following
        for record in records:
            try:
                if record.kind == _ENTRY:
                    entry = decode_entry(record.payload)
                    index = entry.index
                    if index != following:
                        self._make_way_for(index, record.offset)
                    add(entry)
                    following = index + 1
                    if index > highest:
                        highest = index
                else:
                    self._state(record)
                    following = self._following
            except msgspec.MsgspecError as error:
                raise Contradiction(record.offset, f"a record that can't be read: {error}") from error
        return highest

    @property
    def _following(self) -> Index | None:
        """The index of the entry that can be appended as it is; None if any may come."""
        return None if self.first is None else self.first + len(self.entries)

    def _state(self, record: Record) -> None:
        kind, offset = record.kind, record.offset
        if kind == Kind.HARD_STATE:
            self._hard_state(decode_hard_state(record.payload), offset)
        elif kind == Kind.SNAPSHOT:
            self._marker(decode_marker(record.payload))
        elif kind not in (Kind.SEGMENT, Kind.SEALED):
            raise Contradiction(offset, f"an unknown kind of record, {kind}")

    def _make_way_for(self, index: Index, offset: int) -> None:
        """After this an entry of that index can be appended; a hole before it is refused."""
        if self.first is None or (index < self.first and not self._floor):
            self.entries.clear()  # What it continues was dropped with an older segment.
            self.first = index
            return
        last = self.first + len(self.entries) - 1
        if index > last + 1:
            raise Contradiction(offset, f"entry {index} follows entry {last}")
        if index < self.first:
            raise Contradiction(
                offset, f"entry {index} lies under the snapshot that was installed at {self._floor}"
            )
        del self.entries[index - self.first :]

    def _hard_state(self, state: HardState, offset: int) -> None:
        reason = step_back(self.hard_state, state)
        if reason is not None:
            raise Contradiction(offset, reason)
        self.hard_state = state

    def _marker(self, marker: Marker) -> None:
        if marker.installed:
            self.markers.clear()  # The log no longer reaches back to them.
            self.entries.clear()
            self._floor = marker.index
            self.first = marker.index + 1
        if all(known.index != marker.index for known in self.markers):
            self.markers.append(Marker(marker.index, marker.term))
