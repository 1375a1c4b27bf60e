"""Commands that no node can apply are refused before the log, and end no node if they are in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.errors import TransportError
from actors.transport.endpoints import ENDPOINT_CHARACTERS_MAX
from actors.transport.loopback import LoopbackTransport
from raft.core.changes import ConfChangeKind, ConfChangeSingle, ConfChangeV2
from raft.core.types import Entry, EntryKind, HardState
from raft.node.members.member_addresses import RETRY_SECONDS
from raft.node.members.peers import encode_endpoints
from raft.protocol.client import MEMBERS_MAX, AddLearner, Invalid, Members, Promote
from tests.node.cluster import Cluster
from tests.node.members import asked, endpoint

Refuse = Callable[[LoopbackTransport, str, str], bool]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Refuse]]:
    """Transports refuse to connect where one of these says so, as real ones do."""
    reasons: list[Refuse] = []
    connect = LoopbackTransport.connect

    def picky(self: LoopbackTransport, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        if any(refuses(self, process, endpoint) for refuses in reasons):
            raise TransportError(f"{self.name} has no key of {process}")
        connect(self, process, endpoint, public_key)

    monkeypatch.setattr(LoopbackTransport, "connect", picky)
    yield reasons


@pytest.mark.parametrize(
    ("endpoint_", "why"),
    [
        ("tcp://127.0.0.1:*", "the system chooses"),
        ("tcp://127.0.0.1:0", "the system chooses"),
        ("tcp://10.0.0.1:7001", "keys"),
        ("ipc:///" + "x" * 200, "allows 107"),
        ("ipc:///" + "x" * ENDPOINT_CHARACTERS_MAX, "at most 300"),
        ("tcp://127.0.0.1:" + "9" * 900, "at most 300"),
        ("ipc:///n\n4", "printable"),
        ("", "an endpoint is"),
        ("ipc:///./n1", "node 1 listens"),
    ],
)
def test_an_endpoint_that_nothing_can_connect_to_is_refused_before_the_log(endpoint_: str, why: str) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    last = cluster[leader].raft.log.last
    answer = cluster.answer(leader, AddLearner(4, endpoint_))
    assert isinstance(answer, Invalid)
    assert why in answer.reason
    assert len(answer.reason) < 500
    assert cluster[leader].raft.log.last == last


def test_a_member_that_the_leader_has_no_key_of_is_refused_before_the_log(refuse: list[Refuse]) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    last = cluster[leader].raft.log.last
    refuse.append(lambda _, process, __: process == "n4")
    answer = cluster.answer(leader, AddLearner(4, endpoint(4)))
    assert answer == Invalid(f"n{leader} has no key of n4")
    assert cluster[leader].raft.log.last == last


def test_a_follower_connects_to_a_member_as_soon_as_it_has_its_key(refuse: list[Refuse]) -> None:
    cluster = Cluster(3)
    cluster.elect()
    cluster.join(4)
    late, other = cluster.followers()[:2]
    refuse.append(lambda transport, process, _: (transport.name, process) == (f"n{late}", "n4"))
    assert isinstance(asked(cluster, AddLearner(4, endpoint(4))), Members)
    cluster.advance(3 * RETRY_SECONDS)
    assert cluster[late].events.names.count("unconnected") == 1
    assert 4 not in cluster[late].actor.components.peers.up
    assert 4 in cluster[other].actor.components.peers.up
    refuse.clear()
    cluster.advance(2 * RETRY_SECONDS)
    assert 4 in cluster[late].actor.components.peers.up
    assert isinstance(asked(cluster, Promote(4)), Members)


def test_the_number_of_members_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raft.node.requests.membership.MEMBERS_MAX", 3)
    cluster = Cluster(3)
    answer = cluster.answer(cluster.elect(), AddLearner(4, endpoint(4)))
    assert answer == Invalid("a cluster has at most 3 members, learners too: remove one first")
    assert MEMBERS_MAX >= 7


def change(*steps: ConfChangeSingle, context: bytes = b"") -> bytes:
    return ConfChangeV2(steps, context=context).encode()


LEARNER = ConfChangeKind.ADD_LEARNER

# What versions before this one let in, and what no version ever wrote.
UNAPPLIABLE: dict[str, tuple[EntryKind, bytes]] = {
    "an endpoint that connect refuses": (
        EntryKind.CONF_CHANGE_V2,
        change(ConfChangeSingle(LEARNER, 9), context=encode_endpoints({9: "tcp://127.0.0.1:*"})),
    ),
    "the endpoint of a node that is no member": (
        EntryKind.CONF_CHANGE_V2,
        change(ConfChangeSingle(LEARNER, 8), context=encode_endpoints({9: "tcp://127.0.0.1:*"})),
    ),
    "endpoints of nodes without a name": (
        EntryKind.CONF_CHANGE_V2,
        change(ConfChangeSingle(LEARNER, 8), context=encode_endpoints({-1: "x", 0: "y", 8: "ipc:///n8"})),
    ),
    "an id that is too high": (EntryKind.CONF_CHANGE_V2, change(ConfChangeSingle(LEARNER, 1 << 70))),
    "a context that means nothing": (
        EntryKind.CONF_CHANGE_V2,
        change(ConfChangeSingle(LEARNER, 8), context=b"\xc1"),
    ),
    "all voters removed": (
        EntryKind.CONF_CHANGE_V2,
        change(*(ConfChangeSingle(ConfChangeKind.REMOVE, node) for node in (1, 2, 3))),
    ),
    "nothing to leave": (EntryKind.CONF_CHANGE_V2, b""),
    "a change that cannot be read": (EntryKind.CONF_CHANGE, b"\xff\xff\xff"),
    "a command that cannot be read": (EntryKind.NORMAL, b"\xc1"),
    "a command of an unknown kind": (EntryKind.NORMAL, b"\x94\x00\x00\x00\x91\x7f"),
}


@pytest.mark.parametrize("name", UNAPPLIABLE)
def test_a_node_starts_with_a_log_of_invalid_commands(name: str, refuse: list[Refuse]) -> None:
    refuse.append(lambda _, __, place: place.endswith("*") or not place.startswith(("ipc:", "tcp:")))
    kind, data = UNAPPLIABLE[name]
    cluster = Cluster(3)
    cluster.elect()
    cluster.advance(0.5)
    for member in list(cluster.members.values()):
        member.kill()
    (last,) = {member.log.last_index() for member in cluster.members.values()}
    for member in cluster.members.values():
        log: Any = member.log
        log.append([Entry(log.term(last), last + 1, kind, data)])
        log.set_hard_state(HardState(log.term(last), 0, last + 1))
        member.start()
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    cluster.advance(1.0)
    assert len(cluster.alive()) == 3
    assert {member.actor.components.applier.applied for member in cluster.alive()} == {
        cluster[leader].raft.log.last
    }
