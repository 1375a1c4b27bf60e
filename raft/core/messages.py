"""The messages that a core takes and sends, one class per kind.

Owns the shapes and which kinds are replies. Knows no bytes: the wire and its tags are another
layer's. Messages are immutable by convention, with their lists of entries.

A term of 0 matches every term: requests that are forwarded to the leader have it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from raft.core.types import Count, Entry, HardState, Index, NodeId, Size, Snapshot, Term

ReadContext = Annotated[bytes, msgspec.Meta(max_length=1024)]


class PreVote(msgspec.Struct, gc=False):
    """Asks whether the receiver would vote for the sender in `term`, which has not begun."""

    sender: NodeId
    to: NodeId
    term: Term
    last_term: Term
    last_index: Index


class PreVoteReply(msgspec.Struct, gc=False):
    """A grant carries the requested term, a rejection the voter's own."""

    sender: NodeId
    to: NodeId
    term: Term
    rejected: bool = False


class RequestVote(msgspec.Struct, gc=False):
    """Asks for a vote. With `transfer` the leader asked for this election, so its lease is ignored."""

    sender: NodeId
    to: NodeId
    term: Term
    last_term: Term
    last_index: Index
    transfer: bool = False


class VoteReply(msgspec.Struct, gc=False):
    """A granted or rejected vote."""

    sender: NodeId
    to: NodeId
    term: Term
    rejected: bool = False


class AppendEntries(msgspec.Struct, gc=False):
    """Entries that follow (previous_term, previous_index), and how far the leader has committed."""

    sender: NodeId
    to: NodeId
    term: Term
    previous_term: Term
    previous_index: Index
    commit: Index
    entries: list[Entry]


class AppendReply(msgspec.Struct, gc=False):
    """The log matches up to `index`; or, rejected, does not match there but perhaps at the hint."""

    sender: NodeId
    to: NodeId
    term: Term
    index: Index
    rejected: bool = False
    hint_index: Index = 0
    hint_term: Term = 0


class Heartbeat(msgspec.Struct, gc=False):
    """Sent regularly by the leader. The reply repeats `read_round` (of pending reads) and `sent_tick`.

    With `lease` it asks the receiver to withhold its vote from others for an election timeout.
    """

    sender: NodeId
    to: NodeId
    term: Term
    commit: Index
    read_round: Count = 0
    sent_tick: Count = 0
    lease: bool = False


class HeartbeatReply(msgspec.Struct, gc=False):
    """Acknowledges a heartbeat of this term. `pledged`: the sender withholds its vote, as it was asked to."""

    sender: NodeId
    to: NodeId
    term: Term
    read_round: Count = 0
    sent_tick: Count = 0
    pledged: bool = False


class InstallSnapshot(msgspec.Struct, gc=False):
    """Sent instead of entries that are compacted away."""

    sender: NodeId
    to: NodeId
    term: Term
    snapshot: Snapshot


class TransferLeader(msgspec.Struct, gc=False):
    """Forwarded by a follower: asks the leader to transfer its leadership to `transferee`."""

    sender: NodeId
    to: NodeId
    term: Term
    transferee: NodeId


class TimeoutNow(msgspec.Struct, gc=False):
    """Asks a voter to campaign at once, on behalf of the leader."""

    sender: NodeId
    to: NodeId
    term: Term


class Propose(msgspec.Struct, gc=False):
    """Entries to append; their terms and indexes are still 0."""

    sender: NodeId
    to: NodeId
    term: Term
    entries: list[Entry]


class ReadIndex(msgspec.Struct, gc=False):
    """Asks the leader for the index from which on a read that starts now is linearizable."""

    sender: NodeId
    to: NodeId
    term: Term
    context: ReadContext


class ReadIndexReply(msgspec.Struct, gc=False):
    """The index asked for by ReadIndex."""

    sender: NodeId
    to: NodeId
    term: Term
    index: Index
    context: ReadContext


class StorageAppendReply(msgspec.Struct, gc=False):
    """From the append thread: durable up to (last_term, last_index) if not 0, and the snapshot if any.

    `term` is the core's when it asked. After a change of term the entries may have been overwritten
    and appended again since, so the acknowledgement no longer counts for them.
    """

    sender: NodeId
    to: NodeId
    term: Term
    last_term: Term = 0
    last_index: Index = 0
    snapshot: Snapshot | None = None


class StorageApplyReply(msgspec.Struct, gc=False):
    """From the apply thread: these entries, of that size, have been applied."""

    sender: NodeId
    to: NodeId
    term: Term
    entries: list[Entry]
    size: Size


class StorageAppend(msgspec.Struct, gc=False):
    """To the append thread: make all of it durable, then deliver `responses` in order.

    `term` is the hard state's, 0 without one; `size_bytes` the size of the entries.
    """

    sender: NodeId
    to: NodeId
    term: Term
    entries: list[Entry]
    hard_state: HardState | None
    snapshot: Snapshot | None
    responses: list[AppendReply | VoteReply | PreVoteReply | StorageAppendReply]
    size_bytes: int


class StorageApply(msgspec.Struct, gc=False):
    """To the apply thread: apply these, of that size, then deliver `responses`."""

    sender: NodeId
    to: NodeId
    term: Term
    entries: list[Entry]
    responses: list[StorageApplyReply]
    size_bytes: int


PeerMessage = (
    PreVote
    | PreVoteReply
    | RequestVote
    | VoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | TransferLeader
    | TimeoutNow
    | Propose
    | ReadIndex
    | ReadIndexReply
)
StorageReply = StorageAppendReply | StorageApplyReply
Message = PeerMessage | StorageReply | StorageAppend | StorageApply
DurableReply = AppendReply | VoteReply | PreVoteReply

STEPPABLE = frozenset(
    (
        PreVote,
        PreVoteReply,
        RequestVote,
        VoteReply,
        AppendEntries,
        AppendReply,
        Heartbeat,
        HeartbeatReply,
        InstallSnapshot,
        TransferLeader,
        TimeoutNow,
        Propose,
        ReadIndex,
        ReadIndexReply,
        StorageAppendReply,
        StorageApplyReply,
    )
)
"""Every kind that `Raft.step` takes; the other two go to the storage threads."""

PEER_REPLIES = frozenset((PreVoteReply, VoteReply, AppendReply, HeartbeatReply, ReadIndexReply))
"""Kinds that are accepted only from a member of the configuration."""
