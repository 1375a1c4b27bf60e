"""What the feed makes of what launcher and nodes tell: headline, links, leaders, changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.cluster.quorum import Quorum
from raft.cluster.records.events import LeaderElected, LeaderLost
from raft.cluster.records.report import Leadership, leader_report
from raft.cluster.rpc.messages import FaultEntry, FaultList
from raft.live.feed import (
    ENDED,
    Feed,
    as_json,
    groups,
    headline,
    links,
    merge_patch,
    merged,
    seconds_in_words,
    without_answer,
)
from tests.live.pictures import node, picture_of, status, three


def elected(node: int, term: int, t: float) -> LeaderElected:
    return LeaderElected(
        node=node, term=term, previous=0, votes=2, voters=3, took_ms=9.0, reason="timeout", t=t
    )


def led(node: int, term: int, elected_t: float, lasted_s: float, ended: str | None) -> Leadership:
    return Leadership(term, node, elected_t, lasted_s, 9.0, 2, "timeout", ended)


def test_the_headline_says_who_leads_since_when_and_why_the_last_leader_ended() -> None:
    leaders = [led(7, 13, 1.0, 4.0, "higher-term"), led(5, 14, 8.0, 32.0, None)]
    seen = status([node(5, role="leader", term=14)], leader=5, term=14)
    assert headline(seen, leaders, 40.0) == "n5 leads term 14 for 32 s; n7 ended: heard a newer term"


def test_the_headline_without_a_leader_says_for_how_long_and_what_is_missing() -> None:
    leaders = [led(1, 3, 1.0, 4.0, "died")]
    seen = status([node(2), node(3)], leader=None, voters=3, quorum=Quorum(2, 1))
    assert headline(seen, leaders, 7.5) == (
        "no leader for 2 s; n1 ended: its process died; no quorum: 1 of 3 hear each other, 2 needed"
    )
    assert headline(status([node(1)], leader=None), [], 1.0) == "no leader yet"


def test_each_reason_for_which_a_leadership_ends_has_words() -> None:
    told = ["died", "higher-term", "no-quorum", "transfer", "stopping", "removed", "disk-full", "slow-fsync"]
    from_faults = ["kill", "crash", "pause", "partition", "isolate", "superseded"]
    assert set(ENDED) >= {*told, *from_faults}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.42, "0.4 s"), (32.9, "32 s"), (720.0, "12 min"), (12_000.0, "3 h 20 min")]
)
def test_a_span_is_written_in_the_largest_unit_that_tells(seconds: float, words: str) -> None:
    assert seconds_in_words(seconds) == words


def test_a_way_that_is_cut_is_told_apart_from_one_that_is_bad_or_quiet() -> None:
    nodes = [node(1, heard_ms={2: 30.0, 3: 900.0}), node(2, heard_ms={1: 30.0}), node(3, heard_ms={1: 20.0})]
    faults = [
        FaultEntry(1, "link", [3, 1], "lossy", {3: [1]}),
        FaultEntry(2, "isolate", [2], "isolate n2", {1: [2], 2: [1]}, cut=True),
        FaultEntry(3, "link", [1, 2], "lossy", {1: [2]}),
    ]
    found = links(nodes, faults, 500.0)
    assert found == {"2>1": "cut", "1>2": "cut", "1>3": "heard", "3>1": "bad"}


@pytest.mark.parametrize(
    ("values", "condition", "cut_off", "silent"),
    [
        ({}, "follower", False, False),
        ({"in_quorum": False}, "follower", True, False),
        ({"state": "paused", "role": None}, "paused", False, False),
        ({"state": "down", "role": None, "in_quorum": False}, "dead", False, False),
        ({"state": "running", "role": None}, "unknown", False, True),
    ],
)
def test_dead_paused_cut_off_and_silent_nodes_are_told_apart(
    values: dict[str, object], condition: str, cut_off: bool, silent: bool
) -> None:
    seen = picture_of(status([node(1, role="leader"), node(2, **values)])).nodes["2"]
    assert (seen.condition, seen.cut_off, seen.silent) == (condition, cut_off, silent)


def test_a_picture_says_whose_part_of_it_is_missing() -> None:
    assert picture_of(three()).incomplete == ""
    assert "n2 did not answer" in picture_of(status([node(1), node(2, role=None)])).incomplete


def test_without_an_answer_the_last_picture_stays_and_is_marked_as_old() -> None:
    last = picture_of(three())
    old = without_answer(last, "test", "the launcher does not answer")
    assert old.nodes == last.nodes and old.incomplete.startswith("the launcher does not answer")
    assert without_answer(None, "test", "no cluster runs here").nodes == {}


def test_each_fault_carries_the_command_that_ends_it() -> None:
    seen = picture_of(three(), [FaultEntry(7, "pause", [2], "pause n2")])
    assert seen.faults[0].heal == "faults clear 7"
    assert seen.nodes["2"].faults == [7] and seen.nodes["3"].faults == []


def test_leaders_are_counted_anew_only_after_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[float] = []
    monkeypatch.setattr("raft.live.feed.leader_report", lambda e, t: counted.append(t) or leader_report(e, t))
    feed = Feed(0.5)
    feed.tell([elected(1, 1, 1.0)])
    for t in (2.0, 3.0, 4.0):
        feed.picture(three(), FaultList([]), t)
    feed.tell([LeaderLost(node=1, term=1, reason="died", t=5.0)])
    assert [leader.ended for leader in feed.picture(three(), FaultList([]), 6.0).leaders] == [
        "its process died"
    ]
    assert counted == [2.0, 6.0]


def test_a_picture_in_which_nothing_happened_changes_by_its_time_alone() -> None:
    feed = Feed(0.5)
    before, after = (as_json(feed.picture(three(), FaultList([]), t)) for t in (10.0, 10.1))
    assert merge_patch(before, after) == {"t": 10.1}


values = st.recursive(
    st.integers(0, 3) | st.booleans() | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
pictures = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(pictures, pictures)
def test_a_patch_makes_the_next_picture_of_the_one_before(
    before: dict[str, object], after: dict[str, object]
) -> None:
    assert merged(before, merge_patch(before, after)) == after
    assert merge_patch(after, after) == {}


def test_nodes_that_hear_each_other_are_a_group_also_by_way_of_others() -> None:
    nodes = [node(one) for one in (1, 2, 3, 4, 5)]
    ways = {"1>2": "heard", "2>1": "heard", "2>3": "heard", "3>2": "bad", "4>5": "heard", "5>4": "cut"}
    assert groups(nodes, ways) == [[1, 2, 3], [4], [5]]
    star = {way: "heard" for one in (2, 3, 4, 5) for way in (f"1>{one}", f"{one}>1")}
    assert groups(nodes, star) == [], "all hear the leader"
    dead = [*nodes[:4], node(5, state="down", role=None)]
    assert groups(dead, {way: how for way, how in star.items() if "5" not in way}) == []
