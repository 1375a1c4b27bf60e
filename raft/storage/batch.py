"""The bytes of one write: a header, checksummed records, an end mark.

Owns the layout of a batch, and the rules that tell a torn write from corruption. Knows nothing of what a
record's payload means, nor of files.

    header   16 bytes  magic, body length, blank sectors, checksum (of these, the segment and the offset)
    body     records   length << 3 | kind, checksum (of that and of the payload), payload
             0xA5      the end mark, so that a whole batch never ends in zero
    padding            zeros up to a multiple of 16

A batch is one write followed by one sync, and the next one is written only after that sync. So a batch
counts as a whole or not at all, and only the last batch of a log can be torn. Past the last batch a
segment is always blank: preallocated, or cut back and preallocated anew. From these two facts a tear
is told from a flipped bit:

- A power cut leaves each sector of the last batch either as written or blank, so a torn batch shows
  blank sectors where it had none (the header says how many were written blank), or ends in zero, or
  the file ends too early.
- Anything else that is wrong, and anything wrong before other data, was durable once: corruption.

Headers are aligned to their own size and so never straddle a sector: a header is whole or it is blank.
Judging a bad record by its blank sectors is etcd's idea (wal/decoder.go).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

from raft.storage.record import Kind

HEADER_BYTES = 16
SECTOR_BYTES = 512
RECORD_BYTES_MAX = (1 << 29) - 1

_HEADER = struct.Struct("<4sIII")
_SIGNED = struct.Struct("<4sIIQQ")  # What the header's checksum covers.
_RECORD = struct.Struct("<II")
_MAGIC = b"\xf1RB\x01"
_END_MARK = b"\xa5"
# Seeds a record's checksum with its first word, spread out so that no flip in the payload undoes one there.
# The 1 makes a checksum of zero wrong for a word of zero: blank bytes are no record.
_SPREAD = 0x9E3779B1
_BLANK_SECTOR = bytes(SECTOR_BYTES)
_BLANK_PAGE = bytes(64 * 1024)


class Record(Struct, frozen=True, gc=False):
    """One record as it lies in a segment; the offset is that of its own header."""

    offset: int
    kind: int
    payload: bytes


class Batch(NamedTuple):
    """A whole, valid batch: the next one starts at `end`."""

    start: int
    end: int
    records: list[Record]


class Damage(NamedTuple):
    """Where reading stopped. `torn` means an unfinished last write, which was never acknowledged."""

    offset: int
    torn: bool
    reason: str


def encode_batch(payloads: Sequence[tuple[Kind, bytes]], sequence: int, offset: int) -> bytes:
    """The bytes to write at offset of segment `sequence`."""
    parts = [b""]
    add = parts.append
    for kind, payload in payloads:
        word = len(payload) << 3 | kind
        add(_RECORD.pack(word, crc32(payload, word * _SPREAD + 1)))
        add(payload)
    add(_END_MARK)
    length = sum(map(len, parts))
    assert length <= RECORD_BYTES_MAX, f"a batch of {length} bytes; at most {RECORD_BYTES_MAX} can be written"
    parts[0] = _header(length, 0, sequence, offset)
    add(bytes(-length % HEADER_BYTES))
    batch = b"".join(parts)
    if _BLANK_SECTOR in batch:  # Rare: only user data can hold such a long run of zeros.
        blank = blank_sectors(batch, 0, HEADER_BYTES + length, offset)
        batch = _header(length, blank, sequence, offset) + batch[HEADER_BYTES:]
    return batch


def read_batch(data: bytes, offset: int, used: int, sequence: int) -> Batch | Damage:
    """The batch at offset of a segment's data, whose last byte that is not zero precedes `used`."""
    header = _read_header(data, offset, sequence)
    if header is None:
        return _judge_header(data, offset, used, sequence)
    length, blank = header
    end = offset + HEADER_BYTES + length
    records = _read_records(data, offset + HEADER_BYTES, end)
    if isinstance(records, list):
        return Batch(offset, end + -end % HEADER_BYTES, records)
    if used > end:
        return Damage(records, False, "a bad record, with later writes behind it")
    if end > len(data):
        return Damage(offset, True, "the file ends within the last write")
    if data[end - 1] == 0 or blank_sectors(data, offset, end) > blank:
        return Damage(offset, True, "the last write is incomplete")
    return Damage(records, False, "a bad record in the last write, all of which had reached the disk")


def find_batch(data: bytes, offset: int, sequence: int) -> int | None:
    """Where the next valid batch header lies, at or after offset."""
    while (offset := data.find(_MAGIC, offset)) >= 0:
        if offset % HEADER_BYTES == 0 and _read_header(data, offset, sequence) is not None:
            return offset
        offset += 1
    return None


def used_bytes(data: bytes) -> int:
    """The length of data without the zeros at its end."""
    end = len(data)
    while end >= len(_BLANK_PAGE) and data[end - len(_BLANK_PAGE) : end] == _BLANK_PAGE:
        end -= len(_BLANK_PAGE)
    start = max(0, end - len(_BLANK_PAGE))
    return start + len(data[start:end].rstrip(b"\0"))


def blank_sectors(data: bytes, start: int, end: int, base: int = 0) -> int:
    """How many sectors of data[start:end] are all zero; the first and the last may be parts of sectors."""
    blank = 0
    while start < end:
        stop = min(end, start + SECTOR_BYTES - (base + start) % SECTOR_BYTES)
        blank += data.count(0, start, stop) == stop - start
        start = stop
    return blank


def _header(length: int, blank: int, sequence: int, offset: int) -> bytes:
    # The segment and the offset are signed too: a block in the wrong place fails its check.
    checksum = crc32(_SIGNED.pack(_MAGIC, length, blank, sequence, offset))
    return _HEADER.pack(_MAGIC, length, blank, checksum)


def _read_header(data: bytes, offset: int, sequence: int) -> tuple[int, int] | None:
    """Body length and blank sectors, or None unless the header is valid."""
    if offset + HEADER_BYTES > len(data):
        return None
    magic, length, blank, checksum = _HEADER.unpack_from(data, offset)
    if magic != _MAGIC or checksum != crc32(_SIGNED.pack(magic, length, blank, sequence, offset)):
        return None
    return length, blank


def _read_records(data: bytes, offset: int, end: int) -> list[Record] | int:
    """The records of a body, or the offset of the first bad one."""
    if end > len(data) or data[end - 1] != _END_MARK[0]:
        return offset
    records: list[Record] = []
    add, unpack, size = records.append, _RECORD.unpack_from, _RECORD.size
    last = end - len(_END_MARK)
    while offset < last:
        start = offset + size
        if start > last:
            return offset
        word, checksum = unpack(data, offset)
        stop = start + (word >> 3)
        payload = data[start:stop]
        if stop > last or crc32(payload, word * _SPREAD + 1) != checksum:
            return offset
        add(Record(offset, word & 7, payload))
        offset = stop
    return records


def _judge_header(data: bytes, offset: int, used: int, sequence: int) -> Damage:
    if find_batch(data, offset, sequence) is not None:
        return Damage(offset, False, "a bad write, with later writes behind it")
    if len(data) < offset + HEADER_BYTES:
        return Damage(offset, True, "the file ends within the last write")
    if used <= offset + HEADER_BYTES:
        return Damage(offset, True, "the last write stopped within its first bytes")
    sector_end = min(len(data), offset + SECTOR_BYTES - offset % SECTOR_BYTES)
    if blank_sectors(data, offset, sector_end):
        return Damage(offset, True, "the last write is incomplete: its beginning is missing")
    return Damage(offset, False, "a bad header of a write that had reached the disk")
