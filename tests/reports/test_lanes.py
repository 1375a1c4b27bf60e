"""Events become spans of time: who led, who was down, what was broken."""

from __future__ import annotations

from raft.cluster.records.events import LeaderElected, LeaderLost, NodeExited, NodeStarted
from raft.lab.reports.lanes import picture_of
from raft.lab.reports.measures import bins_of, gaps_of
from raft.lab.reports.svg import Scale
from tests.checkers.histories import get, put
from tests.reports.runs import EVENTS


def spans(found):
    return [(span.start, span.end) for span in found]


def test_a_leader_leads_until_its_process_dies_and_the_next_one_until_the_end():
    first, second, _ = picture_of(EVENTS).lanes
    assert (spans(first.led), spans(second.led)) == ([(0.3, 4.0)], [(4.1, 9.0)])


def test_a_node_is_up_between_its_start_and_its_exit():
    assert spans(picture_of(EVENTS).lanes[0].up) == [(0.2, 4.0), (6.1, 9.0)]


def test_there_is_no_leader_between_a_death_and_the_next_election():
    assert spans(picture_of(EVENTS).leaderless) == [(4.0, 4.1)]


def test_a_fault_lasts_until_it_is_cleared_or_the_end():
    assert [(fault.kind, fault.start, fault.end) for fault in picture_of(EVENTS, 10.0).faults] == [
        ("kill", 4.0, 6.0),
        ("partition", 7.0, 8.0),
        ("pause", 9.0, 10.0),
    ]


def test_a_leader_that_was_cut_off_leads_until_it_hears_of_the_newer_term():
    def elected(t, node, term):
        return LeaderElected(
            t=t, node=node, term=term, previous=0, votes=2, voters=3, took_ms=1, reason="timeout"
        )

    events = [elected(1, 1, 2), elected(3, 2, 3), LeaderLost(t=5, node=1, term=2, reason="higher-term")]
    first, second = picture_of(events, 6).lanes
    assert (spans(first.led), spans(second.led)) == ([(1, 5)], [(3, 6)])
    assert picture_of(events, 6).leaderless == []


def test_a_cluster_that_was_stopped_is_not_called_leaderless():
    events = [
        NodeStarted(t=0, node=1, pid=9, incarnation=1, took_ms=1),
        LeaderElected(t=1, node=1, term=2, previous=0, votes=1, voters=1, took_ms=1, reason="startup"),
        NodeExited(t=4, node=1, pid=9, cause="stopped", code=0),
        LeaderLost(t=4, node=1, term=2, reason="stopping"),
    ]
    assert picture_of(events, 6).leaderless == []


def test_each_slice_of_time_has_its_own_throughput_and_latency():
    records = [put("a", 0.0, 0.1), put("b", 0.2, 0.5), get("b", 1.0, 1.5), put("c", 1.6, None)]
    first, second = bins_of(records, 0.0, 2.0, 2)
    assert (first.done, first.failed, round(first.p99_ms), round(first.p50_ms)) == (2, 0, 100, 100)
    assert (second.done, second.failed, round(second.p50_ms)) == (1, 1, 500)


def test_a_gap_is_a_period_in_which_a_client_waited_for_a_write():
    waited = [put("a", 0.0, 0.1), put("b", 0.2, 3.0)]
    assert [(gap.start, gap.end) for gap in gaps_of(waited)] == [(0.2, 3.0)]
    waited_before = [put("a", 0.0, 0.1), put("b", 0.05, 3.0)]
    assert [(gap.start, gap.end) for gap in gaps_of(waited_before)] == [(0.1, 3.0)]
    no_call = [put("a", 0.0, 0.1), put("b", 3.0, 3.1)]
    assert gaps_of(no_call) == []
    quick = [put("a", 0.0, 0.1), put("b", 0.2, 0.3)]
    assert gaps_of(quick) == []


def test_ticks_are_round_and_within_the_scale():
    assert Scale(0, 1, 0, 100).ticks(5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert Scale(4.3, 9.1, 0, 100).ticks(5) == [5, 6, 7, 8, 9]


def test_a_write_of_unknown_outcome_waits_in_a_gap_as_well():
    records = [put("a", 0.9, 1.0), put("b", 1.2, None), put("c", 3.0, 3.1), put("d", 5.0, 5.1)]
    assert [(gap.start, gap.end) for gap in gaps_of(records)] == [(1.2, 3.1)]
