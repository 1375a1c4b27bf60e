"""The changes of role. No other module writes `role`.

Owns what is reset when the role or the term changes. Knows nothing of why they change.
"""

from __future__ import annotations

from raft.core import replication, trace
from raft.core.read_queue import ReadQueue
from raft.core.state import RaftState
from raft.core.types import NO_NODE, Entry, NodeId, Role, Term


def become_follower(raft: RaftState, term: Term, leader_id: NodeId) -> None:
    """Follow in `term`, under a leader if one is known."""
    assert term >= raft.term, f"the term would move back from {raft.term} to {term}"
    _reset(raft, term)
    raft.leader = leader_id
    raft.role = Role.FOLLOWER
    raft.use_role_tables()
    raft.notify(trace.BECOME_FOLLOWER)


def become_pre_candidate(raft: RaftState) -> None:
    """Ask for votes without a new term: neither term nor vote changes (thesis section 9.6)."""
    assert raft.role is not Role.LEADER, "a leader does not campaign"
    raft.tracker.votes = {}
    raft.leader = NO_NODE
    raft.role = Role.PRE_CANDIDATE
    raft.use_role_tables()


def become_candidate(raft: RaftState) -> None:
    """Begin a new term, and vote for this node in it."""
    assert raft.role is not Role.LEADER, "a leader does not campaign"
    _reset(raft, raft.term + 1)
    raft.vote = raft.id
    raft.role = Role.CANDIDATE
    raft.use_role_tables()
    raft.notify(trace.BECOME_CANDIDATE)


def become_leader(raft: RaftState) -> None:
    """Lead the current term, and append its first entry."""
    assert raft.role is Role.CANDIDATE, f"only a candidate can win, not a {raft.role.value}"
    _reset(raft, raft.term)
    raft.leader = raft.id
    raft.role = Role.LEADER
    raft.use_role_tables()
    own = raft.tracker.progress[raft.id]
    own.become_replicate()
    own.recently_active = True
    # Any entry in the log may be a configuration change: accept a new one only after all are applied.
    raft.pending_conf_index = raft.log.last
    raft.notify(trace.BECOME_LEADER)
    # Only an entry of its own term lets a leader commit those before it (thesis section 3.6.2).
    replication.append_to_log(raft, [Entry(raft.term, raft.log.last + 1)])


def draw_timeout_ticks(raft: RaftState) -> int:
    """Return a random election timeout; each step of priority below 0 adds one timeout."""
    base = raft.config.election_ticks
    return base * (1 - raft.config.priority) + raft.random.randrange(raft.config.election_ticks_drawn)


def _reset(raft: RaftState, term: Term) -> None:
    if raft.term != term:
        raft.term = term
        raft.vote = NO_NODE
    raft.leader = NO_NODE
    raft.election_elapsed = 0
    raft.heartbeat_elapsed = 0
    # Drawn anew per term, or two candidates that tied once tie forever (thesis section 3.4).
    raft.randomized_election_ticks = draw_timeout_ticks(raft)
    raft.transferee = NO_NODE
    raft.tracker.reset(raft.log.last, raft.id)
    raft.pending_conf_index = 0
    raft.handover_index = 0
    raft.uncommitted_size = 0
    raft.reads = ReadQueue()
    if not raft.config.unsafe_as_etcd:
        raft.held_reads = []  # The clients ask again.
    raft.lease_ticks = raft.config.lease_ticks
