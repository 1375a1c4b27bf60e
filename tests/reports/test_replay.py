"""A run as the feed of a live cluster: what its events tell at each moment, within bounds."""

from __future__ import annotations

import re

import pytest

from raft.cli.views import Paint, event_line
from raft.cluster.records.events import FaultCleared, FaultInjected, NodeStarted
from raft.lab.reports.replay import OPERATIONS_MAX, PICTURES_MAX, as_text, feed_of
from raft.lab.reports.run import Run
from raft.live import files
from raft.live.feed import merged
from tests.checkers.histories import history, put
from tests.reports.runs import EVENTS, an_illegal_run


def pictures(run: Run):
    """Each picture of the feed, made of the changes as a reader makes it."""
    found, before = [], {}
    for news in feed_of(run)["news"]:
        if "picture" in news or "patch" in news:
            before = news.get("picture") or merged(before, news["patch"])
            found.append(before)
    return found


def test_the_page_of_a_run_says_what_the_terminal_said() -> None:
    told = next(news["records"] for news in feed_of(Run(events=list(EVENTS)))["news"] if "records" in news)
    lines = [event_line(event, Paint(False)) for event in EVENTS]
    assert len(told) == len(lines)
    assert all(line.endswith("  " + record["text"]) for record, line in zip(told, lines, strict=True))


def at(run: Run, t: float):
    return [picture for picture in pictures(run) if picture["t"] <= t][-1]


def test_each_moment_has_its_leader_and_what_has_become_of_the_others() -> None:
    run = Run(events=list(EVENTS))
    assert at(run, 0.35)["headline"] == "n1 leads term 2 for 0.0 s"
    assert at(run, 4.05)["nodes"]["1"]["condition"] == "dead"
    assert at(run, 4.2)["leader"] == 2
    assert at(run, 9.0)["nodes"]["3"]["condition"] == "paused"


def test_a_fault_of_links_cuts_them_until_it_is_cleared() -> None:
    run = Run(events=list(EVENTS))
    assert at(run, 7.5)["links"] == dict.fromkeys(("1>2", "2>1", "1>3", "3>1"), "cut")
    assert at(run, 7.5)["nodes"]["1"]["cut_off"] and at(run, 7.5)["reachable"] == 2
    assert "links" not in at(run, 8.5)


def links(kind: str, nodes: list[int], text: str):
    fault = FaultInjected(t=8.5, id=9, kind=kind, nodes=nodes, text=text)
    return at(Run(events=[*EVENTS, fault]), 8.7).get("links", {})


def test_the_ways_that_a_fault_breaks_are_read_from_its_words() -> None:
    assert links("link", [1, 2], "n2 -> n3 drop 20%") == {"2>3": "bad"}
    assert links("link", [1, 2], "n1 n2 <-> n3 delay 20ms") == dict.fromkeys(
        ("1>3", "3>1", "2>3", "3>2"), "bad"
    )
    assert set(links("isolate", [2], "n2")) == {"2>1", "1>2", "2>3", "3>2"}
    assert links("partition", [1, 2, 3], "n1 -> n2 n3 cut") == dict.fromkeys(("1>2", "1>3"), "cut")
    assert links("link", [1], "words that say nothing") == {}


@pytest.mark.slow
def test_a_very_long_run_has_a_bounded_file() -> None:
    flaps = [
        kind(t=10.0 + n / 100, id=n, kind="pause", nodes=[3], text="pause n3")
        for n in range(4 * PICTURES_MAX)
        for kind in (FaultInjected, FaultCleared)
    ]
    records = [put(f"v{n}", n / 1000, n / 1000 + 0.01) for n in range(3 * OPERATIONS_MAX)]
    feed = feed_of(Run(events=[*EVENTS, *flaps], history=history("register", *records)))
    assert len(feed["news"]) <= PICTURES_MAX + 3
    assert len(feed["clients"]["operations"]) <= OPERATIONS_MAX
    assert feed["clients"]["total"] == len(records)


def test_operations_that_prove_an_anomaly_are_marked() -> None:
    clients = feed_of(an_illegal_run())["clients"]
    assert [one["text"] for one in clients["operations"] if one.get("proof")][-1] == "get k → a"
    assert clients["anomalies"][0]["key"] == "k"


def test_nothing_in_the_feed_ends_the_element_that_holds_it() -> None:
    started = NodeStarted(t=0.1, node=1, pid=1, incarnation=1, took_ms=1.0)
    fault = FaultInjected(t=0.2, id=1, kind="</script>", nodes=[1], text="<!--<script>")
    assert "<" not in as_text(feed_of(Run(events=[started, fault])))


def test_the_modules_become_one_script_without_imports() -> None:
    text = files.script("run.js")
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)
    assert (
        text.index('modules["dom.js"] =')
        < text.index('modules["state.js"] =')
        < text.index('modules["run.js"] =')
    )
    assert "</script" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")
