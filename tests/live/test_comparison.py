"""What is seen to have happened between two looks at a cluster without a launcher."""

from __future__ import annotations

from functools import partial

from raft.cluster.rpc.messages import ClusterStatus, FaultList
from raft.live.feed import Feed
from raft.live.history import answers_seen, leadership_seen
from raft.live.nodes import NodesConnection
from raft.live.sampler import NodesSource
from tests.live.pictures import node, status, three


def led_by(leader: int | None, term: int, **changes: dict[str, object]) -> ClusterStatus:
    nodes = [node(one, **{"term": term, **changes.get(f"n{one}", {})}) for one in (1, 2, 3)]
    return status(nodes, leader=leader, term=term)


def test_a_leader_that_stays_is_no_event() -> None:
    assert leadership_seen(three(), three(), 1.0) == []
    assert leadership_seen(None, led_by(None, 1), 1.0) == []


def test_the_headline_tells_why_the_leader_before_ended_as_far_as_that_is_seen() -> None:
    gone = {"n1": {"role": None, "state": "unreachable"}}
    for now, words in (
        (led_by(2, 5, **gone), "n2 leads term 5 for 2 s; n1 ended: does not answer"),
        (led_by(2, 5), "n2 leads term 5 for 2 s; n1 ended: no longer leads, and has not told why"),
        (led_by(1, 5), "n1 leads term 5 for 2 s; n1 ended: another was elected"),
        (led_by(None, 4), "no leader for 2 s; n1 ended: no longer leads, and has not told why"),
    ):
        feed = Feed(1.0)
        feed.tell(leadership_seen(None, three(), 1.0))
        feed.tell(leadership_seen(three(), now, 3.0))
        assert feed.picture(now, FaultList([]), 5.0).headline == words


def test_a_node_that_falls_silent_and_one_that_answers_again_are_told() -> None:
    silent = led_by(1, 1, n2={"role": None, "state": "unreachable"})
    assert answers_seen(three(), silent) == [(2, "unreachable")]
    assert answers_seen(silent, three()) == [(2, "answers")]
    assert answers_seen(None, silent) == [] == answers_seen(silent, silent)


class Nodes:
    """Answers as nodes at their endpoints would."""

    def __init__(self) -> None:
        self.status = three()

    def ask(self, verb: object, expected: type, timeout_seconds: float) -> ClusterStatus:
        return self.status

    def members(self) -> dict[int, str]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


def test_nodes_without_a_launcher_are_shown_with_what_has_happened_between_looks() -> None:
    nodes = Nodes()
    source = NodesSource(
        nodes, lambda event: type(event).__name__, partial(NodesConnection, "none", None), 0.0
    )
    assert [record.text for record in source.look().records] == ["LeaderElected"]
    nodes.status = led_by(2, 2, n1={"role": None, "state": "unreachable"})
    look = source.look()
    assert [record.text for record in look.records] == ["LeaderLost", "LeaderElected", "UNREACHABLE n1"]
    assert (
        look.picture.nodes["1"].condition == "unreachable" and "n1 did not answer" in look.picture.incomplete
    )
    source.close()
