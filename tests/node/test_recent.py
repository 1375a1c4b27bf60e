"""What a node tells of its recent past: its events, votes among them, and the lines of its log."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

from raft.core.messages import PreVote, RequestVote
from raft.node.process.roles import Role, why_not
from raft.node.requests.recent import (
    EVENTS_KEPT,
    PAGE_MAX,
    TEXT_CHARACTERS_MAX,
    EventRing,
    Kept,
    Ring,
    keep_line,
)
from raft.protocol.records import EVENT_KINDS, GetRecords, NodeEvent, Records
from raft.protocol.registry import address_of
from tests.node.cluster import Cluster

NODE = Path(__file__).parents[2] / "raft" / "node"


def told(cluster: Cluster, node: int, **request: Any) -> Records:
    answer = cluster.answer(node, GetRecords(**request))
    assert isinstance(answer, Records)
    return answer


def events(cluster: Cluster, node: int, *kinds: str) -> list[NodeEvent]:
    return [event for event in told(cluster, node).events if event.kind in kinds]


def test_a_node_tells_its_events_in_order() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    records = told(cluster, leader)
    kinds = [event.kind for event in records.events]
    assert kinds[0] == "node-started"
    wanted = ["votes-asked", "vote-counted", "leader-elected", "leader-seen", "identity"]
    assert [kind for kind in dict.fromkeys(kinds) if kind in wanted] == wanted
    assert [event.number for event in records.events] == list(range(1, records.newest + 1))
    assert (records.node, records.incarnation, records.upto) == (leader, 1, records.newest)
    [elected] = events(cluster, leader, "leader-elected")
    assert elected.role == "leader" and elected.term == cluster[leader].raft.term
    assert elected.values["votes"] in (2, 3) and elected.values["voters"] == 3


def test_a_voter_tells_whom_it_gave_its_vote_and_the_candidate_who_gave_it() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    granted = [
        event
        for node in cluster.followers()
        for event in events(cluster, node, "vote-granted")
        if event.values["candidate"] == leader
    ]
    assert {event.values["pre"] for event in granted} == {True, False}
    counted = events(cluster, leader, "vote-counted")
    assert {event.values["voter"] for event in counted} <= {1, 2, 3}
    assert all(event.values["granted"] for event in counted)


def refused(cluster: Cluster, node: int, message: Any) -> NodeEvent:
    """What the node notes when that message arrives from its sender."""
    before = told(cluster, node).newest
    cluster[message.sender].runtime.tell(address_of(node), message)
    cluster.network.settle()
    [event] = [
        event for event in told(cluster, node, incarnation=1, after=before).events if "vote" in event.kind
    ]
    assert event.kind == "vote-refused"
    assert event.values["candidate"] == message.sender
    assert event.text.endswith(f": {event.values['reason']}")
    return event


def test_a_refusal_tells_its_reason() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    voter, candidate = cluster.followers()
    raft = cluster[voter].raft
    term, last, last_term = raft.term, raft.log.last, raft.log.last_term

    lively = refused(cluster, voter, PreVote(candidate, voter, term + 1, last_term, last))
    assert lively.values["reason"] == f"n{leader} leads, and was heard of late"
    assert lively.values["silent"] is True, "the core does not answer it"

    voted = refused(cluster, voter, RequestVote(candidate, voter, term, last_term, last))
    assert voted.values["reason"] == f"it has voted for n{leader} in term {term}"
    assert voted.values["silent"] is False

    old = refused(cluster, voter, PreVote(candidate, voter, term - 1, last_term, last))
    assert old.values["reason"] == f"term {term - 1} is over, this node is in term {term}"

    raft.forget_leader()
    short = refused(cluster, voter, PreVote(candidate, voter, term + 1, last_term, last - 1))
    assert short.values["reason"] == (
        f"its log ends at entry {last - 1} of term {last_term}, and this one at {last} of term {last_term}"
    )


def test_peers_that_come_and_go_are_told() -> None:
    cluster = Cluster(3)
    cluster.elect()
    dead, node = cluster.followers()
    cluster[dead].kill()
    cluster.network.settle()
    cluster[dead].start()
    cluster.until(lambda: [e.kind for e in events(cluster, node, "peer-up")].count("peer-up") == 3)
    assert [e.kind for e in events(cluster, node, "peer-up", "peer-down") if e.values["peer"] == dead] == [
        "peer-up",
        "peer-down",
        "peer-up",
    ]


def test_only_what_follows_a_number_is_told_and_all_of_it_after_another_start() -> None:
    cluster = Cluster(3)
    cluster.elect()
    node = cluster.followers()[0]
    whole = told(cluster, node)
    rest = told(cluster, node, incarnation=1, after=whole.newest - 2)
    assert rest.events == whole.events[-2:]
    nothing = told(cluster, node, incarnation=1, after=whole.newest)
    assert (nothing.events, nothing.upto) == ([], whole.newest)
    cluster[node].kill()
    cluster.network.settle()
    cluster[node].start()
    cluster.until(cluster.agree)
    again = told(cluster, node, incarnation=1, after=whole.newest)
    assert again.incarnation == 2
    assert again.events[0].number == 1


def test_of_many_events_the_last_are_kept_and_the_others_counted() -> None:
    cluster = Cluster(1)
    cluster.elect()
    node = cluster[1].actor.components
    for number in range(EVENTS_KEPT + 10):
        node.recent.note("busy", f"{number}", {})
    newest = told(cluster, 1).newest
    first = told(cluster, 1)
    assert first.forgotten == newest - EVENTS_KEPT - 2, "its election is kept, and that it saw itself lead"
    assert len(first.events) == PAGE_MAX
    assert first.upto == first.forgotten + PAGE_MAX == first.events[-1].number
    second = told(cluster, 1, incarnation=1, after=first.upto)
    assert second.forgotten == 0
    third = told(cluster, 1, incarnation=1, after=second.upto)
    assert (third.upto, third.events[-1].text) == (newest, f"{EVENTS_KEPT + 9}")
    assert [event.number for event in told(cluster, 1, incarnation=1, after=first.upto, limit=3).events] == [
        first.upto + 1,
        first.upto + 2,
        first.upto + 3,
    ]


def test_lines_of_the_log_are_told_as_json_and_long_ones_are_cut() -> None:
    cluster = Cluster(1)
    cluster.elect()
    lines = cluster[1].log_lines
    keep_line(lines, {"event": "printed", "message": "m" * 2 * TEXT_CHARACTERS_MAX, "where": Ring})
    keep_line(lines, {"message": "bad", "traceback": "t" * TEXT_CHARACTERS_MAX + "the end"})
    records = told(cluster, 1, log=True)
    assert records.events == []
    first, second = (msgspec.json.decode(line) for line in records.lines)
    assert first == {"event": "printed", "message": "m" * TEXT_CHARACTERS_MAX, "where": repr(Ring)}
    assert second["traceback"].endswith("the end")
    assert len(second["traceback"]) == TEXT_CHARACTERS_MAX


def test_a_ring_numbers_from_one() -> None:
    ring: Ring[str] = Ring(3)
    assert ring.after(0, 10) == (0, [])
    for item in "abcd":
        ring.add(item)
    assert ring.newest == 4
    assert ring.after(0, 10) == (1, ["b", "c", "d"])
    assert ring.after(2, 1) == (0, ["c"])
    assert ring.after(4, 10) == (0, [])


def test_of_leaderships_more_is_kept_than_of_the_rest() -> None:
    def event(kind: str) -> Kept:
        return (1.0, "leader", 1, kind, kind, {})

    ring = EventRing(3)
    for kind in ("node-started", "leader-elected", "votes-asked", "leader-seen", *["votes-asked"] * 5):
        ring.add(event(kind))
    forgotten, told = ring.numbered(0, 10)
    assert [(number, kept[3]) for number, kept in told] == [
        (2, "leader-elected"), (4, "leader-seen"), (7, "votes-asked"), (8, "votes-asked"), (9, "votes-asked")
    ]  # fmt: skip
    assert forgotten == 4
    pages, after = [], 0
    while after < ring.newest:
        skipped, page = ring.numbered(after, 2)
        pages.append((skipped, [number for number, _ in page]))
        after = page[-1][0]
    assert pages == [(2, [2, 4]), (2, [7, 8]), (0, [9])], "no more are said to be forgotten than are"
    assert ring.numbered(9, 10) == (0, [])


@pytest.mark.parametrize("role", [Role.CLIENT, Role.READER])
def test_who_may_read_may_ask_and_who_is_bound_to_a_prefix_gets_no_log(role: Role) -> None:
    assert why_not(GetRecords(), role, "") == ""
    assert why_not(GetRecords(log=True), role, "") == ""
    assert why_not(GetRecords(), role, "app/") == ""
    assert "not the node's log" in why_not(GetRecords(log=True), role, "app/")


def journaled() -> set[str]:
    """The kinds of all events that the node's code writes."""
    kinds = set()
    for path in NODE.rglob("*.py"):
        if path.parent.name == "process":
            continue  # Of the process, not of the node: lines of its log only.
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("event", "note", "_note")
                and call.args
                and isinstance(call.args[0], ast.Constant)
            ):
                kinds.add(str(call.args[0].value))
    return kinds


def test_the_table_of_kinds_has_every_event() -> None:
    computed = {"disk-full", "stalled", "busy", "out-of-space"}  # By a variable.
    assert journaled() | computed == set(EVENT_KINDS)


def test_the_incarnation_travels_under_its_first_name() -> None:
    """Nodes and readers of earlier releases know it as "life"."""
    assert msgspec.to_builtins(GetRecords(incarnation=2))["life"] == 2
