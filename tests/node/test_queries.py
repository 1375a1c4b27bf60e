"""Queries of clients: linearizable at any node, or stale on request."""

from __future__ import annotations

from typing import Any

from raft.protocol.client import (
    Consistency,
    NotLeader,
    QueryResult,
    Refused,
)
from tests.node.cluster import Cluster, query, value_in


def test_any_node_answers_a_linearizable_query() -> None:
    cluster = Cluster(3)
    cluster.put(cluster.elect(), b"k", b"v")
    for node in cluster.ids:
        answer = cluster.get(node, b"k")
        assert isinstance(answer, QueryResult)
        assert not answer.stale
        assert value_in(answer) == b"v"


def test_queries_of_one_turn_share_one_round() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    rounds = cluster[leader].raft.reads.last_round
    asks = [cluster.client.ask(cluster[leader].actor.context.address, query(b"k"), 5.0) for _ in range(50)]
    cluster.network.settle()
    assert all(isinstance(ask.result(), QueryResult) for ask in asks)
    assert cluster[leader].raft.reads.last_round == rounds + 1


def test_a_partitioned_leader_answers_only_stale_queries_marked_as_such() -> None:
    cluster = Cluster(3)
    old = cluster.elect()
    cluster.put(old, b"k", b"1")
    others = cluster.followers()
    cluster[old].cut(*others)
    for node in others:
        cluster[node].cut(old)
    cluster.until(lambda: cluster.agree(others), 2.0)
    cluster.put(cluster[others[0]].raft.leader, b"k", b"2")
    refused = cluster.get(old, b"k")
    assert isinstance(refused, Refused | NotLeader)
    stale = cluster.get(old, b"k", Consistency.STALE)
    assert stale.stale
    assert value_in(stale) == b"1"


def test_a_query_whose_confirmation_is_lost_is_retried() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    follower = cluster.followers()[0]
    cluster[follower].cut(leader)
    ask = cluster.ask(follower, query(b"k"))
    cluster.advance(0.01)
    assert not ask.done
    cluster[follower].heal()
    cluster.until(lambda: ask.done)
    assert value_in(ask.result()) == b"v"


def test_a_follower_that_waits_for_a_dead_leader_asks_the_next_one() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    follower = cluster.followers()[0]
    cluster[follower].cut(leader)
    ask = cluster.ask(follower, query(b"k"))
    cluster[leader].kill()
    took_seconds = cluster.until(lambda: ask.done)
    assert value_in(ask.result()) == b"v"
    assert took_seconds < 0.1


def test_with_lease_reads_a_leader_asks_a_quorum_again_after_a_stall() -> None:
    cluster = Cluster(3, lease_reads=True)
    old = cluster.elect()
    cluster.put(old, b"k", b"1")
    cluster.advance(0.2)
    rounds = cluster[old].raft.reads.last_round
    assert value_in(cluster.get(old, b"k")) == b"1"
    assert cluster[old].raft.reads.last_round == rounds, "with its lease it asks no quorum"

    others = cluster.followers()
    paused = cluster[old].runtime
    cluster.network.runtimes.remove(paused)
    cluster.until(lambda: cluster.agree(others), 3.0)
    cluster.put(cluster[others[0]].raft.leader, b"k", b"2")
    ask = cluster.client.ask(cluster[old].actor.context.address, query(b"k"), 5.0)
    cluster.client.run_turn(0.0)
    # What the others have said meanwhile has not reached it: it still takes itself for the leader.
    transport: Any = cluster[old].transport.inner
    transport.inbox = type(transport.inbox)(
        event for event in transport.inbox if getattr(event, "process", "") == "client"
    )
    cluster.network.join(paused)
    cluster.until(lambda: ask.done, 6.0)
    answer = ask.result()
    assert not isinstance(answer, QueryResult) or value_in(answer) == b"2"
