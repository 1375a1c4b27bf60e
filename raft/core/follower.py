"""A node that follows: it takes what the leader sends, and passes on what is the leader's to do.

Owns the answers to appends, heartbeats and snapshots. Knows nothing of progress or quorums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from raft.core import elections, every_role, lease, membership
from raft.core.errors import MAJORITY_ROLLED_BACK, BrokenPromise, ProposalDropped
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
from raft.core.types import NO_NODE, NodeId, ReadState

if TYPE_CHECKING:
    from raft.core.raft import Raft


def on_append_entries(raft: Raft, message: AppendEntries) -> None:
    """Hear the leader, and take its entries."""
    raft.election_elapsed = 0
    if raft.leader != message.sender:
        _meet_leader(raft, message.sender)
    accept_entries(raft, message)


def on_heartbeat(raft: Raft, message: Heartbeat) -> None:
    """Hear the leader."""
    raft.election_elapsed = 0
    if raft.leader != message.sender:
        _meet_leader(raft, message.sender)
    accept_heartbeat(raft, message)


def on_install_snapshot(raft: Raft, message: InstallSnapshot) -> None:
    """Hear the leader, and take its snapshot."""
    raft.election_elapsed = 0
    if raft.leader != message.sender:
        _meet_leader(raft, message.sender)
    accept_snapshot(raft, message)


def _meet_leader(raft: Raft, leader: NodeId) -> None:
    """Follow it from now on. Raises BrokenPromise if another one has led this term before."""
    if raft.leader != NO_NODE and not raft.config.unsafe_as_etcd:
        raise BrokenPromise(
            f"node {leader} leads term {raft.term}, in which this node follows node {raft.leader}: a member "
            f"has forgotten its vote; {MAJORITY_ROLLED_BACK}. This node holds what was committed up to "
            f"{raft.log.committed}"
        )
    raft.leader = leader


def accept_entries(raft: Raft, message: AppendEntries) -> None:
    """Append if the logs match, else say where they may."""
    log, entries, previous = raft.log, message.entries, message.previous_index
    if previous < log.committed:
        if not raft.config.unsafe_as_etcd:
            _check_agrees(raft, message)
        reply = AppendReply(raft.id, message.sender, raft.term, log.committed)
    elif entries and not entries[0].index == previous + 1 == entries[-1].index + 1 - len(entries):
        return  # Not what any leader sends.
    elif log.try_append(previous, message.previous_term, message.commit, entries):
        reply = AppendReply(raft.id, message.sender, raft.term, previous + len(entries))
    else:
        # Whatever here is of a later term than the leader's entry was never agreed on: skip it all.
        hint = log.find_conflict_by_term(min(previous, log.last), message.previous_term)
        reply = AppendReply(raft.id, message.sender, raft.term, previous, True, *hint)
    raft.send_when_durable(reply)


def _check_agrees(raft: Raft, message: AppendEntries) -> None:
    """Raise BrokenPromise if the leader's log has something else where this one is committed."""
    log = raft.log
    claims = [(message.previous_index, message.previous_term)]
    claims += [(entry.index, entry.term) for entry in message.entries]
    for index, term in claims:
        if log.contradicts(index, term):
            raise BrokenPromise(
                f"leader {message.sender} of term {raft.term} has an entry of term {term} at {index}, where "
                f"this node has committed one of term {log.term(index)}: {MAJORITY_ROLLED_BACK}. This node "
                f"holds what was committed up to {log.committed}"
            )


def accept_heartbeat(raft: Raft, message: Heartbeat) -> None:
    """Learn the commit index. The leader sends no more of it than it knows this log to match."""
    raft.log.commit_to(message.commit)
    lease.pledge(raft)
    reply = HeartbeatReply(raft.id, message.sender, raft.term, message.read_round, message.sent_tick)
    raft.send(reply)


def accept_snapshot(raft: Raft, message: InstallSnapshot) -> None:
    """Replace the log by the snapshot, unless the log already holds as much."""
    restored = membership.restore(raft, message.snapshot)
    index = raft.log.last if restored else raft.log.committed
    raft.send_when_durable(AppendReply(raft.id, message.sender, raft.term, index))


def on_propose(raft: Raft, message: Propose) -> None:
    """Pass the proposal on to the leader."""
    if raft.leader == NO_NODE:
        raise ProposalDropped("no leader is known")
    if raft.config.disable_proposal_forwarding:
        raise ProposalDropped(f"node {raft.leader} leads, and proposals are not forwarded")
    raft.send(msgspec.structs.replace(message, to=raft.leader))


def on_transfer_leader(raft: Raft, message: TransferLeader) -> None:
    """Pass the request on to the leader."""
    if raft.leader != NO_NODE:
        raft.send(msgspec.structs.replace(message, to=raft.leader, term=raft.term))


def on_read_index(raft: Raft, message: ReadIndex) -> None:
    """Pass the request on to the leader."""
    if raft.leader != NO_NODE:
        raft.send(msgspec.structs.replace(message, to=raft.leader))


def on_read_index_reply(raft: Raft, message: ReadIndexReply) -> None:
    """Hand the confirmed read out."""
    raft.read_states.append(ReadState(message.index, message.context))


def on_timeout_now(raft: Raft, _message: TimeoutNow) -> None:
    """Campaign for the leader that wants to be relieved."""
    elections.hup(raft, transfer=True)


HANDLERS: every_role.Handlers = {
    **every_role.HANDLERS,
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
