"""The changes of role. Nobody else writes `role`.

Owns what is reset when the role or the term changes. Knows nothing of why it changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core import replication, trace
from raft.core.reads import ReadQueue
from raft.core.types import NO_NODE, Entry, NodeId, Role, Term

if TYPE_CHECKING:
    from raft.core.raft import Raft


def become_follower(raft: Raft, term: Term, leader_id: NodeId) -> None:
    """Follow in `term`, under a leader if one is known."""
    assert term >= raft.term, f"the term would move back from {raft.term} to {term}"
    _reset(raft, term)
    raft.leader = leader_id
    raft.role = Role.FOLLOWER
    raft.take_up_role()
    raft.notify(trace.BECOME_FOLLOWER)


def become_pre_candidate(raft: Raft) -> None:
    """Ask for votes without opening a term: neither term nor vote changes (thesis section 9.6)."""
    assert raft.role is not Role.LEADER, "a leader has no need to campaign"
    raft.tracker.votes = {}
    raft.leader = NO_NODE
    raft.role = Role.PRE_CANDIDATE
    raft.take_up_role()


def become_candidate(raft: Raft) -> None:
    """Open a new term and vote for oneself in it."""
    assert raft.role is not Role.LEADER, "a leader has no need to campaign"
    _reset(raft, raft.term + 1)
    raft.vote = raft.id
    raft.role = Role.CANDIDATE
    raft.take_up_role()
    raft.notify(trace.BECOME_CANDIDATE)


def become_leader(raft: Raft) -> None:
    """Lead the current term, and append its first entry."""
    assert raft.role is Role.CANDIDATE, f"only a candidate can win, not a {raft.role.value}"
    _reset(raft, raft.term)
    raft.leader = raft.id
    raft.role = Role.LEADER
    raft.take_up_role()
    own = raft.tracker.progress[raft.id]
    own.become_replicate()
    own.recently_active = True
    # Any entry in the log may be a change not applied yet: no new one before all of them are.
    raft.pending_conf_index = raft.log.last
    raft.notify(trace.BECOME_LEADER)
    # Only an entry of its own term lets a leader commit those before it (thesis section 3.6.2).
    replication.append_to_log(raft, [Entry(raft.term, raft.log.last + 1)])


def draw_timeout_ticks(raft: Raft) -> int:
    """Return a wait within the election timeout, and one more for each step of priority below 0."""
    base = raft.config.election_ticks
    return base * (1 - raft.config.priority) + raft.random.randrange(raft.config.election_ticks_drawn)


def _reset(raft: Raft, term: Term) -> None:
    if raft.term != term:
        raft.term = term
        raft.vote = NO_NODE
    raft.leader = NO_NODE
    raft.election_elapsed = 0
    raft.heartbeat_elapsed = 0
    # A fresh draw per term, or two rivals who tied once tie for ever (thesis section 3.4).
    raft.randomized_election_ticks = draw_timeout_ticks(raft)
    raft.transferee = NO_NODE
    raft.tracker.reset(raft.log.last, raft.id)
    raft.pending_conf_index = 0
    raft.handover_index = 0
    raft.uncommitted_size = 0
    raft.reads = ReadQueue()
    if not raft.config.unsafe_as_etcd:
        raft.held_reads = []  # Those who asked will ask again.
    raft.lease_ticks = raft.config.lease_ticks
