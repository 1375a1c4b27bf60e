"""The text that a scrape gives, and what the probes say, of numbers that were made up."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import Any

import httpx
import pytest

from raft.client.errors import NoLeader
from raft.exporter.families import every_family
from raft.exporter.pages import Answers, Pages
from raft.protocol.admin import HistogramCounts, NodeMetrics, NodeStatus

PROMTOOL = shutil.which("promtool")


def numbers(leader: int = 1, **changes: Any) -> NodeMetrics:
    status = NodeStatus(
        node=1, incarnation=3, role="leader" if leader else "candidate", term=7, vote=1, leader=leader,
        commit=40, applied=39, last=42, contact_seconds=0.02, voters=[1, 2, 3], learners=[], match={2: 40},
        faults=[], counters={'frame "odd"\n': 2}, heard_seconds={2: 0.5},
    )  # fmt: skip
    gauges = {"keys": {"": 5.0}, "queue": {"reads": 1.0}}
    counters = {"proposals": {"committed": 12.0}, "campaigns": {"": 2.0}}
    histograms = {"log_write": {"": HistogramCounts([0.5, 1.0], [1, 0, 2], 7.25)}}
    return NodeMetrics(status, 99.5, gauges, counters, {**histograms, **changes})


class Told:
    """A source that says what it was given."""

    cluster = "shop"

    def __init__(self, answers: Answers, error: Exception | None = None) -> None:
        self._answers = answers
        self._error = error

    async def ask(self) -> Answers:
        return self._answers

    async def read(self) -> None:
        if self._error is not None:
            raise self._error


def scraped(answers: Answers) -> str:
    return asyncio.run(Pages(Told(answers)).metrics())


def test_a_scrape_names_each_node_and_counts_a_histogram_s_buckets_from_below() -> None:
    lines = scraped({1: numbers()}).splitlines()
    own = 'cluster="shop",node="1"'
    for line in (
        f"raft_node_up{{{own}}} 1",
        f'raft_node_role{{{own},role="leader"}} 1',
        f'raft_node_role{{{own},role="follower"}} 0',
        f"raft_commit_index{{{own}}} 40",
        f'raft_peer_lag_entries{{{own},peer="2"}} 2',
        f"raft_contact_age_seconds{{{own}}} 0.02",
        f'raft_proposals_total{{{own},result="committed"}} 12',
        f'raft_fsync_seconds_bucket{{{own},le="0.5"}} 1',
        f'raft_fsync_seconds_bucket{{{own},le="1"}} 1',
        f'raft_fsync_seconds_bucket{{{own},le="+Inf"}} 3',
        f"raft_fsync_seconds_sum{{{own}}} 7.25",
        f"raft_fsync_seconds_count{{{own}}} 3",
        f'raft_dropped_frames_total{{{own},reason="frame \\"odd\\"\\n"}} 2',
    ):
        assert line in lines, line


def test_a_node_that_does_not_answer_is_down_and_has_no_other_sample() -> None:
    of_second = [line for line in scraped({1: numbers(), 2: None}).splitlines() if 'node="2"' in line]
    assert of_second == ['raft_node_up{cluster="shop",node="2"} 0']
    assert 'raft_node_up{cluster="shop",node="1"} 0' in scraped({1: None})


def test_every_metric_has_a_help_text_and_a_name_in_base_units() -> None:
    names = [family.name for family in every_family()]
    assert len(names) == len(set(names))
    for family in every_family():
        assert family.name.startswith("raft_")
        assert family.help.endswith(".")
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not family.name.removesuffix("_total").endswith(("_ms", "_kb", "_mb", "_minutes"))
        if family.kind == "histogram":
            assert family.name.endswith("_seconds")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not installed")
def test_promtool_finds_nothing_to_say_against_a_scrape() -> None:
    assert PROMTOOL is not None
    text = scraped({1: numbers(round_trip={"2": HistogramCounts([0.5], [1, 0], 0.1)}), 2: None})
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_alive_while_one_node_answers_and_ready_while_one_knows_of_a_leader() -> None:
    for answers, live, ready in (
        ({1: numbers(), 2: None}, 200, 200),
        ({1: numbers(leader=0)}, 200, 503),
        ({1: numbers(leader=0), 2: numbers()}, 200, 200),
        ({1: None}, 503, 503),
    ):
        pages = Pages(Told(answers))
        assert asyncio.run(pages.get("/livez")).status == live
        assert asyncio.run(pages.get("/readyz")).status == ready
    assert "n1 knows of no leader" in asyncio.run(Pages(Told({1: numbers(leader=0)})).get("/readyz")).body


def test_health_is_a_read_and_says_why_it_was_not_possible() -> None:
    well = asyncio.run(Pages(Told({})).get("/health"))
    assert (well.status, json.loads(well.body)) == (200, {"health": "true"})
    ill = asyncio.run(Pages(Told({}, NoLeader("none in 1 s"))).get("/health"))
    assert ill.status == 503
    assert json.loads(ill.body) == {"health": "false", "reason": "NoLeader: none in 1 s"}


def test_as_an_asgi_app_it_serves_its_pages_below_a_mount_and_only_to_get_and_head() -> None:
    async def visit() -> None:
        transport = httpx.ASGITransport(Pages(Told({1: numbers()})), root_path="/raft")
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            got = await client.get("/raft/metrics")
            assert got.status_code == 200
            assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert "raft_node_up" in got.text
            assert (await client.head("/raft/metrics")).text == ""
            assert (await client.post("/raft/metrics")).status_code == 405
            missing = await client.get("/raft/nothing")
            assert missing.status_code == 404
            assert "/readyz" in missing.text

    asyncio.run(visit())
