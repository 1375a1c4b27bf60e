"""The header of a frame: which cluster, who, which incarnation of it, and the number of the frame.

Owns the bytes before the payload. Whatever comes in is data, so a bad frame is a reason and never
an exception. Knows nothing of sockets, and not whether a frame is fresh.
"""

from __future__ import annotations

import enum
import struct
import zlib
from _blake2 import blake2b  # As hashlib has it, which brings all of OpenSSL into each process.
from typing import Final

import msgspec

from actors.address import check_process_name
from actors.errors import BadAddress, TransportError

MAGIC: Final = b"act\x01"  # The last byte is the version.
NAME_BYTES_MAX: Final = 255
CLUSTER_BYTES: Final = 8

_FIXED = struct.Struct(">4s8sQB")  # Magic, cluster, incarnation, length of the name that follows.
_MOVING = struct.Struct(">QB")  # Sequence, kind.
_MOVING_BYTES: Final = _MOVING.size
_AFTER_PREFIX = struct.Struct(">QBI")  # Sequence, kind, and the check.
_CHECK = struct.Struct(">I")  # Over all of the header: a flipped bit must not pass for a later incarnation.
_TAIL_BYTES = _MOVING.size + _CHECK.size
_INCARNATION = struct.Struct(">QQ")  # Incarnation, sequence.


class FrameKind(enum.IntEnum):
    """What a frame is for."""

    PAYLOAD = 0
    HELLO = 1  # The first on a connection: who I am. Answered with a WELCOME.
    WELCOME = 2  # Names the cluster to who is of another one.
    USED = (
        3  # To a HELLO: your incarnation's number, or a later one, was used before; see `write_incarnation`.
    )


class Frame(msgspec.Struct, gc=False):
    """A frame whose header is sound."""

    sender: bytes
    incarnation: int
    sequence: int
    kind: int
    payload: bytes


class FrameWriter:
    """Puts this incarnation's header before payloads."""

    def __init__(self, cluster: str, name: str, incarnation: int) -> None:
        encoded = check_process_name(name).encode()
        if len(encoded) > NAME_BYTES_MAX:
            raise BadAddress(
                f"{name!r} has {len(encoded)} bytes, and a process name may have {NAME_BYTES_MAX}"
            )
        if not 0 <= incarnation < 1 << 64:
            raise TransportError(f"an incarnation has 64 bits and no sign, unlike {incarnation}")
        self._prefix = _FIXED.pack(MAGIC, cluster_digest(cluster), incarnation, len(encoded)) + encoded
        self._prefix_check = zlib.crc32(self._prefix)

    def write(self, sequence: int, kind: FrameKind, payload: bytes) -> bytes:
        """The frame; `sequence` is greater than in every frame written before."""
        moving = _MOVING.pack(sequence, kind)
        return b"".join((self._prefix, moving, _CHECK.pack(zlib.crc32(moving, self._prefix_check)), payload))


def prefix_of(raw: bytes) -> tuple[bytes, int]:
    """What all frames of one incarnation of a sender have in common, and the check's value so far."""
    prefix = raw[: _FIXED.size + raw[_FIXED.size - 1]]
    return prefix, zlib.crc32(prefix)


def read_after(raw: bytes, prefix: bytes, prefix_check: int) -> tuple[int, int, bytes] | None:
    """Sequence, kind and payload of a sound frame that begins with the `prefix_of` another one, else None."""
    at = len(prefix)
    end = at + _TAIL_BYTES
    if len(raw) < end or not raw.startswith(prefix):
        return None
    sequence, kind, check = _AFTER_PREFIX.unpack_from(raw, at)
    if zlib.crc32(raw[at : at + _MOVING_BYTES], prefix_check) != check:
        return None
    return sequence, kind, raw[end:]


def read_frame(raw: bytes, cluster: bytes) -> Frame | str:
    """Take a frame of that cluster (a `cluster_digest`) apart, or say what is wrong with it."""
    if len(raw) < _FIXED.size + _TAIL_BYTES:
        return "short"
    magic, of_cluster, incarnation, name_bytes = _FIXED.unpack_from(raw)
    if magic != MAGIC:
        return "garbage" if magic[:3] != MAGIC[:3] else "version"
    moving_at = _FIXED.size + name_bytes
    check_at = moving_at + _MOVING.size
    payload_at = check_at + _CHECK.size
    if len(raw) < payload_at:
        return "short"
    if zlib.crc32(raw[:check_at]) != _CHECK.unpack_from(raw, check_at)[0]:
        return "corrupt"
    if of_cluster != cluster:
        return "foreign"
    sequence, kind = _MOVING.unpack_from(raw, moving_at)
    return Frame(raw[_FIXED.size : moving_at], incarnation, sequence, kind, raw[payload_at:])


def write_incarnation(incarnation: int, sequence: int) -> bytes:
    """What was heard last of a process, for itself to read."""
    packed = _INCARNATION.pack(incarnation, sequence)
    return packed + _CHECK.pack(zlib.crc32(packed))


def read_incarnation(payload: bytes) -> tuple[int, int] | None:
    """The incarnation and the sequence that `write_incarnation` wrote; None if they are damaged."""
    if len(payload) != _INCARNATION.size + _CHECK.size:
        return None
    if zlib.crc32(payload[: _INCARNATION.size]) != _CHECK.unpack_from(payload, _INCARNATION.size)[0]:
        return None
    incarnation, sequence = _INCARNATION.unpack_from(payload)
    return incarnation, sequence


def introduction_in(raw: bytes) -> tuple[int, str, str] | None:
    """The kind, the sender and the cluster's name in a sound greeting of whichever cluster, for an error."""
    if len(raw) < _FIXED.size + _TAIL_BYTES:
        return None
    frame = read_frame(raw, raw[len(MAGIC) : len(MAGIC) + CLUSTER_BYTES])
    if isinstance(frame, str) or frame.kind not in (FrameKind.HELLO, FrameKind.WELCOME):
        return None
    sender, cluster = (
        text[:NAME_BYTES_MAX].decode(errors="replace") for text in (frame.sender, frame.payload)
    )
    return frame.kind, sender, cluster


def cluster_digest(cluster: str) -> bytes:
    """What a frame says of its cluster."""
    return blake2b(cluster.encode(), digest_size=CLUSTER_BYTES).digest()
