"""The invariants of one node after every step, and of all nodes at any time.

Owns the checks of the thesis's figure 3.2, for tests and simulators. They change nothing, and raise
AssertionError with the numbers that disagree. Too slow for production.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

from raft.core.confchange import check_members
from raft.core.progress import REPLICATE, SNAPSHOT
from raft.core.state import RaftState
from raft.core.types import NO_LIMIT, NO_NODE, Entry, EntryKind, Index, NodeId, Role, Term

Content = tuple[Term, EntryKind, bytes]


def check(raft: RaftState, *, members: bool = True) -> None:
    """Check what one node can see of itself; without `members`, they are those of the last check."""
    _check_log(raft)
    _check_role(raft)
    if members:
        check_members(raft.tracker.configuration, raft.tracker.progress)
    for node, peer in raft.tracker.progress.items():
        assert peer.match < peer.next, f"{node}: match {peer.match} is not below next {peer.next}"
        assert not len(peer.inflights) or peer.state is REPLICATE, (
            f"{node}: appends in flight in {peer.state}"
        )
        assert not peer.pending_snapshot or peer.state is SNAPSHOT, f"{node}: a snapshot in {peer.state}"


def _check_log(raft: RaftState) -> None:
    log = raft.log
    assert log.applied <= log.applying, f"applied {log.applied} is past applying {log.applying}"
    assert log.applying <= log.committed, f"applying {log.applying} is past commit {log.committed}"
    assert log.committed <= log.last, f"commit {log.committed} is past the end {log.last}"
    assert log.offset <= log.offset_in_progress, f"{log.offset_in_progress} is written before {log.offset}"
    assert log.offset_in_progress <= log.last + 1, f"{log.offset_in_progress} is past the end {log.last}"
    assert len(log.unstable) == log.last + 1 - log.offset, f"{len(log.unstable)} entries from {log.offset}"
    for index, entry in enumerate(log.unstable, log.offset):
        assert entry.index == index, f"entry {entry.index} stands at {index}"
        assert entry.term <= raft.term, f"{entry} is of a term after {raft.term}"
        assert log.term(index) == entry.term, f"{index} is of term {entry.term}, not {log.term(index)}"
    for before, after in pairwise(log.unstable):
        assert before.term <= after.term, f"terms go back from {before} to {after}"


def _check_role(raft: RaftState) -> None:
    own = raft.tracker.progress.get(raft.id)
    if raft.role is Role.LEADER:
        assert raft.leader == raft.id, f"a leader follows {raft.leader}"
        assert raft.vote == raft.id, f"a leader voted for {raft.vote}"
        assert own is None or own.match <= raft.log.last, f"own match {own} is past {raft.log.last}"
    else:
        assert raft.leader != raft.id or raft.role is Role.FOLLOWER, "a candidate follows itself"
        assert raft.transferee == NO_NODE, f"a non-leader transfers leadership to {raft.transferee}"
    if raft.role is Role.CANDIDATE:
        assert raft.vote == raft.id, f"a candidate voted for {raft.vote}"
    if raft.role in (Role.CANDIDATE, Role.PRE_CANDIDATE):
        assert raft.leader == NO_NODE, f"a candidate knows of leader {raft.leader}"


def check_cluster(rafts: Iterable[RaftState]) -> None:
    """Check what all nodes together must satisfy at this moment."""
    nodes = list(rafts)
    leaders = [node for node in nodes if node.role is Role.LEADER]
    for one, other in combinations(leaders, 2):
        assert one.term != other.term, f"{one.id} and {other.id} both lead term {one.term}"
    for one, other in combinations(nodes, 2):
        _check_logs_match(one, other)
    for leader in leaders:
        _check_complete(leader, [node for node in nodes if node.term <= leader.term])


def _check_logs_match(one: RaftState, other: RaftState) -> None:
    """If two logs hold an entry of the same index and term, they are equal up to there."""
    first = max(one.log.first_index(), other.log.first_index())
    last = min(one.log.last, other.log.last)
    committed = min(one.log.committed, other.log.committed)
    if last < first:
        return
    agreed = False
    ours, theirs = (node.log.slice(first, last + 1, NO_LIMIT) for node in (one, other))
    for mine, yours in zip(reversed(ours), reversed(theirs), strict=True):
        agreed = agreed or mine.term == yours.term or mine.index <= committed
        assert not agreed or mine == yours, f"{one.id} has {mine}, {other.id} has {yours}"


def _check_complete(leader: RaftState, others: Sequence[RaftState]) -> None:
    """A leader has every entry that was committed before its term."""
    for node in others:
        commit = node.log.committed
        assert commit <= leader.log.last, (
            f"{node.id} committed {commit}, the log of leader {leader.id} ends at {leader.log.last}"
        )
        if commit >= leader.log.first_index() - 1:
            term = node.log.term(commit)
            assert leader.log.matches(commit, term), f"leader {leader.id} lacks {commit} of term {term}"


class History:
    """Invariants over time. Call `check` after every step, and `restarted` for every restart."""

    def __init__(self) -> None:
        self._leaders: dict[Term, NodeId] = {}
        self._terms: dict[NodeId, Term] = {}
        self._votes: dict[tuple[NodeId, Term], NodeId] = {}
        self._commits: dict[NodeId, Index] = {}
        self._committed: dict[Index, Content] = {}

    def restarted(self, node: NodeId, saved_term: Term) -> None:
        """Forget what a node that restarted had not saved."""
        self._terms[node] = saved_term
        self._commits.pop(node, None)
        for voter, term in list(self._votes):
            if voter == node and term > saved_term:
                del self._votes[voter, term]

    def check(self, rafts: Iterable[RaftState]) -> None:
        """Check each node, all of them together, and all of them against earlier steps."""
        nodes = list(rafts)
        for node in nodes:
            check(node)
            self._check_monotone(node)
            self._record(node)
        check_cluster(nodes)

    def _check_monotone(self, node: RaftState) -> None:
        term, commit = self._terms.get(node.id, 0), self._commits.get(node.id, 0)
        assert node.term >= term, f"the term of {node.id} moved back from {term} to {node.term}"
        assert node.log.committed >= commit, (
            f"the commit index of {node.id} moved back from {commit} to {node.log.committed}"
        )
        if node.vote != NO_NODE:
            vote = self._votes.setdefault((node.id, node.term), node.vote)
            assert vote == node.vote, f"{node.id} voted for {vote} and {node.vote} in term {node.term}"
        if node.role is Role.LEADER:
            leader = self._leaders.setdefault(node.term, node.id)
            assert leader == node.id, f"{leader} and {node.id} both led term {node.term}"

    def _record(self, node: RaftState) -> None:
        log = node.log
        first = max(self._commits.get(node.id, 0) + 1, log.first_index())
        if first <= log.committed:
            for entry in log.slice(first, log.committed + 1, NO_LIMIT):
                held = self._committed.setdefault(entry.index, _content(entry))
                assert held == _content(entry), f"{node.id} committed {entry} where {held} was committed"
        self._terms[node.id] = node.term
        self._commits[node.id] = log.committed


def _content(entry: Entry) -> Content:
    return entry.term, entry.kind, entry.data or b""
