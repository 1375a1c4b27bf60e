"""What a snapshot of a node holds besides the configuration: the members' addresses, and the machine's state.

Owns that form, and the choice of the snapshot that a leader sends. Knows nothing of how a snapshot is
stored or travels.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from raft.core.errors import BrokenStorage, SnapshotTemporarilyUnavailable
from raft.core.raft import Raft
from raft.core.types import ConfState, Entry, HardState, Index, NodeId, Snapshot, Storage, Term
from raft.node.applying import Applier


class State(Struct, frozen=True, array_like=True):
    """All that entries up to a snapshot's index have brought about."""

    members: dict[NodeId, str] = {}  # Where each one listens.
    removed: dict[NodeId, Index] = {}  # Former ones, and the index of the entry that removed each.
    machine: bytes = b""


_DECODER = msgspec.msgpack.Decoder(State)


def pack_state(state: State) -> bytes:
    """The data of a snapshot."""
    return msgspec.msgpack.encode(state)


def unpack_state(data: bytes) -> State:
    """What `pack_state` wrote, b"" being nothing at all; raises BrokenStorage."""
    try:
        return _DECODER.decode(data) if data else State()
    except msgspec.DecodeError as error:
        raise BrokenStorage(f"a snapshot's data is no state of a node: {error}") from None


class SendableSnapshots:
    """A node's log as its core reads it, except that a snapshot contains all members of now.

    A stored one may be older than the member that needs it, who could not even tell that it is meant
    for it. Then `make` gives one of this moment, or raises SnapshotTemporarilyUnavailable.
    """

    def __init__(
        self, log: Storage, members: Callable[[], set[NodeId]], make: Callable[[], Snapshot]
    ) -> None:
        self._log = log
        self._members = members
        self._make = make
        self.initial_state: Callable[[], tuple[HardState, ConfState]] = log.initial_state
        self.entries: Callable[[Index, Index, int], list[Entry]] = log.entries
        self.term: Callable[[Index], Term] = log.term
        self.first_index: Callable[[], Index] = log.first_index
        self.last_index: Callable[[], Index] = log.last_index

    def snapshot(self) -> Snapshot:
        """See `Storage.snapshot`."""
        stored = self._log.snapshot()
        known = stored.conf_state
        if self._members() <= {*known.voters, *known.voters_outgoing, *known.learners}:
            return stored
        return self._make()


def snapshot_of_now(raft: Raft, applier: Applier, state: Callable[[bytes], State]) -> Snapshot:
    """A snapshot of what is applied; raises SnapshotTemporarilyUnavailable in the midst of applying."""
    if not applier.at_rest:
        raise SnapshotTemporarilyUnavailable
    index = applier.applied
    return Snapshot(
        index,
        raft.log.term(index),
        raft.tracker.configuration.conf_state(),
        pack_state(state(applier.snapshot())),
    )
