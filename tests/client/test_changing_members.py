"""The client's logic of membership changes against scripted answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from actors.errors import AskTimeout, TargetDown
from raft.client.calls import membership
from raft.client.calls.steps import Ask, Outcome
from raft.client.errors import CommandRefused, OutcomeUnknown, Rejected
from raft.protocol.client import (
    AddLearner,
    Failed,
    Invalid,
    ListMembers,
    Members,
    NotLeader,
    Promote,
    Refused,
    Remove,
    Replace,
    Unknown,
)
from tests.client.test_routing import Talk

SO = Members(1, 2, (1, 2, 3), (4,), {1: "e1", 2: "e2", 3: "e3", 4: "e4"}, {}, 10)


def test_members_are_asked_of_the_leader_and_their_addresses_are_remembered() -> None:
    talk = Talk(1, 2)
    found = talk.run(
        membership.members(talk.view, talk.budget()),
        lambda ask: SO if ask.node == 1 else NotLeader(1, "e1", 2),
    )
    assert found == SO
    assert talk.learned_endpoints == {3: "e3", 4: "e4"}
    assert talk.view.leader == 1


def test_a_node_is_added_as_a_learner_and_then_promoted() -> None:
    talk = Talk(1)
    requests: list[object] = []

    def script(ask: Ask) -> Outcome:
        requests.append(ask.request)
        return SO

    talk.run(membership.add(talk.view, 4, "e4", talk.budget(), learner=False), script)
    talk.run(membership.add(talk.view, 5, "e5", talk.budget(), learner=True), script)
    talk.run(membership.replace(talk.view, 3, 6, "e6", talk.budget()), script)
    assert requests == [
        AddLearner(4, "e4"), Promote(4), AddLearner(5, "e5"), AddLearner(6, "e6"), Replace(3, 6),
    ]  # fmt: skip


def test_what_has_to_catch_up_is_asked_for_again_at_the_same_leader() -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = 2
    answers: Iterator[Any] = iter([Refused("catch up"), Refused("catch up"), SO])
    talk.run(membership.promote(talk.view, 4, talk.budget()), lambda _ask: next(answers))
    assert talk.asked == [2, 2, 2]


def test_what_never_catches_up_is_refused_with_the_leaders_reason() -> None:
    talk = Talk(1)
    with pytest.raises(Rejected, match="catch up"):
        talk.run(membership.promote(talk.view, 4, talk.budget()), lambda _ask: Refused("catch up"))


@pytest.mark.parametrize("lost", [Unknown("lost"), TargetDown("died"), AskTimeout("late")])
def test_a_change_with_an_unknown_outcome_is_requested_again(lost: Outcome) -> None:
    talk = Talk(1, 2)
    answers = iter([lost, SO])
    assert talk.run(membership.remove(talk.view, 3, talk.budget()), lambda _ask: next(answers)) == SO


def test_a_change_that_may_have_been_made_is_never_called_refused() -> None:
    talk = Talk(1, 2)
    answers = iter([Unknown("lost")])
    with pytest.raises(OutcomeUnknown, match="lost"):
        talk.run(
            membership.remove(talk.view, 3, talk.budget()),
            lambda _ask: next(answers, Refused("later")),
        )


@pytest.mark.parametrize("later", [Invalid("no member"), Failed(9, "no member"), NotLeader(2, "e2", 1)])
def test_no_later_refusal_says_that_a_change_in_doubt_was_not_made(later: Outcome) -> None:
    talk = Talk(1, 2)
    answers = iter([Unknown("lost")])
    with pytest.raises(OutcomeUnknown, match="lost"):
        talk.run(membership.remove(talk.view, 3, talk.budget()), lambda _ask: next(answers, later))


def test_a_change_of_one_expected_configuration_is_not_asked_for_twice() -> None:
    talk = Talk(1, 2)
    request = Remove(3, expected=((1, 2, 3), ()))
    with pytest.raises(OutcomeUnknown):
        talk.run(membership.change(talk.view, request, talk.budget()), lambda _ask: Unknown("lost"))
    assert len(talk.asked) == 1


def test_what_makes_no_sense_is_refused_at_once() -> None:
    talk = Talk(1)
    with pytest.raises(CommandRefused, match="no member"):
        talk.run(membership.remove(talk.view, 9, talk.budget()), lambda _ask: Invalid("no member"))
    assert len(talk.asked) == 1


def test_a_leader_that_has_removed_itself_is_not_asked_first_again() -> None:
    talk = Talk(1, 2)
    gone = Members(0, 2, (2, 3), (), {2: "e2", 3: "e3"}, {}, 10)
    talk.view.leader = 1
    talk.run(membership.remove(talk.view, 1, talk.budget()), lambda _ask: gone)
    assert talk.view.leader == 0
    talk.run(
        membership.members(talk.view, talk.budget()),
        lambda ask: SO if ListMembers() == ask.request else None,
    )
