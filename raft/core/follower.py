"""Followers: they take entries and snapshots of the leader, and forward requests to it.

Owns the replies to appends, heartbeats and snapshots. Knows nothing of progress or quorums.
"""

from __future__ import annotations

import msgspec

from raft.core import elections, lease, membership
from raft.core.errors import MAJORITY_ROLLED_BACK, MajorityRolledBack, ProposalDropped
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
from raft.core.state import Handlers, RaftState
from raft.core.types import NO_NODE, NodeId, ReadState


def on_append_entries(raft: RaftState, message: AppendEntries) -> None:
    """Restart the election timeout, and take the entries."""
    raft.election_elapsed = 0
    if raft.leader != message.sender:
        _follow(raft, message.sender)
    accept_entries(raft, message)


def on_heartbeat(raft: RaftState, message: Heartbeat) -> None:
    """Restart the election timeout, and learn the commit index."""
    raft.election_elapsed = 0
    if raft.leader != message.sender:
        _follow(raft, message.sender)
    accept_heartbeat(raft, message)


def on_install_snapshot(raft: RaftState, message: InstallSnapshot) -> None:
    """Restart the election timeout, and take the snapshot."""
    raft.election_elapsed = 0
    if raft.leader != message.sender:
        _follow(raft, message.sender)
    accept_snapshot(raft, message)


def _follow(raft: RaftState, leader: NodeId) -> None:
    """Note who leads this term. Raises MajorityRolledBack if another node led it before."""
    if raft.leader != NO_NODE and not raft.config.unsafe_as_etcd:
        raise MajorityRolledBack(
            f"node {leader} leads term {raft.term}, in which this node follows node {raft.leader}: a member "
            f"has forgotten its vote; {MAJORITY_ROLLED_BACK}. This node holds what was committed up to "
            f"{raft.log.committed}"
        )
    raft.leader = leader


def accept_entries(raft: RaftState, message: AppendEntries) -> None:
    """Append if the logs match, else reply with a hint where they may."""
    log, entries, previous = raft.log, message.entries, message.previous_index
    last = previous + len(entries)
    if previous < log.committed:
        if not raft.config.unsafe_as_etcd:
            _check_agrees(raft, message)
        reply = AppendReply(raft.id, message.sender, raft.term, log.committed)
    elif entries and (entries[0].index != previous + 1 or entries[-1].index != last):
        return  # Indexes have gaps: no leader sends that.
    elif log.try_append(previous, message.previous_term, message.commit, entries):
        reply = AppendReply(raft.id, message.sender, raft.term, last)
    else:
        # Entries of a later term than the leader's entry cannot match its log: skip them all.
        hint = log.find_conflict_by_term(min(previous, log.last), message.previous_term)
        reply = AppendReply(raft.id, message.sender, raft.term, previous, True, *hint)
    raft.send_when_durable(reply)


def _check_agrees(raft: RaftState, message: AppendEntries) -> None:
    """Raise MajorityRolledBack if the leader's log differs from what is committed here."""
    log = raft.log
    claims = [(message.previous_index, message.previous_term)]
    claims += [(entry.index, entry.term) for entry in message.entries]
    for index, term in claims:
        if log.contradicts(index, term):
            raise MajorityRolledBack(
                f"leader {message.sender} of term {raft.term} has an entry of term {term} at {index}, where "
                f"this node has committed one of term {log.term(index)}: {MAJORITY_ROLLED_BACK}. This node "
                f"holds what was committed up to {log.committed}"
            )


def accept_heartbeat(raft: RaftState, message: Heartbeat) -> None:
    """Learn the commit index, which the leader limits to what this log is known to match."""
    raft.log.commit_to(message.commit)
    pledges = message.lease and raft.config.leases
    if pledges:
        lease.pledge(raft, message.sender)
    reply = HeartbeatReply(raft.id, message.sender, raft.term, message.read_round, message.sent_tick, pledges)
    raft.send(reply)


def accept_snapshot(raft: RaftState, message: InstallSnapshot) -> None:
    """Replace the log by the snapshot, unless the log already contains it."""
    restored = membership.restore(raft, message.snapshot)
    index = raft.log.last if restored else raft.log.committed
    raft.send_when_durable(AppendReply(raft.id, message.sender, raft.term, index))


def on_propose(raft: RaftState, message: Propose) -> None:
    """Forward the proposal to the leader."""
    if raft.leader == NO_NODE:
        raise ProposalDropped("no leader is known")
    if raft.config.disable_proposal_forwarding:
        raise ProposalDropped(f"node {raft.leader} leads, and proposals are not forwarded")
    raft.send(msgspec.structs.replace(message, to=raft.leader))


def on_transfer_leader(raft: RaftState, message: TransferLeader) -> None:
    """Forward the request to the leader."""
    if raft.leader != NO_NODE:
        raft.send(msgspec.structs.replace(message, to=raft.leader, term=raft.term))


def on_read_index(raft: RaftState, message: ReadIndex) -> None:
    """Forward the request to the leader."""
    if raft.leader != NO_NODE:
        raft.send(msgspec.structs.replace(message, to=raft.leader))


def on_read_index_reply(raft: RaftState, message: ReadIndexReply) -> None:
    """Hand out the confirmed read."""
    raft.read_states.append(ReadState(message.index, message.context))


def on_timeout_now(raft: RaftState, _message: TimeoutNow) -> None:
    """Campaign at once, as the leader transfers its leadership to this node."""
    elections.hup(raft, transfer=True)


HANDLERS: Handlers = {
    **elections.EVERY_ROLE,
    AppendEntries: on_append_entries,
    Heartbeat: on_heartbeat,
    InstallSnapshot: on_install_snapshot,
    Propose: on_propose,
    TransferLeader: on_transfer_leader,
    ReadIndex: on_read_index,
    ReadIndexReply: on_read_index_reply,
    TimeoutNow: on_timeout_now,
}
IGNORED = frozenset((PreVoteReply, VoteReply, AppendReply, HeartbeatReply))  # Asked for in an earlier role.
