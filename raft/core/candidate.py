"""A node that asks for votes, in earnest or beforehand.

Owns the counting. Both kinds of candidate share everything but the kind of vote they count: a late
pre-vote must not count as a vote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core import elections, every_role, follower, replication, transitions
from raft.core.errors import ProposalDropped
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PreVoteReply,
    Propose,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
    TransferLeader,
    VoteReply,
)
from raft.core.quorum import VoteResult
from raft.core.types import NO_NODE

if TYPE_CHECKING:
    from raft.core.raft import Raft


def on_propose(_raft: Raft, _message: Propose) -> None:
    """Refuse: there is no leader to pass it on to."""
    raise ProposalDropped("no leader is known: an election is under way")


def on_append_entries(raft: Raft, message: AppendEntries) -> None:
    """Give in to the winner of the same term."""
    transitions.become_follower(raft, message.term, message.sender)
    follower.accept_entries(raft, message)


def on_heartbeat(raft: Raft, message: Heartbeat) -> None:
    """Give in to the winner of the same term."""
    transitions.become_follower(raft, message.term, message.sender)
    follower.accept_heartbeat(raft, message)


def on_install_snapshot(raft: Raft, message: InstallSnapshot) -> None:
    """Give in to the winner of the same term."""
    transitions.become_follower(raft, max(message.term, raft.term), message.sender)
    follower.accept_snapshot(raft, message)


def on_pre_vote_reply(raft: Raft, message: PreVoteReply) -> None:
    """Campaign in earnest once a quorum would vote for us."""
    result = _count(raft, message)
    if result is VoteResult.WON:
        elections.campaign(raft, elections.Campaign.ELECTION)
    elif result is VoteResult.LOST:
        transitions.become_follower(raft, raft.term, NO_NODE)


def on_vote_reply(raft: Raft, message: VoteReply) -> None:
    """Lead once a quorum has voted for us, and our own vote is durable.

    The others' votes may suffice for a majority, but a leader that died before its term was on its disk
    could be elected again in the same term, and put other entries where those it had sent stand already.
    """
    result = _count(raft, message)
    if result is VoteResult.WON:
        if raft.id in raft.tracker.votes or raft.config.unsafe_as_etcd:
            transitions.become_leader(raft)
            replication.broadcast_append(raft)
    elif result is VoteResult.LOST:
        transitions.become_follower(raft, raft.term, NO_NODE)


def _count(raft: Raft, message: PreVoteReply | VoteReply) -> VoteResult:
    raft.tracker.record_vote(message.sender, not message.rejected)
    return raft.tracker.vote_result(raft.tracker.votes)


_SHARED: every_role.Handlers = {
    **every_role.HANDLERS,
    Propose: on_propose,
    AppendEntries: on_append_entries,
    Heartbeat: on_heartbeat,
    InstallSnapshot: on_install_snapshot,
}
_SHARED_IGNORED = frozenset(
    (AppendReply, HeartbeatReply, TransferLeader, TimeoutNow, ReadIndex, ReadIndexReply)
)

CANDIDATE_HANDLERS: every_role.Handlers = {**_SHARED, VoteReply: on_vote_reply}
CANDIDATE_IGNORED = _SHARED_IGNORED | {PreVoteReply}  # An answer to the question before.
PRE_CANDIDATE_HANDLERS: every_role.Handlers = {**_SHARED, PreVoteReply: on_pre_vote_reply}
PRE_CANDIDATE_IGNORED = _SHARED_IGNORED | {VoteReply}
