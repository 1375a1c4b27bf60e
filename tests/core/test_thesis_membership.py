"""Ongaro's thesis, section 4: configurations change while the cluster works, and majorities always meet."""

import pytest

from raft.core.changes import ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeV2, Transition
from raft.core.errors import ConfChangeRefused
from raft.core.messages import AppendReply, RequestVote, VoteReply
from raft.core.types import ConfState, EntryKind, Role
from tests.core.cluster import ELECTION_TICKS, START_INDEX, Cluster, new_server, newcomer, sent

ADD, LEARN, REMOVE = ConfChangeKind.ADD_VOTER, ConfChangeKind.ADD_LEARNER, ConfChangeKind.REMOVE


def change(*steps: tuple[ConfChangeKind, int], transition: Transition = Transition.AUTO) -> ConfChangeV2:
    return ConfChangeV2(tuple(ConfChangeSingle(kind, node) for kind, node in steps), transition)


LEAVE = change()


def voters(cluster: Cluster, node: int) -> tuple[int, ...]:
    return cluster[node].core.status().configuration.voters


def test_one_server_is_added_at_a_time_and_gets_the_whole_log():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.propose(1, b"a")
    leader.compact(keep_entries=0)
    cluster.add(newcomer(4))
    leader.core.propose_conf_change(ConfChange(ADD, 4))
    cluster.settle()
    leader.compact(keep_entries=0)
    leader.core.report_snapshot(4, ok=False)
    cluster.tick(2, 1)
    assert voters(cluster, 4) == (1, 2, 3, 4)
    assert cluster[4].machine.state == leader.machine.state


def test_a_second_change_is_refused_until_the_first_is_applied():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(ConfChange(ADD, 4))
    with pytest.raises(ConfChangeRefused):
        leader.core.propose_conf_change(ConfChange(ADD, 5))
    cluster.settle()
    leader.core.propose_conf_change(ConfChange(REMOVE, 4))
    cluster.settle()
    assert voters(cluster, 1) == (1, 2, 3)


def test_a_refused_change_says_why_and_leaves_nothing_in_the_log():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    before = leader.core.log.last_index()
    for refused in (
        LEAVE,
        change((REMOVE, 1), (REMOVE, 2), (REMOVE, 3)),
        ConfChangeV2((), Transition.JOINT_EXPLICIT),
    ):
        if refused.transition is Transition.JOINT_EXPLICIT:
            leader.core.propose_conf_change(change((LEARN, 3), transition=Transition.JOINT_EXPLICIT))
            cluster.settle()
            before = leader.core.log.last_index()
        with pytest.raises(ConfChangeRefused) as error:
            leader.core.propose_conf_change(refused)
        assert error.value.reason
        assert leader.core.log.last_index() == before


def test_a_change_is_made_only_in_the_configuration_that_the_caller_has_seen():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    seen = leader.core.status().configuration
    with pytest.raises(ConfChangeRefused):
        leader.core.propose_conf_change(ConfChange(ADD, 4), expected=ConfState(voters=(1, 2)))
    leader.core.propose_conf_change(ConfChange(ADD, 4), expected=seen)
    cluster.settle()
    assert voters(cluster, 1) == (1, 2, 3, 4)


def test_a_new_leader_refuses_changes_while_one_of_an_earlier_term_waits_in_its_log():
    cluster = Cluster(1, 2, 3, 4)
    cluster.elect(1)
    cluster.cut(3, 4)
    cluster[1].core.propose_conf_change(ConfChange(ADD, 5))
    cluster.settle()
    cluster.heal()
    cluster.cut(1)
    cluster[2].core.campaign()
    cluster.collect()
    cluster.deliver()
    cluster.collect()
    cluster.deliver()
    assert cluster[2].core.role is Role.LEADER
    with pytest.raises(ConfChangeRefused):
        cluster[2].core.propose_conf_change(ConfChange(REMOVE, 1))


def test_a_truncated_change_leaves_the_configuration_as_it_was():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.cut(1)
    cluster[1].core.propose_conf_change(ConfChange(ADD, 4))
    cluster.settle()
    assert cluster[1].log()[-1].kind is EntryKind.CONF_CHANGE
    cluster.elect(2)
    cluster.heal()
    cluster.tick(2)
    assert cluster[1].log() == cluster[2].log()
    assert voters(cluster, 1) == (1, 2, 3)


def test_a_configuration_outlives_a_crash():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster[1].core.propose_conf_change(ConfChange(LEARN, 3))
    cluster.settle()
    cluster[2].compact(keep_entries=0)
    cluster[2].boot()
    assert cluster[2].core.status().configuration == ConfState(voters=(1, 2), learners=(3,))


def test_a_learner_counts_for_no_majority():
    cluster = Cluster(1, 2, learners=(3, 4, 5))
    leader = cluster.elect(1)
    cluster.cut(2)
    cluster.propose(1, b"a")
    assert leader.core.log.committed == START_INDEX + 1
    leader.core.step(AppendReply(2, 1, 1, START_INDEX + 2))
    assert leader.core.log.committed == START_INDEX + 2


def test_a_learner_votes_before_it_knows_of_its_promotion():
    cluster = Cluster(1, 2, learners=(3,))
    cluster.elect(1)
    cluster.cut(3)
    cluster[1].core.propose_conf_change(ConfChange(ADD, 3))
    cluster.settle()
    cluster.heal()
    cluster.cut(1)
    cluster.elect(2)


def test_a_removed_leader_steps_down_if_configured_so():
    cluster = Cluster(1, 2, 3, step_down_on_removal=True)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(ConfChange(REMOVE, 1))
    cluster.settle()
    assert leader.core.role is Role.FOLLOWER
    for _ in range(4 * ELECTION_TICKS):
        leader.core.tick()
    assert not sent(leader.run_until_idle(), RequestVote)


def test_a_leader_that_is_removed_hands_over_to_the_longest_log():
    cluster = Cluster(1, 2, 3, step_down_on_removal=True, hand_over_on_removal=True)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a")
    leader.core.propose_conf_change(ConfChange(REMOVE, 1))
    cluster.heal()
    cluster.settle()
    assert cluster.leaders() == [2]


def test_a_leader_that_removes_itself_does_not_count_itself():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(ConfChange(REMOVE, 1))
    cluster.settle()
    assert 1 not in leader.core.status().progress
    assert leader.core.log.committed == leader.core.log.last_index()


def test_a_server_that_hears_a_leader_ignores_campaigns():
    cluster = Cluster(1, 2, 3, check_quorum=True)
    cluster.elect(1)
    cluster[2].core.step(RequestVote(3, 2, 9, 9, 99))
    assert not sent(cluster[2].run_until_idle(), VoteReply)
    assert cluster[2].core.term == 1
    for _ in range(ELECTION_TICKS):
        cluster[2].core.tick()
    cluster[2].core.step(RequestVote(3, 2, 9, 9, 99))
    assert not sent(cluster[2].run_until_idle(), VoteReply)[0].rejected


def test_a_removed_server_does_not_disrupt_the_cluster():
    cluster = Cluster(1, 2, 3, check_quorum=True, pre_vote=True)
    cluster.elect(1)
    cluster.cut(3)
    cluster[1].core.propose_conf_change(ConfChange(REMOVE, 3))
    cluster.settle()
    cluster.heal()
    cluster.tick(5 * ELECTION_TICKS)
    assert cluster.leaders() == [1]
    assert cluster[1].core.term == 1


def test_a_joint_configuration_needs_both_majorities_to_commit():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(
        change((ADD, 4), (ADD, 5), (REMOVE, 2), (REMOVE, 3), transition=Transition.JOINT_EXPLICIT)
    )
    cluster.settle()
    committed = leader.core.log.committed
    cluster.propose(1, b"a")
    assert leader.core.status().progress[2].match == leader.core.status().progress[3].match == committed + 1
    assert leader.core.log.committed == committed
    leader.core.step(AppendReply(4, 1, 1, committed + 1))
    assert leader.core.log.committed == committed + 1


def test_a_joint_configuration_needs_both_majorities_to_elect():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster[1].core.propose_conf_change(
        change((ADD, 4), (ADD, 5), (REMOVE, 2), (REMOVE, 3), transition=Transition.JOINT_EXPLICIT)
    )
    cluster.settle()
    candidate = cluster[1]
    candidate.boot()
    candidate.run_until_idle()
    candidate.core.campaign()
    requests = sent(candidate.run_until_idle(), RequestVote)
    assert [request.to for request in requests] == [2, 3, 4, 5]
    term = candidate.core.term
    candidate.core.step(VoteReply(2, 1, term))
    candidate.core.step(VoteReply(3, 1, term))
    assert candidate.core.role is Role.CANDIDATE
    candidate.core.step(VoteReply(5, 1, term))
    assert candidate.core.role is Role.LEADER


def test_an_implicit_joint_configuration_is_left_by_the_leader():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(change((LEARN, 2), (LEARN, 3)))
    cluster.settle()
    assert leader.core.status().configuration == ConfState(voters=(1,), learners=(2, 3))


def test_an_implicit_joint_configuration_is_left_by_the_next_leader_if_need_be():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(change((LEARN, 3), transition=Transition.JOINT_IMPLICIT))
    cluster.collect()
    cluster.deliver()
    cluster.collect()
    cluster.deliver()
    cluster.cut(1)
    cluster.settle()
    cluster.elect(2)
    cluster.heal()
    cluster.tick(2)
    assert cluster[2].core.status().configuration == ConfState(voters=(1, 2), learners=(3,))


def test_a_smaller_configuration_commits_at_once_what_its_majority_holds():
    cluster = Cluster(1, 2)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(ConfChange(REMOVE, 2))
    leader.core.propose(b"a")
    leader.run_until_idle()
    assert leader.core.log.committed == START_INDEX + 1
    leader.core.step(AppendReply(2, 1, 1, START_INDEX + 2))
    leader.run_until_idle()
    assert leader.machine.commands == [b"a"]


def test_an_explicit_joint_configuration_is_left_by_request_and_only_then():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(change((LEARN, 3), transition=Transition.JOINT_EXPLICIT))
    cluster.settle()
    cluster.tick(5)
    joint = leader.core.status().configuration
    assert joint.voters_outgoing == (1, 2, 3) and joint.learners_next == (3,)
    leader.core.propose_conf_change(LEAVE)
    cluster.settle()
    assert leader.core.status().configuration == ConfState(voters=(1, 2), learners=(3,))


def test_a_change_older_than_the_snapshot_does_not_bring_a_node_back():
    server = new_server(1)
    before = server.core.status().configuration
    assert server.core.apply_conf_change(ConfChange(ADD, 9), START_INDEX) == before
    assert server.core.status().configuration == before
