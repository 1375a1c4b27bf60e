"""The lease of a leader: how long it may answer reads without asking a quorum (thesis section 6.4.1).

Owns both sides. A voter that answers a heartbeat pledges not to vote for another node for an election
timeout from then on. The leader counts from when it sent the heartbeat, and its lease is shorter. It keeps
no record of heartbeats in flight: they carry the leader's tick, and the replies repeat it.
"""

from __future__ import annotations

from raft.core.config import ReadOnlyOption
from raft.core.state import RaftState
from raft.core.types import Role


def holds(raft: RaftState) -> bool:
    """Tell, at a leader, whether no other node can have been elected yet."""
    config = raft.config
    if config.unsafe_as_etcd:
        return config.read_only is ReadOnlyOption.LEASE_BASED
    return raft.ticks - raft.tracker.acked_tick() < raft.lease_ticks


def give_up(raft: RaftState) -> None:
    """Hold no lease for the rest of the term: a request to campaign may arrive late."""
    raft.lease_ticks = 0


def expire(raft: RaftState) -> None:
    """End the lease; only replies to heartbeats sent from now on begin another one.

    This moves the clock, but shortens no pledge that matters: this node leads now, so the leader that it
    had given its pledge to does not.
    """
    if raft.role is Role.LEADER:
        raft.ticks += raft.config.lease_ticks


def pledge(raft: RaftState) -> None:
    """Note the tick at which a heartbeat is answered: no vote for another node for an election timeout."""
    raft.pledge_tick = raft.ticks


def pledged(raft: RaftState) -> bool:
    """Tell whether a pledge may still hold, perhaps one given before this start."""
    return raft.config.leases and raft.ticks - raft.pledge_tick < raft.config.election_ticks
