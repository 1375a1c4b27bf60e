"""Schedules: drawn alike from the same seed, written and read without loss, refused with a reason."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft.cluster.failures import BadUsage
from raft.lab.chaos.generator import draw_one_at_a_time, draw_schedule, families
from raft.lab.chaos.schedule import BadSchedule, Fault, Kind, Schedule, check
from raft.lab.chaos.schedule_file import format_schedule, parse_schedule, read_schedule

seeds = st.integers(0, 2**32)
sizes = st.integers(1, 9)


def drawn(seed: int, nodes: int = 5, seconds: float = 60.0) -> Schedule:
    return draw_schedule(seed, nodes=nodes, duration_seconds=seconds, names=families())


@settings(deadline=None, max_examples=50)
@given(seeds, sizes, st.sampled_from([3.0, 20.0, 600.0]))
def test_a_seed_always_draws_the_same_faults(seed: int, nodes: int, seconds: float) -> None:
    assert drawn(seed, nodes, seconds) == drawn(seed, nodes, seconds)


def test_other_seeds_draw_other_faults() -> None:
    assert drawn(1) != drawn(2)


@settings(deadline=None, max_examples=50)
@given(seeds, sizes)
def test_what_is_written_is_read_again(seed: int, nodes: int) -> None:
    schedule = drawn(seed, nodes)
    assert parse_schedule(format_schedule(schedule)) == schedule


@settings(deadline=None, max_examples=50)
@given(seeds, sizes)
def test_all_faults_end_before_the_run_does(seed: int, nodes: int) -> None:
    schedule = drawn(seed, nodes)
    assert schedule.faults
    assert all(fault.end_seconds <= schedule.duration_seconds for fault in schedule.faults)


def test_many_seeds_together_draw_every_kind() -> None:
    kinds = {fault.kind for seed in range(40) for fault in drawn(seed).faults}
    assert kinds == set(Kind)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_one_at_a_time_never_breaks_a_second_node(seed: int) -> None:
    faults = draw_one_at_a_time(seed, nodes=5, duration_seconds=30.0).faults
    assert all(one.end_seconds <= other.at_seconds for one, other in pairwise(faults))
    assert all("," not in fault.nodes and fault.nodes != "all" for fault in faults)


def test_a_schedule_can_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        seed = 7
        duration = "1m"

        [[fault]]
        at = "3.2s"
        kind = "kill"
        nodes = "leader"
        for = "2s"

        [[fault]]
        at = "500ms"
        kind = "link"
        nodes = 3
        to = "all"
        drop = "10%"
        for = "1s"
        """
    )
    link, kill = read_schedule(path).faults
    assert link == Fault(at_seconds=0.5, kind=Kind.LINK, nodes="3", to="all", drop=0.1, seconds=1.0)
    assert kill == Fault(at_seconds=3.2, kind=Kind.KILL, nodes="leader", seconds=2.0)


def one(fault: str) -> str:
    return f'duration = "10s"\n[[fault]]\n{fault}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense", "not TOML"),
        ("seed = 1", "duration is missing"),
        ('duration = "10s"\nfaults = 3', "'faults' is unknown"),
        ("duration = 10", "duration is a duration such as"),
        ('duration = "10"', "has no unit"),
        ('duration = "10s"\nseed = "x"', "whole number"),
        (one('at = "1s"\nkind = "kil"'), "fault 1: its kind is one of kill, "),
        (one('kind = "kill"\nnodes = "all"'), "does not say when"),
        (one('at = "1s"\nkind = "kill"\nnodes = "al"'), "'al' is not a selector"),
        (one('at = "1s"\nkind = "kill"\nnodes = "all"\nrate = 2.0'), "'rate' is not a parameter"),
        (one('at = "1s"\nkind = "kill"\nnodes = "all"\nfro = "2s"'), "'fro' is unknown"),
        (one('at = "11s"\nkind = "kill"\nnodes = "all"'), "begins at 11 s, but the run lasts 10 s"),
        (one('at = "9s"\nkind = "kill"\nnodes = "all"\nfor = "2s"'), "ends after the run"),
        (one('at = "1s"\nkind = "partition"\ngroups = ["1,2"]'), "two groups or more"),
        (one('at = "1s"\nkind = "partition"\ngroups = "1,2"'), "a list of groups"),
        (one('at = "1s"\nkind = "crash"\nnodes = "1"\npoint = "nowhere"'), "no crash point 'nowhere'"),
        (one('at = "1s"\nkind = "link"\nnodes = "1"\nto = "2"'), "name a fault of the link"),
        (one('at = "1s"\nkind = "link"\nnodes = "1"\nto = "2"\ndrop = "200%"'), "between 0% and 100%"),
        (one('at = "1s"\nkind = "link"\nnodes = "1"\nto = "2"\nboth = 1'), "true or false"),
        (one('at = "1s"\nkind = "disk"\nnodes = "1"'), "name a fault of the disk"),
        (one('at = "1s"\nkind = "clock"\nnodes = "1"\nrate = 50'), "0.1 to 10 times"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(BadSchedule, match=complaint):
        parse_schedule(text)


def test_faults_are_put_in_their_order() -> None:
    late = Fault(at_seconds=5.0, kind=Kind.KILL, nodes="1", seconds=1.0)
    early = Fault(at_seconds=1.0, kind=Kind.PAUSE, nodes="2", seconds=1.0)
    schedule = Schedule(seed=1, duration_seconds=10.0, faults=(late, early))
    assert check(schedule).faults == (early, late)


def test_a_kind_of_fault_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(BadUsage, match="'fire' is not a kind of fault: choose among kill"):
        draw_schedule(1, nodes=3, duration_seconds=10.0, names=["fire"])
