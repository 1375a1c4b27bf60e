"""A cluster of node actors with leases: who may elect at once, and who has to wait."""

from __future__ import annotations

from typing import Any

import pytest

from actors.envelope import ProcessDown, ProcessUp
from raft.node.leadership.peer_processes import Pledge
from raft.protocol.admin import Transfer
from raft.protocol.client import QueryResult
from raft.protocol.registry import process_of
from tests.node.cluster import Cluster, value_in

ONE_MACHINE = dict.fromkeys(range(1, 10), "here")
QUICK_SECONDS = 0.015
SLOW_SECONDS = 0.2


def leased(nodes: int = 3, **options: Any) -> Cluster:
    """A cluster on one machine, in which the leader holds a lease."""
    cluster = Cluster(nodes, **{"machines": ONE_MACHINE, **options})
    cluster.elect()
    cluster.advance(1.0)
    return cluster


def asks_a_quorum(cluster: Cluster, node: int) -> bool:
    """Whether the leader asks the others before it answers."""
    rounds = cluster[node].raft.reads.last_round
    assert isinstance(cluster.get(node, b"k"), QueryResult)
    return cluster[node].raft.reads.last_round > rounds


def failover_seconds(cluster: Cluster) -> float:
    dead = cluster.leaders()[0]
    cluster[dead].kill()
    took_seconds = cluster.until(cluster.agree)
    assert cluster.leaders() != [dead]
    return took_seconds


def test_on_one_machine_a_leader_reads_by_lease_without_being_asked_to() -> None:
    cluster = leased()
    assert not asks_a_quorum(cluster, cluster.leaders()[0])


@pytest.mark.parametrize("seed", range(5))
def test_with_a_lease_the_death_of_a_leader_is_followed_by_a_new_one_as_quickly_as_without(seed: int) -> None:
    assert failover_seconds(leased(5, seed=seed)) < QUICK_SECONDS


@pytest.mark.parametrize("options", [{"lease_reads": False}, {"check_quorum": False}, {"machines": None}])
def test_there_is_no_lease_where_it_is_switched_off_or_no_death_can_be_proved(
    options: dict[str, Any],
) -> None:
    cluster = leased(**options)
    assert asks_a_quorum(cluster, cluster.leaders()[0])
    assert failover_seconds(cluster) < QUICK_SECONDS


def test_a_closed_connection_alone_does_not_end_a_pledge() -> None:
    cluster = leased()
    cluster.proofs = False
    assert failover_seconds(cluster) > SLOW_SECONDS


def test_a_proof_that_comes_late_ends_the_wait() -> None:
    cluster = leased()
    cluster.proofs = False
    cluster[cluster.leaders()[0]].kill()
    cluster.advance(0.05)
    cluster.proofs = True
    assert cluster.until(cluster.agree) < 0.05


def test_a_leader_that_is_cut_off_and_lives_keeps_its_lease_from_being_broken() -> None:
    cluster = leased()
    old = cluster.leaders()[0]
    cluster.put(old, b"k", b"1")
    for node in cluster.followers():
        cluster[node].cut(old)
        cluster[old].cut(node)
        cluster[node].actor.on_process_down(ProcessDown(process_of(old), "closed"))
    cluster.advance(0.15)
    assert cluster.leaders() == [old]
    assert value_in(cluster.get(old, b"k")) == b"1"


def test_votes_of_voters_on_other_machines_make_no_lease() -> None:
    cluster = leased(machines={1: "a", 2: "b", 3: "c"})
    assert asks_a_quorum(cluster, cluster.leaders()[0])
    assert failover_seconds(cluster) < QUICK_SECONDS


def test_when_asked_for_leases_reach_beyond_one_machine_and_a_death_costs_an_election_timeout() -> None:
    cluster = leased(machines=None, lease_reads=True)
    assert not asks_a_quorum(cluster, cluster.leaders()[0])
    assert failover_seconds(cluster) > SLOW_SECONDS


def test_a_voter_with_a_shorter_election_timeout_makes_no_lease() -> None:
    short = {"election_seconds_min": 0.150, "election_seconds_max": 0.5}
    cluster = leased(options_of={2: short, 3: short}, election_seconds_max=0.6)
    leader = cluster.leaders()[0]
    assert asks_a_quorum(cluster, leader) is (leader == 1)


def test_a_voter_without_leases_makes_none() -> None:
    off = {"lease_reads": False}
    cluster = leased(options_of=dict.fromkeys((1, 2, 3), off))
    leader = cluster.leaders()[0]
    others = leased(options_of={node: off for node in (1, 2, 3) if node != leader})
    assert others.leaders() == [leader]
    assert asks_a_quorum(others, leader)


def test_to_whom_a_vote_is_pledged_is_written_down_before_the_answer() -> None:
    cluster = leased()
    leader = cluster.leaders()[0]
    for node in cluster.followers():
        pledge = cluster[node].record.pledge
        assert pledge is not None
        assert (pledge.node, pledge.milliseconds) == (leader, 250)


def test_a_voter_that_cannot_write_its_pledge_down_gives_none() -> None:
    cluster = Cluster(3, machines=ONE_MACHINE)
    for member in cluster.members.values():
        member.record.full = True
    leader = cluster.elect()
    cluster.advance(1.0)
    assert asks_a_quorum(cluster, leader)


def test_voters_that_start_again_keep_the_pledge_to_a_leader_that_lives() -> None:
    cluster = leased()
    old = cluster.leaders()[0]
    others = cluster.followers()
    cluster[old].cut(*others)
    for node in others:
        cluster[node].kill()
    for node in others:
        cluster[node].start()
        cluster[node].cut(old)
    assert cluster.until(lambda: cluster.agree(others), 2.0) > SLOW_SECONDS


def test_a_cluster_whose_nodes_all_start_again_waits_for_nothing() -> None:
    cluster = leased()
    for member in cluster.members.values():
        member.kill()
    for member in cluster.members.values():
        member.start()
    assert cluster.until(cluster.agree) < 0.05


def test_a_voter_that_starts_again_and_finds_no_record_withholds_its_vote_once() -> None:
    cluster = leased()
    for member in cluster.members.values():
        member.kill()
        member.record.pledge = None
    for member in cluster.members.values():
        member.start()
    assert cluster.until(cluster.agree) > SLOW_SECONDS
    cluster.advance(1.0)
    assert None not in {member.record.pledge for member in cluster.members.values()}


def test_a_voter_whose_lease_reads_are_switched_off_still_owes_what_it_had_pledged() -> None:
    cluster = leased()
    old = cluster.leaders()[0]
    others = cluster.followers()
    cluster[old].cut(*others)
    for node in others:
        cluster[node].kill()
    cluster.options_of = {node: {"lease_reads": False} for node in others}
    for node in others:
        cluster[node].start()
        cluster[node].cut(old)
    assert cluster.until(lambda: cluster.agree(others), 2.0) > SLOW_SECONDS


def test_a_longer_election_timeout_of_an_earlier_start_is_kept() -> None:
    cluster = leased()
    for member in cluster.members.values():
        member.kill()
        member.record.pledge = Pledge(milliseconds=1500)
    for member in cluster.members.values():
        member.start()
    assert cluster.until(cluster.agree) > 1.4


def test_the_end_of_an_earlier_process_of_the_leader_proves_nothing() -> None:
    cluster = leased()
    old = cluster.leaders()[0]
    cluster[old].kill()
    cluster.until(cluster.agree)
    cluster[old].start()
    cluster.advance(0.5)
    cluster.ask(cluster.leaders()[0], Transfer(old))
    cluster.until(lambda: cluster.leaders() == [old] and cluster.agree())
    cluster.advance(0.5)
    for node in cluster.followers():
        actor = cluster[node].actor
        actor.on_process_down(ProcessDown(process_of(old), "a lost connection"))
        actor.on_process_up(ProcessUp(process_of(old), 2))
    cluster.advance(0.05)
    assert cluster.leaders() == [old]
    assert {member.raft.leader for member in cluster.alive()} == {old}


def test_a_clock_that_is_made_to_run_wrong_ends_a_nodes_part_in_leases() -> None:
    cluster = leased()
    leader = cluster.leaders()[0]
    processes = cluster[leader].actor.components.processes
    processes.clock_runs(0.5)
    assert asks_a_quorum(cluster, leader)
    cluster.advance(1.0)
    assert asks_a_quorum(cluster, leader)
    processes.clock_runs(1.0)
    cluster.advance(1.0)
    assert not asks_a_quorum(cluster, leader)


def test_a_voter_with_a_wrong_clock_makes_no_lease_and_owes_what_it_has_pledged_by_the_true_one() -> None:
    cluster = leased()
    leader = cluster.leaders()[0]
    for node in cluster.followers():
        components = cluster[node].actor.components
        components.processes.clock_runs(3.0)
        raft = components.raft
        raft.leader = 0
        ticks = raft.config.election_ticks
        for _ in range(3 * ticks - 1):
            raft.ticks += 1
        assert raft.pledged
        raft.ticks += 1
        assert not raft.pledged
    cluster.advance(0.5)
    assert asks_a_quorum(cluster, cluster.leaders()[0]), leader
