"""Reading the state of the whole cluster from one node, step by step: see conversation.

Owns the choice of the node, and the way from piece to piece. Knows nothing of what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from actors.errors import AskFailed
from raft.client.calls.routing import (
    WORKING_SECONDS_MAX,
    Ask,
    ClusterView,
    Outcome,
    RetryBudget,
    Step,
    ask,
    rest,
    take_refusal,
    who_leads,
)
from raft.client.errors import Unreachable
from raft.client.failure_detector import PATIENCE_SECONDS_MAX
from raft.protocol.client import AwaitAnswer, BackupPiece, BackupTaken, ReadBackup, TakeBackup, TakesLong

GOODBYE_SECONDS = 1.0


class Sink(Protocol):
    """Takes a backup in; whatever it raises ends the reading."""

    def begin(self, taken: BackupTaken) -> None:
        """A backup begins here: forget what was added before."""
        ...

    def add(self, piece: bytes) -> None:
        """The next piece of its image."""
        ...


def read(
    view: ClusterView, make_attempts: Callable[[], RetryBudget], sink: Sink
) -> Generator[Step, Outcome, BackupTaken]:
    """Read a backup of now from a follower, or else from the leader; from another one if that is lost.

    There is no limit for all of it: each piece has the time of one request. A node is waited for as long as
    it says that it works on the request.
    """
    yield from who_leads(view, make_attempts())
    budget = make_attempts()
    while True:
        node = view.choose(budget.begin() or view.leader, budget.now())
        answer = yield from ask(view, node, TakeBackup(), budget)
        began = isinstance(answer, TakesLong)
        while isinstance(answer, TakesLong):
            answer = yield Ask(node, AwaitAnswer(answer.ticket), WORKING_SECONDS_MAX + PATIENCE_SECONDS_MAX)
        if began:
            budget = make_attempts()
        if isinstance(answer, BackupTaken):
            sink.begin(answer)
            failure = yield from _pieces(node, answer, make_attempts, sink)
            if not failure:
                return answer
            budget = make_attempts()
            budget.note(Unreachable, failure, node)
        elif not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)


def _pieces(
    node: int, taken: BackupTaken, make_attempts: Callable[[], RetryBudget], sink: Sink
) -> Generator[Step, Outcome, str]:
    """All pieces, in order; why they did not come, or ""."""
    offset = 0
    while offset < taken.size:
        answer = yield Ask(node, ReadBackup(taken.ticket, offset), make_attempts().left_seconds)
        if not isinstance(answer, BackupPiece) or answer.offset != offset or not answer.data:
            why = answer if isinstance(answer, AskFailed) else "it does not have the backup any more"
            return f"node {node} did not give all of the backup: {why}"
        sink.add(answer.data)
        offset += len(answer.data)
    yield Ask(node, ReadBackup(taken.ticket, offset), GOODBYE_SECONDS)
    return ""
