"""One segment of the log: a preallocated file that batches are written to, one after the other.

Owns a segment's name, its blank tail, the seal at its end and the reading of its batches. Knows nothing of
what the batches mean, nor of other segments.

A segment is sealed once the next one is durable. So a log whose last segment is sealed has lost one: without
the seal the loss of the newest segment would look like a log that ends earlier.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from raft.core.types import Index
from raft.storage.batch import HEADER_BYTES, Batch, Damage, encode_batch, read_batch, used_bytes
from raft.storage.device import Device
from raft.storage.errors import StoreFull
from raft.storage.files import File
from raft.storage.record import Kind, encode_seal

SEGMENT_SUFFIX = ".wal"
PROBE_BYTES = 512
SEAL_BYTES = 4 * HEADER_BYTES  # Kept free at the end of each segment: a seal always has room.
BLANK_AHEAD_BYTES = 256 * 1024

Payloads = Sequence[tuple[Kind, bytes]]


def segment_name(sequence: int) -> str:
    """The file name of a segment."""
    return f"{sequence:010d}{SEGMENT_SUFFIX}"


def sequence_of(name: str) -> int | None:
    """The number of the segment that a file is by its name, if any."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    return int(stem) if stem != name and stem.isdecimal() and segment_name(int(stem)) == name else None


def scan(data: bytes, sequence: int, limit: int | None = None) -> Iterator[Batch | Damage]:
    """The batches of a segment; a Damage, if there is any, comes last. Up to limit when that is known."""
    used = used_bytes(data) if limit is None else limit
    offset = 0
    while offset < used:
        found = read_batch(data, offset, used, sequence)
        yield found
        if isinstance(found, Damage):
            return
        offset = found.end


def is_sealed(batch: Batch | Damage) -> bool:
    """Whether this batch says that another segment follows its own."""
    return isinstance(batch, Batch) and any(record.kind == Kind.SEALED for record in batch.records)


class Segment:
    """The last segment, open for writing. All past `end` is blank, or is made so before the next write.

    Blocks that are only reserved become written ones in the file system's journal, which every sync of such
    a write waits for, with a second flush of the disk. So one write in many is followed by blank bytes, and
    those after it are made where something has been written already.
    """

    def __init__(
        self, device: Device, path: Path, file: File, sequence: int, *, end: int, capacity: int
    ) -> None:
        self.path = path
        self.sequence = sequence
        self.end = end
        self.highest: Index = 0  # No entry in the segment has a higher index.
        self._device = device
        self._file = file
        self._capacity = capacity
        self._tail_is_blank = True
        self._written = end  # From here on the file's blocks are only reserved.

    @classmethod
    def create(
        cls, device: Device, directory: Path, sequence: int, first: Payloads, *, capacity: int, room_for: int
    ) -> Segment:
        """A new segment that is durable with its first batch and has room for one of room_for bytes."""
        path = directory / segment_name(sequence)
        batch = encode_batch(first, sequence, 0)
        capacity = max(capacity, len(batch) + room_for + SEAL_BYTES)

        def fill(file: File) -> None:
            device.allocate(file, capacity)
            device.write(file, 0, batch)

        file = device.publish(path, "segment", fill)
        return cls(device, path, file, sequence, end=len(batch), capacity=capacity)

    @classmethod
    def reopen(
        cls, device: Device, path: Path, sequence: int, data: bytes, last: Batch, *, torn: bool, capacity: int
    ) -> Segment:
        """The last segment of a log as recovery found it, its torn end cut off and all before it durable.

        The last batch is written once more: an earlier process may have died before its sync, or on
        a sync that failed, and after that the page cache shows data that the disk doesn't have.
        """
        file = device.files.open(path)
        segment = cls(device, path, file, sequence, end=last.end, capacity=max(capacity, len(data)))
        if torn or len(data) < segment._capacity:
            with contextlib.suppress(
                StoreFull
            ):  # A full device can still be read; the next write reports it.
                segment._blank_tail()
        device.write(file, last.start, data[last.start : last.end])
        device.sync(file)
        return segment

    @classmethod
    def unsealed(cls, device: Device, path: Path, sequence: int, end: int) -> Segment:
        """A segment that is no longer the last, and is still to be sealed at `end`."""
        return cls(device, path, device.files.open(path), sequence, end=end, capacity=end + SEAL_BYTES)

    def encode(self, payloads: Payloads) -> bytes | None:
        """The bytes of the next batch, or None when the segment has no room for it."""
        batch = encode_batch(payloads, self.sequence, self.end)
        return batch if self.end + len(batch) <= self._capacity - SEAL_BYTES else None

    def append(self, batch: bytes) -> None:
        """Write what `encode` returned: one write, one sync, durable. After StoreFull nothing happened."""
        if not self._tail_is_blank:
            self._blank_tail()
        end, written = self.end + len(batch), self._written
        if end > written:
            written = min(end + BLANK_AHEAD_BYTES, self._capacity)
            batch += bytes(written - end)
        try:
            self._device.write(self._file, self.end, batch)
        except StoreFull:
            with contextlib.suppress(StoreFull):
                self._blank_tail()
            raise
        self._device.crash_point("save.written")
        self._device.sync(self._file)
        self.end, self._written = end, written

    def seal(self) -> None:
        """Record durably that the next segment exists, and close the file. After StoreFull try again.

        The seal is not part of the contents: the next segment records where they end.
        """
        batch = encode_batch([(Kind.SEALED, encode_seal(self.sequence + 1))], self.sequence, self.end)
        self._device.write(self._file, self.end, batch)
        self._device.sync(self._file)
        self._file.close()

    def check_room(self) -> None:
        """Raise StoreFull if `append` would now: blank bytes are written where blank bytes are.

        Near the end of a segment, this doesn't check the room for the next one.
        """
        if not self._tail_is_blank:
            self._blank_tail()
        room_bytes = min(PROBE_BYTES, self._capacity - self.end)
        self._device.write(self._file, self.end, bytes(room_bytes))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _blank_tail(self) -> None:
        """Zeros from `end` on, durably: what is left there must not look like part of a later write."""
        self._tail_is_blank = False
        self._device.truncate(self._file, self.end)
        self._device.allocate(self._file, self._capacity)
        self._device.sync(self._file)
        self._tail_is_blank = True
        self._written = self.end
