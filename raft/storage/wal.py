"""The durable log: a row of segments, of which the last is written to.

Owns when a new segment begins, what is copied into it, and which old ones are removed. Knows nothing of
what is in memory for readers, nor of snapshot files beyond the markers that name them.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from raft.core.types import Entry, HardState, Index
from raft.storage.device import Device
from raft.storage.errors import StoreError, StoreFull
from raft.storage.hard_state import may_wait, step_back
from raft.storage.record import (
    FORMAT,
    Identity,
    Kind,
    Marker,
    SegmentHeader,
    encode_hard_state,
    encode_marker,
    encode_segment_header,
)
from raft.storage.recovery import Recovered, Sealed
from raft.storage.segment import Payloads, Segment

SNAPSHOTS_KEPT = 2


class Log:
    """Appends batches, each durable on return. One caller at a time."""

    def __init__(self, device: Device, directory: Path, identity: Identity, *, segment_bytes: int) -> None:
        self._device = device
        self._directory = directory
        self._identity = identity
        self._segment_bytes = segment_bytes
        self._sealed: deque[Sealed] = deque()
        self._hard_state = HardState()
        self._commit_waits = False
        self._last: Index = 0
        self._markers: list[Marker] = []
        self._segment: Segment
        self._unsealed: Segment | None = None  # The one before it, until it is sealed.

    @classmethod
    def create(cls, device: Device, directory: Path, identity: Identity, *, segment_bytes: int) -> Log:
        """An empty log in a directory that has none."""
        log = cls(device, directory, identity, segment_bytes=segment_bytes)
        log._segment = log._next_segment(1, 0, 0)
        return log

    @classmethod
    def reopen(
        cls, device: Device, directory: Path, identity: Identity, found: Recovered, *, segment_bytes: int
    ) -> Log:
        """Continue where recovery ended; a torn end is cut off now."""
        log = cls(device, directory, identity, segment_bytes=segment_bytes)
        device.sync_directory(directory)  # The rename of the last segment may not have been synced.
        torn = found.torn is not None
        log._segment = Segment.reopen(
            device,
            found.last.path,
            found.last.sequence,
            found.data,
            found.tail,
            torn=torn,
            capacity=segment_bytes,
        )
        log._segment.highest = found.last.highest
        log._sealed.extend(found.sealed)
        if found.unsealed is not None:
            before = found.sealed[-1]
            log._unsealed = Segment.unsealed(device, before.path, before.sequence, found.unsealed)
            with contextlib.suppress(StoreFull):  # Then before the next write.
                log._seal()
        log._last = (found.replay.first or 1) + len(found.replay.entries) - 1
        return log

    def restore(self, hard_state: HardState, usable: Sequence[Marker]) -> None:
        """Take over what log and snapshots together amount to; once, after `reopen`."""
        self._hard_state = hard_state
        self._markers = list(usable[-SNAPSHOTS_KEPT:])
        if usable:
            self._last = max(self._last, usable[-1].index)

    @property
    def markers(self) -> Sequence[Marker]:
        """The snapshots that the log names and reaches back to, oldest first."""
        return self._markers

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return len(self._sealed) + 1

    def append(self, hard_state: HardState | None, entries: Sequence[Entry], marker: Marker | None) -> None:
        """Make all of it durable in one write and one sync, or, after StoreFull, none of it.

        A hard state that moves only the commit index waits for the next batch: nothing relies on it.
        """
        self._check(hard_state, entries, marker)
        alone = hard_state is not None and not entries and marker is None
        if hard_state is not None and alone and may_wait(self._hard_state, hard_state):
            self._hard_state, self._commit_waits = hard_state, True
            return
        self._device.check()
        self._device.crash_point("save.begun")
        state = hard_state or (self._hard_state if self._commit_waits else None)
        if state is not None or entries or marker is not None:
            self._write(_payloads(state, entries, marker))
            self._remember(hard_state, entries, marker)
        self._device.crash_point("save.synced")

    def check_room(self) -> None:
        """Raise StoreFull if a small `append` would now; nothing changes."""
        self._segment.check_room()

    def release(self, index: Index) -> int:
        """Drop the segments that hold nothing above index; returns how many.

        What stays reaches back to every kept snapshot, so that the older one and the log can make up for
        damage to the newer.
        """
        self._device.check()
        self._device.crash_point("compact.begun")
        index = min([index, *(marker.index for marker in self._markers)])
        dropped = 0
        while self._markers and self._sealed and self._sealed[0].highest <= index:
            # One by one, oldest first, each durable: a hole in the row would be taken for a lost segment.
            self._device.remove(self._sealed[0].path)
            self._sealed.popleft()
            dropped += 1
            self._device.crash_point("compact.removed")
        return dropped

    def close(self) -> None:
        """Write a commit index that still waits, if the device allows it, then close the file."""
        if self._commit_waits:
            with contextlib.suppress(StoreError):
                self._write(_payloads(self._hard_state, (), None))
        self._segment.close()
        if self._unsealed is not None:
            self._unsealed.close()

    def _check(self, hard_state: HardState | None, entries: Sequence[Entry], marker: Marker | None) -> None:
        if hard_state is not None:
            reason = step_back(self._hard_state, hard_state)
            assert reason is None, f"a hard state never goes back, but {reason}"
        if marker is not None and not marker.installed:
            assert marker.index <= self._last, (
                f"a snapshot at {marker.index} of a log that ends at {self._last}"
            )
        if entries:
            last = marker.index if marker is not None and marker.installed else self._last
            first = entries[0].index
            assert first <= last + 1, f"entry {first} would leave a hole after entry {last}"
            committed = self._hard_state.commit
            assert first > committed, f"entry {first} would replace one that is committed, up to {committed}"

    def _write(self, payloads: Payloads) -> None:
        batch = self._segment.encode(payloads)
        if batch is None:
            self._seal()  # Never two that are not: only one can have been lost unnoticed, and nothing in it.
            self._roll(room_for=sum(len(payload) + 64 for _, payload in payloads))
            batch = self._segment.encode(payloads)
            assert batch is not None, "a new segment has room for the batch that it was made for"
        if self._unsealed is not None:
            self._seal()
        self._segment.append(batch)

    def _seal(self) -> None:
        """From here on the loss of the last segment would be noticed, so writes in it may be answered."""
        if self._unsealed is not None:
            self._unsealed.seal()
            self._unsealed = None

    def _roll(self, *, room_for: int) -> None:
        full = self._segment
        self._segment = self._next_segment(full.sequence + 1, full.end, room_for)
        self._sealed.append(Sealed(full.path, full.sequence, full.highest))
        self._unsealed = full

    def _next_segment(self, sequence: int, previous_bytes: int, room_for: int) -> Segment:
        """Create a segment that begins with the hard state and the markers of the log so far."""
        header = SegmentHeader(
            FORMAT, self._identity.cluster, self._identity.node, sequence, previous_bytes, self._last
        )
        first = [(Kind.SEGMENT, encode_segment_header(header))]
        if self._hard_state != HardState():
            first.append((Kind.HARD_STATE, encode_hard_state(self._hard_state)))
        first += [(Kind.SNAPSHOT, encode_marker(marker)) for marker in self._markers]
        return Segment.create(
            self._device, self._directory, sequence, first, capacity=self._segment_bytes, room_for=room_for
        )

    def _remember(
        self, hard_state: HardState | None, entries: Sequence[Entry], marker: Marker | None
    ) -> None:
        self._commit_waits = False
        if hard_state is not None:
            self._hard_state = hard_state
        if marker is not None:
            if marker.installed:
                self._markers, self._last = [], marker.index
            kept = [old for old in self._markers if old.index != marker.index]
            self._markers = [*kept, Marker(marker.index, marker.term)][-SNAPSHOTS_KEPT:]
        if entries:
            self._last = entries[-1].index
            # Several appends may come as one batch, some replacing others; no index exceeds this.
            self._segment.highest = max(self._segment.highest, entries[0].index + len(entries) - 1)


def _payloads(state: HardState | None, entries: Sequence[Entry], marker: Marker | None) -> Payloads:
    payloads: list[tuple[Kind, bytes]] = []
    if marker is not None:
        payloads.append((Kind.SNAPSHOT, encode_marker(marker)))
    kind = Kind.ENTRY
    payloads += [(kind, entry.encoded()) for entry in entries]
    if state is not None:
        payloads.append((Kind.HARD_STATE, encode_hard_state(state)))
    return payloads
