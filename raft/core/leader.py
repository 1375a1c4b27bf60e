"""Leaders: they take proposals and acknowledgements, and step down without a quorum.

Owns how a leader handles messages and ticks. Sending is replication's, reads are reads'.
"""

from __future__ import annotations

from raft.core import elections, lease, membership, reads, replication, transitions
from raft.core.errors import MAJORITY_ROLLED_BACK, MajorityRolledBack
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
from raft.core.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from raft.core.state import Handlers, RaftState
from raft.core.types import NO_NODE, NodeId, Role


def tick(raft: RaftState) -> None:
    """Let a tick pass: check the quorum once per election timeout, and send heartbeats."""
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        if raft.config.check_quorum:
            check_quorum(raft)
        # A transfer that took an election timeout has failed: proposals are accepted again.
        raft.transferee = NO_NODE
    if raft.role is Role.LEADER and raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        replication.broadcast_heartbeat(raft)


def check_quorum(raft: RaftState) -> None:
    """Step down unless a quorum was active since the last check (thesis section 6.2).

    Not while a removed leader still replicates its removal: the others may be unable to elect without it.
    """
    if not raft.handover_index and not raft.tracker.quorum_active():
        transitions.become_follower(raft, raft.term, NO_NODE)
    for node, peer in raft.tracker.progress.items():
        if node != raft.id:
            peer.recently_active = False


def on_propose(raft: RaftState, message: Propose) -> None:
    """Append what was proposed; a configuration change that is refused leaves an empty entry."""
    membership.append_proposed(raft, message.entries)


def on_other_leader(raft: RaftState, message: AppendEntries | Heartbeat) -> None:
    """Raise MajorityRolledBack: another node leads the same term, so some member has voted twice in it."""
    if not raft.config.unsafe_as_etcd:
        raise MajorityRolledBack(
            f"node {message.sender} leads term {raft.term}, as this node does: a member has forgotten its "
            f"vote; {MAJORITY_ROLLED_BACK}"
        )


def on_append_reply(raft: RaftState, message: AppendReply) -> None:
    """Learn how far the log of a peer, or this node's disk, has come."""
    node = message.sender
    peer = raft.tracker.progress.get(node)
    if peer is None:
        return
    peer.recently_active = True
    if message.index > raft.log.last and not raft.config.unsafe_as_etcd:
        raise MajorityRolledBack(
            f"node {node} holds entry {message.index}, but the log of this node, which leads term "
            f"{raft.term}, ends at {raft.log.last}: {MAJORITY_ROLLED_BACK}. Node {node} holds more than this"
        )
    if message.rejected:
        _step_back(raft, node, peer, message)
    elif peer.acknowledge(message.index) or (peer.match == message.index and peer.state is PROBE):
        _advance(raft, node, peer)


def _step_back(raft: RaftState, node: NodeId, peer: Progress, message: AppendReply) -> None:
    hint = message.hint_index
    if message.hint_term:
        # The leader's half of the same search: skip entries of a later term than the peer's hint.
        hint, _ = raft.log.find_conflict_by_term(hint, message.hint_term)
    if peer.reject(message.index, hint):
        if peer.state is REPLICATE:
            peer.become_probe()
        replication.send_append(raft, node, peer)


def _advance(raft: RaftState, node: NodeId, peer: Progress) -> None:
    """After an acknowledgement: commit, send more, and complete a transfer."""
    if peer.state is REPLICATE:
        peer.inflights.free_up_to(peer.match)
    elif peer.state is PROBE:
        peer.become_replicate()
    elif peer.match + 1 >= raft.log.first_index():
        # Whichever snapshot the peer has restored, the log continues from there.
        peer.become_probe()
        peer.become_replicate()
    remote = node != raft.id
    # Also for an index committed long ago: a leader that was removed since needs fewer acknowledgements.
    if replication.try_commit(raft):
        if raft.held_reads:
            reads.release_held_reads(raft)
        replication.broadcast_append(raft)
    elif remote and peer.can_bump_commit(raft.log.committed):
        replication.send_append(raft, node, peer)
    if remote:
        while peer.next <= raft.log.last and replication.send_append(raft, node, peer, even_if_empty=False):
            pass
        if node == raft.transferee and peer.match == raft.log.last:
            ask_to_campaign(raft, node)


def on_heartbeat_reply(raft: RaftState, message: HeartbeatReply) -> None:
    """Send more to a peer that is behind, and count the reply towards pending reads."""
    peer = raft.tracker.progress.get(message.sender)
    if peer is None:
        return
    peer.recently_active = True
    peer.flow_paused = False
    if message.pledged:
        peer.acked_tick = max(peer.acked_tick, message.sent_tick)
    if peer.match < raft.log.last or peer.state is PROBE:
        replication.send_append(raft, message.sender, peer)
    reads.on_round_acked(raft, message)


def on_transfer_leader(raft: RaftState, message: TransferLeader) -> None:
    """Start a transfer; see `transfer`."""
    transfer(raft, message.transferee)


def transfer(raft: RaftState, transferee: NodeId) -> None:
    """Take no more proposals, bring a voter up to date and let it campaign (thesis section 3.10)."""
    peer = raft.tracker.progress.get(transferee)
    if peer is None or peer.is_learner or transferee == raft.transferee:
        return
    raft.transferee = NO_NODE
    if transferee == raft.id:
        return
    raft.election_elapsed = 0  # The transfer has one election timeout.
    raft.transferee = transferee
    if peer.match == raft.log.last:
        ask_to_campaign(raft, transferee)
    else:
        replication.send_append(raft, transferee, peer)


def ask_to_campaign(raft: RaftState, node: NodeId) -> None:
    """Let a peer campaign at once. Voters ignore the lease for it, so the lease no longer protects reads."""
    lease.give_up(raft)
    raft.send(TimeoutNow(raft.id, node, raft.term))


def report_unreachable(raft: RaftState, node: NodeId) -> None:
    """Stop pipelining: appends were probably lost."""
    peer = raft.tracker.progress.get(node)
    if peer is not None and peer.state is REPLICATE:
        peer.become_probe()
    if raft.reads.last_pending_round() and not raft.config.unsafe_as_etcd:
        replication.broadcast_heartbeat(raft)  # It may be this node that was asked to confirm a read.


def report_reachable(raft: RaftState, node: NodeId) -> None:
    """Probe at once the log of a peer that was unreachable."""
    peer = raft.tracker.progress.get(node)
    if peer is not None and peer.state is not SNAPSHOT and node != raft.id:
        if peer.state is REPLICATE:
            peer.become_probe()
        peer.flow_paused = False
        replication.send_append(raft, node, peer)


def report_snapshot(raft: RaftState, node: NodeId, *, ok: bool) -> None:
    """Continue after the snapshot, or from before it if it failed, after the peer's next reply."""
    peer = raft.tracker.progress.get(node)
    if peer is not None and peer.state is SNAPSHOT:
        if not ok:
            peer.pending_snapshot = 0
        peer.become_probe()
        peer.flow_paused = True


HANDLERS: Handlers = {
    **elections.EVERY_ROLE,
    Propose: on_propose,
    AppendReply: on_append_reply,
    HeartbeatReply: on_heartbeat_reply,
    TransferLeader: on_transfer_leader,
    ReadIndex: reads.on_read_index,
    AppendEntries: on_other_leader,
    Heartbeat: on_other_leader,
}
IGNORED = frozenset(
    (
        InstallSnapshot,  # From an earlier leader.
        PreVoteReply,  # This node won already.
        VoteReply,
        TimeoutNow,
        ReadIndexReply,  # A leader asks no other node.
    )
)
