"""From events to the leader report."""

from __future__ import annotations

import json

from raft.cluster.records.events import (
    Event,
    FaultCleared,
    FaultInjected,
    LeaderElected,
    LeaderLost,
    Violation,
)
from raft.cluster.records.report import LeaderReport, encode_report, final_report, leader_report


def elected(t: float, node: int, term: int, reason: str = "timeout") -> LeaderElected:
    return LeaderElected(t=t, node=node, term=term, previous=0, votes=3, voters=5, took_ms=8.4, reason=reason)


def lost(t: float, node: int, term: int, reason: str = "died") -> LeaderLost:
    return LeaderLost(t=t, node=node, term=term, reason=reason)


def report(now: float, *events: Event) -> LeaderReport:
    return leader_report(events, now)


def test_no_events_make_an_empty_report() -> None:
    empty = report(5.0)
    assert (empty.leaders, empty.elections, empty.leaderless_s) == ([], 0, 0.0)


def test_a_leader_that_stands_has_lasted_until_now_and_has_no_end() -> None:
    (leader,) = report(4.0, elected(1.0, 3, 1, "startup")).leaders
    assert (leader.node, leader.lasted_s, leader.ended) == (3, 3.0, None)


def test_the_time_between_a_death_and_the_next_election_is_leaderless() -> None:
    story = report(10.0, elected(1.0, 3, 1), lost(4.0, 3, 1), elected(4.25, 2, 2))
    assert [leader.ended for leader in story.leaders] == ["died", None]
    assert story.leaders[0].lasted_s == 3.0
    assert story.leaderless_s == 0.25


def test_a_cluster_without_a_leader_now_counts_on() -> None:
    assert report(10.0, elected(1.0, 3, 1), lost(4.0, 3, 1)).leaderless_s == 6.0


def test_the_final_report_counts_no_time_after_the_last_event() -> None:
    story = final_report([elected(1.0, 3, 1), lost(4.0, 3, 1, "stopping")])
    assert (story.leaders[0].lasted_s, story.leaderless_s) == (3.0, 0.0)


def test_terms_that_no_node_won_are_elections_without_a_leader() -> None:
    story = report(10.0, elected(1.0, 3, 1), lost(2.0, 3, 1), elected(3.0, 2, 4))
    assert story.elections == 4
    assert story.leaderless_terms == [2, 3]


def test_a_leader_that_says_nothing_is_superseded_by_the_next_one() -> None:
    story = report(10.0, elected(1.0, 3, 1), elected(5.0, 2, 2))
    assert (story.leaders[0].ended, story.leaders[0].lasted_s) == ("superseded", 4.0)
    assert story.leaderless_s == 0.0


def test_a_leader_that_tells_of_its_end_after_the_next_election_tells_the_reason_and_led_until_then() -> None:
    story = report(10.0, elected(1.0, 3, 1), elected(5.0, 2, 2), lost(5.2, 3, 1, "no-quorum"))
    assert (story.leaders[0].ended, story.leaders[0].lasted_s) == ("no-quorum", 4.0)
    assert story.leaders[1].ended is None


def test_a_guess_never_replaces_what_a_leader_tells_of_its_end() -> None:
    story = report(
        10.0,
        elected(1.0, 3, 1),
        lost(3.0, 3, 1, "no-quorum"),
        elected(5.0, 2, 2),
        lost(6.0, 3, 1, "unreachable"),
    )
    assert story.leaders[0].ended == "no-quorum"


def test_a_successor_that_was_quicker_than_the_news_of_the_death_still_tells_why() -> None:
    story = report(10.0, elected(1.0, 3, 1), elected(4.0, 2, 2, "leader-died"), lost(4.1, 3, 1))
    assert story.leaders[0].ended == "died"


def test_a_leader_that_handed_over_ended_by_transfer() -> None:
    story = report(10.0, elected(1.0, 3, 1), lost(3.9, 3, 1, "higher-term"), elected(4.0, 2, 2, "transfer"))
    assert story.leaders[0].ended == "transfer"


def test_a_paused_leader_is_superseded_because_of_the_pause_and_its_late_word_changes_nothing() -> None:
    pause = FaultInjected(t=4.0, id=1, kind="pause", nodes=[3], text="pause n3")
    resumed = FaultCleared(t=6.0, id=1, kind="pause", nodes=[3], text="pause n3")
    story = report(
        10.0, elected(1.0, 3, 1), pause, elected(4.5, 2, 2), resumed, lost(6.1, 3, 1, "higher-term")
    )
    assert story.leaders[0].ended == "pause"
    assert story.leaders[1].ended is None


def test_a_fault_that_was_cleared_before_is_not_blamed() -> None:
    pause = FaultInjected(t=2.0, id=1, kind="pause", nodes=[3], text="pause n3")
    resumed = FaultCleared(t=3.0, id=1, kind="pause", nodes=[3], text="pause n3")
    story = report(10.0, elected(1.0, 3, 1), pause, resumed, elected(4.5, 2, 2))
    assert story.leaders[0].ended == "superseded"


def test_reports_that_came_late_are_told_in_the_order_in_which_things_happened() -> None:
    story = report(10.0, elected(5.0, 2, 2), elected(1.0, 3, 1), lost(4.0, 3, 1, "transfer"))
    assert [leader.node for leader in story.leaders] == [3, 2]
    assert story.leaderless_s == 1.0


def test_a_violation_is_in_the_report() -> None:
    violation = Violation(t=2.0, term=1, nodes=[3, 4], text="two leaders in term 1: n3 and n4")
    (seen,) = report(3.0, elected(1.0, 3, 1), elected(2.0, 4, 1), violation).violations
    assert (seen.term, seen.nodes) == (1, [3, 4])


def test_the_json_has_the_names_that_programs_read() -> None:
    told = json.loads(encode_report(report(4.0, elected(1.0, 3, 1, "startup"))))
    assert {"v", "leaders", "violations", "elections", "leaderless_s"} <= told.keys()
    assert told["v"] == 1
    assert told["leaders"] == [
        {
            "term": 1,
            "node": 3,
            "elected_t": 1.0,
            "lasted_s": 3.0,
            "took_ms": 8.4,
            "votes": 3,
            "reason": "startup",
            "ended": None,
        }
    ]


def test_a_bad_link_a_slow_disk_or_a_wrong_clock_is_not_said_to_have_ended_a_leadership() -> None:
    for kind in ("link", "disk", "clock"):
        hurt = FaultInjected(t=2.0, id=1, kind=kind, nodes=[3], text=f"{kind} n3")
        story = report(10.0, elected(1.0, 3, 1), hurt, elected(4.5, 2, 2))
        assert story.leaders[0].ended == "superseded"
