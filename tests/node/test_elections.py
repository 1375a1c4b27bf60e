"""A cluster of node actors: elections and changes of the leader."""

from __future__ import annotations

import pytest

from actors.envelope import ProcessDown, ProcessUp
from raft.core.messages import RequestVote
from raft.core.types import Role
from raft.node.environment import HEARTBEAT_TICKS
from raft.node.leadership.failover import RANK_SECONDS
from raft.node.leadership.shutdown import SUCCESSOR_SECONDS
from raft.node.local import ContinueTurn
from raft.protocol.admin import (
    Alive,
    BecameLeader,
    CannotDo,
    Done,
    LostLeadership,
    NodeUp,
    SawLeader,
    Transfer,
)
from raft.protocol.registry import process_of
from tests.node.cluster import Cluster, Supervisor


def test_a_fresh_cluster_elects_a_leader_without_waiting_for_a_timeout() -> None:
    cluster = Cluster(5)
    took_seconds = cluster.until(cluster.agree)
    assert took_seconds < 0.05
    assert len(cluster.leaders()) == 1


def test_a_single_node_leads_itself_at_once() -> None:
    cluster = Cluster(1)
    assert cluster.until(cluster.agree) < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_the_death_of_the_leaders_process_is_followed_by_a_new_leader_within_milliseconds(seed: int) -> None:
    cluster = Cluster(5, seed=seed)
    dead = cluster.elect()
    cluster.advance(1.0)
    cluster[dead].kill()
    took_seconds = cluster.until(cluster.agree)
    assert took_seconds < 0.010
    assert cluster.leaders() != [dead]


def test_without_detection_of_a_death_the_election_timeout_passes() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    others = cluster.followers()
    cluster[leader].cut(*others)
    assert cluster.until(lambda: cluster.agree(others)) > 0.2


def test_with_lease_reads_there_is_no_early_election() -> None:
    cluster = Cluster(3, lease_reads=True)
    leader = cluster.elect()
    cluster.advance(1.0)
    cluster[leader].kill()
    assert cluster.until(cluster.agree) > 0.2


def test_without_pre_votes_there_is_no_early_election() -> None:
    cluster = Cluster(3, pre_vote=False)
    leader = cluster.elect()
    cluster.advance(1.0)
    cluster[leader].kill()
    assert cluster.until(cluster.agree) > 0.2


def test_a_lost_connection_to_a_living_leader_changes_neither_leader_nor_term() -> None:
    cluster = Cluster(5)
    leader = cluster.elect()
    term = cluster[leader].raft.term
    follower = cluster.followers()[0]
    actor = cluster[follower].actor
    actor.on_process_down(ProcessDown(process_of(leader), "a false alarm"))
    assert actor.components.raft.leader == 0
    cluster.advance(0.02)
    actor.on_process_up(ProcessUp(process_of(leader), 1))
    cluster.advance(1.0)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.term == term
    assert cluster[follower].raft.leader == leader


def test_a_restarted_node_joins_a_living_leader_without_disturbing_it() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    term = cluster[leader].raft.term
    cluster.advance(1.0)
    follower = cluster[cluster.followers()[0]]
    follower.kill()
    cluster.put(leader, b"k", b"v")
    follower.start()
    # At once, and not with the next heartbeat.
    took_seconds = cluster.until(lambda: follower.raft.leader == leader)
    assert took_seconds < 0.010
    cluster.advance(1.0)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.term == term
    assert follower.machine.snapshot() == cluster[leader].machine.snapshot()


def test_messages_left_by_a_dead_leader_do_not_count_as_contact() -> None:
    cluster = Cluster(3)
    dead = cluster[cluster.elect()]
    cluster.advance(1.0)
    # Its heartbeat lies in the mailbox when the news of its death overtakes it.
    for _ in range(HEARTBEAT_TICKS):
        dead.raft.tick()
    dead.runtime.tell(dead.actor.context.address, ContinueTurn())
    dead.runtime.run_turn(0.0)
    dead.kill()
    assert cluster.until(cluster.agree) < 0.010


def test_a_stopping_leader_transfers_leadership_first() -> None:
    cluster = Cluster(3, supervisor="ipc:///launcher")
    supervisor = Supervisor(cluster)
    leader = cluster.elect()
    cluster[leader].stop()
    assert cluster.until(lambda: cluster.leaders() not in ([], [leader])) < 0.010
    # What this node still writes must not delay the first writes of the next leader.
    stopped = cluster.until(lambda: cluster[leader].runtime.stopped)
    assert SUCCESSOR_SECONDS - 0.010 < stopped < SUCCESSOR_SECONDS + 0.010
    assert len(cluster.leaders()) == 1
    assert cluster.leaders() != [leader]
    assert supervisor.of(LostLeadership)[0].reason == "stopping"


def test_a_stopping_leader_without_a_successor_stops_anyway() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    for follower in cluster.followers():
        cluster[follower].kill()
    cluster[leader].stop()
    assert cluster.until(lambda: cluster[leader].runtime.stopped) < 0.010


def test_a_leader_whose_successor_does_not_answer_stops_after_a_bounded_time() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    cluster[leader].cut(*cluster.followers())
    cluster[leader].stop()
    took_seconds = cluster.until(lambda: cluster[leader].runtime.stopped)
    assert 0.1 < took_seconds <= 0.31


def test_a_paused_leader_that_comes_back_finds_another_and_follows_it() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    term = cluster[leader].raft.term
    others = cluster.followers()
    paused = cluster[leader].runtime
    cluster.network.runtimes.remove(paused)
    cluster.until(lambda: cluster.agree(others), 2.0)
    cluster.advance(1.0)
    cluster.network.join(paused)
    cluster.until(cluster.agree, 1.0)
    assert cluster.leaders() != [leader]
    assert "stalled" in cluster[leader].events.names
    assert cluster[leader].raft.term > term


def test_reports_name_the_leader_and_the_reasons() -> None:
    cluster = Cluster(3, supervisor="ipc:///launcher")
    first = cluster.elect()
    # The supervisor can be heard only now; what was said before has waited for it.
    supervisor = Supervisor(cluster)
    cluster.advance(0.1)
    assert {report.node for report in supervisor.of(NodeUp)} == {1, 2, 3}
    won = supervisor.of(BecameLeader)[0]
    assert (won.node, won.reason, won.votes, won.voters, won.previous) == (first, "startup", 2, 3, 0)
    assert {report.leader for report in supervisor.of(SawLeader)} == {first}
    # Whatever of it is lost with a connection comes again with each sign of life.
    supervisor.reports.clear()
    cluster.advance(1.0)
    assert {(said.node, said.leader, said.term) for said in supervisor.of(Alive)} == {
        (node, first, won.term) for node in (1, 2, 3)
    }

    supervisor.reports.clear()
    cluster[first].kill()
    cluster.until(cluster.agree)
    second = cluster.leaders()[0]
    cluster.advance(0.1)
    won = supervisor.of(BecameLeader)[0]
    assert (won.node, won.reason, won.previous) == (second, "leader-died", first)
    assert won.took_seconds < 0.010

    supervisor.reports.clear()
    third = cluster.followers()[0]
    assert cluster.answer(second, Transfer(third)) == Done()
    cluster.advance(0.1)
    assert cluster.leaders() == [third]
    assert supervisor.of(BecameLeader)[0].reason == "transfer"
    assert supervisor.of(LostLeadership)[0].reason == "transfer"


def test_a_transfer_is_the_reason_also_when_a_tick_passes_just_as_leadership_is_lost() -> None:
    cluster = Cluster(3, supervisor="ipc:///launcher")
    supervisor = Supervisor(cluster)
    leader = cluster.elect()
    successor = cluster.followers()[0]
    old = cluster[leader]
    cluster[leader].cut(successor)
    assert cluster.answer(leader, Transfer(successor)) == Done()
    # What is due of both comes in one turn of the loop.
    old.raft.step(RequestVote(successor, leader, old.raft.term + 1, old.raft.term, old.raft.log.last, True))
    old.actor.wake(cluster.clock.now())
    cluster.advance(0.1)
    assert [lost.reason for lost in supervisor.of(LostLeadership)] == ["transfer"]


def test_a_leader_without_a_quorum_says_so_and_steps_down() -> None:
    cluster = Cluster(3, supervisor="ipc:///launcher")
    supervisor = Supervisor(cluster)
    leader = cluster.elect()
    for follower in cluster.followers():
        cluster[follower].kill()
    cluster.until(lambda: cluster[leader].raft.role is not Role.LEADER, 2.0)
    cluster.advance(0.1)
    assert supervisor.of(LostLeadership)[0].reason == "no-quorum"


def test_an_impossible_transfer_is_refused_with_the_reason() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster.followers()[0]
    for node, to, why in (
        (follower, leader, f"node {leader} is"),
        (leader, leader, "leads already"),
        (leader, 9, "no voter"),
    ):
        answer = cluster.answer(node, Transfer(to))
        assert isinstance(answer, CannotDo)
        assert why in answer.reason
    cluster[follower].kill()
    cluster.network.settle()
    answer = cluster.answer(leader, Transfer(follower))
    assert isinstance(answer, CannotDo)
    assert "cannot be reached" in answer.reason


@pytest.mark.parametrize("seed", range(8))
def test_contact_is_measured_from_the_last_message_of_the_leader(seed: int) -> None:
    cluster = Cluster(3, seed=seed)
    leader = cluster.elect()
    # Not in step with the wake-ups of a node.
    cluster.advance(1.0 + 0.013 * seed)
    followers = cluster.followers()
    cluster[leader].cut(*followers)
    heard = max(cluster[node].actor.components.contacts.seen_at[leader] for node in followers)
    cluster.until(
        lambda: any(cluster[node].raft.term > 2 or cluster[node].raft.leader == 0 for node in followers)
    )
    silence_seconds = cluster.clock.now() - heard
    assert 0.225 <= silence_seconds <= 0.550


def test_a_new_leader_sends_a_heartbeat_within_the_interval() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    elected_at = cluster.clock.now()
    cluster.advance(0.055)
    for follower in cluster.followers():
        assert cluster[follower].actor.components.contacts.seen_at[leader] >= elected_at + 0.040


def test_an_early_pre_vote_is_answered_as_soon_as_the_death_is_detected() -> None:
    cluster = Cluster(5)
    dead = cluster.elect()
    cluster.advance(1.0)
    first = dead % 5 + 1
    cluster[first].actor.on_process_down(ProcessDown(process_of(dead), "dies"))
    cluster[first].runtime.tell(cluster[first].actor.context.address, ContinueTurn())
    cluster.network.settle()
    assert cluster.leaders() == [dead], "the others ignore it as long as they hear their leader"
    cluster[dead].kill()
    assert cluster.until(cluster.agree) < RANK_SECONDS
    assert cluster.leaders() == [first]


def test_only_one_survivor_campaigns_while_the_others_wait() -> None:
    cluster = Cluster(5)
    dead = cluster.elect()
    cluster.advance(1.0)
    for member in cluster.alive():
        member.disk.holding = True
    cluster[dead].kill()
    cluster.advance(4 * RANK_SECONDS)
    campaigning = [m.node for m in cluster.alive() if m.raft.role in (Role.PRE_CANDIDATE, Role.CANDIDATE)]
    assert campaigning == [dead % 5 + 1]


def test_a_candidate_waits_for_votes_in_flight_before_it_campaigns_again() -> None:
    cluster = Cluster(5)
    dead = cluster.elect()
    cluster.advance(1.0)
    first = cluster[dead % 5 + 1]
    for member in cluster.alive():
        member.disk.holding = True
    cluster[dead].kill()
    cluster.advance(0.001)
    term = first.raft.term
    assert first.raft.role is Role.CANDIDATE
    cluster.advance(0.2)
    assert (first.raft.role, first.raft.term) == (Role.CANDIDATE, term)
