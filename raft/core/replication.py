"""How a leader takes proposals into its log, replicates it, and computes what is committed.

Owns the checks of proposals, and the sending of appends, snapshots and heartbeats within the limits of each
peer's progress. Which changes of the configuration may enter the log is membership's.
"""

from __future__ import annotations

from raft.core import reads, trace
from raft.core.errors import (
    BrokenStorage,
    Compacted,
    ProposalDropped,
    SnapshotTemporarilyUnavailable,
    Unavailable,
)
from raft.core.messages import AppendEntries, AppendReply, InstallSnapshot
from raft.core.progress import PROBE, SNAPSHOT, Progress
from raft.core.state import RaftState
from raft.core.types import NO_NODE, Entry, EntryKind, NodeId, Size, measure


def check_accepting(raft: RaftState) -> None:
    """Raise ProposalDropped while this leader takes no proposals."""
    if raft.transferee != NO_NODE:
        raise ProposalDropped(f"leadership is being transferred to node {raft.transferee}")
    if raft.id not in raft.tracker.progress:
        raise ProposalDropped("this leader is no longer a member")


def append_accepted(raft: RaftState, entries: list[Entry]) -> None:
    """Append entries with index and term, and send them; raises ProposalDropped above the size limit."""
    limit, size = raft.config.max_uncommitted_size, measure(entries)
    if limit:
        payload = size.payload
        # With nothing uncommitted, an entry larger than the limit is let through, or it never could be.
        if payload and raft.uncommitted_size and raft.uncommitted_size + payload > limit:
            raise ProposalDropped(f"{raft.uncommitted_size} bytes of proposals are not applied yet")
        raft.uncommitted_size += payload
    append_to_log(raft, entries, size)
    broadcast_append(raft)


def append_to_log(raft: RaftState, entries: list[Entry], size: Size | None = None) -> None:
    """Append as the leader, which acknowledges the entries to itself once they are durable."""
    if raft.observer is not None:
        for entry in entries:
            if entry.kind is EntryKind.NORMAL:
                raft.notify(trace.REPLICATE)
    raft.log.append(entries, size)
    if raft.id in raft.tracker.progress or raft.config.unsafe_as_etcd:
        raft.send_when_durable(AppendReply(raft.id, raft.id, raft.term, raft.log.last))


def broadcast_append(raft: RaftState) -> None:
    """Send each peer the entries that it lacks, or an empty append."""
    own = raft.id
    for node, peer in raft.tracker.progress.items():
        if node != own:
            send_append(raft, node, peer)


def send_append(raft: RaftState, node: NodeId, peer: Progress, *, even_if_empty: bool = True) -> bool:
    """Send one append, or a snapshot if the log no longer reaches back; False if nothing was sent."""
    if peer.flow_paused or peer.state is SNAPSHOT:
        return peer.state is PROBE and _add_to_unsent(raft, node, peer)
    log = raft.log
    previous = peer.next - 1
    entries: list[Entry] = []
    try:
        previous_term = log.term(previous)
        # With a full window only empty appends are sent: if all in it were lost, their rejection shows it.
        if previous < log.last and not peer.inflights.full:
            entries = log.slice(peer.next, log.last + 1, raft.config.max_size_per_msg)
    except (Compacted, Unavailable):
        return _send_snapshot(raft, node, peer)
    if not entries and not even_if_empty:
        return False
    commit = log.committed
    raft.send(AppendEntries(raft.id, node, raft.term, previous_term, previous, commit, entries))
    if entries:
        payload = log.size_of(entries).payload if raft.config.max_inflight_bytes else 0
        peer.sent_entries(len(entries), payload)
    else:
        peer.sent_empty()
    peer.sent_commit = commit
    return True


def _add_to_unsent(raft: RaftState, node: NodeId, peer: Progress) -> bool:
    """Put new entries into the peer's probe if it was not handed out yet; False if there is none.

    So a new leader's first append has the commands that waited for it, besides its own first entry.
    """
    if raft.config.unsafe_as_etcd or raft.observer is not None or peer.next < raft.log.offset:
        return False
    for message in raft.messages:
        if type(message) is not AppendEntries or (message.to, message.term) != (node, raft.term):
            continue
        if message.previous_index == peer.next - 1:
            message.entries = raft.log.slice(peer.next, raft.log.last + 1, raft.config.max_size_per_msg)
            return True
    return False


def _send_snapshot(raft: RaftState, node: NodeId, peer: Progress) -> bool:
    if not peer.recently_active:
        return False
    try:
        snapshot = raft.log.snapshot()
    except SnapshotTemporarilyUnavailable:
        return False
    if snapshot.index == 0:
        raise BrokenStorage("entries are compacted away, and there is no snapshot that covers them")
    peer.become_snapshot(snapshot.index)
    raft.send(InstallSnapshot(raft.id, node, raft.term, snapshot))
    return True


def try_commit(raft: RaftState) -> bool:
    """Commit what a quorum holds; an entry of an earlier term only along with one of the current term.

    Counting replicas is not enough for an entry of an earlier term (thesis section 3.6.2, figure 3.7).
    """
    log, advanced = raft.log, False
    if log.committed < log.last:
        index = raft.tracker.committed()
        advanced = index > log.committed and log.matches(index, raft.term)
        if advanced:
            log.commit_to(index)
    if raft.observer is not None:
        raft.notify(trace.COMMIT)
    return advanced


def broadcast_heartbeat(raft: RaftState) -> None:
    """Send each peer a heartbeat, which also repeats the round of pending reads."""
    reads.broadcast_heartbeat(raft, raft.reads.last_pending_round())
