"""The metrics of a node."""

from __future__ import annotations

from typing import Any

import pytest

from raft.core.messages import Heartbeat, HeartbeatReply
from raft.core.types import Entry
from raft.node.applier import Rejection, Timing
from raft.node.histogram import Histogram
from raft.node.requests.proposals import Proposals
from raft.node.sender import RoundTrips
from raft.protocol.admin import GetMetrics, NodeMetrics
from raft.protocol.client import Committed, Invalid, NotLeader
from tests.node.cluster import Cluster, command


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


def total(histogram: Any) -> int:
    return sum(histogram.counts)


def test_a_histogram_counts_a_value_on_a_bound_below_that_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.observe(value)
    told = histogram.counts()
    assert (told.bounds, told.counts, told.sum) == ([1.0, 2.0], [2, 1, 1], 6.0)


def test_a_leader_counts_its_commands_by_result_and_times_a_batch_at_each_step() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    for number in range(5):
        assert isinstance(cluster.put(leader, b"k%d" % number, b"v"), Committed)
        cluster.advance(0.1)
    follower = cluster.followers()[0]
    assert isinstance(cluster.put(follower, b"k", b"v"), NotLeader)
    cluster.get(leader, b"k1")
    cluster.advance(1.0)

    told: NodeMetrics = cluster.answer(leader, GetMetrics())
    assert told.status.role == "leader"
    assert told.counters["proposals"] == {"committed": 5.0}
    assert told.counters["reads"] == {"linearizable": 1.0}
    assert told.counters["elections_won"] == {"startup": 1.0}
    assert told.gauges["keys"] == {"": 5.0}
    assert told.gauges["queue"]["proposals"] == 0.0
    assert total(told.histograms["commit"][""]) >= 4
    assert total(told.histograms["apply"][""]) >= 4
    assert total(told.histograms["log_write"][""]) >= 5
    assert total(told.histograms["loop_lag"][""]) > 10
    assert set(told.histograms["round_trip"]) == {str(node) for node in cluster.followers()}
    assert cluster.answer(follower, GetMetrics()).counters["proposals"] == {"not-leader": 1.0}


def test_a_follower_times_what_it_applies_and_writes_and_no_commit() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    cluster.advance(0.2)
    told: NodeMetrics = cluster.answer(cluster.followers()[0], GetMetrics())
    assert total(told.histograms["commit"][""]) == 0
    assert total(told.histograms["apply"][""]) >= 1
    assert total(told.histograms["log_write"][""]) >= 1
    assert told.counters["leaders_seen"] == {"": 1.0}


def test_a_leader_that_others_replace_counts_the_loss_and_what_it_never_learnt() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    others = cluster.followers()
    cluster[leader].cut(*others)
    pending = cluster.ask(leader, command(b"k", b"v"))
    cluster.until(lambda: leader not in cluster.leaders())
    cluster.until(lambda: pending.done)
    told: NodeMetrics = cluster.answer(leader, GetMetrics())
    assert told.counters["leaderships_lost"] == {"higher-term": 1.0}
    assert told.counters["proposals"] == {"unknown": 1.0}


def test_a_command_that_failed_or_was_overwritten_is_not_counted_as_committed() -> None:
    class Reply:
        def send(self, message: object) -> None:
            pass

    proposals = Proposals(1.0)
    proposals.logged(2, 1, [Reply(), Reply(), Reply()])
    proposals.applied([Entry(2, 1), Entry(2, 2), Entry(3, 3)], [b"", Rejection("no"), None])
    proposals.refused(Invalid("what is this"))
    assert proposals.results == {"committed": 1, "failed": 1, "overwritten": 1, "invalid": 1}


def test_a_round_trip_is_that_of_one_heartbeat_and_not_that_from_a_lost_one_to_a_later_reply() -> None:
    clock = Clock()
    trips = RoundTrips(clock.now)
    trips.sent(Heartbeat(1, 2, 5, 0, sent_tick=10))
    clock.seconds = 0.5
    trips.sent(Heartbeat(1, 2, 5, 0, sent_tick=12))
    trips.replied(HeartbeatReply(2, 1, 5, sent_tick=9))
    trips.replied(HeartbeatReply(2, 1, 5, sent_tick=12))  # The first one was lost.
    assert trips.by_peer == {}
    trips.sent(Heartbeat(1, 2, 5, 0, sent_tick=14))
    clock.seconds = 0.75
    trips.replied(HeartbeatReply(2, 1, 5, sent_tick=14))
    assert trips.by_peer[2].counts().sum == pytest.approx(0.25)
    trips.sent(Heartbeat(1, 2, 5, 0, sent_tick=99))
    trips.sent(Heartbeat(1, 2, 7, 0, sent_tick=1))  # Led again, and counts its ticks anew.
    clock.seconds = 1.0
    trips.replied(HeartbeatReply(2, 1, 7, sent_tick=1))
    assert trips.by_peer[2].counts().sum == pytest.approx(0.5)


def test_a_commit_is_not_timed_by_another_leader_s_entry_at_its_index() -> None:
    clock = Clock()
    timing = Timing(clock.now)
    timing.logged(2, 7)
    clock.seconds = 1.0
    timing.committed([Entry(3, 7)])
    timing.applied(7)
    assert total(timing.commit_seconds.counts()) == 0
    assert not timing.due
    timing.arm()
    timing.logged(4, 8)
    clock.seconds = 1.25
    timing.logged(4, 9)  # One batch at a time.
    clock.seconds = 1.5
    timing.committed([Entry(4, 8), Entry(4, 9)])
    clock.seconds = 1.75
    timing.applied(8)
    timing.applied(9)
    assert not timing.due
    assert timing.commit_seconds.counts().sum == pytest.approx(0.5)
    assert timing.apply_seconds.counts().sum == pytest.approx(0.25)
