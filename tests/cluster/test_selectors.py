"""Choosing nodes by what is typed."""

from __future__ import annotations

import random

import pytest

from raft.cluster.failures import BadUsage, ExitCode, NoLeader, VerbFailed
from raft.cluster.selectors import SelectionScope, check_selector, names, select, select_one

FIVE = (1, 2, 3, 4, 5)
ALL_RUN = SelectionScope(FIVE, FIVE, leader=3)


def chosen(text: str, picture: SelectionScope = ALL_RUN, seed: int = 1) -> list[int]:
    return select(text, picture, random.Random(seed))


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("3", [3]),
        ("n3", [3]),
        ("4,2,1", [4, 2, 1]),
        ("n1, 2", [1, 2]),
        ("leader", [3]),
        ("followers", [1, 2, 4, 5]),
        ("all", [1, 2, 3, 4, 5]),
        ("leader,1,3", [3, 1]),
    ],
)
def test_a_selector_means_these_nodes(text: str, nodes: list[int]) -> None:
    assert chosen(text) == nodes


@pytest.mark.parametrize(
    "text", ["", " ", "x", "0", "n0", "-1", "1,,2", "1,", "random:0", "random:x", "Leader", "1-3"]
)
def test_what_chooses_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(BadUsage):
        check_selector(text)


def test_a_node_outside_the_cluster_is_a_usage_error_that_names_the_cluster() -> None:
    with pytest.raises(BadUsage, match="n1 n2 n3 n4 n5"):
        chosen("6")


def test_without_a_leader_leader_and_followers_mean_nothing() -> None:
    for text in ("leader", "followers"):
        with pytest.raises(NoLeader) as refusal:
            chosen(text, SelectionScope(FIVE, FIVE, leader=0))
        assert refusal.value.exit_code is ExitCode.NO_LEADER


def test_words_for_groups_choose_among_the_eligible_and_numbers_do_not() -> None:
    picture = SelectionScope(FIVE, eligible=(1, 4), leader=0)
    assert chosen("all", picture) == [1, 4]
    assert chosen("2", picture) == [2]


def test_nothing_eligible_is_a_failure_and_no_usage_error() -> None:
    with pytest.raises(VerbFailed) as refusal:
        chosen("all", SelectionScope(FIVE, ()))
    assert refusal.value.exit_code is ExitCode.FAILURE


def test_random_draws_as_many_as_asked_from_the_eligible_alone() -> None:
    picture = SelectionScope(FIVE, eligible=(2, 4, 5))
    drawn = {tuple(chosen("random:2", picture, seed)) for seed in range(50)}
    assert drawn == {(2, 4), (2, 5), (4, 5)}
    assert len(chosen("random", picture)) == 1
    with pytest.raises(VerbFailed, match="only 3"):
        chosen("random:4", picture)


def test_one_node_is_wanted_where_several_make_no_sense() -> None:
    assert select_one("leader", ALL_RUN, random.Random(1)) == 3
    with pytest.raises(BadUsage, match="n1 n2"):
        select_one("1,2", ALL_RUN, random.Random(1))


def test_nodes_are_written_by_name() -> None:
    assert names([1, 5]) == "n1 n5"
