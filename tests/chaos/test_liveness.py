"""From when on a cluster could acknowledge a write, and how long it took until it did."""

from __future__ import annotations

import pytest

from raft.cluster.records.events import (
    Event,
    FaultCleared,
    FaultInjected,
    MembersChanged,
    NodeExited,
    NodeStarted,
)
from raft.lab.chaos.liveness import recoveries, spells_of

UP: list[Event] = [NodeStarted(t=0.1, node=node, pid=node, incarnation=1, took_ms=1) for node in (1, 2, 3)]


def fault(number: int, t: float, kind: str, nodes: list[int], text: str) -> FaultInjected:
    return FaultInjected(t=t, id=number, kind=kind, nodes=nodes, text=text)


def cleared(number: int, t: float) -> FaultCleared:
    return FaultCleared(t=t, id=number, kind="", nodes=[], text="")


def exited(node: int, t: float) -> NodeExited:
    return NodeExited(t=t, node=node, pid=node, cause="injected")


def started(node: int, t: float) -> NodeStarted:
    return NodeStarted(t=t, node=node, pid=node, incarnation=2, took_ms=1)


def able(*events: Event, end: float = 10.0) -> list[tuple[float, float]]:
    return [(spell.start, spell.end) for spell in spells_of([*UP, *events], end)]


def test_a_majority_that_is_down_cannot_acknowledge_and_does_not_have_to() -> None:
    events = [exited(node, 2.0) for node in (1, 2, 3)] + [started(1, 5.0), started(2, 7.0)]
    assert able(*events) == [(0.1, 2.0), (7.0, 10.0)]
    measured = recoveries([*UP, *events], [1.9, 7.02, 8.0], 1.0, 9.0)
    assert measured.max_seconds == pytest.approx(0.9), "the first write, and not the five seconds"
    assert recoveries([*UP, *events], [1.0, 1.9, 7.02], 1.0, 7.5).max_seconds == pytest.approx(0.02)


def test_a_leader_that_dies_is_followed_while_the_others_are_whole() -> None:
    measured = recoveries([*UP, exited(1, 4.0)], [1.0, 3.9, 4.6, 4.7], 1.0, 5.0)
    assert measured.max_seconds == pytest.approx(0.6)
    assert (measured.max_at, measured.count) == (4.0, 2)


def test_a_write_that_never_comes_has_taken_as_long_as_it_could_have_come() -> None:
    measured = recoveries([*UP, exited(1, 4.0)], [1.0, 3.9], 1.0, 9.0)
    assert measured.max_seconds == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        (fault(1, 2.0, "pause", [1, 2], "pause n1"), False),
        (fault(1, 2.0, "pause", [1], "pause n1"), True),
        (fault(1, 2.0, "disk", [1, 2], "n1 n2  full"), False),
        (fault(1, 2.0, "disk", [1, 2, 3], "n1 n2 n3  unsynced writes are lost in a power cut"), True),
        (fault(1, 2.0, "disk", [1, 2], "n1 n2  full, unsynced writes are lost in a power cut"), False),
        (fault(1, 2.0, "clock", [1, 2], "n1 n2  clock at 2 times its rate"), False),
        (fault(1, 2.0, "partition", [1, 2, 3], "n1 | n2 n3"), True),
        (fault(1, 2.0, "partition", [1, 2, 3], "n1 | n2 | n3"), False),
        (fault(1, 2.0, "partition", [1, 2, 3], "n1 -> n2 n3 cut"), True),
        (fault(1, 2.0, "isolate", [1, 2, 3], "n1"), True),
        (fault(1, 2.0, "isolate", [1, 2, 3], "n1 n2"), False),
        (fault(1, 2.0, "link", [1, 2, 3], "n1 <-> n2 n3 delay 20ms"), True),
    ],
)
def test_what_is_broken_does_not_count(broken: FaultInjected, whole: bool) -> None:
    found = able(broken, cleared(1, 3.0))
    assert found == ([(0.1, 10.0)] if whole else [(0.1, 2.0), (3.0, 10.0)])


def test_one_way_cuts_in_a_ring_leave_no_majority() -> None:
    cuts = [
        fault(n, 2.0, "partition", [a, b], f"n{a} -> n{b} cut")
        for n, (a, b) in enumerate([(1, 2), (2, 3), (3, 1)])
    ]
    assert able(*cuts) == [(0.1, 2.0)]


def test_members_change_what_a_majority_is() -> None:
    more = MembersChanged(t=2.0, text="", voters=[1, 2, 3, 4, 5], learners=[])
    assert able(more) == [(0.1, 2.0), (2.0, 10.0)]
    assert able(more, exited(3, 3.0)) == [(0.1, 2.0), (2.0, 3.0)]
    fewer = MembersChanged(t=2.0, text="", voters=[1], learners=[])
    assert able(fewer, exited(2, 3.0), exited(3, 3.0))[-1] == (2.0, 10.0)


def test_a_majority_that_takes_over_from_another_without_a_gap_goes_on() -> None:
    assert able(exited(3, 2.0), started(3, 3.0), exited(1, 4.0)) == [(0.1, 10.0)]


def test_another_majority_that_was_not_whole_before_begins_anew() -> None:
    events = [fault(1, 2.0, "pause", [3], "pause n3"), exited(1, 4.0), cleared(1, 4.0)]
    assert able(*events) == [(0.1, 4.0), (4.0, 10.0)]
