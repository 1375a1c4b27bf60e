"""What nodes tell of themselves, as lines, and as the story of their leaders."""

from __future__ import annotations

import json
from typing import Any

from raft.cluster.records.node_events import event_as_line, remark, report_told
from raft.protocol.records import NodeEvent


def event(at: float, kind: str, term: int, role: str = "follower", **values: Any) -> NodeEvent:
    return NodeEvent(1, 1_000.0 + at, role, term, kind, f"{kind} it was", values)


def elected(at: float, term: int, **values: Any) -> NodeEvent:
    known = {"votes": 2, "voters": 3, "took_ms": 3.5, "previous": 0, "reason": "startup"}
    return event(at, "leader-elected", term, "leader", **{**known, **values})


def test_an_event_is_a_line_and_an_object_with_its_values() -> None:
    line = event_as_line(2, event(0.5, "leader-lost", 5, reason="no-quorum", led_term=4))
    assert (line.moment, line.node, line.event, line.term) == (1000.5, 2, "leader-lost", 5)
    assert json.loads(line.as_json()) == {
        "v": 1,
        "event": "leader-lost",
        "wall": "1970-01-01T00:16:40.500Z",
        "node": 2,
        "number": 1,
        "role": "follower",
        "term": 4,
        "text": "leader-lost it was",
        "reason": "no-quorum",
    }


def test_a_remark_is_of_no_role() -> None:
    line = remark(3, "unreachable", "n3 tells nothing", 1.0)
    assert (line.level, line.role) == ("WARNING", "")
    assert json.loads(line.as_json())["event"] == "unreachable"


def test_leaders_are_told_by_themselves() -> None:
    told = [
        (2, elected(3.0, 2, reason="transfer", previous=1)),
        (1, elected(1.0, 1)),
        (1, event(2.9, "leader-lost", 2, reason="transfer", led_term=1)),
        (3, event(1.1, "leader-seen", 1, leader=1)),
    ]
    report = report_told(told, 1_010.0, leader=2, unreachable=[])
    assert [(it.term, it.node, it.elected_t, it.lasted_s, it.ended) for it in report.leaders] == [
        (1, 1, 0.0, 1.9, "transfer"),
        (2, 2, 2.0, 7.0, None),
    ]
    assert report.leaderless_s == 0.1


def test_a_leader_whose_own_memory_is_gone_is_told_by_its_followers() -> None:
    told = [
        (2, event(1.0, "leader-seen", 1, leader=1)),
        (3, event(1.1, "leader-seen", 1, leader=1)),
        (2, event(5.0, "leader-gone", 1, leader=1, reason="leader-died")),
        (2, elected(5.5, 2, reason="leader-died", previous=1)),
    ]
    report = report_told(told, 1_006.0, leader=2, unreachable=[1])
    first, second = report.leaders
    assert (first.node, first.reason, first.votes, first.ended, first.lasted_s) == (1, "seen", 0, "died", 4.5)
    assert (second.node, second.ended) == (2, None)
    assert report.unreachable == [1]


def test_a_leader_that_nodes_have_lost_and_not_replaced_has_ended() -> None:
    told = [
        (2, event(1.0, "leader-seen", 1, leader=1)),
        (2, event(5.0, "leader-gone", 1, leader=1, reason="leader-died")),
    ]
    [last] = report_told(told, 1_009.0, leader=0, unreachable=[1]).leaders
    assert (last.ended, last.lasted_s) == ("unreachable", 4.0)


def test_two_leaders_of_one_term_are_a_violation() -> None:
    report = report_told([(1, elected(1, 3)), (2, elected(2, 3))], 1_003.0, leader=2, unreachable=[])
    [violation] = report.violations
    assert (violation.term, violation.nodes) == (3, [1, 2])


def test_of_nothing_there_is_no_leader() -> None:
    assert report_told([], 1_000.0, leader=0, unreachable=[1, 2]).leaders == []
