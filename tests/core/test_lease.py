"""Ongaro's thesis, section 6.4.1: lease-based reads, and the votes that are withheld for them."""

import pytest

from raft.core import lease
from raft.core.changes import ConfChangeKind, ConfChangeSingle, ConfChangeV2, Transition
from raft.core.config import Config, ReadOnlyOption
from raft.core.messages import (
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from raft.core.types import ReadState, Role
from tests.core.cluster import START_INDEX, Cluster, new_server, sent
from tests.core.servers import Server

ELECTION_TICKS = 10
LEASE_TICKS = 8
LEASES = {
    "election_ticks": ELECTION_TICKS,
    "election_ticks_max": 1000,  # In these tests no node campaigns unless asked to.
    "check_quorum": True,
    "read_only": ReadOnlyOption.LEASE_BASED,
}


def ready_to_vote(*voters: int, **options: object) -> Cluster:
    """A cluster whose members have run for a while, and heard of no leader."""
    cluster = Cluster(*voters, **LEASES, **options)
    cluster.tick(ELECTION_TICKS)
    return cluster


def with_lease(*voters: int, **options: object) -> Cluster:
    """A cluster in which all have just answered a heartbeat of 1."""
    cluster = ready_to_vote(*voters, **options)
    cluster.elect(1)
    cluster.tick(1)
    return cluster


def asks(leader: Server) -> bool:
    """Whether the leader asks others before it answers a read that begins now."""
    leader.reads.clear()
    leader.core.read_index(b"r")
    asked = bool(sent(leader.run_until_idle(), Heartbeat))
    answered = [state.context for state in leader.reads] == [b"r"]
    assert asked != answered, "a read is either answered or asked about"
    return asked


def tick_alone(server: Server, ticks: int) -> int:
    """Let time pass at one server, whose messages are lost, and return the tick of its last heartbeat."""
    beats = []
    for _ in range(ticks):
        server.core.tick()
        beats += sent(server.run_until_idle(), Heartbeat)
    return beats[-1].sent_tick if beats else 0


def answered(sent_tick: int) -> HeartbeatReply:
    """The answer of 2, which withholds its vote, to a heartbeat of 1 in term 1."""
    return HeartbeatReply(2, 1, 1, 0, sent_tick, pledged=True)


def vote(voter: Server, candidate: int, term: int, *, transfer: bool = False) -> bool:
    """Whether a candidate with a good log gets this vote."""
    voter.core.step(RequestVote(candidate, voter.id, term, 9, 9, transfer))
    return any(not reply.rejected for reply in sent(voter.run_until_idle(), VoteReply, candidate))


# The leader's side


def test_a_read_is_answered_by_the_lease_without_asking():
    leader = with_lease(1, 2, 3)[1]
    leader.core.read_index(b"r")
    assert not sent(leader.run_until_idle(), Heartbeat)
    assert leader.reads == [ReadState(3, b"r")]


def test_a_new_leader_has_no_lease_before_a_quorum_has_answered_a_heartbeat():
    cluster = ready_to_vote(1, 2, 3)
    leader = cluster.elect(1)
    assert asks(leader)
    cluster.tick(1)
    assert not asks(leader)


def test_a_leader_elected_right_after_its_start_has_no_lease():
    cluster = Cluster(1, 2, 3, **LEASES)
    cluster[1].core.step(TimeoutNow(2, 1, 0))
    cluster.settle()
    assert cluster.leaders() == [1]
    assert asks(cluster[1])


def test_a_lease_ends_before_its_voters_may_vote_for_another_node():
    leader = with_lease(1, 2, 3)[1]
    tick_alone(leader, LEASE_TICKS - 1)
    assert not asks(leader)
    tick_alone(leader, 1)
    assert asks(leader)
    assert leader.core.role is Role.LEADER


def test_a_lease_counts_from_the_heartbeat_and_not_from_the_answer():
    leader = with_lease(1, 2, 3)[1]
    sent_tick = tick_alone(leader, 4)
    tick_alone(leader, LEASE_TICKS - 1)
    leader.core.step(answered(sent_tick))
    assert not asks(leader)
    tick_alone(leader, 1)
    assert asks(leader)


def test_a_late_reply_to_an_older_heartbeat_does_not_shorten_the_lease():
    leader = with_lease(1, 2, 3)[1]
    early = tick_alone(leader, 1)
    late = tick_alone(leader, 5)
    leader.core.step(answered(late))
    leader.core.step(answered(early))
    tick_alone(leader, LEASE_TICKS - 1)
    assert not asks(leader)


def test_a_minority_makes_no_lease():
    cluster = with_lease(1, 2, 3, 4, 5)
    cluster.cut(3, 4, 5)
    cluster.tick(LEASE_TICKS)
    assert cluster.leaders() == [1]
    assert asks(cluster[1])


def test_a_learner_makes_no_lease():
    cluster = with_lease(1, 2, 3, learners=(4, 5))
    cluster.cut(2, 3)
    cluster.tick(LEASE_TICKS)
    assert cluster.leaders() == [1]
    assert asks(cluster[1])


@pytest.mark.parametrize("silent", [(2, 3), (4, 5)])
def test_in_a_joint_configuration_a_lease_takes_both_majorities(silent):
    cluster = with_lease(1, 2, 3, learners=(4, 5))
    steps = (
        *(ConfChangeSingle(ConfChangeKind.ADD_VOTER, node) for node in (4, 5)),
        *(ConfChangeSingle(ConfChangeKind.REMOVE, node) for node in (2, 3)),
    )
    cluster[1].core.propose_conf_change(ConfChangeV2(steps, Transition.JOINT_EXPLICIT))
    cluster.settle()
    assert cluster[1].core.tracker.configuration.joint
    cluster.tick(1)
    assert not asks(cluster[1])
    cluster.cut(*silent)
    cluster.tick(LEASE_TICKS)
    assert cluster.leaders() == [1]
    assert asks(cluster[1])


def removal_of(node: int) -> ConfChangeV2:
    return ConfChangeV2((ConfChangeSingle(ConfChangeKind.REMOVE, node),))


def test_a_leader_whose_log_has_a_change_that_it_has_not_applied_has_no_lease():
    cluster = with_lease(1, 2, 3)
    leader = cluster[1]
    assert not asks(leader)
    leader.core.propose_conf_change(removal_of(3))
    leader.core.ready()
    assert not lease.holds(leader.core)
    leader = with_lease(1, 2, 3)[1]
    leader.core.propose([b"no change of the configuration"])
    leader.core.ready()
    assert lease.holds(leader.core)


def test_a_removed_leader_has_no_lease_and_its_voters_owe_it_nothing():
    cluster = with_lease(1, 2, 3, 4)
    cluster[1].core.propose_conf_change(removal_of(1))
    cluster.settle()
    assert cluster[1].core.role is Role.LEADER
    assert not lease.holds(cluster[1].core)
    assert not any(cluster[node].core.pledged for node in (2, 3, 4))


def test_the_removal_of_an_earlier_term_ends_no_pledge():
    """The node may have been added again since, and hold a lease."""
    cluster = with_lease(1, 2, 3)
    earlier = cluster[1].core.log.last
    cluster[1].core.transfer_leader(2)
    cluster.settle()
    cluster.tick(1)
    follower = cluster[3].core
    assert (follower.pledged_to, follower.pledged, follower.term) == (2, True, 2)
    follower.apply_conf_change(removal_of(2), earlier)
    assert follower.pledged
    follower.apply_conf_change(ConfChangeV2((ConfChangeSingle(ConfChangeKind.ADD_VOTER, 2),)), earlier)
    follower.apply_conf_change(removal_of(2), follower.log.last)
    assert not follower.pledged


def test_an_answer_in_an_earlier_term_makes_no_lease():
    cluster = with_lease(1, 2, 3)
    cluster.tick(1, 1)
    cluster[1].core.transfer_leader(2)
    cluster.settle()
    cluster[2].core.transfer_leader(1)
    cluster.settle()
    leader = cluster[1]
    assert (leader.core.role, leader.core.term) == (Role.LEADER, 3)
    leader.core.step(answered(tick_alone(leader, 1)))
    assert asks(leader)


def test_after_a_stall_replies_to_earlier_heartbeats_do_not_renew_the_lease():
    leader = with_lease(1, 2, 3)[1]
    under_way = tick_alone(leader, 1)
    leader.core.expire_lease()
    assert asks(leader)
    leader.core.step(answered(under_way))
    assert asks(leader)
    leader.core.step(answered(tick_alone(leader, 1)))
    assert not asks(leader)


def test_a_heartbeat_round_for_a_read_also_renews_the_lease():
    cluster = with_lease(1, 2, 3)
    tick_alone(cluster[1], LEASE_TICKS)
    cluster[1].core.read_index(b"r")
    cluster.settle()
    assert not asks(cluster[1])


def test_after_a_transfer_was_requested_there_is_no_lease_in_that_term():
    cluster = with_lease(1, 2, 3)
    leader = cluster[1]
    leader.core.transfer_leader(2)
    # The request is under way for long after the transfer has been given up here.
    asked = sent(leader.run_until_idle(), TimeoutNow, 2)
    cluster.tick(2 * ELECTION_TICKS, 1)
    assert asked and cluster.leaders() == [1]
    assert asks(leader)


def test_the_lease_comes_back_with_the_next_term():
    cluster = with_lease(1, 2, 3)
    for successor in (2, 1):
        cluster[3 - successor].core.transfer_leader(successor)
        cluster.settle()
    cluster.tick(1)
    assert cluster.leaders() == [1]
    assert not asks(cluster[1])


@pytest.mark.parametrize(("election_ticks", "lease_ticks"), [(2, 0), (3, 1), (10, 8), (50, 44)])
def test_a_lease_is_shorter_than_an_election_timeout_by_a_tick_and_a_tenth(election_ticks, lease_ticks):
    config = Config(id=1, **{**LEASES, "election_ticks": election_ticks})
    assert config.lease_ticks == lease_ticks


# The voter's side


def test_a_node_that_answered_a_heartbeat_withholds_its_vote_for_an_election_timeout():
    voter = with_lease(1, 2, 3)[2]
    tick_alone(voter, ELECTION_TICKS - 1)
    assert not vote(voter, 3, 2)
    assert voter.core.term == 1
    tick_alone(voter, 1)
    assert vote(voter, 3, 3)


@pytest.mark.parametrize("term", [5, 6])
def test_a_higher_term_does_not_end_the_pledge_to_withhold_the_vote(term):
    voter = with_lease(1, 2, 3)[2]
    voter.core.step(PreVoteReply(3, 2, 5, rejected=True))
    assert (voter.core.term, voter.core.leader) == (5, 0)
    assert not vote(voter, 3, term)
    tick_alone(voter, ELECTION_TICKS)
    assert vote(voter, 3, term)


def test_a_node_that_has_just_started_withholds_its_vote():
    voter = new_server(2, **LEASES)
    tick_alone(voter, ELECTION_TICKS - 1)
    voter.core.step(PreVote(3, 2, 1, 9, 9))
    assert not sent(voter.run_until_idle(), PreVoteReply)
    assert not vote(voter, 3, 1)
    tick_alone(voter, 1)
    assert vote(voter, 3, 1)


def test_a_granted_vote_is_repeated_after_a_restart():
    voter = ready_to_vote(1, 2, 3)[2]
    assert vote(voter, 3, 1)
    voter.boot()
    assert vote(voter, 3, 1)
    assert not vote(voter, 1, 1)


def test_without_leases_a_node_that_has_just_started_votes_at_once():
    assert vote(new_server(2, check_quorum=True), 3, 1)


def test_a_stall_does_not_end_a_pledge():
    voter = with_lease(1, 2, 3)[2]
    voter.core.step(PreVoteReply(3, 2, 5, rejected=True))
    voter.core.expire_lease()
    assert not vote(voter, 3, 5)


def test_a_node_that_has_pledged_its_vote_does_not_campaign_on_request():
    voter = with_lease(1, 2, 3)[2]
    voter.core.campaign()
    assert voter.core.role is Role.FOLLOWER
    tick_alone(voter, ELECTION_TICKS)
    voter.core.campaign()
    assert voter.core.role is Role.CANDIDATE


def test_with_leases_a_follower_cannot_forget_its_leader():
    voter = with_lease(1, 2, 3)[2]
    voter.core.forget_leader()
    assert voter.core.leader == 1


def test_a_transfer_needs_no_wait_because_the_leader_gave_up_its_lease():
    cluster = with_lease(1, 2, 3)
    cluster[1].core.transfer_leader(2)
    cluster.settle()
    assert cluster.leaders() == [2]


def test_a_transfer_gets_the_vote_of_a_node_that_has_just_started():
    voter = new_server(2, **LEASES)
    assert vote(voter, 3, 1, transfer=True)


def test_each_reply_to_a_heartbeat_renews_the_pledge():
    voter = ready_to_vote(1, 2, 3)[2]
    for _ in range(3):
        voter.core.step(Heartbeat(1, 2, 1, START_INDEX, lease=True))
        tick_alone(voter, ELECTION_TICKS - 1)
    assert not vote(voter, 3, 2)


def test_a_reply_of_a_voter_that_does_not_withhold_its_vote_makes_no_lease():
    leader = with_lease(1, 2, 3)[1]
    sent_tick = tick_alone(leader, LEASE_TICKS)
    leader.core.step(HeartbeatReply(2, 1, 1, 0, sent_tick))
    assert asks(leader)
    leader.core.step(answered(sent_tick))
    assert not asks(leader)


def test_a_voter_without_the_option_gives_no_pledge_and_says_so():
    voter = new_server(2, check_quorum=True, election_ticks=ELECTION_TICKS, election_ticks_max=1000)
    voter.core.step(Heartbeat(1, 2, 1, START_INDEX, lease=True))
    assert not sent(voter.run_until_idle(), HeartbeatReply)[0].pledged
    voter.core.forget_leader()
    assert vote(voter, 3, 2)


def test_a_leader_without_the_option_asks_for_no_pledge_and_gets_none():
    cluster = Cluster(1, 2, 3, **{**LEASES, "read_only": ReadOnlyOption.SAFE})
    cluster.elect(1)
    cluster[1].core.tick()
    assert not any(beat.lease for beat in sent(cluster[1].run_until_idle(), Heartbeat))
    voter = ready_to_vote(1, 2, 3)[2]
    voter.core.step(Heartbeat(1, 2, 1, START_INDEX))
    assert not sent(voter.run_until_idle(), HeartbeatReply)[0].pledged
    voter.core.forget_leader()
    assert vote(voter, 3, 2)


# Processes that are proved to have ended


def test_a_voter_votes_at_once_when_its_leaders_process_is_proved_to_have_ended():
    voter = with_lease(1, 2, 3)[2]
    voter.core.release_pledge(1)
    voter.core.forget_leader()
    assert vote(voter, 3, 2)


def test_the_end_of_another_process_ends_no_pledge():
    voter = with_lease(1, 2, 3)[2]
    voter.core.release_pledge(3)
    voter.core.forget_leader()
    assert voter.core.leader == 1
    assert not vote(voter, 3, 2)


def test_a_voter_without_the_proof_refuses_a_candidate_that_has_it():
    cluster = with_lease(1, 2, 3)
    cluster.cut(1)
    candidate = cluster[3].core
    candidate.release_pledge(1)
    candidate.forget_leader()
    candidate.campaign()
    cluster.settle()
    assert cluster.leaders() == [1]
    cluster[2].core.release_pledge(1)
    cluster[2].core.forget_leader()
    candidate.campaign()
    cluster.settle()
    assert cluster.leaders() == [1, 3]


def test_a_node_that_owed_nothing_before_its_start_votes_at_once():
    voter = new_server(2, **LEASES)
    voter.core.release_pledge(0)
    assert vote(voter, 3, 1)


def test_a_pledge_from_before_a_start_is_owed_to_the_same_node():
    voter = new_server(2, **LEASES)
    voter.core.resume_pledge(1, ELECTION_TICKS)
    voter.core.release_pledge(3)
    assert not vote(voter, 3, 1)
    voter.core.release_pledge(1)
    assert vote(voter, 3, 1)


def test_a_longer_pledge_from_before_a_start_holds_back_the_own_campaign():
    voter = new_server(2, **{**LEASES, "election_ticks_max": ELECTION_TICKS + 1})
    voter.core.resume_pledge(1, 3 * ELECTION_TICKS)
    tick_alone(voter, 3 * ELECTION_TICKS - 1)
    assert (voter.core.role, voter.core.pledged) == (Role.FOLLOWER, True)
    tick_alone(voter, ELECTION_TICKS + 1)
    assert voter.core.role is Role.CANDIDATE


def test_a_leader_that_starts_again_has_no_lease_before_a_quorum_has_answered_in_its_new_term():
    cluster = with_lease(1, 2, 3)
    cluster[1].boot()
    for node in (2, 3):
        cluster[node].core.release_pledge(1)
        cluster[node].core.forget_leader()
    cluster[1].core.release_pledge(0)
    cluster[1].core.campaign()
    cluster.settle()
    assert cluster.leaders() == [1]
    assert asks(cluster[1])
