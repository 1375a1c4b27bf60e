"""Details of leaders and followers that no other test covers."""

from __future__ import annotations

import pytest

from raft.core.changes import ConfChange, ConfChangeKind
from raft.core.errors import ProposalDropped
from raft.core.messages import (
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    RequestVote,
    TransferLeader,
    VoteReply,
)
from raft.core.progress import Inflights, Progress
from raft.core.types import NO_NODE, ConfState, Role, Snapshot
from tests.core.cluster import ELECTION_TICKS, START_INDEX, Cluster, new_server, sent


def progress(match: int, next_index: int, sent_commit: int, *, replicate: bool) -> Progress:
    peer = Progress(match, match + 1, Inflights(10, 0))
    if replicate:
        peer.become_replicate()
    peer.next, peer.sent_commit = next_index, sent_commit
    return peer


@pytest.mark.parametrize(("replicate", "rejected"), [(True, 8), (False, 9)])
def test_after_a_rejection_the_commit_index_is_sent_again(replicate, rejected):
    peer = progress(5, 10, 9, replicate=replicate)
    assert peer.reject(rejected, 5)
    assert peer.sent_commit == peer.next - 1 == 5
    peer.acknowledge(7)
    assert peer.can_bump_commit(9)


def test_a_peer_that_is_probed_again_is_sent_the_commit_index_again():
    peer = progress(5, 10, 9, replicate=True)
    peer.become_probe()
    assert peer.sent_commit == peer.next - 1 == 5
    peer.acknowledge(7)
    assert peer.can_bump_commit(9)


def test_a_follower_forwards_a_transfer_to_the_leader():
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster[2].core.transfer_leader(3)
    assert sent(cluster[2].run_until_idle(), TransferLeader) == [TransferLeader(2, 1, 1, 3)]
    cluster[3].core.step(TransferLeader(2, 3, 1, 2))
    assert sent(cluster[3].run_until_idle(), TransferLeader) == [TransferLeader(2, 1, 1, 2)]


def test_a_leader_that_is_elected_anew_does_not_count_the_proposals_of_its_earlier_term():
    cluster = Cluster(1, 2, 3, max_uncommitted_size=10)
    leader = cluster.elect(1).core
    cluster.cut(1)
    cluster.propose(1, b"12345678")
    with pytest.raises(ProposalDropped):
        leader.propose(b"12345678")
    cluster.heal()
    leader.step(AppendReply(2, 1, leader.term + 1, 0))
    leader.campaign()
    cluster[1].run_until_idle()
    leader.step(VoteReply(2, 1, leader.term))
    assert leader.role is Role.LEADER
    leader.propose(b"12345678")


def test_a_transfer_has_a_whole_election_timeout():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.cut(3)
    cluster.propose(1, b"a")
    cluster.tick(ELECTION_TICKS - 1 - leader.election_elapsed, 1)
    leader.transfer_leader(3)
    cluster.tick(ELECTION_TICKS - 1, 1)
    assert leader.transferee == 3
    cluster.tick(1, 1)
    assert leader.transferee == NO_NODE


def test_a_transfer_to_a_node_that_is_removed_ends():
    cluster = Cluster(1, 2, 3, 4)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a")
    leader.core.propose_conf_change(ConfChange(ConfChangeKind.REMOVE, 3))
    leader.core.transfer_leader(3)
    assert leader.core.transferee == 3
    cluster.settle()
    assert 3 not in leader.core.tracker.progress
    assert leader.core.transferee == NO_NODE
    cluster.propose(1, b"b")


def test_no_snapshot_is_sent_to_an_inactive_peer():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(3)
    cluster.propose(1, b"a", b"b", b"c")
    leader.compact(0)
    peer = leader.core.tracker.progress[3]
    leader.core.report_unreachable(3)
    peer.recently_active = False
    leader.core.report_reachable(3)
    assert not sent(leader.run_until_idle(), InstallSnapshot)
    peer.recently_active = True
    leader.core.report_reachable(3)
    assert [message.to for message in sent(leader.run_until_idle(), InstallSnapshot)] == [3]


def test_a_new_leader_asks_for_no_read_of_its_earlier_term():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    cluster.cut(1)
    leader.core.read_index(b"r")
    leader.run_until_idle()
    cluster.heal()
    leader.core.step(AppendReply(2, 1, leader.core.term + 1, 0))
    cluster.elect(1)
    leader.core.tick()
    assert [message.read_round for message in sent(leader.run_until_idle(), Heartbeat)] == [0, 0]
    assert not leader.reads


def test_heartbeats_ask_again_for_a_read_that_waits():
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.read_index(b"r")
    leader.run_until_idle()  # All of it is lost.
    leader.core.tick()
    assert [message.read_round for message in sent(leader.run_until_idle(), Heartbeat)] == [1, 1]


def test_a_voter_waits_a_whole_timeout_after_its_vote_before_it_campaigns():
    server = new_server(1)
    for _ in range(ELECTION_TICKS - 1):
        server.core.tick()
    server.core.step(RequestVote(2, 1, 1, 9, 99))
    server.core.election_elapsed = ELECTION_TICKS - 1
    server.core.step(RequestVote(2, 1, 1, 9, 99))
    assert server.core.election_elapsed == 0


def test_a_snapshot_that_lacks_a_node_is_not_installed_there():
    server = new_server(1)
    snapshot = Snapshot(START_INDEX + 9, 1, ConfState(voters=(2, 3)))
    server.core.step(InstallSnapshot(2, 1, 1, snapshot))
    server.run_until_idle()
    assert server.disk.snapshot().index == START_INDEX
    assert server.core.status().configuration.voters == (1, 2, 3)


def test_a_vote_of_an_earlier_term_is_not_kept_in_the_term_of_a_snapshot():
    server = new_server(1)
    server.core.step(RequestVote(2, 1, 1, 9, 99))
    server.run_until_idle()
    assert server.disk.initial_state()[0].vote == 2
    snapshot = Snapshot(START_INDEX + 9, 1, ConfState(voters=(1, 2, 3)))
    server.core.step(InstallSnapshot(3, 1, 5, snapshot))
    server.run_until_idle()
    stored = server.disk.initial_state()[0]
    assert (stored.term, stored.vote) == (5, NO_NODE)
