"""The kinds of records and their payloads.

Owns the payload of each kind of record. An entry's payload is `entry.encoded()`, the bytes that the
leader made, so it has no encoder here. Knows nothing of checksums, offsets or files.
"""

from __future__ import annotations

import enum

import msgspec

from raft.core.types import HardState, Index, Term

FORMAT = 1


class Kind(enum.IntEnum):
    """Kinds of record; three bits hold them."""

    SEGMENT = 1  # the first record of a segment
    HARD_STATE = 2
    ENTRY = 3
    SNAPSHOT = 4
    SEALED = 5  # Behind what a segment holds: the number of the segment after it, which is durable.


class Identity(msgspec.Struct, frozen=True):
    """The node that a log belongs to."""

    cluster: str
    node: int

    def __str__(self) -> str:
        return f"node {self.node} of cluster {self.cluster!r}"


class SegmentHeader(msgspec.Struct, frozen=True):
    """The header of a segment. A map on disk, so that every version can read the format of another."""

    format: int
    cluster: str
    node: int
    sequence: int
    previous_bytes: int  # how much of the segment before this one was used; 0 in the first
    previous_last: Index = 0  # where the log ended when this segment began

    @property
    def identity(self) -> Identity:
        """The node that wrote the segment."""
        return Identity(self.cluster, self.node)


class Marker(msgspec.Struct, frozen=True, array_like=True):
    """Names a durable snapshot file. An installed one came from the leader and replaces the log before it."""

    index: Index
    term: Term
    installed: bool = False


_encoder = msgspec.msgpack.Encoder()
_headers = msgspec.msgpack.Decoder(SegmentHeader)
_formats = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_hard_states = msgspec.msgpack.Decoder(tuple[int, int, int])
_markers = msgspec.msgpack.Decoder(Marker)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The payload of a SEGMENT record."""
    return _encoder.encode(header)


def format_of(payload: bytes) -> int:
    """The format in a SEGMENT record; later versions may have added other fields."""
    return msgspec.msgpack.decode(_formats.decode(payload)["format"], type=int)


def decode_segment_header(payload: bytes) -> SegmentHeader:
    """Read a SEGMENT record of a format that is known."""
    return _headers.decode(payload)


def encode_hard_state(state: HardState) -> bytes:
    """The payload of a HARD_STATE record."""
    return _encoder.encode((state.term, state.vote, state.commit))


def decode_hard_state(payload: bytes) -> HardState:
    """Read a HARD_STATE record."""
    return HardState(*_hard_states.decode(payload))


def encode_seal(following: int) -> bytes:
    """The payload of a SEALED record."""
    return _encoder.encode(following)


def encode_marker(marker: Marker) -> bytes:
    """The payload of a SNAPSHOT record."""
    return _encoder.encode(marker)


def decode_marker(payload: bytes) -> Marker:
    """Read a SNAPSHOT record."""
    return _markers.decode(payload)
