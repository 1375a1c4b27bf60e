"""Heartbeats and election timeouts for a network and its disks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raft.cluster.quantities import parse_duration
from raft.cluster.timing import Timing, at_most, rounded_up, safe_timing, since
from raft.node.config import NodeConfig
from raft.protocol.admin import HistogramCounts

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| [^|]+ \| (\S+) \| (\S+) \| `([^`]+)` \|", re.M)


@pytest.mark.parametrize(
    ("round_trip", "fsync", "flags"),
    [
        (0.0, 0.0, "--heartbeat 50ms --election-timeout 250ms-500ms"),
        (0.001, 0.005, "--heartbeat 50ms --election-timeout 250ms-500ms"),
        (0.001, 0.025, "--heartbeat 50ms --election-timeout 600ms-1.2s"),
        (0.080, 0.005, "--heartbeat 80ms --election-timeout 1s-2s"),
        (0.250, 0.010, "--heartbeat 250ms --election-timeout 3s-6s"),
    ],
)
def test_the_values_are_the_defaults_on_one_site_and_grow_with_either_time(
    round_trip: float, fsync: float, flags: str
) -> None:
    timing = safe_timing(round_trip, fsync)
    assert timing.flags == flags
    assert timing.toml.splitlines()[0] == "[up]"
    config = NodeConfig(
        node=1,
        listen="ipc:///n1",
        data_dir="/d",
        heartbeat_seconds=timing.heartbeat_seconds,
        election_seconds_min=timing.election_seconds_min,
        election_seconds_max=timing.election_seconds_max,
    )
    assert config.check() is config
    assert timing.election_seconds_min >= 5 * timing.heartbeat_seconds
    assert timing.heartbeat_seconds >= round_trip
    assert config.fsync_limit_seconds >= 5 * fsync


def test_the_defaults_are_the_smallest_that_are_ever_named() -> None:
    node = NodeConfig(node=1, listen="ipc:///n1", data_dir="/d")
    assert safe_timing(0.0, 0.0) == Timing(
        node.heartbeat_seconds, node.election_seconds_min, node.election_seconds_max
    )


@pytest.mark.parametrize(
    ("seconds", "rounded"), [(0.25, 0.25), (0.251, 0.3), (0.9, 1.0), (1.0, 1.0), (1.01, 1.5), (11.0, 15.0)]
)
def test_values_are_rounded_up_to_what_people_type(seconds: float, rounded: float) -> None:
    assert rounded_up(seconds) == rounded


def test_the_slowest_of_a_hundred_is_left_out_and_what_was_before_does_not_count() -> None:
    before = HistogramCounts([0.001, 0.01, 0.1], [0, 0, 5, 0], 0.5)
    after = HistogramCounts([0.001, 0.01, 0.1], [90, 10, 6, 0], 0.7)
    assert at_most([since(before, after)]) == 0.01
    assert at_most([after]) == 0.1
    assert at_most([HistogramCounts([0.001], [0, 3], 9.0)]) == 0.001
    assert at_most([HistogramCounts([0.001], [0, 0], 0.0)]) == 0.0


def test_the_table_in_the_documentation_is_computed_by_the_same_rule() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) >= 5
    for round_trip, fsync, flags in rows:
        assert safe_timing(parse_duration(round_trip), parse_duration(fsync)).flags == flags
