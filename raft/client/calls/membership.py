"""Changing who belongs to a cluster, step by step and without doing anything: see conversation.

Owns what is repeated and what is not. Every change may be asked for again, as asking for what is so
already changes nothing; unless it is to be made to one expected configuration only.
"""

from __future__ import annotations

from collections.abc import Generator

from actors.errors import AskFailed, Undeliverable
from raft.client.calls.routing import (
    Ask,
    ClusterView,
    Outcome,
    RetryBudget,
    Step,
    ask,
    explained,
    relayed,
    rest,
    take_refusal,
)
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
    """Ask the leader who belongs to the cluster."""
    while True:
        node = view.choose(budget.begin(), budget.now())
        answer = yield from ask(view, node, ListMembers(), budget)
        if isinstance(answer, Members):
            return learnt(view, node, answer)
        if not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)


def change(view: ClusterView, request: MemberChange, budget: RetryBudget) -> Steps:
    """Have a change applied. What has to wait, as for a learner that catches up, is asked for again.

    Once a try has ended unknown, only a `Members` settles it: a later refusal says nothing of that try.
    """
    doubt = ""
    try:
        while True:
            node = view.choose(budget.begin(), budget.now())
            outcome = yield Ask(node, request, budget.left_seconds)
            outcome = yield from explained(view, node, outcome, budget)
            answer = yield from relayed(view, node, request, outcome, budget)
            if isinstance(answer, Members):
                return learnt(view, node, answer)
            if isinstance(answer, Unknown) or (
                isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable)
            ):
                doubt = f"node {node} may or may not have made the change: {reason_of(answer)}"
                if request.expected is not None:
                    raise OutcomeUnknown(doubt)
            if isinstance(answer, Refused):
                budget.note(Rejected, answer.reason)
            elif take_refusal(view, node, answer, budget):
                continue
            yield from rest(view, budget)
    except (Rejected, CommandRefused) as error:
        if not doubt:
            raise
        raise OutcomeUnknown(f"{doubt}; then: {error}") from error


def add(view: ClusterView, node: int, endpoint: str, budget: RetryBudget, *, learner: bool) -> Steps:
    """Add a learner, and give it a vote once it has caught up, unless it is to stay one."""
    added = yield from change(view, AddLearner(node, endpoint), budget)
    return added if learner else (yield from change(view, Promote(node), budget))


def replace(view: ClusterView, old: int, new: int, endpoint: str, budget: RetryBudget) -> Steps:
    """Add a learner, and give it the place of a member once it has caught up."""
    yield from change(view, AddLearner(new, endpoint), budget)
    return (yield from change(view, Replace(old, new), budget))


def promote(view: ClusterView, node: int, budget: RetryBudget) -> Steps:
    """Give a learner a vote once it has caught up."""
    return change(view, Promote(node), budget)


def remove(view: ClusterView, node: int, budget: RetryBudget) -> Steps:
    """Let a member be one no longer."""
    return change(view, Remove(node), budget)


def update(view: ClusterView, node: int, endpoint: str, budget: RetryBudget) -> Steps:
    """Let all know where a member listens now, or will when it is started again."""
    return change(view, UpdateMember(node, endpoint), budget)


def learnt(view: ClusterView, node: int, answer: Members) -> Members:
    """Note where the members are; the one that has answered led until then."""
    view.members_are(answer.endpoints)
    view.leader = node if node in answer.endpoints else 0
    return answer


def reason_of(answer: Unknown | AskFailed) -> str:
    """Why nobody knows what became of a request."""
    return answer.reason if isinstance(answer, Unknown) else str(answer)
