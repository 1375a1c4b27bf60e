"""Elections, the part that is the same in every role: timeouts, campaigns, terms and votes granted.

Owns which node may campaign, which one gets a vote, and what a message of another term means. Counting the
votes received is candidate's.
"""

from __future__ import annotations

import enum

from raft.core import lease, ready, transitions
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    Propose,
    ReadIndex,
    RequestVote,
    StorageAppendReply,
    StorageApplyReply,
    VoteReply,
)
from raft.core.state import Handlers, RaftState
from raft.core.types import NO_NODE, Role

_OF_A_LEADER = frozenset((AppendEntries, Heartbeat, InstallSnapshot))
# Forwarded or local, so without a term; a snapshot holds committed state in any term.
_TERMLESS = frozenset((Propose, ReadIndex, InstallSnapshot))


class Campaign(enum.Enum):
    """The kind of campaign."""

    PRE_ELECTION = "pre-election"
    ELECTION = "election"
    TRANSFER = "transfer"


def tick(raft: RaftState) -> None:
    """Let a tick pass on a node that doesn't lead."""
    raft.election_elapsed += 1
    due = raft.election_elapsed >= raft.randomized_election_ticks and not lease.pledged(raft)
    if due and promotable(raft):
        raft.election_elapsed = 0
        hup(raft)


def promotable(raft: RaftState) -> bool:
    """Tell whether this node may lead: a voter, able to, with no snapshot waiting to be saved."""
    own = raft.tracker.progress.get(raft.id)
    is_voter = own is not None and not own.is_learner
    return is_voter and raft.able_to_lead and raft.log.unstable_snapshot is None


def hup(raft: RaftState, *, transfer: bool = False) -> None:
    """Campaign if that is allowed now. A transfer needs no pre-vote: the leader asked for it."""
    if raft.role is Role.LEADER or not promotable(raft):
        return
    if raft.log.has_conf_change_to_apply():
        return  # The configuration to be elected by is not known yet.
    if transfer:
        campaign(raft, Campaign.TRANSFER)
    else:
        campaign(raft, Campaign.PRE_ELECTION if raft.config.pre_vote else Campaign.ELECTION)


def campaign(raft: RaftState, kind: Campaign) -> None:
    """Become a candidate and ask every voter; the own vote counts once it is durable."""
    pre_election = kind is Campaign.PRE_ELECTION
    if pre_election:
        transitions.become_pre_candidate(raft)
        term = raft.term + 1
    else:
        transitions.become_candidate(raft)
        term = raft.term
    log = raft.log
    for voter in sorted(raft.tracker.configuration.voter_ids()):
        if voter == raft.id:
            reply = PreVoteReply if pre_election else VoteReply
            raft.send_when_durable(reply(raft.id, raft.id, term))
        elif pre_election:
            raft.send(PreVote(raft.id, voter, term, log.last_term, log.last))
        else:
            transfer = kind is Campaign.TRANSFER
            raft.send(RequestVote(raft.id, voter, term, log.last_term, log.last, transfer))


def settle_term(raft: RaftState, message: Message) -> bool:
    """Compare a message's term with this node's, and follow a higher one; False to drop the message."""
    if message.term == 0 and type(message) in _TERMLESS:
        return True
    if message.term > raft.term:
        return _on_higher_term(raft, message)
    if message.term < raft.term:
        _on_lower_term(raft, message)
        return False
    return True


def _on_higher_term(raft: RaftState, message: Message) -> bool:
    kind = type(message)
    if kind is PreVote or kind is RequestVote:
        transfer = isinstance(message, RequestVote) and message.transfer
        if not transfer and in_lease(raft):
            return False
    if kind is PreVote or (isinstance(message, PreVoteReply) and not message.rejected):
        return True  # A pre-vote doesn't begin the term that it names.
    transitions.become_follower(raft, message.term, message.sender if kind in _OF_A_LEADER else NO_NODE)
    return True


def _on_lower_term(raft: RaftState, message: Message) -> None:
    if isinstance(message, (AppendEntries, Heartbeat)):
        if raft.config.check_quorum or raft.config.pre_vote:
            # This node may have campaigned while partitioned, and its vote requests are ignored now:
            # the leader has to learn the higher term from this reply.
            raft.send_when_durable(AppendReply(raft.id, message.sender, raft.term, 0))
    elif isinstance(message, PreVote):
        # Without a reply, a node with a longer log in a lower term and one with a shorter log in a
        # higher term could block each other forever while pre-vote is being switched on.
        raft.send_when_durable(PreVoteReply(raft.id, message.sender, raft.term, rejected=True))
    elif isinstance(message, StorageAppendReply) and message.snapshot is not None:
        # Its entries may have been overwritten since, but a snapshot is committed in any term.
        ready.snapshot_saved(raft, message.snapshot)


def in_lease(raft: RaftState) -> bool:
    """Tell whether a leader was active so recently that no vote may be granted (thesis section 4.2.3)."""
    active = raft.leader != NO_NODE and raft.election_elapsed < raft.config.election_ticks
    # A higher term makes a node forget its leader, but its pledge to that leader still holds.
    return (raft.config.check_quorum and active) or lease.pledged(raft)


def on_request_vote(raft: RaftState, message: RequestVote) -> None:
    """Vote at most once per term, and only for a log that is at least as up to date as this one."""
    bound = lease.pledged(raft) and not message.transfer
    free = raft.vote == NO_NODE and raft.leader == NO_NODE and not bound
    if (raft.vote == message.sender or free) and raft.log.is_up_to_date(
        message.last_index, message.last_term
    ):
        raft.send_when_durable(VoteReply(raft.id, message.sender, message.term))
        raft.election_elapsed = 0
        raft.vote = message.sender
    else:
        raft.send_when_durable(VoteReply(raft.id, message.sender, raft.term, rejected=True))


def on_pre_vote(raft: RaftState, message: PreVote) -> None:
    """Reply how this node would vote, without binding it."""
    free = raft.vote == NO_NODE and raft.leader == NO_NODE
    if (message.term > raft.term or raft.vote == message.sender or free) and raft.log.is_up_to_date(
        message.last_index, message.last_term
    ):
        raft.send_when_durable(PreVoteReply(raft.id, message.sender, message.term))
    else:
        raft.send_when_durable(PreVoteReply(raft.id, message.sender, raft.term, rejected=True))


EVERY_ROLE: Handlers = {
    RequestVote: on_request_vote,
    PreVote: on_pre_vote,
    StorageAppendReply: ready.on_storage_append_reply,
    StorageApplyReply: ready.on_storage_apply_reply,
}
"""The part of the dispatch tables that is the same in every role."""
