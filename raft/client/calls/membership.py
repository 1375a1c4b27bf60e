"""Membership changes as steps: see calls.routing.

Owns which changes are retried. Every change may be requested again, since requesting what already holds
changes nothing; except a change that requires one expected configuration.
"""

from __future__ import annotations

from collections.abc import Generator

from actors.errors import AskFailed, Undeliverable
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.routing import (
    ask,
    explain_undeliverable,
    handle_refusal,
    relay_if_needed,
    wait_before_retry,
)
from raft.client.calls.steps import Ask, Outcome, RetryBudget, Step
from raft.client.errors import CommandRefused, OutcomeUnknown, Rejected
from raft.protocol.client import (
    AddLearner,
    ListMembers,
    MemberChange,
    Members,
    Promote,
    Refused,
    Remove,
    Replace,
    Unknown,
    UpdateMember,
)

Steps = Generator[Step, Outcome, Members]


def members(view: ClusterView, budget: RetryBudget) -> Steps:
    """Ask the leader for the members of the cluster."""
    while True:
        node = view.choose(budget.begin_attempt(), budget.now())
        answer = yield from ask(view, node, ListMembers(), budget)
        if isinstance(answer, Members):
            return note_members(view, node, answer)
        if not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)


def change(view: ClusterView, request: MemberChange, budget: RetryBudget) -> Steps:
    """Make a change. One that has to wait, as for a learner to catch up, is requested again.

    Once an attempt has ended unknown, only a `Members` answer settles it: a later refusal says nothing about
    that attempt.
    """
    doubt = ""
    try:
        while True:
            node = view.choose(budget.begin_attempt(), budget.now())
            outcome = yield Ask(node, request, budget.attempt_seconds)
            outcome = yield from explain_undeliverable(view, node, outcome, budget)
            answer = yield from relay_if_needed(view, node, request, outcome, budget)
            if isinstance(answer, Members):
                return note_members(view, node, answer)
            if isinstance(answer, Unknown) or (
                isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable)
            ):
                doubt = f"node {node} may or may not have made the change: {unknown_reason(answer)}"
                if request.expected is not None:
                    raise OutcomeUnknown(doubt)
            if isinstance(answer, Refused):
                budget.note_failure(Rejected, answer.reason)
            elif handle_refusal(view, node, answer, budget):
                continue
            yield from wait_before_retry(view, budget)
    except (Rejected, CommandRefused) as error:
        if not doubt:
            raise
        raise OutcomeUnknown(f"{doubt}; then: {error}") from error


def add(view: ClusterView, node: int, endpoint: str, budget: RetryBudget, *, learner: bool) -> Steps:
    """Add a learner and, unless it is to stay one, give it a vote once it has caught up."""
    added = yield from change(view, AddLearner(node, endpoint), budget)
    return added if learner else (yield from change(view, Promote(node), budget))


def replace(view: ClusterView, old: int, new: int, endpoint: str, budget: RetryBudget) -> Steps:
    """Add a learner, and let it replace a member once it has caught up."""
    yield from change(view, AddLearner(new, endpoint), budget)
    return (yield from change(view, Replace(old, new), budget))


def promote(view: ClusterView, node: int, budget: RetryBudget) -> Steps:
    """Give a learner a vote once it has caught up."""
    return change(view, Promote(node), budget)


def remove(view: ClusterView, node: int, budget: RetryBudget) -> Steps:
    """Remove a member."""
    return change(view, Remove(node), budget)


def update(view: ClusterView, node: int, endpoint: str, budget: RetryBudget) -> Steps:
    """Announce where a member listens now, or will listen after a restart."""
    return change(view, UpdateMember(node, endpoint), budget)


def note_members(view: ClusterView, node: int, answer: Members) -> Members:
    """Note the members and their endpoints; the node that answered was the leader at that time."""
    view.set_members(answer.endpoints)
    view.leader = node if node in answer.endpoints else 0
    return answer


def unknown_reason(answer: Unknown | AskFailed) -> str:
    """Why the outcome of a request is unknown."""
    return answer.reason if isinstance(answer, Unknown) else str(answer)
