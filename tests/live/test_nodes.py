"""What the leader measures of its clients, between two answers."""

from __future__ import annotations

import msgspec
import pytest

from raft.live.feed import Load
from raft.live.nodes import load_between, quantile
from raft.node.histogram import Histogram
from raft.protocol.admin import NodeMetrics, NodeStatus

STATUS = NodeStatus(1, 1, "leader", 1, 1, 1, 0, 0, 0, None, [1], [], {}, [], {})


def metrics(at_seconds: float, committed: int, read: int, took_seconds: list[float]) -> NodeMetrics:
    times = Histogram()
    for value in took_seconds:
        times.observe(value)
    counters = {"proposals": {"committed": float(committed)}, "reads": {"linearizable": float(read)}}
    return NodeMetrics(STATUS, at_seconds, {}, counters, {"commit": {"": times.counts()}})


def test_rates_and_latencies_are_those_between_two_answers() -> None:
    before, after = metrics(10.0, 100, 7, [5.0]), metrics(12.0, 140, 10, [5.0, *[0.002] * 40])
    load = load_between(before, after)
    assert load is not None
    assert (load.writes_per_second, load.reads_per_second) == (20.0, 1.5)
    assert 1.0 <= load.p50_ms <= load.p99_ms <= 2.5, "what was slow before does not count"


def test_a_cluster_at_rest_has_no_latency_and_no_time_gives_no_rate() -> None:
    rest = metrics(10.0, 100, 7, [5.0])
    assert load_between(rest, msgspec.structs.replace(rest, at_seconds=11.0)) == Load(0.0, 0.0)
    assert load_between(rest, rest) is None


@pytest.mark.parametrize(("share", "seconds"), [(0.1, 0.00115), (0.5, 0.00175), (1.0, 0.0025)])
def test_a_quantile_lies_within_its_bucket(share: float, seconds: float) -> None:
    times = Histogram()
    for _ in range(10):
        times.observe(0.002)
    assert quantile(times.counts(), share) == pytest.approx(seconds)
