"""Reading a backup of the whole cluster from one node, as steps: see calls.routing.

Owns the choice of the node and the order of the chunks. Knows nothing of what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from actors.errors import AskFailed
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.routing import WORKING_SECONDS_MAX, ask, find_leader, handle_refusal, wait_before_retry
from raft.client.calls.steps import Ask, Outcome, RetryBudget, Step
from raft.client.errors import Unreachable
from raft.client.failure_detector import ANSWER_SECONDS_MAX
from raft.protocol.client import AwaitAnswer, BackupPiece, BackupTaken, ReadBackup, StillRunning, TakeBackup

RELEASE_SECONDS = 1.0


class Sink(Protocol):
    """Receives a backup. An exception that it raises ends the reading."""

    def begin(self, taken: BackupTaken) -> None:
        """A backup begins: discard the chunks added before."""
        ...

    def add(self, piece: bytes) -> None:
        """The next chunk of the image."""
        ...


def read(
    view: ClusterView, make_budget: Callable[[], RetryBudget], sink: Sink
) -> Generator[Step, Outcome, BackupTaken]:
    """Read a backup of the present state from a follower, or from the leader if there is none.

    If the node is lost, begins again with another one. Each chunk has the time of one request; the whole has
    no limit. A node that reports that it is still working is waited for.
    """
    yield from find_leader(view, make_budget())
    budget = make_budget()
    while True:
        node = view.choose(budget.begin_attempt() or view.leader, budget.now())
        answer = yield from ask(view, node, TakeBackup(), budget)
        began = isinstance(answer, StillRunning)
        while isinstance(answer, StillRunning):
            answer = yield Ask(node, AwaitAnswer(answer.ticket), WORKING_SECONDS_MAX + ANSWER_SECONDS_MAX)
        if began:
            budget = make_budget()
        if isinstance(answer, BackupTaken):
            sink.begin(answer)
            failure = yield from _pieces(node, answer, make_budget, sink)
            if not failure:
                return answer
            budget = make_budget()
            budget.note_failure(Unreachable, failure, node)
        elif not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)


def _pieces(
    node: int, taken: BackupTaken, make_budget: Callable[[], RetryBudget], sink: Sink
) -> Generator[Step, Outcome, str]:
    """Read all chunks in order. Returns the reason of a failure, or ""."""
    offset = 0
    while offset < taken.size:
        answer = yield Ask(node, ReadBackup(taken.ticket, offset), make_budget().left_seconds)
        if not isinstance(answer, BackupPiece) or answer.offset != offset or not answer.data:
            why = answer if isinstance(answer, AskFailed) else "it no longer has the backup"
            return f"node {node} did not send the whole backup: {why}"
        sink.add(answer.data)
        offset += len(answer.data)
    yield Ask(node, ReadBackup(taken.ticket, offset), RELEASE_SECONDS)
    return ""
