"""The records of a log as lines to read, also of a log that the store refuses to open.

Owns the description of each record and of each damage. Takes no lock and changes nothing. Knows
nothing of how the lines are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from raft.core.types import Entry, decode_entry
from raft.storage.batch import Damage, Record, find_batch, read_batch, used_bytes
from raft.storage.files import FileSystem, RealFiles
from raft.storage.record import Kind, decode_hard_state, decode_marker
from raft.storage.segment import segment_name, sequence_of

VALUE_BYTES_SHOWN = 48


class DumpedRecord(msgspec.Struct, frozen=True):
    """One record, or one damaged stretch, of a log."""

    segment: str
    offset: int
    kind: str  # segment, hard-state, entry, snapshot; torn or damaged where reading failed; missing
    index: int | None
    term: int | None
    text: str


def dump(directory: Path, files: FileSystem | None = None) -> Iterator[DumpedRecord]:
    """Every record of the log in a directory, oldest first; after damage it goes on at the next valid write.

    A log that is in use can be read too; its newest write may then look torn.
    """
    files = files or RealFiles()
    sequences = [sequence for name in files.names(directory) if (sequence := sequence_of(name)) is not None]
    expected = sequences[0] if sequences else 0
    for sequence in sequences:
        if sequence != expected:
            yield DumpedRecord(
                segment_name(expected), 0, "missing", None, None, f"up to segment {sequence - 1}"
            )
        yield from _dump_segment(
            segment_name(sequence), files.read(directory / segment_name(sequence)), sequence
        )
        expected = sequence + 1


def _dump_segment(name: str, data: bytes, sequence: int) -> Iterator[DumpedRecord]:
    offset: int | None = 0
    used = used_bytes(data)
    while offset is not None and offset < used:
        found = read_batch(data, offset, used, sequence)
        if isinstance(found, Damage):
            kind = "torn" if found.torn else "damaged"
            offset = find_batch(data, found.offset + 1, sequence)
            until = f"up to byte {used}" if offset is None else f"up to the write at byte {offset}"
            yield DumpedRecord(name, found.offset, kind, None, None, f"{found.reason}; {until}")
        else:
            for record in found.records:
                yield _describe(name, record)
            offset = found.end


def _describe(segment: str, record: Record) -> DumpedRecord:
    offset, kind, payload = record.offset, record.kind, record.payload
    try:
        if kind == Kind.ENTRY:
            entry = decode_entry(payload)
            return DumpedRecord(segment, offset, "entry", entry.index, entry.term, _entry_text(entry))
        if kind == Kind.HARD_STATE:
            state = decode_hard_state(payload)
            return DumpedRecord(
                segment, offset, "hard-state", None, state.term, f"vote {state.vote}, commit {state.commit}"
            )
        if kind == Kind.SNAPSHOT:
            marker = decode_marker(payload)
            text = "installed, replaces the log before it" if marker.installed else "taken here"
            return DumpedRecord(segment, offset, "snapshot", marker.index, marker.term, text)
        if kind == Kind.SEALED:
            following = segment_name(msgspec.msgpack.decode(payload, type=int))
            return DumpedRecord(segment, offset, "sealed", None, None, f"{following} is there")
        header = msgspec.msgpack.decode(payload)
    except msgspec.MsgspecError as error:
        return DumpedRecord(
            segment, offset, "damaged", None, None, f"a record of kind {kind} that can't be read: {error}"
        )
    return DumpedRecord(segment, offset, "segment", None, None, _map_text(header))


def _entry_text(entry: Entry) -> str:
    data = entry.data or b""
    shown = repr(data[:VALUE_BYTES_SHOWN])[2:-1]
    more = f"... ({len(data)} bytes)" if len(data) > VALUE_BYTES_SHOWN else ""
    return f"{entry.kind.name.lower()} {shown}{more}".rstrip()


def _map_text(header: object) -> str:
    return (
        ", ".join(f"{key} {value}" for key, value in header.items())
        if isinstance(header, dict)
        else repr(header)
    )
