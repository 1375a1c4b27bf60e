"""What a snapshot of a node holds besides the configuration: the members' addresses, and the machine's state.

Owns that form, and the choice of the snapshot that a leader sends. Knows nothing of how a snapshot is
stored or travels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from raft.core.errors import BrokenStorage, SnapshotTemporarilyUnavailable
from raft.core.types import ConfState, Entry, HardState, Index, NodeId, Snapshot, Storage, Term
from raft.machines.machine import InParts, StateMachine
from raft.node.log_writer import DiskFailed
from raft.storage.errors import SnapshotDamaged
from raft.storage.snapshots import is_sound

Parts = Iterable[bytes | memoryview]


class State(Struct, frozen=True, array_like=True):
    """All that entries up to a snapshot's index have brought about."""

    members: dict[NodeId, str] = {}  # Where each one listens.
    removed: dict[NodeId, Index] = {}  # Former ones, and the index of the entry that removed each.
    machine: list[memoryview] = []  # In the parts that the machine made.
    identity: str = ""  # Of the cluster, and the voters with whom it began; see raft.node.members.identity.
    founders: tuple[NodeId, ...] = ()
    configuration: Index = 0  # Where it was changed last.


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(State)
_ARRAY_OF_SIX, _ARRAY, _BINARY = b"\x96", b"\xdd", b"\xc6"  # Of msgpack; the last two with four bytes.


def pack_state(state: State, machine: Parts) -> bytearray:
    """The data of a snapshot: a State, whose machine is given part by part.

    It grows by one part at a time, as a copy of the whole would keep all other threads waiting.
    """
    data = bytearray(_ARRAY_OF_SIX)
    data += _ENCODER.encode(state.members)
    data += _ENCODER.encode(state.removed)
    data += _ARRAY
    count_at = len(data)
    data += bytes(4)
    count = 0
    for count, part in enumerate(machine, 1):  # noqa: B007
        data += _BINARY
        data += len(part).to_bytes(4, "big")
        data += part
    data[count_at : count_at + 4] = count.to_bytes(4, "big")
    for field in (state.identity, state.founders, state.configuration):
        data += _ENCODER.encode(field)
    return data


def unpack_state(data: bytes | bytearray | memoryview) -> State:
    """What `pack_state` wrote, b"" being nothing at all; raises BrokenStorage."""
    try:
        return _DECODER.decode(data) if data else State()
    except msgspec.DecodeError as error:
        raise BrokenStorage(f"a snapshot's data is no state of a node: {error}") from None


def restore_machine(machine: StateMachine, parts: Parts) -> None:
    """Restore the machine from its parts; no parts are the empty state."""
    if isinstance(machine, InParts):
        machine.restore_parts(parts)
    else:
        machine.restore(b"".join(parts))


def verified(snapshot: Snapshot, parts: Parts) -> Parts:
    """The parts of a snapshot that a disk holds; after the last one raises DiskFailed if they have changed.

    A received snapshot is a mapping of its file: what is read now may be another thing than what was written.
    """
    yield from parts
    if not is_sound(snapshot):
        raise DiskFailed(str(SnapshotDamaged(snapshot.index, "when it was read into the state machine")))


class SendableSnapshots:
    """A node's log as its core reads it, except that a snapshot contains all members of now, and is sound.

    A stored one may be older than the member that needs it, which could not even tell that it is meant
    for it; or `is_damaged` knows that the disk has changed it. Then a new one is `wanted`, and until it is
    there SnapshotTemporarilyUnavailable is raised.
    """

    def __init__(
        self,
        log: Storage,
        members: Callable[[], set[NodeId]],
        wanted: Callable[[], None],
        is_damaged: Callable[[Snapshot], bool],
    ) -> None:
        self._log = log
        self._members = members
        self._wanted = wanted
        self._is_damaged = is_damaged
        self.initial_state: Callable[[], tuple[HardState, ConfState]] = log.initial_state
        self.entries: Callable[[Index, Index, int], list[Entry]] = log.entries
        self.term: Callable[[Index], Term] = log.term
        self.first_index: Callable[[], Index] = log.first_index
        self.last_index: Callable[[], Index] = log.last_index

    def snapshot(self) -> Snapshot:
        """See `Storage.snapshot`."""
        stored = self._log.snapshot()
        known = stored.conf_state
        knows_all = self._members() <= {*known.voters, *known.voters_outgoing, *known.learners}
        if knows_all and not self._is_damaged(stored):
            return stored
        self._wanted()
        raise SnapshotTemporarilyUnavailable
