"""A node whose disk is full, failing or slow, and its leadership."""

from __future__ import annotations

import pytest

from raft.node.leadership.disk_health import SLOW_WRITES_MIN
from raft.protocol.admin import LostLeadership
from raft.protocol.client import Committed, Refused
from raft.storage.errors import StoreFailed, StoreFull
from tests.node.cluster import Cluster, Member, Supervisor, command, query, value_in

FULL = StoreFull("no room for a write")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(3)


def watched() -> tuple[Cluster, Supervisor]:
    cluster = Cluster(3, supervisor="ipc:///launcher")
    return cluster, Supervisor(cluster)


def fill(cluster: Cluster, node: int) -> Member:
    """No more room, which the node notices at its next write."""
    cluster[node].log.fail = FULL
    cluster.ask(node, command(b"last", b"straw"))
    return cluster[node]


def test_a_leader_without_room_transfers_leadership_with_the_reason() -> None:
    cluster, supervisor = watched()
    old = cluster.elect()
    fill(cluster, old)
    took = cluster.until(lambda: bool(cluster.leaders()) and old not in cluster.leaders())
    assert took < 0.25, "by a transfer, not by a timeout"
    cluster.until(lambda: bool(supervisor.of(LostLeadership)))
    assert [(lost.node, lost.reason) for lost in supervisor.of(LostLeadership)] == [(old, "disk-full")]
    assert "disk-full" in cluster[old].events.names
    assert isinstance(cluster.put(cluster.leaders()[0], b"k", b"v"), Committed)


def test_an_idle_leader_detects_a_full_disk_without_a_write_and_transfers_leadership() -> None:
    cluster, supervisor = watched()
    old = cluster.elect()
    cluster.advance(3.0)
    writes = len(cluster[old].log.writes)
    cluster[old].log.fail = FULL
    cluster.until(lambda: bool(cluster.leaders()) and old not in cluster.leaders(), 1.5)
    cluster.until(lambda: bool(supervisor.of(LostLeadership)))
    assert [(lost.node, lost.reason) for lost in supervisor.of(LostLeadership)] == [(old, "disk-full")]
    assert len(cluster[old].log.writes) == writes


def test_an_idle_leader_without_a_successor_accepts_writes_again_when_there_is_room() -> None:
    cluster = Cluster(1)
    leader = cluster.elect()
    cluster[leader].log.fail = FULL
    cluster.advance(1.5)
    answer = cluster.put(leader, b"k", b"v")
    assert isinstance(answer, Refused)
    assert "disk-full" in answer.reason
    cluster[leader].log.fail = None
    cluster.advance(0.2)
    assert isinstance(cluster.put(leader, b"k", b"v"), Committed)


def test_a_leader_without_room_refuses_writes_while_it_has_no_successor(cluster: Cluster) -> None:
    leader = cluster.elect()
    for follower in cluster.followers():
        cluster[follower].log.fail = FULL
    fill(cluster, leader)
    cluster.advance(3.0)
    assert cluster.leaders() == [leader], "no other node can lead either"
    answer = cluster.put(leader, b"k", b"v")
    assert isinstance(answer, Refused)
    assert "disk-full" in answer.reason


def test_a_node_without_room_does_not_campaign_and_gives_no_vote(cluster: Cluster) -> None:
    leader = cluster.elect()
    full, other = cluster.followers()
    cluster[full].log.fail = FULL
    cluster.put(leader, b"k", b"v")
    cluster.advance(0.1)
    term = cluster[full].raft.term
    cluster[leader].kill()
    cluster.advance(5.0)
    assert cluster[full].raft.role.value == "follower"
    assert cluster[full].raft.term <= term + 1
    assert not cluster.leaders(), f"node {other} lacks a vote that can be kept"
    cluster[full].log.fail = None
    cluster.until(lambda: cluster.leaders() in ([other], [full]))


def test_a_follower_without_room_does_not_block_the_quorum_and_catches_up_later(
    cluster: Cluster,
) -> None:
    leader = cluster.elect()
    full = cluster.followers()[0]
    cluster[full].log.fail = FULL
    for number in range(50):
        assert isinstance(cluster.put(leader, b"k", b"%d" % number), Committed)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.tracker.progress[full].match < cluster[leader].raft.log.last
    cluster[full].log.fail = None
    cluster.until(lambda: cluster[full].raft.log.applied == cluster[leader].raft.log.applied, 2.0)
    assert cluster[full].incarnation == 1


def test_a_node_that_has_room_again_leads_again_and_has_lost_nothing(cluster: Cluster) -> None:
    old = cluster.elect()
    cluster.put(old, b"before", b"1")
    member = fill(cluster, old)
    cluster.until(lambda: bool(cluster.leaders()) and old not in cluster.leaders())
    new = cluster.leaders()[0]
    cluster.put(new, b"meanwhile", b"2")
    member.log.fail = None
    cluster.until(lambda: member.raft.log.applied == cluster[new].raft.log.applied, 2.0)
    assert member.incarnation == 1
    assert "disk-has-room" in member.events.names
    cluster[new].raft.transfer_leader(old)
    cluster.until(lambda: cluster.leaders() == [old], 2.0)
    assert isinstance(cluster.put(old, b"after", b"3"), Committed)
    for key, value in ((b"before", b"1"), (b"last", b"straw"), (b"meanwhile", b"2"), (b"after", b"3")):
        assert value_in(cluster.answer(old, query(key))) == value


def test_a_failed_sync_ends_the_node_at_once_and_is_not_tried_again(cluster: Cluster) -> None:
    leader = cluster.elect()
    member = cluster[leader]
    member.log.fail = StoreFailed("a sync failed: Input/output error")
    writes = len(member.log.writes)
    cluster.ask(leader, command(b"k", b"v"))
    assert member.runtime.stopped
    assert [crash.error for crash in cluster.crashes if "Input/output error" in crash.error]
    cluster.crashes.clear()
    member.log.fail = None
    cluster.until(lambda: leader not in cluster.leaders() and bool(cluster.leaders()))
    assert len(member.log.writes) == writes


def write_slowly(cluster: Cluster, leader: int, *slow: int, seconds: float = 0.2) -> None:
    """One write that takes that long on the disks of some nodes, and no time on the others'."""
    for node in slow:
        cluster[node].disk.holding = True
    cluster.ask(leader, command(b"k", b"v"))
    cluster.advance(seconds)
    for node in slow:
        disk = cluster[node].disk
        while disk.waiting:
            disk.do_next()
            cluster.network.settle()
        disk.holding = False
    cluster.network.settle()


def test_a_slow_leader_transfers_leadership_to_a_faster_node_with_the_reason() -> None:
    cluster, supervisor = watched()
    leader = cluster.elect()
    slow = cluster.followers()[0]
    for _ in range(SLOW_WRITES_MIN):
        assert cluster.leaders() == [leader], "one slow write is none"
        write_slowly(cluster, leader, leader, slow)
    cluster.until(lambda: bool(cluster.leaders()) and leader not in cluster.leaders())
    assert cluster.leaders() == [node for node in cluster.ids if node not in (leader, slow)]
    cluster.until(lambda: bool(supervisor.of(LostLeadership)))
    assert [lost.reason for lost in supervisor.of(LostLeadership)] == ["slow-fsync"]


def test_where_all_disks_are_slow_leadership_stays(cluster: Cluster) -> None:
    leader = cluster.elect()
    for _ in range(3 * SLOW_WRITES_MIN):
        write_slowly(cluster, leader, *cluster.ids)
    assert cluster.leaders() == [leader]


def test_occasional_slow_writes_do_not_move_leadership(cluster: Cluster) -> None:
    leader = cluster.elect()
    for number in range(5 * SLOW_WRITES_MIN):
        write_slowly(cluster, leader, leader, seconds=0.2 if number % SLOW_WRITES_MIN else 0.01)
    assert cluster.leaders() == [leader]


def test_a_follower_hardly_faster_than_the_leader_does_not_take_over(cluster: Cluster) -> None:
    leader = cluster.elect()
    for _ in range(2 * SLOW_WRITES_MIN):
        for node in cluster.ids:
            cluster[node].disk.holding = True
        cluster.ask(leader, command(b"k", b"v"))
        cluster.advance(0.1)
        for node in cluster.followers():
            while cluster[node].disk.waiting:
                cluster[node].disk.do_next()
                cluster.network.settle()
        cluster.advance(0.04)
        while cluster[leader].disk.waiting:
            cluster[leader].disk.do_next()
            cluster.network.settle()
        for node in cluster.ids:
            cluster[node].disk.holding = False
        assert cluster.leaders() == [leader]


def test_a_leader_whose_write_hangs_does_not_wait_for_its_end(cluster: Cluster) -> None:
    leader = cluster.elect()
    cluster[leader].disk.holding = True
    cluster.ask(leader, command(b"k", b"v"))
    cluster.until(lambda: bool(cluster.leaders()) and leader not in cluster.leaders(), 2.0)
