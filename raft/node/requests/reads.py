"""Linearizable queries: one confirmation by a quorum for all that wait, then the machine's answer.

Owns the way of a query from its arrival to its answer (ReadIndex, thesis section 6.4). Knows nothing
of how the core confirms a leader.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from actors.asks import Answerable
from raft.core.types import Index, ReadState
from raft.node.applier import Rejection
from raft.node.requests.proposals import send_each
from raft.protocol.client import Invalid, QueryResult, Refused

ROUNDS_MAX = 2  # One in flight, and one that collects; more would only split the same queries.

NOT_CONFIRMED = Refused("no quorum confirmed the leader in time")
NOT_APPLIED = Refused("this node has not applied in time what the read has to see: ask another node")
NODE_STOPS = Refused("the node stops")
# A confirmed read may wait this much longer: slow commands are no reason to refuse it.
APPLY_TIMEOUT_RATIO = 10


class Machine(Protocol):
    """The part of the applier that reads need."""

    applied: Index
    configuration: Index

    @property
    def free(self) -> bool:
        """The machine may be queried now."""
        ...

    def query(self, body: bytes, then: Callable[[bytes | Rejection], None]) -> bytes | Rejection | None:
        """The machine's answer; None if `then` will be called with it later."""
        ...


class Waiting(Struct):
    """One query and its reply handle: the machine's query, or a function that makes the answer."""

    question: bytes | Callable[[], object]
    reply: Answerable
    give_up_at: float


class Round(Struct):
    """Queries that share one confirmation, asked for at `asked_at`."""

    queries: list[Waiting]
    asked_at: float


class Reads:
    """All linearizable queries that are not answered yet.

    `confirm` asks the core for a confirmation; its context is never used twice, not even by the next
    process of this node, so a late answer cannot confirm a later query.
    """

    def __init__(
        self,
        *,
        node: int,
        incarnation: int,
        machine: Machine,
        confirm: Callable[[bytes], object],
        timeout_seconds: float,
        retry_seconds: float,
        answer_all: Callable[[Sequence[tuple[Answerable, object]]], None] = send_each,
    ) -> None:
        self.results: Counter[str] = Counter()
        self._identity = struct.pack(">IQ", node, incarnation)
        self._machine = machine
        self._confirm = confirm
        self._answer_all = answer_all
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self.waiting = False
        """Whether any is unanswered; while none is, `flush` and `answer` have nothing to do."""
        self._serial = 0
        self._arrived: list[Waiting] = []
        self._rounds: dict[bytes, Round] = {}
        self._stale: list[Waiting] = []
        self._confirmed: deque[tuple[Index, list[Waiting]]] = deque()

    def __len__(self) -> int:
        rounds = sum(len(asked.queries) for asked in self._rounds.values())
        return len(self._arrived) + rounds + sum(len(queries) for _, queries in self._confirmed)

    def add(self, question: bytes | Callable[[], object], reply: Answerable, now: float) -> None:
        """A query has arrived; it joins the next round."""
        self.waiting = True
        self._arrived.append(Waiting(question, reply, now + self._timeout_seconds))

    def add_stale(self, body: bytes, reply: Answerable, now: float) -> None:
        """A query that needs no confirmation, but has to wait until the machine is free."""
        self.waiting = True
        self._stale.append(Waiting(body, reply, now + self._timeout_seconds))

    def flush(self, now: float) -> None:
        """Begin a round for the queries that have arrived, unless enough are in flight."""
        if self._arrived and len(self._rounds) < ROUNDS_MAX:
            queries, self._arrived = self._arrived, []
            self._begin(queries, now)

    def confirmed(self, states: list[ReadState]) -> None:
        """The core has confirmed these rounds at their indices; those of an earlier asking are ignored."""
        for state in states:
            asked = self._rounds.pop(state.context, None)
            if asked is not None:
                self._confirmed.append((state.index, asked.queries))

    def answer(self) -> None:
        """Answer all confirmed queries whose index has been applied."""
        machine = self._machine
        answers: list[tuple[Answerable, object]] = []
        if self._stale and machine.free:
            stale, self._stale = self._stale, []
            self.results["stale"] += len(stale)
            for waiting in stale:
                self._look_up(waiting, answers, stale=True)
        while self._confirmed and machine.free and self._confirmed[0][0] <= machine.applied:
            _, queries = self._confirmed.popleft()
            self.results["linearizable"] += len(queries)
            for waiting in queries:
                self._look_up(waiting, answers, stale=False)
        if answers:
            self._answer_all(answers)
        self.waiting = bool(self._arrived or self._rounds or self._confirmed or self._stale)

    def _look_up(self, waiting: Waiting, answers: list[tuple[Answerable, object]], *, stale: bool) -> None:
        """Answer from the machine's present state; the user's own machine may answer later."""
        question, reply, machine = waiting.question, waiting.reply, self._machine
        if not isinstance(question, bytes):
            answers.append((reply, question()))
            return
        applied = machine.applied

        def then(found: bytes | Rejection) -> None:
            reply.send(answer_with(found, applied, machine.configuration, stale=stale))

        found = machine.query(question, then)
        if found is not None:
            answers.append((reply, answer_with(found, applied, machine.configuration, stale=stale)))

    def ask_again(self, now: float) -> None:
        """The leader changed or did not answer: repeat all rounds, with new contexts."""
        queries = [waiting for asked in self._rounds.values() for waiting in asked.queries]
        self._rounds.clear()
        if queries:
            self._begin(queries, now)

    def expire(self, now: float) -> None:
        """Refuse queries that have waited too long, and ask again for rounds that seem to be lost."""
        self._arrived = self._refuse_late(self._arrived, now)
        oldest = now - (APPLY_TIMEOUT_RATIO - 1) * self._timeout_seconds
        self._stale = self._refuse_late(self._stale, oldest, NOT_APPLIED)
        for _ in range(len(self._confirmed)):
            index, queries = self._confirmed.popleft()
            if kept := self._refuse_late(queries, oldest, NOT_APPLIED):
                self._confirmed.append((index, kept))
        for asked in self._rounds.values():
            asked.queries = self._refuse_late(asked.queries, now)
        if any(now - asked.asked_at >= self._retry_seconds for asked in self._rounds.values()):
            self.ask_again(now)

    def stop(self) -> None:
        """Refuse everything that waits."""
        for asked in self._rounds.values():
            self._arrived.extend(asked.queries)
        for _, queries in self._confirmed:
            self._arrived.extend(queries)
        for waiting in [*self._arrived, *self._stale]:
            waiting.reply.send(NODE_STOPS)
        self._arrived.clear()
        self._stale.clear()
        self._rounds.clear()
        self._confirmed.clear()

    def _refuse_late(
        self, queries: list[Waiting], now: float, refusal: Refused = NOT_CONFIRMED
    ) -> list[Waiting]:
        """Refuse queries that have waited too long, and return the others."""
        late = [waiting for waiting in queries if waiting.give_up_at <= now]
        if not late:
            return queries
        self.results["refused"] += len(late)
        for waiting in late:
            waiting.reply.send(refusal)
        return [waiting for waiting in queries if waiting.give_up_at > now]

    def _begin(self, queries: list[Waiting], now: float) -> None:
        self._serial += 1
        context = self._identity + self._serial.to_bytes(8, "big")
        self._rounds[context] = Round(queries, now)
        self._confirm(context)


def answer_with(found: bytes | Rejection, applied: Index, configuration: Index, *, stale: bool) -> object:
    """The answer to a query: what the machine has found, as of an index."""
    if isinstance(found, bytes):
        return QueryResult(applied, found, stale, configuration)
    assert isinstance(found, Rejection), (
        f"a machine answers a query with bytes, or turns it down, unlike {found!r}"
    )
    return Invalid(found.reason)
