"""What the launcher makes of the nodes' answers to a change of members, with no process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.actor import Actor, Handlers
from actors.address import Address
from actors.asks import Pending
from raft.cluster.failures import ExitCode
from raft.cluster.rpc import messages
from raft.protocol.client import Invalid, Members, NotLeader, Promote, Refused, Unknown
from raft.protocol.registry import NODE_ACTOR
from tests.cluster.supervisor_lab import Lab

MADE = Members(1, 1, (1, 2, 3), (), {1: "e1", 2: "e2", 3: "e3"}, {}, 9)
CATCH_UP = Refused("it has to catch up first")


class ScriptedNode(Actor):
    """Answers promotions with one line of its script after the other, the last one again and again.

    None is no answer.
    """

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.asked = 0

    def on_promote(self, request: Promote) -> None:
        self.asked += 1
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if answer is not None:
            self.context.reply(answer)

    handlers: Handlers = {Promote: on_promote}


class Cluster:
    """Three nodes that answer as told, of which node 1 leads."""

    def __init__(self, directory: Path) -> None:
        self.lab = Lab(directory)
        for node in self.lab.cluster.nodes:
            self.lab.bring_up(node)
        self.lab.lead(1, 1)

    def script(self, node: int, *script: object) -> ScriptedNode:
        actor = ScriptedNode(*script)
        self.lab.sender_of(node).spawn(lambda: actor, NODE_ACTOR)
        return actor

    def begin(self) -> Pending[Any]:
        return self.lab.asker.ask(Address("launcher", "supervisor"), messages.PromoteMember("3"), 500.0)

    def promote(self, seconds: float) -> Any:
        """What the launcher answers within so many seconds."""
        pending = self.begin()
        for _ in range(round(seconds / 0.01)):
            if pending.done:
                break
            self.lab.turn(0.01)
        assert pending.done, "the launcher has not answered"
        return pending.result()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.lab.journal.close()
    cluster.lab.fork_server.close()


def test_a_learner_that_has_to_catch_up_is_promoted_when_it_has(cluster: Cluster) -> None:
    leader = cluster.script(1, *[CATCH_UP] * 20, MADE)
    assert cluster.promote(3.0) == messages.Done(["n3 promoted: 3 voters (n1 n2 n3)"])
    assert leader.asked == 21


def test_a_learner_that_never_catches_up_is_reported_with_the_leaders_reason(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raft.cluster.membership.CATCH_UP_SECONDS_MAX", 10.0)
    cluster.script(1, CATCH_UP)
    pending = cluster.begin()
    cluster.lab.live(9.0)
    assert not pending.done
    cluster.lab.live(2.0)
    said = pending.result()
    assert said.exit_code == ExitCode.FAILURE
    assert said.reason.startswith("n3 was not promoted: it has to catch up first")


def test_what_the_leader_calls_impossible_is_not_asked_again(cluster: Cluster) -> None:
    leader = cluster.script(1, Invalid("node 3 is no learner: add it as one first"))
    expected = "n3 was not promoted: node 3 is no learner: add it as one first"
    assert cluster.promote(0.1) == messages.Failed(expected, ExitCode.FAILURE)
    assert leader.asked == 1


def test_the_leader_that_a_node_names_is_asked_even_before_it_has_reported_that_it_leads(
    cluster: Cluster,
) -> None:
    cluster.script(1, NotLeader(2, "e2", 2))
    leader = cluster.script(2, MADE)
    assert isinstance(cluster.promote(1.0), messages.Done)
    assert leader.asked == 1


def test_a_leader_that_hangs_is_given_up_for_the_next_one_after_two_seconds(cluster: Cluster) -> None:
    cluster.script(1, None)
    cluster.script(2, MADE)
    cluster.script(3, NotLeader(2, "e2", 2))
    assert isinstance(cluster.promote(2.5), messages.Done)


def test_a_change_with_an_unknown_outcome_is_requested_again(cluster: Cluster) -> None:
    leader = cluster.script(1, Unknown("the leader stepped down"), MADE)
    assert isinstance(cluster.promote(1.0), messages.Done)
    assert leader.asked == 2


def test_a_change_that_may_have_been_made_is_never_called_refused(cluster: Cluster) -> None:
    cluster.script(1, Unknown("the leader stepped down"), Invalid("node 3 is no learner"))
    said = cluster.promote(1.0)
    assert said.exit_code == ExitCode.FAILURE
    assert "may or may not have made the change: the leader stepped down" in said.reason


def test_a_cluster_that_has_lost_its_leader_is_waited_for_only_briefly(cluster: Cluster) -> None:
    leader = cluster.script(1, CATCH_UP)
    for node in (2, 3):
        cluster.script(node, NotLeader(0, "", 2))
    pending = cluster.begin()
    cluster.lab.turn(0.5)
    assert leader.asked
    cluster.lab.ask(messages.Kill("1"))
    cluster.lab.live(4.0)
    assert not pending.done
    cluster.lab.live(2.0)
    said = pending.result()
    assert said.exit_code == ExitCode.NO_LEADER
    assert said.reason == ("n3 was not promoted: the cluster has no leader; before, it has to catch up first")
