"""Recovery of a log from its directory: reads every segment in order, and finds where writing continues.

Owns the rules for a whole log: segments without a hole between them, each used as far as the next one says,
the last one not sealed, damage allowed only as the torn end of the last one. Changes nothing on disk. Knows
nothing of snapshot files.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from raft.core.types import Index
from raft.storage.batch import Batch, Damage, read_batch, used_bytes
from raft.storage.errors import CorruptLog, ForeignDirectory, NewerFormat
from raft.storage.files import FileSystem
from raft.storage.record import FORMAT, Identity, Kind, SegmentHeader, decode_segment_header, format_of
from raft.storage.replay import Contradiction, Replay
from raft.storage.segment import is_sealed, scan, segment_name, sequence_of


class Sealed(NamedTuple):
    """A segment that is no longer written to."""

    path: Path
    sequence: int
    highest: Index  # no entry in it has a higher index


class Recovered(NamedTuple):
    """A log as it was found. `last`, the segment that writing continues in, ends with the batch `tail`.

    `unsealed` is the end of the segment before it, if a crash came before that was sealed. `before` is where
    the log ended when its oldest segment began.
    """

    replay: Replay
    sealed: list[Sealed]
    last: Sealed
    data: bytes
    tail: Batch
    torn: Damage | None
    unsealed: int | None
    before: Index

    @property
    def used(self) -> int:
        """Where the last segment is blank from on."""
        return used_bytes(self.data)


def sequences_in(directory: Path, files: FileSystem) -> list[int]:
    """The numbers of a directory's segments, ascending. Raises CorruptLog when there is a hole."""
    found = sorted(sequence for name in files.names(directory) if (sequence := sequence_of(name)) is not None)
    for before, after in pairwise(found):
        if after != before + 1:
            raise CorruptLog(directory / segment_name(before + 1), 0, "the segment is missing")
    return found


def header_of(data: bytes, path: Path, sequence: int) -> SegmentHeader:
    """The header of a segment. Raises CorruptLog or NewerFormat."""
    batch = read_batch(data, 0, len(data), sequence)
    if isinstance(batch, Damage) or not batch.records or batch.records[0].kind != Kind.SEGMENT:
        # A segment gets its name only after this was durable, so no crash leaves it like that.
        raise CorruptLog(path, 0, "its header can't be read")
    payload = batch.records[0].payload
    try:
        written_as = format_of(payload)
        if written_as <= FORMAT:
            return decode_segment_header(payload)
    except (msgspec.MsgspecError, KeyError) as error:
        raise CorruptLog(path, 0, f"its header makes no sense: {error}") from error
    raise NewerFormat(
        f"{path} was written in format {written_as} and this version reads up to format {FORMAT}: "
        f"run the newer version here, or give this node another data directory"
    )


def recover(directory: Path, sequences: list[int], identity: Identity, files: FileSystem) -> Recovered:
    """Read the log. Raises CorruptLog, ForeignDirectory or NewerFormat."""
    replay = Replay(complete=sequences[0] == 1)
    sealed: list[Sealed] = []
    unsealed: int | None = None
    following = _load(directory, sequences[0], identity, files)
    before = following[1].previous_last
    for sequence in sequences[:-1]:
        data, _ = following
        following = _load(directory, sequence + 1, identity, files)
        used = following[1].previous_bytes
        segment, tail, damage = _replay_segment(replay, directory, sequence, data, used)
        if damage is not None or tail.end != used:
            offset = tail.end if damage is None else damage.offset
            raise CorruptLog(
                segment.path, offset, damage.reason if damage else "writes are missing at its end"
            )
        sealed.append(segment)
        unsealed = None if is_sealed(read_batch(data, used, len(data), sequence)) else used
    data, _ = following
    segment, tail, damage = _replay_segment(replay, directory, sequences[-1], data, None)
    if damage is not None and not damage.torn:
        raise CorruptLog(segment.path, damage.offset, damage.reason)
    if is_sealed(tail):
        missing = directory / segment_name(sequences[-1] + 1)
        raise CorruptLog(missing, 0, f"the segment is missing: {segment.path.name} says that it is there")
    return Recovered(replay, sealed, segment, data, tail, damage, unsealed, before)


def _load(
    directory: Path, sequence: int, identity: Identity, files: FileSystem
) -> tuple[bytes, SegmentHeader]:
    path = directory / segment_name(sequence)
    data = files.read(path)
    header = header_of(data, path, sequence)
    if header.identity != identity:
        raise ForeignDirectory(
            f"{directory} belongs to {header.identity}, not to {identity}: give this node its own directory"
        )
    return data, header


def _replay_segment(
    replay: Replay, directory: Path, sequence: int, data: bytes, limit: int | None
) -> tuple[Sealed, Batch, Damage | None]:
    path = directory / segment_name(sequence)
    highest = 0
    tail = Batch(0, 0, [])
    for found in scan(data, sequence, limit):
        if isinstance(found, Damage):
            return Sealed(path, sequence, highest), tail, found
        try:
            highest = max(highest, replay.apply(found.records))
        except Contradiction as contradiction:
            raise CorruptLog(path, contradiction.offset, contradiction.reason) from contradiction
        tail = found
    return Sealed(path, sequence, highest), tail, None
