"""What a view without a launcher asks: connections stay open, and a silent node holds up no other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from actors.errors import AskFailed
from raft.cli import remote_looks
from raft.cli.remote import RemoteCluster, Target
from raft.cli.remote_looks import ANSWER_SECONDS, SILENT_SECONDS, RemoteLooks
from raft.cluster.failures import Unreachable, VerbFailed
from raft.cluster.rpc.messages import ClusterStatus, GetClusterStatus
from raft.protocol.admin import NodeStatus

AT = {node: f"tcp://h{node}:7001" for node in (1, 2, 3)}


class Nodes:
    """Three nodes, some of which say nothing; stands for a survey as well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.silent: set[int] = set()
        self.surveys, self.closed = 0, 0
        self.asked: list[tuple[list[int], float]] = []
        self.members = dict(AT)
        monkeypatch.setattr(remote_looks, "Survey", self._survey)
        monkeypatch.setattr(RemoteCluster, "members", lambda _: self._members())
        target = Target(endpoints=AT)
        self.looks = RemoteLooks(RemoteCluster(target, lambda error: VerbFailed(str(error))))

    def look(self) -> ClusterStatus:
        self.asked.clear()
        return self.looks.ask(GetClusterStatus(), ClusterStatus, 3.0)

    def _members(self) -> dict[int, str]:
        if len(self.silent) == 3:
            raise Unreachable("no node answers")
        return self.members

    def _survey(self, **_: object) -> Nodes:
        self.surveys += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def connect(self, endpoints: Mapping[int, str]) -> None:
        """There is nothing to connect to."""

    def ask(self, requests: Mapping[int, object], seconds: float) -> dict[int, object]:
        self.asked.append(([*requests], seconds))
        said = NodeStatus(0, 1, "follower", 4, 1, 1, 7, 7, 7, 0.01, [*self.members], [], {}, [], {})
        return {node: AskFailed("down") if node in self.silent else _of(said, node) for node in requests}


def _of(said: NodeStatus, node: int) -> NodeStatus:
    return NodeStatus(node, 1, "leader" if node == 1 else "follower", 4, 1, 1, 7, 7, 7, 0.01, said.voters,
                      [], {}, [], {})  # fmt: skip


def test_connections_stay_open_from_one_look_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch)
    assert [nodes.look().leader, nodes.look().leader] == [1, 1]
    assert (nodes.surveys, nodes.closed) == (1, 0)
    nodes.looks.close()
    nodes.look()
    assert (nodes.surveys, nodes.closed) == (2, 1)


def test_a_node_that_did_not_answer_is_waited_for_briefly_and_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch)
    nodes.silent = {3}
    assert [view.state for view in nodes.look().nodes] == ["running", "running", "unreachable"]
    assert nodes.asked == [([1, 2, 3], ANSWER_SECONDS)]
    nodes.look()
    assert nodes.asked == [([1, 2], ANSWER_SECONDS), ([3], SILENT_SECONDS)]
    nodes.silent = set()
    assert [view.state for view in nodes.look().nodes] == ["running"] * 3
    nodes.look()
    assert nodes.asked == [([1, 2, 3], ANSWER_SECONDS)]


def test_a_node_that_has_joined_is_asked_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch)
    nodes.look()
    nodes.members = {**AT, 4: "tcp://h4:7001"}
    nodes.look()
    nodes.look()
    assert nodes.asked[0][0] == [1, 2, 3, 4]


def test_no_answer_at_all_is_a_failure_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch)
    nodes.look()
    nodes.silent = {1, 2, 3}
    with pytest.raises(Unreachable, match="no node answers"):
        nodes.look()
