"""Checks Raft's safety properties after each turn of each node, over the whole run.

Owns the memory across all nodes: the leader of each term, all entries ever seen, the committed ones. Only
changes are checked. Every violation is an AssertionError. Knows nothing of faults, clients or the network.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple
from zlib import crc32

from raft.core.invariants import check, check_cluster
from raft.core.progress import Progress
from raft.core.raft import Raft
from raft.core.tracker import Configuration
from raft.core.types import NO_LIMIT, Entry, EntryKind, Index, NodeId, Role, Term
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.run_log import RunLog

_INDEX = struct.Struct(">Q")

COMPARED_WHOLE = 16  # At multiples of this index the whole state is compared; elsewhere, all answers so far.

Content = tuple[EntryKind, bytes]


class Seen(NamedTuple):
    """An entry as first seen, with the term of the one before it."""

    before: Term
    content: Content


class View:
    """The last seen state of one incarnation of a node."""

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.look: tuple[object, ...] = ()
        self.configuration: Configuration | None = None
        self.progress: Mapping[NodeId, Progress] | None = None
        self.term: Term = 0
        self.committed: Index = 0
        self.machine_last: Index = 0
        self.floor: Index = 0
        self.terms: list[Term] = []  # Of the entries after `floor`.

    @property
    def last(self) -> Index:
        """The last index of its log."""
        return self.floor + len(self.terms)


class Referee:
    """Checks members. `committed` is the one sequence of entries that all of them agree on."""

    def __init__(self, run_log: RunLog, on_commit: Callable[[Index, Content], None]) -> None:
        self.committed: dict[Index, tuple[Term, Content]] = {}
        self.last_committed: Index = 0
        self._run_log = run_log
        self._on_commit = on_commit
        self._leaders: dict[Term, NodeId] = {}
        self._entries: dict[tuple[Index, Term], Seen] = {}
        self._views: dict[NodeId, View] = {}
        self._chains: dict[Index, int] = {0: 0, 1: 0}
        self._chained: Index = 1
        self._states: dict[tuple[Index, bool], int] = {}
        self._members: dict[NodeId, Member] = {}

    def started(self, member: Member) -> None:
        """An incarnation has begun."""
        self._members[member.node] = member
        self._views[member.node] = View(member.incarnation)

    def looked(self, member: Member) -> None:
        """Check everything that has changed."""
        raft = member.raft
        if raft is None:
            return
        log, view = raft.log, self._views[member.node]
        look = (
            raft.term, raft.vote, raft.role, raft.leader, log.last, log.last_term, log.committed,
            log.applied, log.offset, log.offset_in_progress, log.unstable_snapshot, member.machine.last,
        )  # fmt: skip
        if look == view.look:
            return
        before, view.look = view.look, look
        # A change of members, as of term and role, replaces the table of their progress.
        check(raft, members=raft.tracker.progress is not view.progress)
        view.progress = raft.tracker.progress
        assert raft.term >= view.term, f"the term of {raft.id} moved back from {view.term} to {raft.term}"
        view.term = raft.term
        self._see_log(raft, view)
        leads = raft.role is Role.LEADER and before[:3] == look[:3]
        self._see_commit(raft, view, member, leads=leads)
        if raft.role is Role.LEADER:
            if before[:3] != look[:3]:
                self._see_leader(raft, member)
            self._see_progress(raft, member)
        self._see_machine(view, member)
        view.configuration = raft.tracker.configuration

    def check_all(self) -> None:
        """Compare all logs with each other, entry by entry: the same properties, without the memory."""
        rafts = [member.raft for member in self._members.values()]
        check_cluster(raft for raft in rafts if raft is not None)

    def _see_log(self, raft: Raft, view: View) -> None:
        """Entries of one index and term are equal, like all before them (Log Matching, by induction)."""
        log, floor = raft.log, raft.log.first_index() - 1
        if floor > view.last or view.floor == 0:
            if view.floor:
                self._run_log.count("snapshots installed")
            view.floor, view.terms = floor, []
            self._see_snapshot(raft, floor)
        floor = max(floor, view.floor)
        index, last = log.last, view.last
        while index > floor and (index > last or view.terms[index - view.floor - 1] != log.term(index)):
            index -= 1
        if last > index:
            assert index >= view.committed, (
                f"{raft.id} cut its log back to {index}, behind its commit index {view.committed}"
            )
            self._run_log.count("truncations")
            del view.terms[index - view.floor :]
        if index < log.last:
            term = log.term(index)
            for entry in log.slice(index + 1, log.last + 1, NO_LIMIT):
                self._see_entry(raft.id, entry, term)
                term = entry.term
                view.terms.append(term)

    def _see_snapshot(self, raft: Raft, index: Index) -> None:
        known = self.committed.get(index)
        term = raft.log.term(index)
        assert known is None or known[0] == term, (
            f"{raft.id} has a snapshot at {index} of term {term}, but {known} is committed there"
        )

    def _see_entry(self, node: NodeId, entry: Entry, before: Term) -> None:
        seen = Seen(before, (entry.kind, entry.data or b""))
        known = self._entries.setdefault((entry.index, entry.term), seen)
        assert known == seen, f"{node} holds {entry} after term {before}, elsewhere it is {known}"

    def _see_commit(self, raft: Raft, view: View, member: Member, *, leads: bool) -> None:
        """Committed entries never change, and a majority's disks hold them (State Machine Safety).

        A leader commits by an entry of its own term (thesis section 3.6.2).
        """
        log = raft.log
        committed = log.committed
        assert committed >= view.committed, (
            f"the commit index of {raft.id} moved back from {view.committed} to {committed}"
        )
        if leads and committed > view.committed:
            term = log.term(committed)
            assert term == raft.term, f"{raft.id} leads term {raft.term}, and commits one of {term}"
        first = max(view.committed + 1, log.first_index())
        view.committed = committed
        if first > committed:
            return
        for entry in log.slice(first, committed + 1, NO_LIMIT):
            held = (entry.term, (entry.kind, entry.data or b""))
            known = self.committed.setdefault(entry.index, held)
            assert known == held, f"{raft.id} committed {entry} where {known} was committed"
            if entry.index > self.last_committed:
                self._on_commit(entry.index, held[1])
        if committed > self.last_committed:
            self._see_quorum(raft, committed, view, member)
            self.last_committed = committed
            self._chain()

    def _see_quorum(self, raft: Raft, index: Index, view: View, member: Member) -> None:
        """By the configuration of before or after the turn: a committed entry may change it at once."""
        term = raft.log.term(index)
        now = raft.tracker.configuration
        before = view.configuration or now
        holders = {node for node in self._members if self._holds(node, index, term)}
        assert any(has_quorum(configuration, holders) for configuration in (before, now)), (
            f"{member.name} takes {index} for committed, but only {sorted(holders)} hold it durably"
        )

    def _holds(self, node: NodeId, index: Index, term: Term) -> bool:
        member = self._members.get(node)
        if member is None:
            return False
        store = member.store
        if index < store.first_index():
            return True  # Compacted: it was committed.
        return index <= store.last_index() and store.term(index) == term

    def _see_leader(self, raft: Raft, member: Member) -> None:
        """One leader a term, elected by durable votes, with every entry committed in earlier terms."""
        known = self._leaders.setdefault(raft.term, raft.id)
        assert known == raft.id, f"{known} and {raft.id} both lead term {raft.term}"
        state, _ = member.store.initial_state()
        assert (state.term, state.vote) == (raft.term, raft.id), (
            f"{member.name} leads term {raft.term}, but its own vote is not durable: {state}"
        )
        index = self.last_committed
        while index in self.committed and self.committed[index][0] >= raft.term:
            index -= 1
        if index in self.committed and index >= raft.log.first_index():
            term = self.committed[index][0]
            assert raft.log.matches(index, term), (
                f"{member.name} leads term {raft.term} without the committed entry {index} of term {term}"
            )

    def _see_progress(self, raft: Raft, member: Member) -> None:
        """The entries that a leader counts for a node, including itself, are durable there."""
        for node, peer in raft.tracker.progress.items():
            other = self._members.get(node)
            if other is None or not other.up or other.rolled_back or peer.match == 0:
                continue
            other_raft = other.raft
            if other_raft is not None and other_raft.term == raft.term:
                last = other.store.last_index()
                assert peer.match <= last, (
                    f"{member.name} counts {other.name} for {peer.match}, whose disk ends at {last}"
                )

    def _see_machine(self, view: View, member: Member) -> None:
        """Equal states at equal indexes: those that the committed commands lead to.

        The machine reports its position: with a thread of its own it may be before or behind the core.
        """
        machine = member.machine
        if machine.last == view.machine_last:
            return
        view.machine_last = machine.last
        expected = self._chains.get(machine.last)
        assert machine.chain == expected, (
            f"{member.name} has applied other commands up to {machine.last} than are committed"
        )
        answer_checksum = machine.answer_checksum
        state = crc32(_INDEX.pack(answer_checksum.last.answer_checksum), answer_checksum.value)
        whole = machine.last % COMPARED_WHOLE == 0 and member.applied > 0
        if whole:  # Unless the custom machine is behind.
            state = crc32(machine.snapshot(), state)
        known = self._states.setdefault((machine.last, whole), state)
        assert known == state, f"{member.name} has another state at {machine.last} than the node before it"

    def _chain(self) -> None:
        while (following := self.committed.get(self._chained + 1)) is not None:
            self._chained += 1
            _, (kind, data) = following
            chain = self._chains[self._chained - 1]
            if kind is EntryKind.NORMAL and data:
                chain = crc32(data, crc32(_INDEX.pack(self._chained), chain))
            self._chains[self._chained] = chain


def has_quorum(configuration: Configuration, holders: set[NodeId]) -> bool:
    """Are these a majority of the voters and, during a change, of the outgoing voters as well?"""
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return all(2 * len(half & holders) > len(half) for half in halves)
