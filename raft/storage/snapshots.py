"""Snapshot files: one each, checksummed, under their name either whole or not at all.

Owns the layout and the names of the files. Knows nothing of the log, which decides
which files count.

    32 bytes  magic, format, length of the description, length of the data, checksum of all the rest
    description (index, term, configuration), data

The checksum is that of the snapshot itself (`Snapshot.checksum`): it is computed once, when the snapshot is
taken (`sealed`), and every later copy, in a file, on the wire or in memory, is compared with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from pathlib import Path
from zlib import crc32

import msgspec

from raft.core.types import ConfState, Index, Snapshot, Term
from raft.storage.device import Device
from raft.storage.errors import CorruptLog, NewerFormat, SnapshotDamaged
from raft.storage.files import File, FileSystem
from raft.storage.record import FORMAT, Marker

SNAPSHOT_SUFFIX = ".snap"

_HEADER = struct.Struct("<8sIIQII")
_MAGIC = b"\xf1RSNAP\r\n"
_CHUNK_BYTES = 1 << 18


class _Description(msgspec.Struct, frozen=True, array_like=True):
    index: Index
    term: Term
    conf_state: ConfState


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Description)


def no_rest() -> None:
    """Don't rest."""


def snapshot_name(index: Index) -> str:
    """The file name of the snapshot at index."""
    return f"{index:020d}{SNAPSHOT_SUFFIX}"


def index_of(name: str) -> Index | None:
    """The index of the snapshot that a file is by its name, if any."""
    stem = name.removesuffix(SNAPSHOT_SUFFIX)
    return int(stem) if stem != name and stem.isdecimal() and snapshot_name(int(stem)) == name else None


def encode_head(snapshot: Snapshot, size: int, checksum: int = 0) -> tuple[bytes, bytes]:
    """The header and description before `size` bytes of data; checked with checksum 0."""
    description = _encoder.encode(_Description(snapshot.index, snapshot.term, snapshot.conf_state))
    return _HEADER.pack(_MAGIC, FORMAT, len(description), size, 0, checksum), description


def head_checksum(snapshot: Snapshot, size: int) -> int:
    """The checksum of a snapshot before its `size` bytes of data: continue crc32 from here with the data."""
    lengths, description = encode_head(snapshot, size)
    return crc32(description, crc32(lengths))


def sealed(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with its checksum. Only for one that was just taken, from the state itself."""
    data = snapshot.data
    checksum = crc32(data, head_checksum(snapshot, len(data)))
    return Snapshot(snapshot.index, snapshot.term, snapshot.conf_state, data, checksum)


def is_sound(snapshot: Snapshot) -> bool:
    """Does the snapshot still have the checksum that it was given when it was taken?"""
    return crc32(snapshot.data, head_checksum(snapshot, len(snapshot.data))) == snapshot.checksum


def write_snapshot(
    device: Device, directory: Path, snapshot: Snapshot, rest: Callable[[], None] = no_rest
) -> None:
    """Make the file durable, with a `rest` after each step. After StoreFull there is none.

    Raises SnapshotDamaged, and leaves no file, if the data are not those that were taken.
    """
    assert snapshot.checksum is not None, "a snapshot has the checksum with which it was taken"
    device.check()
    device.crash_point("snapshot.begun")
    data = memoryview(snapshot.data)
    lengths, description = encode_head(snapshot, len(data))

    def fill(file: File) -> None:
        at = len(lengths) + len(description)
        checksum = head_checksum(snapshot, len(data))
        for offset in range(0, len(data), _CHUNK_BYTES):
            chunk = bytes(data[offset : offset + _CHUNK_BYTES])
            device.write(file, at + offset, chunk)
            checksum = crc32(chunk, checksum)
            rest()
        if checksum != snapshot.checksum:
            raise SnapshotDamaged(snapshot.index, "while it was written")
        header, _ = encode_head(snapshot, len(data), checksum)
        device.write(file, 0, header + description)

    device.publish(directory / snapshot_name(snapshot.index), "snapshot", fill).close()


def read_snapshot(files: FileSystem, directory: Path, marker: Marker) -> Snapshot:
    """The snapshot that the log names. Raises CorruptLog when it is damaged or not the one that was meant."""
    path = directory / snapshot_name(marker.index)
    try:
        raw = memoryview(files.read(path))
    except FileNotFoundError:
        raise CorruptLog(path, 0, "the snapshot is missing") from None
    snapshot = parse_snapshot(raw, path)
    if (snapshot.index, snapshot.term) != (marker.index, marker.term):
        raise CorruptLog(path, 0, f"it is not the snapshot of index {marker.index} in term {marker.term}")
    return snapshot


def parse_snapshot(raw: memoryview, path: Path) -> Snapshot:
    """The snapshot whose file has these contents; its data are a part of them. Raises CorruptLog."""
    if len(raw) < _HEADER.size:
        raise CorruptLog(path, 0, "the file is too short for a snapshot")
    magic, written_as, description_bytes, data_bytes, zero, checksum = _HEADER.unpack_from(raw)
    body = raw[_HEADER.size :]
    lengths = _HEADER.pack(magic, written_as, description_bytes, data_bytes, zero, 0)
    if magic != _MAGIC or crc32(body, crc32(lengths)) != checksum:
        raise CorruptLog(path, 0, "the checksum of the snapshot is wrong")
    if written_as > FORMAT:
        raise NewerFormat(
            f"{path} was written in format {written_as} and this version reads up to format {FORMAT}"
        )
    if description_bytes + data_bytes != len(body):
        raise CorruptLog(path, 0, "the length of the snapshot is wrong")
    description = _decoder.decode(body[:description_bytes])
    data = body[description_bytes:]
    return Snapshot(description.index, description.term, description.conf_state, data, checksum)


def purge_snapshots(
    device: Device, directory: Path, keep: Collection[Index], *, up_to: Index | None = None
) -> None:
    """Remove every snapshot, or every one up to an index, but those."""
    for name in device.names(directory):
        index = index_of(name)
        if index is not None and index not in keep and (up_to is None or index <= up_to):
            device.remove(directory / name)
