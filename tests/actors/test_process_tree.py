"""Supervisors under supervisors, whose children are processes: which are started again, which left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import Restart, RestartPolicy, Strategy
from actors.errors import GaveUp, NameTaken, UnknownActor
from actors.processes.supervisor import ProcessPlan
from tests.actors.test_process_supervisor import House
from tests.actors.world import AT_ONCE

NONE = RestartPolicy(max_restarts=0, backoff=AT_ONCE)
ONE = RestartPolicy(max_restarts=1, backoff=AT_ONCE)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, RestartPolicy(max_restarts=1, backoff=AT_ONCE))
    yield house
    house.server.close()


def add(house: House, name: str, supervisor: str = "") -> None:
    plan = ProcessPlan(name=name, actor="x:Y", arguments={}, connect=(), supervisor=supervisor)
    house.supervisor.add(plan)


def test_a_flaky_process_uses_up_its_own_supervisors_restarts_only(house: House) -> None:
    house.supervisor.add_supervisor("flaky", RestartPolicy(max_restarts=5, backoff=AT_ONCE))
    add(house, "a")
    add(house, "b", "flaky")
    for _ in range(5):
        house.end("b", 1)
    assert house.server.alive == ["a1", "b6"]
    house.end("a", 1)
    assert house.server.alive == ["b6", "a2"]


def test_a_supervisor_that_gives_up_is_started_again_whole_by_the_one_above(house: House) -> None:
    house.supervisor.add_supervisor("pair", NONE)
    add(house, "a")
    add(house, "b", "pair")
    add(house, "c", "pair")
    house.end("b", 1)
    assert house.server.alive == ["a1", "c1"]
    assert house.server.last("c").stopped
    house.end("c", 0)
    assert house.server.alive == ["a1", "b2", "c2"]


def test_a_temporary_supervisor_that_gives_up_ends_its_processes_and_no_others(house: House) -> None:
    house.supervisor.add_supervisor("pair", NONE, restart=Restart.TEMPORARY)
    add(house, "a")
    add(house, "b", "pair")
    add(house, "c", "pair")
    house.end("b", 1)
    house.end("c", 0)
    assert house.server.alive == ["a1"]
    assert house.supervisor.processes == ("a",)
    assert [report.address.actor for report in house.crashes] == ["processes/pair"]
    assert "GaveUp: b ended" in house.crashes[0].error


def test_giving_up_goes_up_the_tree_until_one_has_restarts_left(house: House) -> None:
    house.supervisor.add_supervisor("outer", ONE)
    house.supervisor.add_supervisor("inner", NONE, under="outer")
    add(house, "a")
    add(house, "b", "inner")
    add(house, "c", "outer")
    house.end("b", 1)
    assert house.server.alive == ["a1", "c1", "b2"]
    house.end("b", 1)
    assert house.server.last("c").stopped
    house.end("c", 0)
    assert house.server.alive == ["a1", "b3", "c2"]


def test_a_supervisor_that_was_started_again_counts_restarts_from_none(house: House) -> None:
    house.supervisor.add_supervisor("flaky", ONE)
    add(house, "b", "flaky")
    for _ in range(3):
        house.end("b", 1)  # Restarted by its own, by the root, and by its own again.
    assert house.server.alive == ["b4"]


def test_when_the_root_gives_up_all_is_over(house: House) -> None:
    house.supervisor.add_supervisor("flaky", NONE)
    add(house, "b", "flaky")
    house.end("b", 1)
    house.end("b", 1)
    assert [type(report.error) and report.error[:7] for report in house.world.crashes] == ["GaveUp:"]
    assert GaveUp.__name__ in house.world.crashes[0].error


def test_a_branch_is_one_child_for_the_strategy_above(tmp_path: Path) -> None:
    house = House(tmp_path, RestartPolicy(strategy=Strategy.REST_FOR_ONE, backoff=AT_ONCE))
    house.supervisor.add_supervisor("pair", RestartPolicy(backoff=AT_ONCE))
    add(house, "a")
    add(house, "b", "pair")
    add(house, "c")
    house.end("a", 1)
    assert [house.server.last(name).stopped for name in "bc"] == [False, True]
    house.end("c", 0)
    assert house.server.alive == ["b1", "a2", "c2"]
    house.server.close()


def test_names_in_the_tree_are_taken_once_and_must_be_known(house: House) -> None:
    house.supervisor.add_supervisor("pair", NONE)
    with pytest.raises(NameTaken):
        house.supervisor.add_supervisor("pair", NONE)
    with pytest.raises(UnknownActor, match="spawn_supervisor"):
        add(house, "b", "trio")
