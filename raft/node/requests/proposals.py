"""Commands on their way through the log, and an honest answer for each of them.

Owns the guarantee that every logged command ends as committed, as refused (it certainly never will be) or
as unknown. Knows nothing of how entries are replicated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from actors.asks import Answerable
from raft.core.types import Entry, Index, Term
from raft.node.applier import ANSWERED_LATER, Outcome, Rejection
from raft.protocol.client import Committed, Failed, NotLeader, OutOfSpace, Refused, TooNew, Unknown

OVERWRITTEN = Refused("another leader's entry took its place")
LEADERSHIP_LOST = Unknown("leadership was lost before the command was seen committed")
SNAPSHOT_PASSED = Unknown("a snapshot went past the command, which may be part of it")
NOT_APPLIED = Unknown(
    "this leader has applied nothing for a minute, so what became of the command is not known"
)
NODE_STOPPED = Unknown("the node stopped before the command was seen committed")


REFUSALS: dict[type, str] = {
    NotLeader: "not-leader", Refused: "refused", OutOfSpace: "out-of-space", TooNew: "too-new",
}  # fmt: skip
"""As what a command counts that was answered by one of these, and is in no log; else it was malformed."""

STUCK_SECONDS = 60.0


def send_each(answers: Sequence[tuple[Answerable, object]]) -> None:
    """Answer one after the other."""
    for reply, message in answers:
        reply.send(message)


class LeaderTerm(Struct):
    """The requests that wait for entries which this node logged as leader of one term, by index."""

    term: Term
    waiting: dict[Index, Answerable]
    give_up_at: float | None = None  # None while the term lasts.


class Proposals:
    """All requests that wait for a command to be applied.

    A lost leadership decides nothing about what was logged: the next leader may have it. So those who
    wait go on waiting until the index is applied, by whichever term, or for `timeout_seconds`.
    """

    def __init__(
        self,
        timeout_seconds: float,
        answer_all: Callable[[Sequence[tuple[Answerable, object]]], None] = send_each,
    ) -> None:
        self.results: Counter[str] = Counter()
        """How many commands ended how; none is counted twice."""
        self._timeout_seconds = timeout_seconds
        self._answer_all = answer_all
        self._leader_terms: list[LeaderTerm] = []
        self._leading = False
        self._oldest: tuple[Index, float] = (0, 0.0)  # The first index that is waited for, and since when.

    def __len__(self) -> int:
        return sum(len(leader_term.waiting) for leader_term in self._leader_terms)

    def logged(self, term: Term, first: Index, replies: Sequence[Answerable]) -> None:
        """These commands have entered this leader's log, one after another from `first`."""
        if not self._leading or self._leader_terms[-1].term != term:
            self._leader_terms.append(LeaderTerm(term, {}))
            self._leading = True
        waiting = self._leader_terms[-1].waiting
        for index, reply in enumerate(replies, first):
            waiting[index] = reply

    def leadership_lost(self, now: float) -> None:
        """From now on the fate of what was logged is in others' hands."""
        self._leading = False
        for leader_term in self._leader_terms:
            if leader_term.give_up_at is None:
                leader_term.give_up_at = now + self._timeout_seconds

    def applied(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome], configuration: Index = 0
    ) -> None:
        """Answer requests that wait for these entries, or for others at their indexes."""
        for leader_term in self._leader_terms:
            waiting, term = leader_term.waiting, leader_term.term
            if not waiting:
                continue
            take, before, others = waiting.pop, len(waiting), 0
            answers: list[tuple[Answerable, object]] = []
            for entry, outcome in zip(entries, outcomes, strict=True):
                reply = take(entry.index, None)
                if reply is None:
                    continue
                if entry.term != term:
                    # One index commits one entry, so the other one never will.
                    others += 1
                    self.results["overwritten"] += 1
                    reply.send(OVERWRITTEN)
                elif type(outcome) is bytes:
                    answers.append((reply, Committed(entry.index, outcome, configuration)))
                elif outcome is ANSWERED_LATER:
                    waiting[entry.index] = reply
                elif isinstance(outcome, Rejection):
                    others += 1
                    self.results["failed"] += 1
                    reply.send(Failed(entry.index, outcome.reason))
                else:
                    reply.send(Committed(entry.index, b"", configuration))
            self._answer_all(answers)
            self.results["committed"] += before - len(waiting) - others

    def answered(self, index: Index, answer: bytes, configuration: Index = 0) -> None:
        """Answer a command whose answer came later, from the user's own machine."""
        for leader_term in self._leader_terms:
            reply = leader_term.waiting.pop(index, None)
            if reply is not None:
                self.results["committed"] += 1
                reply.send(Committed(index, answer, configuration))

    def restored(self, index: Index) -> None:
        """A snapshot has moved the machine to `index`; the outcome of single commands is unknown."""
        for leader_term in self._leader_terms:
            for passed in [waited for waited in leader_term.waiting if waited <= index]:
                self.results["unknown"] += 1
                leader_term.waiting.pop(passed).send(SNAPSHOT_PASSED)

    def refused(self, refusal: object, commands: int = 1) -> object:
        """Count commands that were turned down before they were logged; returns the refusal."""
        self.results[REFUSALS.get(type(refusal), "invalid")] += commands
        return refusal

    def expire(self, now: float) -> None:
        """Answer requests that have waited too long since leadership was lost: the outcome is unknown."""
        self._end_what_is_stuck(now)
        kept = []
        for leader_term in self._leader_terms:
            if leader_term.give_up_at is None or (leader_term.waiting and now < leader_term.give_up_at):
                kept.append(leader_term)
            else:
                self._give_up(leader_term, LEADERSHIP_LOST)
        self._leader_terms = kept

    def _end_what_is_stuck(self, now: float) -> None:
        """A leader may be unable to commit or apply, and still lead: no request waits for that forever."""
        leader_term = self._leader_terms[-1] if self._leading else None
        oldest = next(iter(leader_term.waiting), 0) if leader_term is not None else 0
        if oldest == 0 or oldest != self._oldest[0]:
            self._oldest = oldest, now
        elif leader_term is not None and now - self._oldest[1] >= STUCK_SECONDS:
            self._give_up(leader_term, NOT_APPLIED)

    def stop(self) -> None:
        """Answer all requests that the node stops."""
        for leader_term in self._leader_terms:
            self._give_up(leader_term, NODE_STOPPED)
        self._leader_terms = []
        self._leading = False

    def _give_up(self, leader_term: LeaderTerm, answer: Unknown) -> None:
        """Answer all requests that still wait in that term."""
        self.results["unknown"] += len(leader_term.waiting)
        for reply in leader_term.waiting.values():
            reply.send(answer)
        leader_term.waiting.clear()
