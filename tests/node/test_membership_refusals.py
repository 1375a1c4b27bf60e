"""Changes of membership that are none, make no sense, or have to wait."""

from __future__ import annotations

from typing import Any

import pytest

from raft.protocol.client import (
    AddLearner,
    Invalid,
    ListMembers,
    Members,
    Promote,
    Refused,
    Remove,
    Replace,
)
from tests.node.cluster import Cluster
from tests.node.members import asked, endpoint, grow, voters_of


def test_a_change_that_is_already_made_changes_nothing() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    grow(cluster, 4)
    leader = cluster.elect()
    asked(cluster, Remove(cluster.followers()[0]))
    cluster.advance(0.5)
    leader = cluster.elect()
    gone = next(node for node in (1, 2, 3, 4) if node not in voters_of(cluster, leader))
    last = cluster[leader].raft.log.last
    member = next(iter(voters_of(cluster, leader)))
    for request in (
        AddLearner(member, endpoint(member)),
        Promote(member),
        Remove(gone),
        Replace(gone, member),
    ):
        assert isinstance(cluster.answer(leader, request), Members)
    assert cluster[leader].raft.log.last == last


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (AddLearner(0, "ipc:///n0"), "from 1 to"),
        (AddLearner(2, "ipc:///elsewhere"), "a member already"),
        (AddLearner(4, "ipc:///n1"), "listens at"),
        (AddLearner(4, "nonsense"), "nonsense"),
        (Promote(4), "no learner"),
        (Remove(4), "no member"),
        (Replace(4, 1), "no member"),
        (Replace(1, 4), "no learner"),
        (Remove(1, expected=((1, 2), ())), "not the expected"),
    ],
)
def test_an_invalid_change_is_refused_with_the_reason(request_: Any, why: str) -> None:
    cluster = Cluster(3)
    answer = cluster.answer(cluster.elect(), request_)
    assert isinstance(answer, Invalid)
    assert why in answer.reason


def test_the_last_voter_stays() -> None:
    cluster = Cluster(1)
    answer = cluster.answer(cluster.elect(), Remove(1))
    assert isinstance(answer, Invalid)
    assert "only voter" in answer.reason


def test_a_change_that_would_leave_no_quorum_is_refused() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    dead, alive = cluster.followers()
    cluster[dead].kill()
    cluster.advance(0.1)
    answer = cluster.answer(leader, Remove(alive))
    assert isinstance(answer, Refused)
    assert "can be reached" in answer.reason
    assert isinstance(asked(cluster, Remove(dead)), Members)


def test_with_an_expected_configuration_only_that_one_is_changed() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.join(4)
    added = asked(cluster, AddLearner(4, endpoint(4), expected=((1, 2, 3), ())))
    assert added.learners == (4,)
    assert isinstance(asked(cluster, Promote(4, expected=((1, 2, 3), (4,)))), Members)
    again = cluster.answer(cluster.leaders()[0], Remove(4, expected=((1, 2, 3), (4,))))
    assert isinstance(again, Invalid)
    assert voters_of(cluster, leader) == {1, 2, 3, 4}


def test_only_the_leader_lists_members_and_others_name_the_leader() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster.followers()[0]
    for request in (ListMembers(), Remove(follower)):
        answer = cluster.answer(follower, request)
        assert (answer.leader, answer.endpoint) == (leader, endpoint(leader))
    listed = cluster.answer(leader, ListMembers())
    assert (listed.voters, listed.leader) == ((1, 2, 3), leader)


def test_a_second_change_waits_for_the_first() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.join(4)
    cluster.join(5)
    cluster[leader].cut(*(node for node in (1, 2, 3) if node != leader))
    first = cluster.ask(leader, AddLearner(4, endpoint(4)))
    second = cluster.answer(leader, AddLearner(5, endpoint(5)))
    assert isinstance(second, Refused)
    assert "may not be applied yet" in second.reason
    cluster[leader].heal()
    cluster.until(lambda: first.done, 3.0)
