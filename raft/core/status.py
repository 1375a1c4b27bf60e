"""The status of a core.

Owns its shape. A status is a copy, never a view.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from raft.core.log import Log
from raft.core.progress import Progress
from raft.core.state import RaftState
from raft.core.types import ConfState, HardState, Index, NodeId, Role, SoftState, Term


class ProgressStatus(msgspec.Struct, frozen=True):
    """The progress of one peer, as its leader knows it."""

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
    """A node at one moment. Only a leader has progress."""

    id: NodeId
    hard_state: HardState
    soft_state: SoftState
    applied: Index
    first_index: Index
    last_index: Index
    configuration: ConfState
    transferee: NodeId
    progress: dict[NodeId, ProgressStatus]


def status_of(raft: RaftState) -> Status:
    """Return the status of the node."""
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


def log_terms(log: Log, entries_max: int) -> list[tuple[Index, Term]]:
    """The terms of the last `entries_max` entries: each run of equal terms by its first index and its term.

    Terms never fall along a log, so each run is found by bisection.
    """
    low, high = max(log.first_index(), log.last - entries_max + 1), log.last
    runs: list[tuple[Index, Term]] = []
    while high >= low:
        term = log.term(high)
        start = low + bisect_left(range(low, high + 1), term, key=log.term)
        runs.append((start, term))
        high = start - 1
    return runs[::-1]


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
