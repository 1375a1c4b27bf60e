"""Which message is which tag, between nodes, clients and supervisors; the only table of its kind.

Owns the tags, and the forms in which entries travel: the bytes that the leader made for an entry are
the bytes on the wire. Knows nothing of sockets or frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from actors.address import Address
from actors.codec import Registry
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    TimeoutNow,
    TransferLeader,
    VoteReply,
)
from raft.core.types import ConfState, Count, Entry, Index, NodeId, Term, decode_entries
from raft.protocol.admin import (
    Alive,
    ArmCrash,
    BecameLeader,
    CannotDo,
    ClearFault,
    Done,
    GetMetrics,
    GetStatus,
    LostLeadership,
    Measure,
    Measured,
    NodeMetrics,
    NodeStatus,
    NodeUp,
    SawLeader,
    SetClock,
    SetDisk,
    SetLink,
    SnapshotTaken,
    SpaceIs,
    TakeSnapshot,
    Transfer,
)
from raft.protocol.client import (
    AddLearner,
    AwaitAnswer,
    AwaitEvents,
    BackupPiece,
    BackupTaken,
    CloseWatch,
    Command,
    Committed,
    Failed,
    Invalid,
    KeepAlive,
    LeaderIs,
    LeaseProbe,
    LeaseTime,
    ListMembers,
    Members,
    NotLeader,
    OpenWatch,
    OutOfSpace,
    Promote,
    Query,
    QueryResult,
    ReadBackup,
    Refused,
    Remove,
    Replace,
    StillRunning,
    TakeBackup,
    TimeLeft,
    TooNew,
    Unknown,
    UpdateMember,
    WatchAck,
    WatchEnded,
    WatchEvents,
    WatchOpened,
    WhoLeads,
)
from raft.protocol.limits import Name, Number
from raft.protocol.records import GetRecords, Records

NODE_ACTOR: Final = "raft"
RELAY_ACTOR: Final = "relay"
CLIENT_ACTOR: Final = "guest"
ENTRIES_MAX: Final = 500_000
"""In one append, as a bound of memory: more than its bytes can hold."""
SUPERVISOR: Final = Address("launcher", "supervisor")


class Append(Struct, array_like=True, gc=False):
    """AppendEntries as it travels, each entry in the encoding that it keeps in every log."""

    sender: NodeId
    to: NodeId
    term: Term
    previous_term: Term
    previous_index: Index
    commit: Index
    entries: Annotated[list[Raw], Meta(max_length=ENTRIES_MAX)]


class SnapshotChunk(Struct, array_like=True, gc=False):
    """A chunk of an InstallSnapshot: the bytes at `offset` of its data, which is `size` bytes long."""

    sender: NodeId
    to: NodeId
    term: Term
    index: Index
    snapshot_term: Term
    conf_state: ConfState
    offset: Count
    size: Count
    checksum: Count  # CRC-32 of this chunk.
    data: bytes
    snapshot_checksum: Count  # That of the whole snapshot, made when it was taken.


class SnapshotProgress(Struct, array_like=True, gc=False):
    """Acknowledges the first `received` bytes of the snapshot at `index` of the leader of `term`.

    `damaged`: all of it had arrived, and its checksum was wrong.
    """

    sender: NodeId
    to: NodeId
    term: Term
    index: Index
    received: Count
    damaged: bool = False


class Expelled(Struct, array_like=True, gc=False):
    """Informs a node that the committed entry at `index` has removed it."""

    sender: NodeId
    index: Index


class Leaving(Struct, array_like=True, gc=False):
    """Informs a member that the entry of `term` at `index`, which removed the sender, is committed.

    A member that has applied it answers with Expelled. A `term` of 0 means unknown.
    """

    sender: int
    index: int
    term: int


class Process(Struct, array_like=True, frozen=True, gc=False):
    """A process as its own machine knows it, so that another one can tell when it has ended.

    `machine` names a boot of it and a namespace of process ids. `started` tells processes apart that had the
    same `pid` one after the other, in a unit of that machine.
    """

    machine: Name
    pid: Number
    started: Number
    incarnation: Number


class Handshake(Struct, array_like=True, gc=False):
    """A node's description of itself, also a request for the other's; answered by another Handshake.

    `identity` is that of its cluster, "" if it does not know it yet; `founders` are the voters with whom that
    cluster began. A `blank` node has no log, and belongs to no cluster. `version` is that of its machine's
    code, and `level` that of the built-in commands that it knows; older builds, which don't send them, count
    as 1. `process` is None where its end can't be known, and `withholds_milliseconds` says for how long this
    node withholds its vote for a lease: 0 if it does not.
    """

    sender: NodeId
    identity: Name
    founders: tuple[NodeId, ...]
    blank: bool
    version: Number = 1
    level: Number = 1
    process: Process | None = None
    withholds_milliseconds: Number = 0


class BadEntry(Exception):
    """The bytes are not an entry."""


CORE_MESSAGES: Final = (
    PreVote,
    PreVoteReply,
    RequestVote,
    VoteReply,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    TransferLeader,
    TimeoutNow,
    ReadIndex,
    ReadIndexReply,
)
"""Core messages that are sent as they are. An AppendEntries is sent as an Append, an InstallSnapshot in
chunks, and a Propose never, because clients ask the leader themselves."""

TAGS: Final[dict[int, type]] = {
    1: PreVote,
    2: PreVoteReply,
    3: RequestVote,
    4: VoteReply,
    5: Append,
    6: AppendReply,
    7: Heartbeat,
    8: HeartbeatReply,
    9: SnapshotChunk,
    10: TransferLeader,
    11: TimeoutNow,
    12: ReadIndex,
    13: ReadIndexReply,
    14: Expelled,
    15: SnapshotProgress,
    16: Leaving,
    17: Handshake,
    # Clients.
    32: Command,
    33: Query,
    34: WhoLeads,
    35: Committed,
    36: Failed,
    37: QueryResult,
    38: NotLeader,
    39: Refused,
    40: Invalid,
    41: Unknown,
    42: LeaderIs,
    43: ListMembers,
    44: Members,
    45: AddLearner,
    46: Promote,
    47: Remove,
    48: Replace,
    88: UpdateMember,
    49: KeepAlive,
    50: TimeLeft,
    51: LeaseTime,
    52: LeaseProbe,
    53: AwaitEvents,
    54: AwaitAnswer,
    55: StillRunning,
    57: OutOfSpace,
    58: TooNew,
    59: OpenWatch,
    60: WatchOpened,
    61: WatchEvents,
    62: WatchAck,
    63: CloseWatch,
    56: WatchEnded,
    # Supervisors.
    64: NodeUp,
    65: Alive,
    66: BecameLeader,
    67: LostLeadership,
    68: SawLeader,
    69: GetStatus,
    70: NodeStatus,
    71: SetLink,
    72: SetDisk,
    73: ClearFault,
    74: Transfer,
    75: Done,
    76: CannotDo,
    79: ArmCrash,
    77: TakeSnapshot,
    78: SnapshotTaken,
    80: SetClock,
    82: SpaceIs,
    84: GetMetrics,
    85: NodeMetrics,
    86: GetRecords,
    87: Records,
    89: Measure,
    90: Measured,
    # Clients, again.
    96: TakeBackup,
    97: BackupTaken,
    98: ReadBackup,
    99: BackupPiece,
}

REGISTRY: Final = Registry(TAGS)

FAILOVER_MESSAGES: Final = (*CORE_MESSAGES, Append, Leaving, Command, Query, WhoLeads)
"""What a node may have to read for the first time while the cluster waits for its next leader."""


def process_of(node: int) -> str:
    """The name of a node's process."""
    return f"n{node}"


def node_of(process: str) -> int:
    """The id of the node that a process of this name is; 0 for any other process."""
    number = process.removeprefix("n")
    return int(number) if number.isascii() and number.isdecimal() and process == f"n{int(number)}" else 0


def member_actor(identity: str) -> str:
    """The name that a node's actor has besides its own while it belongs to the cluster of that identity."""
    return f"{NODE_ACTOR}@{identity}"


@cache
def address_of(node: int, identity: str = "") -> Address:
    """The address of a node's actor; with an identity, only as a member of that cluster."""
    return Address(process_of(node), member_actor(identity) if identity else NODE_ACTOR)


def relay_of(node: int) -> Address:
    """Where a node takes requests to pass them on to the leader that it follows."""
    return Address(process_of(node), RELAY_ACTOR)


def supervisor_of(node: int, *, has_keys: bool) -> Address:
    """The address that a node reports to: a launcher, or a program that uses the node's own key."""
    return Address(f"{process_of(node)}.launcher", SUPERVISOR.actor) if has_keys else SUPERVISOR


def pack_entries(entries: Sequence[Entry]) -> list[Raw]:
    """The form in which entries travel."""
    return [Raw(entry.encoded_cache or entry.encoded()) for entry in entries]


def pack_append(message: AppendEntries, entries: list[Raw]) -> Append:
    """The form in which an append travels; its entries are packed already."""
    return Append(
        message.sender,
        message.to,
        message.term,
        message.previous_term,
        message.previous_index,
        message.commit,
        entries,
    )


def unpack_append(message: Append) -> AppendEntries:
    """The append that travelled; raises BadEntry."""
    try:
        entries = decode_entries(map(bytes, message.entries))
    except msgspec.DecodeError as error:
        raise BadEntry(f"node {message.sender} sent what is no entry: {error}") from None
    return AppendEntries(
        message.sender,
        message.to,
        message.term,
        message.previous_term,
        message.previous_index,
        message.commit,
        entries,
    )
