"""Members that move: updates of their addresses, and at which of several addresses they are tried."""

from __future__ import annotations

from typing import Any

import pytest

from raft.node.members.member_addresses import MemberAddresses
from raft.node.members.peers import Peers
from raft.protocol.client import Invalid, LeaderIs, Members, UpdateMember, WhoLeads
from tests.node.cluster import Cluster, Events
from tests.node.members import asked, endpoint
from tests.node.waits import Waits

ELSEWHERE = "ipc:///elsewhere"


def told_by(cluster: Cluster, node: int) -> dict[int, str]:
    answer = cluster.answer(node, WhoLeads())
    assert isinstance(answer, LeaderIs)
    return answer.endpoints


def test_an_update_is_known_to_all_members_and_survives_restarts() -> None:
    cluster = Cluster(3)
    cluster.elect()
    moved = cluster.followers()[0]
    answer = asked(cluster, UpdateMember(moved, ELSEWHERE))
    assert isinstance(answer, Members)
    assert answer.endpoints[moved] == ELSEWHERE
    assert (answer.voters, answer.learners) == ((1, 2, 3), ())
    cluster.advance(0.5)
    for node in (1, 2, 3):
        assert told_by(cluster, node)[moved] == ELSEWHERE
        assert cluster[node].actor.components.membership.state().members[moved] == ELSEWHERE
    observer = next(node for node in (1, 2, 3) if node != moved)
    cluster[observer].kill()
    cluster[observer].founders = [observer]  # Whose command line says nothing of the others.
    cluster[observer].start()
    cluster.until(lambda: told_by(cluster, observer).get(moved) == ELSEWHERE)


def test_asking_for_the_same_update_again_changes_nothing() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    moved = cluster.followers()[0]
    asked(cluster, UpdateMember(moved, ELSEWHERE))
    cluster.advance(0.1)
    last = cluster[leader].raft.log.last
    assert isinstance(asked(cluster, UpdateMember(moved, ELSEWHERE)), Members)
    assert cluster[leader].raft.log.last == last


def test_an_update_that_is_asked_for_again_is_answered_only_when_a_quorum_knows_of_it() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    moved, other = cluster.followers()
    asked(cluster, UpdateMember(moved, f"{ELSEWHERE}1"))
    cluster.advance(0.1)
    for follower in (moved, other):
        cluster[follower].disk.holding = True
    first = cluster.ask(leader, UpdateMember(moved, ELSEWHERE))
    cluster[moved].disk.do_next()  # Enough to commit it, and not enough for a quorum to know that it is.
    cluster.network.settle()
    assert cluster[leader].actor.components.peers.agreed[moved] == ELSEWHERE
    again = cluster.ask(leader, UpdateMember(moved, ELSEWHERE))
    assert not first.done and not again.done
    for follower in (moved, other):
        cluster[follower].disk.holding = False
        while cluster[follower].disk.waiting:
            cluster[follower].disk.do_next()
    cluster.until(lambda: first.done and again.done, 1.0)
    assert isinstance(first.result(), Members) and isinstance(again.result(), Members)


@pytest.mark.parametrize(
    ("node", "to", "why"),
    [
        (4, ELSEWHERE, "no member"),
        (0, ELSEWHERE, "no member"),
        (2, endpoint(1), "node 1 listens at"),
        (2, "nonsense", "nonsense"),
        (2, "tcp://0.0.0.0:7000", "keys"),
        (2, "tcp://127.0.0.1:*", "give the port's number"),
    ],
)
def test_an_invalid_update_is_refused_with_the_reason(node: int, to: str, why: str) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    last = cluster[leader].raft.log.last
    answer = cluster.answer(leader, UpdateMember(node, to))
    assert isinstance(answer, Invalid)
    assert why in answer.reason
    assert cluster[leader].raft.log.last == last


def test_an_update_closes_no_open_connection() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    term = cluster[leader].raft.term
    for node in (1, 2, 3):
        asked(cluster, UpdateMember(node, f"{ELSEWHERE}{node}"))
    cluster.advance(3.0)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.term == term


class Connecting:
    """A context that notes where it was asked to connect."""

    def __init__(self) -> None:
        self.waits = Waits()
        self.at: list[str] = []

    def connect(self, process: str, endpoint: str) -> None:
        assert process == "n2"
        self.at.append(endpoint)

    def watch_process(self, process: str) -> None:
        """Not of interest here."""

    def after(self, seconds: float, call: Any) -> None:
        self.waits.after(seconds, call)


@pytest.fixture
def context() -> Connecting:
    return Connecting()


@pytest.fixture
def peers() -> Peers:
    return Peers(1, "ipc:///n1", (1, 2, 3))


@pytest.fixture
def addresses(peers: Peers, context: Connecting) -> MemberAddresses:
    return MemberAddresses(peers, context, Events())  # type: ignore[arg-type]


def test_while_a_member_is_down_all_its_addresses_are_tried_in_turn(
    addresses: MemberAddresses, context: Connecting, peers: Peers
) -> None:
    addresses.admit(2, "first")
    addresses.admit(2, "second")
    for _ in range(3):
        context.waits.fire()
    assert context.at == ["first", "second", "first", "second", "first"]
    assert peers.endpoints[2] == "second"


def test_an_open_connection_is_kept_until_it_breaks(
    addresses: MemberAddresses, context: Connecting, peers: Peers
) -> None:
    addresses.admit(2, "first")
    peers.up.add(2)
    addresses.admit(2, "second")
    context.waits.fire()
    assert context.at == ["first"]
    peers.up.clear()
    context.waits.fire()
    assert context.at == ["first", "second"]


def test_once_a_member_answers_at_its_newest_address_the_others_are_forgotten(
    addresses: MemberAddresses, context: Connecting, peers: Peers
) -> None:
    addresses.admit(2, "first")
    addresses.admit(2, "second")
    peers.up.add(2)
    context.waits.fire()
    assert context.waits.pending == [], "there is nothing left to look for"
    assert context.at == ["first", "second"]


def test_a_removed_member_is_not_connected_to(
    addresses: MemberAddresses, context: Connecting, peers: Peers
) -> None:
    addresses.admit(2, "first")
    addresses.also(2, "older")
    peers.remove(2, 7)
    addresses.forget(2)
    context.waits.fire()
    assert context.waits.pending == []
    assert context.at == ["first"]
