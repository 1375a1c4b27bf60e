"""What a core tells about itself when asked.

Owns the shape of the answer; it is a copy, never a view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from raft.core.progress import Progress
from raft.core.types import ConfState, HardState, Index, NodeId, Role, SoftState

if TYPE_CHECKING:
    from raft.core.raft import Raft


class ProgressStatus(msgspec.Struct, frozen=True):
    """How far a leader knows one peer to be."""

    match: Index
    next: Index
    state: str
    """One of "probe", "replicate" and "snapshot"."""
    is_learner: bool
    paused: bool
    pending_snapshot: Index
    recently_active: bool
    inflight: int
    inflight_full: bool


class Status(msgspec.Struct, frozen=True):
    """A node at one moment. Only a leader knows of progress."""

    id: NodeId
    hard_state: HardState
    soft_state: SoftState
    applied: Index
    first_index: Index
    last_index: Index
    configuration: ConfState
    transferee: NodeId
    progress: dict[NodeId, ProgressStatus]


def status_of(raft: Raft) -> Status:
    """Describe the node as it is now."""
    leads = raft.role is Role.LEADER
    return Status(
        raft.id,
        HardState(raft.term, raft.vote, raft.log.committed),
        SoftState(raft.leader, raft.role),
        raft.log.applied,
        raft.log.first_index(),
        raft.log.last,
        raft.tracker.configuration.conf_state(),
        raft.transferee,
        {node: _describe(peer) for node, peer in raft.tracker.progress.items()} if leads else {},
    )


def _describe(peer: Progress) -> ProgressStatus:
    return ProgressStatus(
        peer.match,
        peer.next,
        peer.state.value,
        peer.is_learner,
        peer.paused(),
        peer.pending_snapshot,
        peer.recently_active,
        len(peer.inflights),
        peer.inflights.full,
    )
