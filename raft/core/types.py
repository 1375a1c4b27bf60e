"""The data types of consensus: entries, hard state, configurations, snapshots, and the storage interface.

Owns their shapes, their encodings and the size that an entry counts for. Knows nothing of messages.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Annotated, Protocol

import msgspec

NUMBER_MAX = 2**62
"""The greatest term or index in a message: its successors still fit into 64 bits."""

NodeId = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Term = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Index = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]

NO_NODE: NodeId = 0
APPEND_THREAD: NodeId = 2**64 - 1
APPLY_THREAD: NodeId = 2**64 - 2
LOCAL_THREADS = frozenset((APPEND_THREAD, APPLY_THREAD))

NO_LIMIT = 2**64 - 1


class Role(enum.Enum):
    """The role of a node in its current term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class EntryKind(enum.IntEnum):
    """The meaning of an entry's data: a command for the machine, or a change of the configuration."""

    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


FIELD_BYTES = (0, *((bits + 13) // 7 for bits in range(1, 65)))
"""What a number of so many bits counts for: a byte for a tag, one for each seven bits; a zero is left out."""


class Entry(msgspec.Struct, gc=False, eq=False):
    """An entry of the log. Immutable, except for the two caches.

    None or empty data is not applied: a new leader's first entry has None, an entry in place of a refused
    configuration change has b"".
    """

    term: Term
    index: Index
    kind: EntryKind = EntryKind.NORMAL
    data: bytes | None = None
    encoded_cache: bytes | None = None
    size_cache: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return (
            self.index == other.index
            and self.term == other.term
            and self.kind == other.kind
            and self.data == other.data
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Entry({self.term}/{self.index} {self.kind.name} {self.data!r})"

    def encoded(self) -> bytes:
        """Return msgpack [term, index, kind, data], cached: the same bytes are sent and stored."""
        if self.encoded_cache is None:
            self.encoded_cache = msgspec.msgpack.encode((self.term, self.index, self.kind, self.data))
        return self.encoded_cache

    def size(self) -> int:
        """Return the bytes that this entry counts for under a size limit (etcd/raft's encoded size)."""
        size = self.size_cache
        if not size:
            data = self.data
            size = FIELD_BYTES[self.term.bit_length()] + FIELD_BYTES[self.index.bit_length()]
            if self.kind:
                size += 2
            if data is not None:
                length = len(data)
                size += length + (FIELD_BYTES[length.bit_length()] or 2)
            self.size_cache = size
        return size


_ENTRY_FIELDS = msgspec.msgpack.Decoder(tuple[Term, Index, EntryKind, bytes | None])


def decode_entry(raw: bytes) -> Entry:
    """Return the entry that `Entry.encoded` wrote, keeping `raw` as its encoding.

    Raises msgspec.DecodeError for anything else.
    """
    term, index, kind, data = _ENTRY_FIELDS.decode(raw)
    return Entry(term, index, kind, data, raw)


def decode_entries(raws: Iterable[bytes]) -> list[Entry]:
    """Return what `decode_entry` would of each, and raise what it would."""
    fields = _ENTRY_FIELDS.decode
    return [Entry(*fields(raw), raw) for raw in raws]


def entries_size(entries: Sequence[Entry]) -> int:
    """Return the bytes that these entries count for under a size limit."""
    total = 0
    for entry in entries:
        total += entry.size_cache or entry.size()
    return total


class Size(msgspec.Struct, frozen=True, gc=False):
    """The size of some entries in bytes, and that of their data alone."""

    total: int = 0
    payload: int = 0


def measure(entries: Sequence[Entry]) -> Size:
    """Count the size of consecutive entries; from then on each of them knows its own."""
    first, last = entries[0], entries[-1]
    if first is last:
        return Size(first.size_cache or first.size(), len(first.data or b""))
    numbers = FIELD_BYTES[first.term.bit_length()] + FIELD_BYTES[first.index.bit_length()]
    # Terms and indexes only grow, so between two entries with equally large ones all have such.
    if numbers != FIELD_BYTES[last.term.bit_length()] + FIELD_BYTES[last.index.bit_length()]:
        return Size(entries_size(entries), sum(len(entry.data or b"") for entry in entries))
    total = payload = 0
    for entry in entries:
        data = entry.data
        length = len(data) if data else 0
        size = entry.size_cache
        if not size:
            if length and not entry.kind:
                size = entry.size_cache = numbers + length + FIELD_BYTES[length.bit_length()]
            else:
                size = entry.size()
        total += size
        payload += length
    return Size(total, payload)


def limit_size(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """Return the longest prefix of at most `bytes_max` bytes; the first entry is always in it."""
    if len(entries) < 2 or bytes_max >= NO_LIMIT:
        return entries
    total = 0
    for count, entry in enumerate(entries):
        total += entry.size_cache or entry.size()
        if total > bytes_max and count:
            return entries[:count]
    return entries


class HardState(msgspec.Struct, frozen=True, gc=False):
    """The state that must survive a crash, besides the log."""

    term: Term = 0
    vote: NodeId = NO_NODE
    commit: Index = 0


class SoftState(msgspec.Struct, frozen=True, gc=False):
    """The leader and role, which are not stored."""

    leader: NodeId
    role: Role


class ConfState(msgspec.Struct, frozen=True):
    """A configuration as it is stored in a snapshot; ids in ascending order."""

    voters: tuple[NodeId, ...] = ()
    voters_outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """The applied state up to and including `index`; index 0 means there is none.

    `checksum` is computed once, from the state itself, when the snapshot is taken. It stays with the
    snapshot when that is sent or stored, and is never recomputed from what a disk or a peer returned.
    """

    index: Index = 0
    term: Term = 0
    conf_state: ConfState = ConfState()
    data: bytes | bytearray | memoryview = b""  # Must not be changed.
    checksum: int | None = None


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """A confirmed read request: serve it once `index` has been applied."""

    index: Index
    context: bytes


class Storage(Protocol):
    """What the core reads from storage. Raises Compacted or Unavailable for what it does not hold."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return what was saved before this start."""
        ...

    def entries(self, lo: Index, hi: Index, max_bytes: int) -> list[Entry]:
        """Return entries lo to hi-1, cut to the prefix within `max_bytes` (at least one)."""
        ...

    def term(self, index: Index) -> Term:
        """Return the term at `index`, which may be one below the first index."""
        ...

    def first_index(self) -> Index:
        """Return the first index not compacted away."""
        ...

    def last_index(self) -> Index:
        """Return the last stored index, or the snapshot's if nothing follows it."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot, or raise SnapshotTemporarilyUnavailable."""
        ...
