"""Relays forward requests to the leader, and its answers to the client."""

from __future__ import annotations

from typing import Any

import pytest

from actors.asks import Pending
from raft.machines.codec import encode_call
from raft.machines.commands import Call, Grant
from raft.node.requests import relay
from raft.protocol.client import (
    Command,
    Committed,
    KeepAlive,
    LeaseTime,
    ListMembers,
    Members,
    NotLeader,
    Refused,
    Unknown,
)
from raft.protocol.registry import relay_of
from tests.node.cluster import Cluster, command


def pass_on(cluster: Cluster, node: int, request: object, seconds: float = 5.0) -> Pending[Any]:
    pending = cluster.client.ask(relay_of(node), request, seconds)
    cluster.network.settle()
    return pending


def answer(cluster: Cluster, node: int, request: object) -> Any:
    pending = pass_on(cluster, node, request)
    cluster.until(lambda: pending.done, 5.0)
    return pending.result()


def test_a_write_that_reaches_any_member_reaches_the_leader() -> None:
    cluster = Cluster(3)
    cluster.elect()
    for node in cluster.ids:
        assert isinstance(answer(cluster, node, command(b"k", b"%d" % node)), Committed)
    follower = cluster.followers()[0]
    assert isinstance(answer(cluster, follower, ListMembers()), Members)


def test_a_keep_alive_through_a_relay_is_not_bound_to_its_connection() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    granted = cluster.answer(leader, Command(encode_call(Call(0, 0, 0, Grant(60_000)))))
    follower = cluster.followers()[0]
    kept = answer(cluster, follower, KeepAlive(granted.index, release_on_disconnect=True))
    assert kept == LeaseTime(granted.index, 60.0, 60.0)
    assert not cluster[leader].actor.components.machine_services.leases.bound


def test_a_request_that_cannot_be_relayed_is_refused_and_an_unanswered_one_unknown() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster.followers()[0]
    cluster[leader].disk.holding = True
    for other in cluster.followers():
        cluster[other].disk.holding = True
    waiting = pass_on(cluster, follower, command(b"k", b"v"))
    assert not waiting.done
    cluster[leader].kill()
    cluster.until(lambda: waiting.done, 5.0)
    assert isinstance(waiting.result(), Unknown)
    later = answer(cluster, follower, command(b"k", b"w"))
    assert isinstance(later, Refused | NotLeader)


def test_the_number_of_relayed_requests_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FORWARDED_MAX", 1)
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster.followers()[0]
    cluster[leader].disk.holding = True
    for other in cluster.followers():
        cluster[other].disk.holding = True
    first = pass_on(cluster, follower, command(b"k", b"v"))
    assert answer(cluster, follower, command(b"k", b"w")) == relay.TOO_MANY
    cluster[leader].kill()
    cluster.until(lambda: first.done, 5.0)
