"""Ongaro's thesis, sections 6.4, 9.6 and 10.2: reads, pre-votes, and writing to disk in parallel."""

import pytest

from raft.core.changes import ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeV2, Transition
from raft.core.config import Config, ReadOnlyOption
from raft.core.errors import ConfigError
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    VoteReply,
)
from raft.core.types import ReadState, Role
from tests.core.cluster import ELECTION_TICKS, START_INDEX, Cluster, entry, new_server, sent


def reads(cluster: Cluster, node: int) -> list[ReadState]:
    found, cluster[node].reads = cluster[node].reads, []
    return found


def lead_without_commit(cluster: Cluster, node: int) -> None:
    """Elect a leader whose first entry no peer has acknowledged."""
    cluster[node].core.campaign()
    cluster.collect()
    cluster.deliver()
    cluster.collect()
    cluster.deliver()
    assert cluster[node].core.role is Role.LEADER
    cluster[node].run_until_idle()
    cluster.wire.clear()


def test_a_read_is_answered_with_the_commit_index_at_its_start():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.propose(1, b"a")
    leader.core.read_index(b"r")
    cluster.settle()
    assert reads(cluster, 1) == [ReadState(4, b"r")]


def test_a_read_waits_for_a_quorum_to_confirm_the_leader():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.read_index(b"r")
    beats = sent(leader.run_until_idle(), Heartbeat)
    assert reads(cluster, 1) == []
    leader.core.step(HeartbeatReply(2, 1, 1, beats[0].read_round))
    leader.run_until_idle()
    assert reads(cluster, 1) == [ReadState(3, b"r")]


def test_a_leader_cut_off_from_the_others_answers_no_read():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(1)
    leader.core.read_index(b"r")
    cluster.tick(3)
    cluster.elect(2)
    cluster.propose(2, b"newer")
    cluster.heal()
    cluster.tick(3)
    assert reads(cluster, 1) == []


def test_an_answer_to_an_earlier_round_confirms_no_later_read():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.read_index(b"first")
    first = sent(leader.run_until_idle(), Heartbeat)[0].read_round
    leader.core.read_index(b"second")
    leader.run_until_idle()
    leader.core.step(HeartbeatReply(2, 1, 1, first))
    leader.run_until_idle()
    assert [state.context for state in reads(cluster, 1)] == [b"first"]


def test_an_answer_to_a_heartbeat_without_a_round_confirms_nothing():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.read_index(b"r")
    leader.run_until_idle()
    leader.core.step(HeartbeatReply(2, 1, 1))
    leader.core.step(HeartbeatReply(3, 1, 1))
    leader.run_until_idle()
    assert reads(cluster, 1) == []


def test_the_same_answer_twice_is_one_answer():
    cluster = Cluster(1, 2, 3, 4, 5)
    leader = cluster.elect(1)
    leader.core.read_index(b"r")
    number = sent(leader.run_until_idle(), Heartbeat)[0].read_round
    for _ in range(3):
        leader.core.step(HeartbeatReply(2, 1, 1, number))
    leader.run_until_idle()
    assert reads(cluster, 1) == []


def test_one_round_confirms_all_reads_before_it():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    for context in (b"a", b"b", b"c"):
        leader.core.read_index(context)
    last = sent(leader.run_until_idle(), Heartbeat)[-1].read_round
    leader.core.step(HeartbeatReply(3, 1, 1, last))
    leader.run_until_idle()
    assert [state.context for state in reads(cluster, 1)] == [b"a", b"b", b"c"]


def test_a_read_waits_for_the_first_commit_of_the_leaders_term():
    cluster = Cluster(1, 2, 3)
    cluster.elect(2)
    lead_without_commit(cluster, 1)
    leader = cluster[1]
    leader.core.read_index(b"r")
    assert not sent(leader.run_until_idle(), Heartbeat)
    leader.core.step(AppendReply(2, 1, 2, 4))
    number = sent(leader.run_until_idle(), Heartbeat)[0].read_round
    leader.core.step(HeartbeatReply(2, 1, 2, number))
    leader.run_until_idle()
    assert reads(cluster, 1) == [ReadState(4, b"r")]


def test_a_lone_voters_read_waits_for_the_first_commit_of_its_term_too():
    server = new_server(1, voters=(1,))
    server.core.campaign()
    server.run_until_idle()
    server.boot()
    server.core.campaign()
    server.handle_ready()
    assert (server.core.role, server.core.term) == (Role.LEADER, 2)
    server.core.read_index(b"r")
    server.run_until_idle()
    assert server.reads == [ReadState(START_INDEX + 2, b"r")]


def test_a_removed_leader_is_not_the_lone_voter_that_is_left():
    cluster = Cluster(1, 2)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(ConfChange(ConfChangeKind.REMOVE, 1))
    cluster.settle()
    cluster.cut(1)
    cluster.elect(2)
    leader.core.read_index(b"r")
    leader.run_until_idle()
    assert leader.core.role is Role.LEADER
    assert reads(cluster, 1) == []


def test_a_read_at_a_follower_is_answered_there():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.propose(1, b"a")
    cluster[3].core.read_index(b"r")
    cluster.settle()
    assert reads(cluster, 3) == [ReadState(4, b"r")]


def test_a_lease_without_a_quorum_check_is_refused():
    with pytest.raises(ConfigError, match="check_quorum"):
        Config(id=1, read_only=ReadOnlyOption.LEASE_BASED)


def test_a_leader_without_a_quorum_steps_down_before_its_lease_could_be_anothers():
    cluster = Cluster(1, 2, 3, check_quorum=True)
    leader = cluster.elect(1)
    cluster.cut(1)
    cluster.tick(2 * ELECTION_TICKS, 1)
    assert leader.core.role is Role.FOLLOWER


def test_a_pre_vote_raises_no_term():
    cluster = Cluster(1, 2, 3, pre_vote=True)
    cluster[1].core.campaign()
    requests = sent(cluster[1].run_until_idle(), PreVote)
    assert [request.term for request in requests] == [1, 1]
    assert cluster[1].core.term == 0
    cluster[2].core.step(requests[0])
    cluster[2].run_until_idle()
    assert (cluster[2].core.term, cluster[2].core.vote) == (0, 0)


def test_a_server_grants_any_number_of_pre_votes():
    server = new_server(1, pre_vote=True)
    for candidate in (2, 3):
        server.core.step(PreVote(candidate, 1, 1, 1, START_INDEX))
        assert not sent(server.run_until_idle(), PreVoteReply, candidate)[0].rejected


def test_a_pre_vote_is_refused_to_a_shorter_log():
    server = new_server(1, pre_vote=True)
    server.core.step(AppendEntries(2, 1, 1, 1, START_INDEX, START_INDEX, [entry(1, 3)]))
    for _ in range(ELECTION_TICKS):
        server.core.tick()
    server.run_until_idle()
    server.core.step(PreVote(3, 1, 2, 1, START_INDEX))
    assert sent(server.run_until_idle(), PreVoteReply, 3)[0].rejected


def test_a_candidate_opens_a_term_only_with_the_pre_votes_of_a_majority():
    server = new_server(1, voters=(1, 2, 3, 4, 5), pre_vote=True)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(PreVoteReply(2, 1, 1))
    server.core.step(PreVoteReply(2, 1, 1))
    assert server.core.role is Role.PRE_CANDIDATE
    server.core.step(PreVoteReply(3, 1, 1))
    assert (server.core.role, server.core.term) == (Role.CANDIDATE, 1)
    assert len(sent(server.run_until_idle(), RequestVote)) == 4


def test_a_server_that_hears_a_leader_answers_no_pre_vote():
    cluster = Cluster(1, 2, 3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster[2].core.step(PreVote(3, 2, 2, 1, 3))
    assert not sent(cluster[2].run_until_idle(), PreVoteReply)


def test_a_server_that_forgot_its_leader_answers_pre_votes_again():
    cluster = Cluster(1, 2, 3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster[2].core.forget_leader()
    cluster[2].core.step(PreVote(3, 2, 2, 1, 3))
    assert not sent(cluster[2].run_until_idle(), PreVoteReply)[0].rejected


def test_a_server_that_comes_back_from_a_partition_leaves_the_leader_alone():
    cluster = Cluster(1, 2, 3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster.cut(3)
    cluster.tick(5 * ELECTION_TICKS)
    cluster.heal()
    cluster.tick(2)
    assert cluster.leaders() == [1]
    assert {server.core.term for server in cluster.servers.values()} == {1}


def test_a_refused_pre_vote_tells_a_higher_term():
    server = new_server(1, pre_vote=True)
    server.core.campaign()
    server.run_until_idle()
    server.core.step(PreVoteReply(2, 1, 6, rejected=True))
    assert (server.core.role, server.core.term) == (Role.FOLLOWER, 6)


def test_a_leader_sends_entries_before_its_own_write_is_done_and_counts_itself_only_after():
    cluster = Cluster(1, 2, 3, async_storage_writes=True)
    leader = cluster.elect(1)
    leader.core.propose(b"a")
    assert len(sent(leader.handle_ready(), AppendEntries)) == 2
    assert leader.core.status().progress[1].match == 3
    leader.core.step(AppendReply(2, 1, 1, 4))
    assert leader.core.log.committed == 3
    leader.write()
    assert leader.core.log.committed == 4


def test_an_entry_is_committed_by_the_followers_alone_if_the_leaders_disk_is_slow():
    cluster = Cluster(1, 2, 3, async_storage_writes=True)
    leader = cluster.elect(1)
    leader.core.propose(b"a")
    leader.handle_ready()
    for follower in (2, 3):
        leader.core.step(AppendReply(follower, 1, 1, 4))
    assert leader.core.log.committed == 4


def test_nothing_that_depends_on_the_disk_is_said_before_it_is_done():
    server = new_server(1, async_storage_writes=True)
    server.core.step(RequestVote(2, 1, 1, 1, START_INDEX))
    assert not sent(server.handle_ready(), VoteReply)
    assert sent(server.write(), VoteReply, 2)
    server.core.step(AppendEntries(2, 1, 1, 1, START_INDEX, START_INDEX, [entry(1, 3)]))
    assert not sent(server.handle_ready(), AppendReply)
    assert sent(server.write(), AppendReply, 2)


def test_an_acknowledgement_of_an_earlier_term_makes_no_overwritten_entry_durable():
    server = new_server(1, async_storage_writes=True)
    server.core.step(AppendEntries(2, 1, 1, 1, START_INDEX, START_INDEX, [entry(1, 3)]))
    server.handle_ready()
    late = server.append_work.popleft()
    server.save(late.hard_state, late.entries, late.snapshot)
    server.core.step(AppendEntries(3, 1, 2, 1, START_INDEX, START_INDEX, [entry(2, 3)]))
    server.core.step(AppendEntries(2, 1, 3, 1, START_INDEX, START_INDEX, [entry(1, 3)]))
    for response in late.responses:
        if response.to == 1:
            server.core.step(response)
    assert [each.term for each in server.core.log.next_unstable()] == [1]


def test_an_acknowledgement_counts_for_no_entry_that_took_the_place_of_the_one_written():
    server = new_server(1, async_storage_writes=True)
    server.core.step(Heartbeat(2, 1, 3, START_INDEX))
    server.core.step(AppendEntries(2, 1, 3, 1, START_INDEX, START_INDEX, [entry(2, 3)]))
    server.handle_ready()
    late = server.append_work.popleft()
    server.core.step(AppendEntries(2, 1, 3, 1, START_INDEX, START_INDEX, [entry(3, 3)]))
    for response in late.responses:
        if response.to == 1:
            server.core.step(response)
    assert [each.term for each in server.core.log.next_unstable()] == [3]


def test_appends_are_pipelined_up_to_the_limit():
    cluster = Cluster(1, 2, max_inflight_msgs=3)
    leader = cluster.elect(1)
    for number in range(5):
        leader.core.propose(b"%d" % number)
    assert len(sent(leader.run_until_idle(), AppendEntries)) == 3
    leader.core.step(AppendReply(2, 1, 1, 4))
    assert sent(leader.run_until_idle(), AppendEntries)


def asked_by_a_read(leader):
    leader.core.read_index(b"r")
    return [beat.to for beat in sent(leader.run_until_idle(), Heartbeat)]


@pytest.mark.parametrize(("voters", "asked"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_a_read_asks_no_more_voters_than_are_needed(voters, asked):
    leader = Cluster(*range(1, voters + 1)).elect(1)
    assert len(asked_by_a_read(leader)) == asked


def test_a_read_asks_no_learner_and_the_voters_that_answered_last():
    cluster = Cluster(1, 2, 3, learners=(4,))
    leader = cluster.elect(1)
    assert asked_by_a_read(leader) == [2]
    leader.core.step(HeartbeatReply(3, 1, 1, leader.core.reads.last_round))
    assert asked_by_a_read(leader) == [3]


def test_a_read_whose_voter_is_silent_is_confirmed_by_the_next_heartbeat_to_all():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(2)
    leader.core.read_index(b"r")
    cluster.settle()
    assert reads(cluster, 1) == []
    cluster.tick(1)
    assert [state.context for state in reads(cluster, 1)] == [b"r"]
    assert asked_by_a_read(leader) == [3]


def test_a_read_is_confirmed_by_others_at_once_when_its_voter_is_unreachable():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(2)
    leader.core.read_index(b"r")
    cluster.settle()
    leader.core.report_unreachable(2)
    cluster.settle()
    assert [state.context for state in reads(cluster, 1)] == [b"r"]
    assert asked_by_a_read(leader) == [3]


def test_in_a_joint_configuration_a_read_asks_all():
    cluster = Cluster(1, 2, 3, learners=(4,))
    leader = cluster.elect(1)
    step = ConfChangeSingle(ConfChangeKind.ADD_VOTER, 4)
    leader.core.propose_conf_change(ConfChangeV2((step,), Transition.JOINT_EXPLICIT))
    cluster.settle()
    assert asked_by_a_read(leader) == [2, 3, 4]
