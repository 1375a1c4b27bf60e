"""The lease of a leader: how long it may answer reads without asking a quorum (thesis section 6.4.1).

Owns both sides. A voter that answers a heartbeat pledges not to vote for another node for an election
timeout from then on, if the heartbeat asks for that, and its reply says so: only such replies count. The
leader counts from when it sent the heartbeat, and its lease is shorter. It keeps no record of heartbeats in
flight: they carry the leader's tick, and the replies repeat it.

Theory. When a node wins a term, no process holds a lease of an earlier term, or can come to hold one: the
two quorums share a voter, which answered the earlier leader's heartbeat before it voted. It voted for one of
these reasons:

- An election timeout had passed by its clock since the answer. Then the lease had ended, which is shorter
  and began earlier.
- The leader had asked for the election (a transfer). It gave its lease up before that.
- It had applied the removal of that leader, an entry of its own term. A leader holds no lease while there is
  a change of the configuration in its log that it has not applied, and afterwards only as a voter.
- It had pledged itself to a later leader since. When that one won, the earlier one had no lease any more.
- The *process* that it had pledged itself to was proved to have ended (`release`). A lease exists only in the
  memory of that process. The next process of the same node begins as a follower, and without one.

So a pledge is owed to one process, the last that it was given to. A node that starts may owe one that was
given before: it keeps it for an election timeout, unless the caller knows better.
"""

from __future__ import annotations

from raft.core.config import ReadOnlyOption
from raft.core.state import RaftState
from raft.core.types import NO_NODE, NodeId, Role


def holds(raft: RaftState) -> bool:
    """Tell, at a leader, whether no other node can have been elected yet."""
    config = raft.config
    if config.unsafe_as_etcd:
        return config.read_only is ReadOnlyOption.LEASE_BASED
    configuration = raft.tracker.configuration
    if raft.log.applied < raft.pending_conf_index:
        return False  # It may remove this leader, to which those who have applied it owe nothing any more.
    if raft.id not in configuration.voters and raft.id not in configuration.outgoing:
        return False
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


def pledge(raft: RaftState, leader: NodeId) -> None:
    """Note the tick at which a heartbeat is answered: no vote for another node for an election timeout."""
    raft.pledge_tick = raft.ticks
    raft.pledged_to = leader


def pledged(raft: RaftState) -> bool:
    """Tell whether a pledge may still hold, perhaps one given before this start."""
    return raft.ticks - raft.pledge_tick < raft.config.election_ticks


def release(raft: RaftState, node: NodeId) -> None:
    """End a pledge to `node`: the process that it was given to has ended."""
    if raft.pledged_to == node:
        raft.pledge_tick = raft.ticks - raft.config.election_ticks


def release_removed(raft: RaftState) -> None:
    """End a pledge to a node that an entry of this term, applied just now, has removed.

    Not one of an earlier term: that node may have been added again since, and lead.
    """
    if raft.pledged_to != NO_NODE and raft.pledged_to not in raft.tracker.progress:
        release(raft, raft.pledged_to)


def resume(raft: RaftState, node: NodeId, ticks: int) -> None:
    """Owe a pledge to `node` for so many ticks, given before this start; NO_NODE: to an unknown one."""
    raft.pledged_to = node
    raft.pledge_tick = raft.ticks + ticks - raft.config.election_ticks
