"""The safety properties of figure 3.2 of the thesis, checked against the whole history of all servers.

Owns the record of a run: leaders, votes, and what was appended, committed and applied. Each `observe`
compares one server with the record, so that a violation is found at the step that made it.
"""

from collections.abc import Iterable

from raft.core.errors import Compacted
from raft.core.invariants import check
from raft.core.messages import AppendReply, Message, VoteReply
from raft.core.types import Entry, EntryKind, Index, NodeId, Role, Term
from tests.core.servers import Server

Content = tuple[EntryKind, bytes, Term]


class SafetyRecord:
    """Everything that may never be contradicted."""

    def __init__(self) -> None:
        self.leaders: dict[Term, NodeId] = {}
        self.votes: dict[tuple[NodeId, Term], NodeId] = {}
        self.contents: dict[tuple[Index, Term], Content] = {}
        self.committed: dict[Index, tuple[Term, Term]] = {}
        self.states: dict[Index, bytes] = {}
        self.highest_terms: dict[NodeId, Term] = {}
        self.highest_promised_terms: dict[NodeId, Term] = {}
        self.commits: dict[NodeId, Index] = {}

    def commit_index(self) -> Index:
        """The highest index that any server has known to be committed."""
        return max(self.committed, default=0)

    def observe(self, server: Server) -> None:
        """Compare a server as it is now."""
        check(server.core)
        self._terms_never_fall(server)
        self._commits_never_fall_nor_differ(server)
        self._one_leader_in_a_term(server)
        self._equal_states(server)

    def observe_restart(self, server: Server) -> None:
        """Compare a server that has just come back: it may have lost only what it had not acknowledged."""
        promised = self.highest_promised_terms.get(server.id, 0)
        assert server.core.term >= promised, (
            f"{server.id} spoke in term {promised} and came back in {server.core.term}"
        )
        self.highest_terms[server.id] = server.core.term
        self.commits[server.id] = server.core.log.committed
        self.observe(server)

    def observe_log(self, server: Server, entries: Iterable[Entry]) -> None:
        """Log matching: an index and a term determine the entry and the term before it, hence all before."""
        for entry in entries:
            try:
                before = server.term_at(entry.index - 1)
            except Compacted:
                continue
            content = (entry.kind, entry.data or b"", before)
            known = self.contents.setdefault((entry.index, entry.term), content)
            assert known == content, (
                f"entry {entry.term}/{entry.index}: {known} and, at {server.id}, {content}"
            )

    def observe_sent(self, message: Message) -> None:
        """One vote in a term, over all restarts; and what was promised in a reply outlives a crash."""
        if isinstance(message, VoteReply | AppendReply):
            promised = self.highest_promised_terms.get(message.sender, 0)
            self.highest_promised_terms[message.sender] = max(promised, message.term)
        if isinstance(message, VoteReply) and not message.rejected:
            known = self.votes.setdefault((message.sender, message.term), message.to)
            assert known == message.to, (
                f"{message.sender} voted for {known} and {message.to} in term {message.term}"
            )

    def _terms_never_fall(self, server: Server) -> None:
        highest = self.highest_terms.get(server.id, 0)
        assert server.core.term >= highest, f"{server.id} went from term {highest} to {server.core.term}"
        self.highest_terms[server.id] = server.core.term

    def _commits_never_fall_nor_differ(self, server: Server) -> None:
        log = server.core.log
        before = self.commits.get(server.id, 0)
        assert log.committed >= before, f"{server.id} took commit {before} back to {log.committed}"
        self.commits[server.id] = log.committed
        for index in range(max(before + 1, log.first_index()), log.committed + 1):
            term = server.term_at(index)
            known, _ = self.committed.setdefault(index, (term, server.core.term))
            assert known == term, f"index {index} is committed with term {known} and, at {server.id}, {term}"

    def _one_leader_in_a_term(self, server: Server) -> None:
        core = server.core
        if core.role is not Role.LEADER:
            return
        if core.term in self.leaders:
            known = self.leaders[core.term]
            assert known == server.id, f"{known} and {server.id} both lead term {core.term}"
            return
        self.leaders[core.term] = server.id
        first, last = core.log.first_index(), core.log.last_index()
        for index, (term, seen_in_term) in self.committed.items():
            if seen_in_term < core.term and index >= first:
                assert index <= last and server.term_at(index) == term, (
                    f"{server.id} leads term {core.term} without the committed entry {term}/{index}"
                )

    def _equal_states(self, server: Server) -> None:
        machine = server.machine
        if machine.index > 0:
            known = self.states.setdefault(machine.index, machine.state)
            assert known == machine.state, f"{server.id} has another state at {machine.index} than its peers"
