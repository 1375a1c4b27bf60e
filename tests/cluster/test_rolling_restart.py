"""When a node may be restarted, and when it is back."""

from __future__ import annotations

from typing import Any

import pytest

from raft.cluster.processes.rolling_restart import Goal, why_not_without
from raft.cluster.rpc.messages import ClusterStatus, NodeView


def view(node: int, **values: Any) -> NodeView:
    known = {"pid": node, "state": "running", "role": "follower", "leader": 1, "commit": 10, "applied": 10}
    return NodeView(id=node, **{**known, **values})


def status(*views: NodeView, leader: int | None = 1) -> ClusterStatus:
    voters = sum(view.votes for view in views)
    return ClusterStatus(
        cluster="c", leader=leader, term=2, voters=voters, alive=0, can_lose=0, nodes=list(views)
    )


def test_one_of_three_can_be_spared() -> None:
    assert why_not_without(2, status(view(1), view(2), view(3))) == ""


@pytest.mark.parametrize(
    "missing",
    [view(3, state="down", role=None), view(3, state="paused"), view(3, leader=None), view(3, role=None)],
)
def test_no_other_one_goes_while_one_is_missing(missing: NodeView) -> None:
    assert "2 are needed" in why_not_without(2, status(view(1), view(2), missing))
    assert why_not_without(3, status(view(1), view(2), missing)) == ""


def test_a_learner_can_be_spared_and_counts_for_nothing() -> None:
    learner = view(4, role="learner", votes=False)
    assert why_not_without(4, status(view(1), view(2), learner)) == ""
    assert why_not_without(2, status(view(1), view(2), learner))


def test_a_node_that_has_left_meanwhile_holds_nothing_up() -> None:
    assert why_not_without(4, status(view(1), view(2), view(3))) == ""
    assert Goal(4).why_not_reached(status(view(1), view(2), view(3))) == ""


def test_without_a_leader_no_node_can_be_spared() -> None:
    assert why_not_without(2, status(view(1), view(2), view(3), leader=None))


def test_a_node_is_back_when_it_has_applied_what_was_committed_when_it_came() -> None:
    goal = Goal(2)
    assert "no leader" in goal.why_not_reached(status(view(1), view(2), leader=None))
    assert "does not follow" in goal.why_not_reached(status(view(1), view(2, leader=None)))
    assert "applied 9 of 10" in goal.why_not_reached(status(view(1), view(2, applied=9)))
    # What was committed since is not asked for, or a busy cluster would never be done.
    assert goal.why_not_reached(status(view(1, commit=99), view(2, applied=10))) == ""
