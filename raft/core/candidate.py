"""Candidates and pre-candidates: nodes that ask for votes.

Owns the counting of votes. The two roles differ only in the kind of reply that they count: a late pre-vote
reply must not count as a vote.
"""

from __future__ import annotations

from raft.core import elections, follower, replication, transitions
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
from raft.core.state import Handlers, RaftState
from raft.core.types import NO_NODE


def on_propose(_raft: RaftState, _message: Propose) -> None:
    """Refuse: there is no leader to forward it to."""
    raise ProposalDropped("no leader is known: an election is under way")


def on_append_entries(raft: RaftState, message: AppendEntries) -> None:
    """Follow the winner of this term."""
    transitions.become_follower(raft, message.term, message.sender)
    follower.accept_entries(raft, message)


def on_heartbeat(raft: RaftState, message: Heartbeat) -> None:
    """Follow the winner of this term."""
    transitions.become_follower(raft, message.term, message.sender)
    follower.accept_heartbeat(raft, message)


def on_install_snapshot(raft: RaftState, message: InstallSnapshot) -> None:
    """Follow the winner of this term."""
    transitions.become_follower(raft, max(message.term, raft.term), message.sender)
    follower.accept_snapshot(raft, message)


def on_pre_vote_reply(raft: RaftState, message: PreVoteReply) -> None:
    """Start the election once a quorum would vote for this node."""
    result = _count(raft, message)
    if result is VoteResult.WON:
        elections.campaign(raft, elections.Campaign.ELECTION)
    elif result is VoteResult.LOST:
        transitions.become_follower(raft, raft.term, NO_NODE)


def on_vote_reply(raft: RaftState, message: VoteReply) -> None:
    """Lead once a quorum has voted for this node, and its own vote is durable.

    The votes of other nodes may form a majority sooner. But a leader that crashed before its term was on
    disk could win the same term again, and append other entries at indexes that it had sent already.
    """
    result = _count(raft, message)
    if result is VoteResult.WON:
        if raft.id in raft.tracker.votes or raft.config.unsafe_as_etcd:
            transitions.become_leader(raft)
            replication.broadcast_append(raft)
    elif result is VoteResult.LOST:
        transitions.become_follower(raft, raft.term, NO_NODE)


def _count(raft: RaftState, message: PreVoteReply | VoteReply) -> VoteResult:
    raft.tracker.record_vote(message.sender, not message.rejected)
    return raft.tracker.vote_result(raft.tracker.votes)


_SHARED: Handlers = {
    **elections.EVERY_ROLE,
    Propose: on_propose,
    AppendEntries: on_append_entries,
    Heartbeat: on_heartbeat,
    InstallSnapshot: on_install_snapshot,
}
_SHARED_IGNORED = frozenset(
    (AppendReply, HeartbeatReply, TransferLeader, TimeoutNow, ReadIndex, ReadIndexReply)
)

CANDIDATE_HANDLERS: Handlers = {**_SHARED, VoteReply: on_vote_reply}
CANDIDATE_IGNORED = _SHARED_IGNORED | {PreVoteReply}  # Replies to the pre-vote before.
PRE_CANDIDATE_HANDLERS: Handlers = {**_SHARED, PreVoteReply: on_pre_vote_reply}
PRE_CANDIDATE_IGNORED = _SHARED_IGNORED | {VoteReply}
