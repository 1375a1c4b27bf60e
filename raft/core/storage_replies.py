"""What follows when storage reports that something is durable or applied.

Owns the handlers of both storage replies, which are the same in every role. A leader that has applied a
joint configuration proposes to leave it here.
"""

from __future__ import annotations

from contextlib import suppress

from raft.core import membership, proposals
from raft.core.errors import ProposalDropped
from raft.core.messages import StorageAppendReply, StorageApplyReply
from raft.core.state import RaftState
from raft.core.types import Entry, EntryKind, Index, Role, Snapshot, entries_size, payload_size


def on_storage_append_reply(raft: RaftState, message: StorageAppendReply) -> None:
    """Note what is durable."""
    if message.last_index:
        raft.log.stable_to(message.last_index, message.last_term)
    if message.snapshot is not None:
        snapshot_saved(raft, message.snapshot)


def on_storage_apply_reply(raft: RaftState, message: StorageApplyReply) -> None:
    """Note what has been applied."""
    entries = message.entries
    if not entries:
        return
    applied_to(raft, entries[-1].index, entries_size(entries))
    if raft.uncommitted_size:
        raft.uncommitted_size = max(0, raft.uncommitted_size - payload_size(entries))


def snapshot_saved(raft: RaftState, snapshot: Snapshot) -> None:
    """Note that a received snapshot is durable and restored."""
    raft.log.stable_snapshot_to(snapshot.index)
    applied_to(raft, snapshot.index, 0)


def applied_to(raft: RaftState, index: Index, size_bytes: int) -> None:
    """Note what has been applied, and leave a joint configuration that is left automatically."""
    log = raft.log
    if index < log.applied:
        index = log.applied
    log.applied_to(index, size_bytes)
    if 0 < raft.handover_index <= index:
        membership.quorum_knows_of_removal(raft)
    auto_leave = raft.tracker.configuration.auto_leave
    if auto_leave and index >= raft.pending_conf_index and raft.role is Role.LEADER:
        # During a transfer it is dropped; the next leader tries again.
        with suppress(ProposalDropped):
            proposals.append_proposed(raft, [Entry(0, 0, EntryKind.CONF_CHANGE_V2)])
