"""A cluster of node actors: elections, replication, reads, and what clients are told."""

from __future__ import annotations

from raft.requests import Committed, NotLeader, QueryResult
from tests.node.cluster import Cluster, value_in


def test_a_fresh_cluster_elects_one_leader_without_sitting_out_a_timeout() -> None:
    cluster = Cluster(5)
    took = cluster.until(cluster.agree)
    assert took < 0.05
    assert len(cluster.leaders()) == 1


def test_a_command_is_answered_with_its_result_and_reaches_every_replica() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    answer = cluster.put(leader, b"k", b"v")
    assert isinstance(answer, Committed)
    cluster.advance(0.2)
    states = {member.machine.snapshot() for member in cluster.alive()}
    assert len(states) == 1
    assert {member.actor._applier.applied for member in cluster.alive()} == {answer.index}


def test_a_follower_names_the_leader_and_where_it_listens() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    answer = cluster.put(cluster.followers()[0], b"k", b"v")
    assert answer == NotLeader(leader, f"ipc:///n{leader}", cluster[leader].raft.term)


def test_any_node_answers_a_linearizable_query() -> None:
    cluster = Cluster(3)
    cluster.put(cluster.elect(), b"k", b"v")
    for node in cluster.ids:
        answer = cluster.get(node, b"k")
        assert isinstance(answer, QueryResult)
        assert not answer.stale
        assert value_in(answer) == b"v"
