"""Linearizable reads at a leader: confirmed by a round of heartbeats, or by a lease (thesis section 6.4).

Owns when a read is answered, held back or sent to a quorum. The queue of requests is read_queue's.
"""

from __future__ import annotations

from raft.core import lease
from raft.core.messages import Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply
from raft.core.progress import REPLICATE, Progress
from raft.core.state import RaftState
from raft.core.types import Index, NodeId, ReadState


def on_read_index(raft: RaftState, message: ReadIndex) -> None:
    """Answer a read as the leader, at once or after a quorum has confirmed that it still leads."""
    if raft.config.unsafe_as_etcd and raft.tracker.is_singleton():
        answer(raft, message, raft.log.committed)
    elif committed_in_current_term(raft):
        confirm_or_answer(raft, message)
    else:
        # Until then the commit index may lag behind what an earlier leader, even this node, has acknowledged.
        raft.held_reads.append(message)


def release_held_reads(raft: RaftState) -> None:
    """Continue the reads that waited for the first commit of the term."""
    if raft.held_reads and committed_in_current_term(raft):
        held, raft.held_reads = raft.held_reads, []
        for message in held:
            confirm_or_answer(raft, message)


def committed_in_current_term(raft: RaftState) -> bool:
    """Tell whether an entry of the leader's own term is committed."""
    return raft.log.matches(raft.log.committed, raft.term)


def confirm_or_answer(raft: RaftState, message: ReadIndex) -> None:
    """Ask a quorum, unless a lease holds or this node is the only voter."""
    # A removed leader may see a configuration of one voter, and that is another node.
    alone = raft.tracker.configuration.voter_ids() == {raft.id}
    if alone or lease.holds(raft):
        answer(raft, message, raft.log.committed)
        return
    read_round = raft.reads.add(message, raft.log.committed)
    raft.reads.acknowledge(read_round, raft.id)
    if raft.config.unsafe_as_etcd or raft.tracker.configuration.joint:
        broadcast_heartbeat(raft, read_round)
    else:
        ask_bare_quorum(raft, read_round)


def ask_bare_quorum(raft: RaftState, read_round: int) -> None:
    """Send a round to as many voters as are needed: those that answer, and answered last.

    Any other answer would be work for nothing. If one of them is silent, the next heartbeat to all members
    repeats the round, and those that answer it are asked from then on.
    """
    progress, acked = raft.tracker.progress, raft.reads.acked_round
    voters = raft.tracker.configuration.voters
    others = [node for node in voters if node != raft.id]
    needed = len(voters) // 2 + (raft.id not in voters)
    if needed < len(others):
        others.sort(key=lambda node: (progress[node].state is not REPLICATE, -acked(node), node))
    if raft.id in progress:
        progress[raft.id].acked_tick = raft.ticks
    for node in others[:needed]:
        send_heartbeat(raft, node, progress[node], read_round)


def on_round_acked(raft: RaftState, message: HeartbeatReply) -> None:
    """Count a heartbeat's reply towards its round."""
    if not message.read_round:
        return
    if raft.reads.acknowledge(message.read_round, message.sender):
        for read in raft.reads.confirmed(raft.tracker.configuration):
            answer(raft, read.request, read.index)


def answer(raft: RaftState, request: ReadIndex, index: Index) -> None:
    """Answer the request, on this node or at the follower that forwarded it."""
    if request.sender == raft.id:
        raft.read_states.append(ReadState(index, request.context))
    else:
        raft.send(ReadIndexReply(raft.id, request.sender, raft.term, index, request.context))


def broadcast_heartbeat(raft: RaftState, read_round: int) -> None:
    """Send each member a heartbeat, with the commit index limited to what its log is known to match."""
    for node, peer in raft.tracker.progress.items():
        if node == raft.id:
            peer.acked_tick = raft.ticks
        else:
            send_heartbeat(raft, node, peer, read_round)


def send_heartbeat(raft: RaftState, node: NodeId, peer: Progress, read_round: int) -> None:
    """Send one heartbeat, which asks for a pledge if this leader uses a lease."""
    commit = min(peer.match, raft.log.committed)
    leases = raft.lease_ticks > 0
    raft.send(Heartbeat(raft.id, node, raft.term, commit, read_round, raft.ticks, leases))
    peer.sent_commit = commit
