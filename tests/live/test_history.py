"""The leaders of a cluster without a launcher: as nodes tell of them, else as they are seen."""

from __future__ import annotations

from typing import Any

from raft.cluster.rpc.messages import ClusterStatus
from raft.live.feed import Feed
from raft.live.history import LeaderHistory, faults_told
from raft.protocol.records import NodeEvent
from tests.live.pictures import node, status

ZERO = 1_000.0


def event(t: float, kind: str, term: int, **values: Any) -> NodeEvent:
    return NodeEvent(1, ZERO + t, "follower", term, kind, kind, values)


def elected(t: float, term: int, reason: str = "timeout") -> NodeEvent:
    return event(t, "leader-elected", term, votes=2, voters=3, took_ms=9.0, previous=0, reason=reason)


def lost(t: float, term: int, reason: str) -> NodeEvent:
    return event(t, "leader-lost", term + 1, led_term=term, reason=reason)


def led_by(leader: int | None, term: int, silent: tuple[int, ...] = ()) -> ClusterStatus:
    nodes = [
        node(one, term=term, **({"role": None, "state": "unreachable"} if one in silent else {}))
        for one in (1, 2, 3)
    ]
    return status(nodes, leader=leader, term=term)


class View:
    """A history, and the headline that comes of it."""

    def __init__(self) -> None:
        self.history = LeaderHistory(ZERO, 1.0)
        self.feed = Feed(1.0)

    def look(self, t: float, now: ClusterStatus, *told: tuple[int, NodeEvent]) -> str:
        self.news: list[str] = []
        if self.history.tell(told, now, t):
            self.feed.retell(self.history.events)
        self.news = [
            f"{type(one).__name__} {getattr(one, 'node', 0)} {getattr(one, 'reason', '')}"
            for one in self.history.news(t)
        ]
        return self.feed.picture(now, faults_told(now), t).headline


def test_the_reason_for_which_a_leader_ended_is_the_one_that_it_tells() -> None:
    view = View()
    view.look(1.0, led_by(1, 1))
    assert view.look(3.0, led_by(2, 2)) == (
        "n2 leads term 2 for 0.0 s; n1 ended: no longer leads, and has not told why"
    )
    assert view.look(5.0, led_by(2, 2), (1, lost(2.9, 1, "transfer")), (2, elected(3.0, 2, "transfer"))) == (
        "n2 leads term 2 for 2 s; n1 ended: handed over"
    )


def test_a_leader_that_notices_its_end_after_its_successor_was_elected_tells_the_reason_too() -> None:
    view = View()
    told = [(1, elected(0.5, 1)), (2, elected(3.0, 2)), (1, lost(3.2, 1, "no-quorum"))]
    assert view.look(5.0, led_by(2, 2), *told).endswith("for 2 s; n1 ended: heard no majority")
    first = view.feed.leaders(5.0)[0]
    assert (first.node, first.lasted_s) == (1, 2.5), "it led until another did"


def test_a_view_that_is_opened_late_knows_what_was_before() -> None:
    view = View()
    assert view.look(0.0, led_by(2, 2)) == "n2 leads term 2 for 0.0 s"
    told = [(1, elected(-90.0, 1)), (1, lost(-60.5, 1, "stopping")), (2, elected(-60.0, 2))]
    assert view.look(0.5, led_by(2, 2), *told) == "n2 leads term 2 for 60 s; n1 ended: was stopped"
    assert view.news == ["LeaderElected 1 timeout", "LeaderLost 1 stopping", "LeaderElected 2 timeout"]


def test_without_a_leader_a_view_that_is_opened_late_says_since_when() -> None:
    view = View()
    told = [(2, elected(-9.0, 2)), (2, lost(-5.0, 2, "no-quorum"))]
    assert view.look(1.0, led_by(None, 2), *told) == "no leader for 6 s; n2 ended: heard no majority"


def test_a_leader_that_told_only_of_its_election_and_is_gone_has_ended_when_its_followers_noticed() -> None:
    view = View()
    told = [(2, elected(-9.0, 2)), (3, event(-4.0, "leader-gone", 2, leader=2, reason="leader-died"))]
    gone = led_by(None, 2, silent=(2,))
    view.look(0.0, gone, *told)
    assert view.look(2.0, gone).startswith("no leader for 6 s; n2 ended: does not answer")


def test_a_leader_that_was_just_elected_has_not_ended_because_the_look_is_older() -> None:
    view = View()
    view.look(1.0, led_by(None, 2), (2, elected(0.9, 2)))
    assert view.look(1.1, led_by(2, 2)) == "n2 leads term 2 for 0.2 s"


def test_a_leader_that_answers_again_in_its_term_has_not_ended() -> None:
    view = View()
    view.look(1.0, led_by(1, 1), (1, elected(0.5, 1)))
    assert "n1 ended: does not answer" in view.look(3.0, led_by(None, 1, silent=(1,)))
    assert view.look(4.5, led_by(1, 1)) == "n1 leads term 1 for 4 s"


def test_what_is_only_seen_is_news_once_no_node_has_told_of_it_in_time() -> None:
    view = View()
    view.look(1.0, led_by(1, 1))
    assert view.news == []
    view.look(1.5, led_by(1, 1), (1, elected(0.9, 1)))
    assert view.news == ["LeaderElected 1 timeout"]
    view.look(3.0, led_by(None, 1, silent=(1,)))
    assert view.news == []
    view.look(4.1, led_by(None, 1, silent=(1,)))
    assert view.news == ["LeaderLost 1 unreachable"]


def test_an_election_of_which_followers_tell_first_is_news_with_the_votes_of_which_the_leader_tells() -> None:
    view = View()
    view.look(1.0, led_by(2, 2), (1, event(-9.0, "leader-seen", 2, leader=2)))
    assert view.news == []
    view.look(1.5, led_by(2, 2), (2, elected(-9.0, 2)))
    assert view.news == ["LeaderElected 2 timeout"]
    view.look(3.0, led_by(2, 2))
    assert view.news == []


def test_a_broken_way_of_which_a_node_tells_is_a_fault_with_its_links() -> None:
    seen = status([node(1, role="leader", faults=["link to n2,n3: cut", "disk: full"]), node(2), node(3)])
    picture = Feed(1.0).picture(seen, faults_told(seen), 1.0)
    assert [(fault.text, fault.heal) for fault in picture.faults] == [
        ("link to n2,n3: cut", ""),
        ("disk: full", ""),
    ]
    assert {way: how for way, how in picture.links.items() if how == "cut"} == {"1>2": "cut", "1>3": "cut"}
