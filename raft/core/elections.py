"""Elections, as everyone takes part in them: timeouts, campaigns, terms and votes given.

Owns who may campaign, who gets a vote, and what a message of another term means. Counting the votes
received is candidate's.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from raft.core import lease, transitions
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
from raft.core.types import NO_NODE, Role

if TYPE_CHECKING:
    from raft.core.raft import Raft

_OF_A_LEADER = frozenset((AppendEntries, Heartbeat, InstallSnapshot))
# Passed on or local, so without a term; a snapshot holds committed state whatever the term.
_TERMLESS = frozenset((Propose, ReadIndex, StorageApplyReply, InstallSnapshot))


class Campaign(enum.Enum):
    """Why and how votes are asked for."""

    PRE_ELECTION = "pre-election"
    ELECTION = "election"
    TRANSFER = "transfer"


def tick(raft: Raft) -> None:
    """Let a tick pass at anyone but the leader."""
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.randomized_election_ticks and promotable(raft):
        raft.election_elapsed = 0
        hup(raft)


def promotable(raft: Raft) -> bool:
    """Tell whether this node may lead: a voter, able to, with no snapshot waiting to be saved."""
    own = raft.tracker.progress.get(raft.id)
    is_voter = own is not None and not own.is_learner
    return is_voter and raft.able_to_lead and raft.log.unstable_snapshot is None


def hup(raft: Raft, *, transfer: bool = False) -> None:
    """Campaign if that is allowed now. A transfer needs no pre-vote: the leader asked for it."""
    if raft.role is Role.LEADER or not promotable(raft):
        return
    if raft.log.has_conf_change_to_apply():
        return  # The configuration to be elected by is not known yet.
    if transfer:
        campaign(raft, Campaign.TRANSFER)
    else:
        campaign(raft, Campaign.PRE_ELECTION if raft.config.pre_vote else Campaign.ELECTION)


def campaign(raft: Raft, kind: Campaign) -> None:
    """Become a candidate and ask every voter, oneself through the disk."""
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


def settle_term(raft: Raft, message: Message) -> bool:
    """Compare a message's term with our own, which may make us a follower; False if that is all."""
    if message.term == 0 and type(message) in _TERMLESS:
        return True
    if message.term > raft.term:
        return _meet_higher_term(raft, message)
    if message.term < raft.term:
        _meet_lower_term(raft, message)
        return False
    return True


def _meet_higher_term(raft: Raft, message: Message) -> bool:
    kind = type(message)
    if kind is PreVote or kind is RequestVote:
        blessed = isinstance(message, RequestVote) and message.transfer
        if not blessed and _in_lease(raft):
            return False
    if kind is PreVote or (isinstance(message, PreVoteReply) and not message.rejected):
        return True  # The term is hypothetical: nobody is in it yet.
    transitions.become_follower(raft, message.term, message.sender if kind in _OF_A_LEADER else NO_NODE)
    return True


def _meet_lower_term(raft: Raft, message: Message) -> None:
    if isinstance(message, (AppendEntries, Heartbeat)):
        if raft.config.check_quorum or raft.config.pre_vote:
            # We may have campaigned while cut off, and nobody will ever meet our term by a vote:
            # the leader has to learn of it from us.
            raft.send_when_durable(AppendReply(raft.id, message.sender, raft.term, 0))
    elif isinstance(message, PreVote):
        # Without an answer, a longer log at a lower term and a shorter one at a higher could wait
        # for each other for ever while pre-vote is being switched on.
        raft.send_when_durable(PreVoteReply(raft.id, message.sender, raft.term, rejected=True))
    elif isinstance(message, StorageAppendReply) and message.snapshot is not None:
        # Its entries may have been overwritten since, but a snapshot is committed in any term.
        raft.snapshot_saved(message.snapshot)


def _in_lease(raft: Raft) -> bool:
    """Tell whether a leader was heard so lately that nobody else may win (thesis section 4.2.3)."""
    heard = raft.leader != NO_NODE and raft.election_elapsed < raft.config.election_ticks
    # PeerTracker of a higher term makes a node forget its leader, but keeps no promise to it.
    return raft.config.check_quorum and (heard or lease.pledged(raft))


def on_request_vote(raft: Raft, message: RequestVote) -> None:
    """Vote at most once per term, and never for a log that lacks something of ours."""
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


def on_pre_vote(raft: Raft, message: PreVote) -> None:
    """Say how we would vote; nothing is promised by it."""
    free = raft.vote == NO_NODE and raft.leader == NO_NODE
    if (message.term > raft.term or raft.vote == message.sender or free) and raft.log.is_up_to_date(
        message.last_index, message.last_term
    ):
        raft.send_when_durable(PreVoteReply(raft.id, message.sender, message.term))
    else:
        raft.send_when_durable(PreVoteReply(raft.id, message.sender, raft.term, rejected=True))
