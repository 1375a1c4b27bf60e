"""The lease of a leader: for how long it may answer reads without asking anybody (thesis section 6.4.1).

Owns both sides of the bargain. A voter that answers a heartbeat helps to elect nobody for an election
timeout, counted from when it heard it. The leader counts from when it sent it, and stops sooner. Nothing
is to be remembered about heartbeats under way: they carry the leader's tick, and the answers repeat it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core.config import ReadOnlyOption
from raft.core.types import Role

if TYPE_CHECKING:
    from raft.core.raft import Raft


def holds(raft: Raft) -> bool:
    """Tell, at a leader, whether nobody else can have been elected yet."""
    config = raft.config
    if config.unsafe_as_etcd:
        return config.read_only is ReadOnlyOption.LEASE_BASED
    return raft.ticks - raft.tracker.heard_tick() < raft.lease_ticks


def give_up(raft: Raft) -> None:
    """Have no lease for the rest of the term, however late a request to campaign arrives."""
    raft.lease_ticks = 0


def lapse(raft: Raft) -> None:
    """Take a lease's time as passed; only answers to heartbeats sent from now on begin another one.

    A pledge of one's own is not shortened by that: whom it was given to was succeeded by this leader.
    """
    if raft.role is Role.LEADER:
        raft.ticks += raft.config.lease_ticks


def pledge(raft: Raft) -> None:
    """Promise the leader, whose heartbeat is being answered, to elect nobody else for a while."""
    raft.pledge_tick = raft.ticks


def pledged(raft: Raft) -> bool:
    """Tell whether this node may have promised that, perhaps before it was started."""
    return raft.config.leases and raft.ticks - raft.pledge_tick < raft.config.election_ticks
