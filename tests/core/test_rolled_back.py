"""Rolled-back disks: one is detected and distinguished from a crash, a majority stops the cluster."""

from __future__ import annotations

import pytest

from raft.core.errors import MajorityRolledBack, RolledBack
from raft.core.messages import AppendEntries, AppendReply, Heartbeat, InstallSnapshot
from raft.core.types import ConfState, Role, Snapshot
from tests.core.cluster import START_INDEX, Cluster, entry, new_server


def test_a_leader_stops_at_an_acknowledgement_beyond_its_log_and_does_not_count_it():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    committed, last = leader.log.committed, leader.log.last
    with pytest.raises(MajorityRolledBack, match=f"node 3 holds entry {last + 5}.*ends at {last}"):
        leader.step(AppendReply(3, 1, leader.term, last + 5))
    assert leader.tracker.progress[3].match <= last
    assert leader.log.committed == committed


def test_an_acknowledgement_beyond_the_log_from_an_earlier_term_is_only_stale():
    cluster = Cluster(1, 2, 3)
    cluster.elect(2)
    leader = cluster.elect(1).core
    leader.step(AppendReply(3, 1, leader.term - 1, leader.log.last + 5))
    assert leader.role is Role.LEADER


@pytest.mark.parametrize("previous", [START_INDEX, START_INDEX + 1])
def test_a_follower_that_is_asked_to_replace_what_it_has_committed_stops(previous):
    follower = new_server(1)
    first = [entry(2, START_INDEX + 1, b"a"), entry(2, START_INDEX + 2, b"b")]
    follower.core.step(AppendEntries(2, 1, 2, 1, START_INDEX, START_INDEX + 2, first))
    follower.run_until_idle()
    previous_term = 1 if previous == START_INDEX else 2
    other = AppendEntries(3, 1, 5, previous_term, previous, 0, [entry(5, previous + 1, b"other")])
    with pytest.raises(
        MajorityRolledBack, match=f"leader 3 of term 5 has an entry of term 5 at {previous + 1}"
    ):
        follower.core.step(other)
    assert [each.data for each in follower.log()] == [b"a", b"b"]


def test_a_late_append_that_agrees_with_the_log_is_accepted():
    follower = new_server(1)
    first = [entry(2, START_INDEX + 1, b"a"), entry(2, START_INDEX + 2, b"b")]
    append = AppendEntries(2, 1, 2, 1, START_INDEX, START_INDEX + 2, first)
    follower.core.step(append)
    follower.run_until_idle()
    follower.core.step(append)
    assert [each.index for each in follower.run_until_idle()] == [START_INDEX + 2]


def test_two_leaders_of_one_term_stop_at_each_others_messages():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    for message in (
        Heartbeat(2, 1, leader.term, 0),
        AppendEntries(2, 1, leader.term, 1, START_INDEX, 0, []),
    ):
        with pytest.raises(MajorityRolledBack, match="node 2 leads term 1, as this node does"):
            leader.step(message)


def test_a_follower_stops_at_a_message_of_a_second_leader_of_its_term():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    follower = cluster.servers[3].core
    committed = follower.log.committed
    for message in (
        Heartbeat(2, 3, follower.term, 0),
        AppendEntries(2, 3, follower.term, follower.log.last_term, follower.log.last, 0, []),
        InstallSnapshot(
            2, 3, follower.term, Snapshot(committed + 9, follower.term, ConfState((1, 2, 3)), b"")
        ),
    ):
        with pytest.raises(
            MajorityRolledBack, match="node 2 leads term 1, in which this node follows node 1"
        ):
            follower.step(message)
    assert follower.leader == 1 and follower.log.committed == committed


def test_a_commit_index_beyond_the_log_shows_that_the_disk_was_rolled_back():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    cluster.servers[3] = new_server(3)  # As it was before the cluster began.
    with pytest.raises(RolledBack, match="--repair-from-peers"):
        cluster.tick(1, 1)
