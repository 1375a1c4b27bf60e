"""A node that leads: it takes proposals, hears acknowledgements and watches over its quorum.

Owns what a leader answers. Sending is replication's, the reads that wait for a quorum are reads'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core import every_role, lease, membership, reads, replication, transitions
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
from raft.core.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from raft.core.types import NO_LIMIT, NO_NODE, Entry, EntryKind, NodeId, Role, payload_size

if TYPE_CHECKING:
    from raft.core.raft import Raft


def tick(raft: Raft) -> None:
    """Let a tick pass: check the quorum once per election timeout, and send heartbeats."""
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        if raft.config.check_quorum:
            check_quorum(raft)
        # A transfer that took so long has failed: proposals are welcome again.
        raft.transferee = NO_NODE
    if raft.role is Role.LEADER and raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        replication.broadcast_heartbeat(raft)


def check_quorum(raft: Raft) -> None:
    """Step down unless a quorum was heard since the last check (thesis section 6.2).

    Not while it is to tell the others that it was removed: without it they may be unable to elect.
    """
    if not raft.handover_index and not raft.tracker.quorum_active():
        transitions.become_follower(raft, raft.term, NO_NODE)
    for node, peer in raft.tracker.progress.items():
        if node != raft.id:
            peer.recently_active = False


def on_propose(raft: Raft, message: Propose) -> None:
    """Append what was proposed; a configuration change that is refused leaves an empty entry."""
    check_accepting(raft)
    entries = message.entries
    if any(entry.kind is not EntryKind.NORMAL for entry in entries):
        entries = membership.screen(raft, entries)
    term, following = raft.term, raft.log.last + 1
    append_accepted(
        raft, [Entry(term, following + i, entry.kind, entry.data) for i, entry in enumerate(entries)]
    )


def on_rival(raft: Raft, message: AppendEntries | Heartbeat) -> None:
    """Raise BrokenPromise: another node leads the same term, so some member has voted twice in it."""
    if not raft.config.unsafe_as_etcd:
        raise BrokenPromise(
            f"node {message.sender} leads term {raft.term}, as this node does: a member has forgotten its "
            f"vote; {MAJORITY_ROLLED_BACK}"
        )


def check_accepting(raft: Raft) -> None:
    """Raise ProposalDropped while this leader takes no proposals."""
    if raft.transferee != NO_NODE:
        raise ProposalDropped(f"leadership is being transferred to node {raft.transferee}")
    if raft.id not in raft.tracker.progress:
        raise ProposalDropped("this leader is no longer a member")


def append_accepted(raft: Raft, entries: list[Entry]) -> None:
    """Append entries that have their places, and send them; raises ProposalDropped if that is too much."""
    limit = raft.config.uncommitted_size_max
    if limit < NO_LIMIT:
        size = payload_size(entries)
        # One that is larger than the limit alone is let through, or it never could be.
        if size and raft.uncommitted_size and raft.uncommitted_size + size > limit:
            raise ProposalDropped(f"{raft.uncommitted_size} bytes of proposals are not applied yet")
        raft.uncommitted_size += size
    replication.append_to_log(raft, entries)
    replication.broadcast_append(raft)


def on_append_reply(raft: Raft, message: AppendReply) -> None:
    """Learn how far a peer, or our own disk, has come."""
    node = message.sender
    peer = raft.tracker.progress.get(node)
    if peer is None:
        return
    peer.recently_active = True
    if message.index > raft.log.last and not raft.config.unsafe_as_etcd:
        raise BrokenPromise(
            f"node {node} holds entry {message.index}, but the log of this node, which leads term "
            f"{raft.term}, ends at {raft.log.last}: {MAJORITY_ROLLED_BACK}. Node {node} holds more than this"
        )
    if message.rejected:
        _step_back(raft, node, peer, message)
    elif peer.acknowledge(message.index) or (peer.match == message.index and peer.state is PROBE):
        _advance(raft, node, peer)


def _step_back(raft: Raft, node: NodeId, peer: Progress, message: AppendReply) -> None:
    hint = message.hint_index
    if message.hint_term:
        # Our side of the same search: skip all that is of a later term than the peer's hint.
        hint, _ = raft.log.find_conflict_by_term(hint, message.hint_term)
    if peer.reject(message.index, hint):
        if peer.state is REPLICATE:
            peer.become_probe()
        replication.send_append(raft, node, peer)


def _advance(raft: Raft, node: NodeId, peer: Progress) -> None:
    """Use what an acknowledgement made possible: commit, send more, hand over."""
    if peer.state is REPLICATE:
        peer.inflights.free_up_to(peer.match)
    elif peer.state is PROBE:
        peer.become_replicate()
    elif peer.match + 1 >= raft.log.first_index():
        # Whatever snapshot it took: the log can go on from there.
        peer.become_probe()
        peer.become_replicate()
    remote = node != raft.id
    # Also for an index committed long ago: a leader that was removed since needs fewer acknowledgements.
    if replication.try_commit(raft):
        reads.release_held_reads(raft)
        replication.broadcast_append(raft)
    elif remote and peer.can_bump_commit(raft.log.committed):
        replication.send_append(raft, node, peer)
    if remote:
        while peer.next <= raft.log.last and replication.send_append(raft, node, peer, even_if_empty=False):
            pass
        if node == raft.transferee and peer.match == raft.log.last:
            ask_to_campaign(raft, node)


def on_heartbeat_reply(raft: Raft, message: HeartbeatReply) -> None:
    """Send on to a peer that is behind, and count the reply towards the reads that wait."""
    peer = raft.tracker.progress.get(message.sender)
    if peer is None:
        return
    peer.recently_active = True
    peer.flow_paused = False
    peer.heard_tick = max(peer.heard_tick, message.sent_tick)
    if peer.match < raft.log.last or peer.state is PROBE:
        replication.send_append(raft, message.sender, peer)
    reads.on_round_heard(raft, message)


def on_transfer_leader(raft: Raft, message: TransferLeader) -> None:
    """Start to hand over; see `transfer`."""
    transfer(raft, message.transferee)


def transfer(raft: Raft, transferee: NodeId) -> None:
    """Take no more proposals, bring a voter up to date and let it campaign (thesis section 3.10)."""
    peer = raft.tracker.progress.get(transferee)
    if peer is None or peer.is_learner or transferee == raft.transferee:
        return
    raft.transferee = NO_NODE
    if transferee == raft.id:
        return
    raft.election_elapsed = 0  # It has one election timeout.
    raft.transferee = transferee
    if peer.match == raft.log.last:
        ask_to_campaign(raft, transferee)
    else:
        replication.send_append(raft, transferee, peer)


def ask_to_campaign(raft: Raft, node: NodeId) -> None:
    """Let a peer campaign at once. Its votes ignore the lease, so the lease protects no read any more."""
    lease.give_up(raft)
    raft.send(TimeoutNow(raft.id, node, raft.term))


def report_unreachable(raft: Raft, node: NodeId) -> None:
    """Stop sending optimistically: appends were probably lost."""
    peer = raft.tracker.progress.get(node)
    if peer is not None and peer.state is REPLICATE:
        peer.become_probe()


def report_reachable(raft: Raft, node: NodeId) -> None:
    """Look at once where a peer's log stands that was away."""
    peer = raft.tracker.progress.get(node)
    if peer is not None and peer.state is not SNAPSHOT and node != raft.id:
        if peer.state is REPLICATE:
            peer.become_probe()
        peer.flow_paused = False
        replication.send_append(raft, node, peer)


def report_snapshot(raft: Raft, node: NodeId, *, ok: bool) -> None:
    """Go on after a snapshot, or from before it, once the peer is heard of again."""
    peer = raft.tracker.progress.get(node)
    if peer is not None and peer.state is SNAPSHOT:
        if not ok:
            peer.pending_snapshot = 0
        peer.become_probe()
        peer.flow_paused = True


HANDLERS: every_role.Handlers = {
    **every_role.HANDLERS,
    Propose: on_propose,
    AppendReply: on_append_reply,
    HeartbeatReply: on_heartbeat_reply,
    TransferLeader: on_transfer_leader,
    ReadIndex: reads.on_read_index,
    AppendEntries: on_rival,
    Heartbeat: on_rival,
}
IGNORED = frozenset(
    (
        InstallSnapshot,  # Of another leader's, or of one before,
        PreVoteReply,  # this node won already,
        VoteReply,
        TimeoutNow,
        ReadIndexReply,  # and asks nobody but itself.
    )
)
