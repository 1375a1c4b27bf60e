"""A removed leader leads, in the configuration without it, until a quorum of that knows of its removal."""

from __future__ import annotations

from random import Random

import pytest

from raft.core import Config, Raft
from raft.core.changes import ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeV2
from raft.core.messages import AppendEntries, AppendReply, StorageAppend, TimeoutNow, VoteReply
from raft.core.types import ConfState, Role, Snapshot
from raft.storage.memory import MemoryStorage
from tests.core.cluster import ELECTION_TICKS, Cluster, sent

REMOVE, ADD, LEARN = ConfChangeKind.REMOVE, ConfChangeKind.ADD_VOTER, ConfChangeKind.ADD_LEARNER


def write(core):
    """Let the leader's own disk do what it was asked."""
    for message in core.ready().messages:
        if isinstance(message, StorageAppend):
            for response in message.responses:
                core.step(response)


def test_any_acknowledgement_lets_it_commit_by_the_smaller_quorum():
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(2, 1, ConfState((1, 2, 3, 4))))
    core = Raft(Config(id=1, applied=2, async_storage_writes=True), storage, Random(1))
    core.campaign()
    write(core)
    for node in (2, 3):
        core.step(VoteReply(node, 1, core.term))
    removal = ConfChange(ConfChangeKind.REMOVE, 1)
    core.propose_conf_change(removal)
    change = core.log.last_index()
    write(core)
    core.propose(b"wanted")
    for node in (2, 3):
        core.step(AppendReply(node, 1, core.term, change + 1))
    assert core.log.committed == change, "of four, three hold the change and two the command"
    core.apply_conf_change(removal, change)
    core.step(AppendReply(4, 1, core.term, change - 1))
    assert core.log.committed == change + 1, "of three, two are enough"


def deliver_until(cluster: Cluster, done) -> None:
    """Let messages travel one by one, until it is so."""
    cluster.collect()
    while not done():
        assert cluster.wire, "nothing more happens"
        cluster.deliver_one(cluster.wire.pop(0))
        cluster.collect()


def removed_leader(voters: tuple[int, ...], paused: int = 0, **options: object) -> Cluster:
    """A cluster at the moment at which its leader, node 1, has applied that it is no voter any more."""
    options.setdefault("step_down_on_removal", True)
    cluster = Cluster(*voters, **options)
    leader = cluster.elect(1)
    if paused:
        cluster.cut(paused)
    leader.core.propose_conf_change(ConfChange(REMOVE, 1))
    deliver_until(cluster, lambda: 1 not in leader.core.tracker.progress)
    return cluster


def kill(cluster: Cluster, node: int) -> None:
    """What it has sent goes with it."""
    del cluster.servers[node]
    cluster.wire = [message for message in cluster.wire if message.sender != node]


@pytest.mark.parametrize(("voters", "paused"), [((1, 2), 0), ((1, 2, 3), 0), ((1, 2, 3, 4), 4)])
def test_when_a_removed_leader_has_stepped_down_the_others_elect_without_it(voters, paused):
    cluster = removed_leader(voters, paused)
    assert cluster[1].core.role is Role.LEADER, "no other node knows yet that the change is committed"
    deliver_until(cluster, lambda: cluster[1].core.role is not Role.LEADER)
    assert cluster[1].core.removal_known
    kill(cluster, 1)
    cluster.settle()
    cluster.elect(2)


def test_a_removed_leader_waits_for_a_quorum_of_the_voters_that_remain():
    cluster = removed_leader((1, 2, 3), paused=3, check_quorum=True)
    cluster.settle()
    cluster.tick(ELECTION_TICKS * 5, 1, 2)
    assert cluster[1].core.role is Role.LEADER, "without node 3 there is no quorum that could know"
    assert not cluster[1].core.removal_known
    cluster.heal()
    cluster.tick(2)
    assert cluster[1].core.role is Role.FOLLOWER
    assert cluster[1].core.removal_known


def test_a_removed_leader_asks_a_successor_to_campaign_only_when_a_quorum_knows():
    cluster = removed_leader((1, 2, 3), paused=3, hand_over_on_removal=True)
    cluster.settle()
    assert not sent(cluster.delivered, TimeoutNow)
    cluster.heal()
    cluster.tick(2)
    assert cluster.leaders() == [2]


def test_a_leader_that_is_replaced_waits_when_the_joint_configuration_is_left():
    cluster = Cluster(1, 2, learners=(3,), step_down_on_removal=True)
    leader = cluster.elect(1)
    steps = (ConfChangeSingle(ADD, 3), ConfChangeSingle(REMOVE, 1))
    leader.core.propose_conf_change(ConfChangeV2(steps))
    deliver_until(cluster, lambda: 1 not in leader.core.tracker.progress)
    assert leader.core.role is Role.LEADER
    deliver_until(cluster, lambda: leader.core.role is not Role.LEADER)
    kill(cluster, 1)
    cluster.settle()
    cluster.elect(2)


def test_a_leader_that_is_made_a_learner_steps_down_when_a_quorum_knows():
    cluster = Cluster(1, 2, step_down_on_removal=True)
    leader = cluster.elect(1)
    leader.core.propose_conf_change(ConfChange(LEARN, 1))
    deliver_until(cluster, lambda: leader.core.tracker.progress[1].is_learner)
    assert leader.core.role is Role.LEADER
    deliver_until(cluster, lambda: leader.core.role is not Role.LEADER)
    assert not leader.core.removal_known, "it is a member still"
    assert cluster[2].core.log.committed >= leader.core.pending_conf_index


def test_a_removed_leader_steps_down_after_an_append_that_carried_the_commit_of_the_change():
    cluster = removed_leader((1, 2))
    last = cluster[1].core.handover_index
    told = [each for each in cluster.wire if isinstance(each, AppendEntries) and each.to == 2]
    assert [each.commit for each in told if each.entries and each.entries[-1].index == last] == [last - 1]


def test_a_removed_leader_that_meets_a_higher_term_does_not_report_its_removal_as_known():
    cluster = removed_leader((1, 2, 3), paused=3)
    cluster[1].core.step(AppendReply(3, 1, 9, 0))
    cluster.settle()
    assert cluster[1].core.role is Role.FOLLOWER
    assert not cluster[1].core.removal_known
