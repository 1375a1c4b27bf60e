"""A conversation that goes on from a first try which was made without it."""

from __future__ import annotations

import pytest

from actors.clock import ManualClock
from actors.errors import AskTimeout
from raft.client.calls import routing
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Attempt, RetryBudget
from raft.client.errors import OutcomeUnknown
from raft.protocol.client import Committed, NotLeader, Query, QueryResult


def book_and_attempts() -> tuple[ClusterView, RetryBudget]:
    view = ClusterView({1: "e1", 2: "e2"}, lambda _: True, lambda _node, _endpoint: None)
    return view, RetryBudget(ManualClock().now, 1.0, began_at=0.0)


def test_a_redirection_is_followed_without_asking_the_first_node_again() -> None:
    attempt: Attempt = (1, NotLeader(2, "e2", 1))
    for begin in (
        lambda view, budget: routing.command(view, b"c", budget, attempt),
        lambda view, budget: routing.query(view, Query(b"q"), budget, attempt),
    ):
        step = next(begin(*book_and_attempts()))
        assert isinstance(step, Ask)
        assert step.node == 2


def test_a_first_try_that_was_not_answered_leaves_the_outcome_of_a_command_unknown() -> None:
    view, budget = book_and_attempts()
    with pytest.raises(OutcomeUnknown):
        next(routing.command(view, b"c", budget, (1, AskTimeout("n1 did not answer"))))


def test_a_query_that_was_not_answered_is_asked_again() -> None:
    view, budget = book_and_attempts()
    steps = routing.query(view, Query(b"q"), budget, (1, AskTimeout("n1 did not answer")))
    next(steps)
    assert isinstance(next(steps), Ask)


def test_the_result_of_a_first_try_is_taken_with_what_it_says_of_the_members() -> None:
    view, budget = book_and_attempts()
    for steps in (
        routing.command(view, b"c", budget, (1, Committed(7, b"", configuration=5))),
        routing.query(view, Query(b"q"), budget, (1, QueryResult(7, b"", configuration=5))),
    ):
        step = next(steps)
        assert isinstance(step, Ask)
        assert step.node == 1


def test_the_time_of_the_first_try_counts() -> None:
    clock = ManualClock(5.0)
    assert RetryBudget(clock.now, 2.0, began_at=4.0).left_seconds == 1.0
