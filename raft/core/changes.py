"""Changes of the configuration: what can be proposed, and how it is encoded in an entry.

Owns the encoding (etcd/raft's field numbers, so that sizes agree). Knows nothing of progress or
quorums: what a change does is confchange's.
"""

from __future__ import annotations

import enum

import msgspec

from raft.core.errors import ConfChangeRefused
from raft.core.types import Entry, EntryKind, NodeId


class ConfChangeKind(enum.IntEnum):
    """What happens to one node."""

    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


class Transition(enum.IntEnum):
    """Joint configuration: only if needed; always, left automatically; or always, left on request."""

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class ConfChangeSingle(msgspec.Struct, frozen=True, gc=False):
    """One step of a change."""

    kind: ConfChangeKind
    node: NodeId


class ConfChange(msgspec.Struct, frozen=True, gc=False):
    """The first version: exactly one step, never through a joint configuration."""

    kind: ConfChangeKind
    node: NodeId
    context: bytes = b""

    def as_v2(self) -> ConfChangeV2:
        """Return the same change in the second version."""
        return ConfChangeV2((ConfChangeSingle(self.kind, self.node),), Transition.AUTO, self.context)

    def encode(self) -> bytes:
        """Return the bytes for an entry of kind CONF_CHANGE."""
        raw = b"\x10" + _varint(self.kind) + b"\x18" + _varint(self.node)
        return raw + (b"\x22" + _chunk(self.context) if self.context else b"")


class ConfChangeV2(msgspec.Struct, frozen=True, gc=False):
    """Any number of steps made at once; no steps mean to leave the joint configuration."""

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""

    def as_v2(self) -> ConfChangeV2:
        """Return itself."""
        return self

    def encode(self) -> bytes:
        """Return the bytes for an entry of kind CONF_CHANGE_V2."""
        raw = b"\x08" + _varint(self.transition)
        for change in self.changes:
            raw += b"\x12" + _chunk(b"\x08" + _varint(change.kind) + b"\x10" + _varint(change.node))
        return raw + (b"\x1a" + _chunk(self.context) if self.context else b"")

    @property
    def leaves_joint(self) -> bool:
        """Whether this is the request to leave a joint configuration."""
        return not self.changes and self.transition is Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        """Whether the change goes through a joint configuration."""
        return self.transition is not Transition.AUTO or len(self.changes) > 1

    @property
    def auto_leave(self) -> bool:
        """Whether the leader leaves the joint configuration automatically."""
        return self.transition is not Transition.JOINT_EXPLICIT


AnyConfChange = ConfChange | ConfChangeV2


def decode_conf_change(entry: Entry) -> AnyConfChange:
    """Return the change that a configuration entry holds; raises ConfChangeRefused if it can't be read."""
    data = entry.data or b""
    try:
        if entry.kind is EntryKind.CONF_CHANGE:
            return _decode_v1(data)
        return _decode_v2(data)
    except (IndexError, ValueError) as error:
        raise ConfChangeRefused(f"unreadable configuration change: {error}") from error


def _decode_v1(data: bytes) -> ConfChange:
    fields = _fields(data)
    kind = ConfChangeKind(_last_number(fields, 2))
    return ConfChange(kind, _last_number(fields, 3), _last_chunk(fields, 4))


def _decode_v2(data: bytes) -> ConfChangeV2:
    fields = _fields(data)
    changes = []
    for number, value in fields:
        if number == 2 and isinstance(value, bytes):
            step = _fields(value)
            changes.append(ConfChangeSingle(ConfChangeKind(_last_number(step, 1)), _last_number(step, 2)))
    return ConfChangeV2(tuple(changes), Transition(_last_number(fields, 1)), _last_chunk(fields, 3))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _chunk(raw: bytes) -> bytes:
    return _varint(len(raw)) + raw


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    fields: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        value, position = _read_varint(data, position)
        if key & 7 == 0:
            fields.append((key >> 3, value))
        elif key & 7 == 2:
            if position + value > len(data):
                raise ValueError("a field is cut short")
            fields.append((key >> 3, data[position : position + value]))
            position += value
        else:
            raise ValueError(f"field type {key & 7}")
    return fields


def _last_number(fields: list[tuple[int, int | bytes]], wanted: int) -> int:
    return next((v for n, v in reversed(fields) if n == wanted and isinstance(v, int)), 0)


def _last_chunk(fields: list[tuple[int, int | bytes]], wanted: int) -> bytes:
    return next((v for n, v in reversed(fields) if n == wanted and isinstance(v, bytes)), b"")
