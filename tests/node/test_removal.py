"""Removed members and leaders: how they learn of their removal, and when they stop."""

from __future__ import annotations

from typing import Any

import pytest

from actors.transport.faults import Fault
from raft.protocol.client import (
    AddLearner,
    Committed,
    Members,
    Refused,
    Remove,
    Replace,
    WhoLeads,
)
from raft.protocol.registry import Expelled, address_of, process_of
from tests.node.cluster import Cluster, command
from tests.node.members import asked, endpoint, grow, voters_of


def test_a_removed_node_stops_by_itself() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    removed = cluster.followers()[0]
    answer = asked(cluster, Remove(removed))
    assert removed not in answer.voters
    cluster.until(lambda: cluster[removed].runtime.stopped, 2.0)
    assert cluster[removed].actor.removed
    assert cluster.leaders() == [leader]


def test_a_removed_node_learns_of_its_removal_without_further_entries() -> None:
    cluster = Cluster(3)
    cluster.elect()
    removed = cluster[cluster.followers()[0]]
    # Its disk stands still: the entry that removes it is never applied there.
    removed.disk.holding = True
    asked(cluster, Remove(removed.node))
    cluster.until(lambda: removed.runtime.stopped, 2.0)
    assert removed.actor.removed


@pytest.mark.parametrize("options", [{}, {"pre_vote": False, "check_quorum": False}])
def test_a_removed_node_that_was_partitioned_returns_without_disruption_and_stops(
    options: dict[str, bool],
) -> None:
    cluster = Cluster(4, **options)
    leader = cluster.elect()
    removed = cluster.followers()[0]
    others = [node for node in (1, 2, 3, 4) if node != removed]
    for node in others:
        cluster[node].cut(removed)
    cluster[removed].cut(*others)
    asked(cluster, Remove(removed))
    cluster.advance(3.0)
    cluster.until(lambda: cluster.agree(others), 2.0)
    leader = next(node for node in cluster.leaders() if node != removed)
    term = cluster[leader].raft.term
    for node in (*others, removed):
        cluster[node].heal()
    cluster.until(lambda: cluster[removed].runtime.stopped, 5.0)
    assert cluster[removed].actor.removed
    cluster.advance(2.0)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.term == term


def test_a_removed_node_that_was_down_is_informed_when_it_returns() -> None:
    cluster = Cluster(4)
    leader = cluster.elect()
    removed = cluster.followers()[0]
    cluster[removed].kill()
    asked(cluster, Remove(removed))
    cluster.advance(2.0)
    term = cluster[leader].raft.term
    cluster[removed].start()
    cluster.until(lambda: cluster[removed].runtime.stopped, 5.0)
    assert cluster[removed].actor.removed
    assert (cluster.leaders(), cluster[leader].raft.term) == ([leader], term)


def test_a_member_that_was_added_again_is_known_after_a_restart() -> None:
    cluster = Cluster(4)
    leader = cluster.elect()
    node = cluster.followers()[0]
    asked(cluster, Remove(node))
    cluster.until(lambda: cluster[node].runtime.stopped)
    grow(cluster, node)
    for member in cluster.ids:
        if member != node:
            cluster[member].kill()
            cluster[member].start()
    leader = cluster.elect()
    assert set(cluster.answer(leader, WhoLeads()).endpoints) == {1, 2, 3, 4}
    cluster.put(leader, b"k", b"v")
    cluster.advance(0.5)
    assert cluster[node].machine.snapshot() == cluster[leader].machine.snapshot()


def test_a_removed_leader_with_an_unfinished_write_stops_normally() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    disk = cluster[leader].disk
    disk.holding = True
    cluster.ask(leader, Remove(leader))
    cluster.advance(0.01)
    cluster.ask(leader, command(b"k", b"w"))
    cluster.advance(0.01)
    disk.do_next()
    cluster.advance(0.01)
    disk.do_next()
    cluster.until(lambda: cluster[leader].runtime.stopped, 2.0)
    assert cluster[leader].actor.removed
    assert not cluster.crashes


def test_a_member_ignores_a_removal_that_it_knows_to_be_undone() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.2)
    follower = cluster[cluster.followers()[0]]
    cluster[leader].runtime.tell(address_of(follower.node), Expelled(leader, 1))
    follower.actor.components.membership.expelled(Expelled(leader, 1))
    cluster.advance(2.0)
    assert not follower.runtime.stopped
    assert "removed" not in follower.events.names


def test_a_removed_leader_answers_transfers_leadership_and_stops() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    answer = cluster.answer(leader, Remove(leader))
    assert isinstance(answer, Members)
    assert leader not in answer.voters
    others = [node for node in (1, 2, 3) if node != leader]
    # By request, and not because a timeout has passed.
    assert cluster.until(lambda: cluster.agree(others)) < 0.1
    cluster.until(lambda: cluster[leader].runtime.stopped, 2.0)
    assert isinstance(cluster.put(cluster.leaders()[0], b"k", b"w"), Committed)
    assert voters_of(cluster, cluster.leaders()[0]) == set(others)


DELAY_SECONDS = 0.02


def slow(cluster: Cluster, node: int) -> None:
    """What this node tells other nodes takes a while, and is lost if it dies meanwhile."""
    for other in cluster.members:
        if other != node:
            fault = Fault(to=process_of(other), delay_seconds=DELAY_SECONDS)
            cluster[node].transport.add(fault)


def isolate(cluster: Cluster, node: int) -> None:
    """As if it stood still: nothing is heard by it or of it."""
    for other in cluster.members:
        if other != node:
            cluster[other].cut(node)
            cluster[node].cut(other)


def reunite(cluster: Cluster) -> None:
    for node in cluster.members:
        cluster[node].heal()


def leader_with(nodes: int, **options: Any) -> tuple[Cluster, int]:
    cluster = Cluster(nodes, **options)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    cluster.advance(0.2)
    return cluster, leader


def killed_at_the_answer(cluster: Cluster, leader: int, request: Any) -> None:
    """The leader answers that it is no member any more, and is gone in the same moment."""
    slow(cluster, leader)
    pending = cluster.ask(leader, request)
    cluster.until(lambda: pending.done, 5.0)
    assert isinstance(pending.result(), Members)
    cluster[leader].kill()


def rest_elects(cluster: Cluster, rest: list[int]) -> None:
    cluster.until(lambda: cluster.agree(rest), 3.0)
    assert isinstance(cluster.put(cluster[rest[0]].raft.leader, b"k", b"w"), Committed)


@pytest.mark.parametrize(("nodes", "paused"), [(2, 0), (3, 0), (4, 0), (4, 1), (5, 1)])
def test_when_a_leader_that_was_removed_dies_at_its_answer_the_others_elect(nodes: int, paused: int) -> None:
    cluster, leader = leader_with(nodes)
    rest = cluster.followers()
    for node in rest[:paused]:
        isolate(cluster, node)
    killed_at_the_answer(cluster, leader, Remove(leader))
    rest_elects(cluster, rest[paused:])


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_when_a_leader_that_was_replaced_dies_at_its_answer_the_others_elect(nodes: int) -> None:
    cluster, leader = leader_with(nodes)
    newcomer = nodes + 1
    cluster.join(newcomer)
    asked(cluster, AddLearner(newcomer, endpoint(newcomer)))
    cluster.advance(0.2)
    rest = [node for node in cluster.members if node != leader]
    paused = rest[:1] if nodes > 2 else []
    for node in paused:
        isolate(cluster, node)
    killed_at_the_answer(cluster, leader, Replace(leader, newcomer))
    rest_elects(cluster, [node for node in rest if node not in paused])


def test_a_removal_of_the_leader_is_answered_only_when_a_quorum_of_the_others_knows() -> None:
    cluster, leader = leader_with(3)
    paused = cluster.followers()[0]
    isolate(cluster, paused)
    pending = cluster.ask(leader, Remove(leader))
    cluster.advance(2.0)
    assert not pending.done
    assert cluster.leaders() == [leader]
    again = cluster.answer(leader, Remove(leader))
    assert isinstance(again, Refused), "another who asks is not told that it is done, either"
    reunite(cluster)
    cluster.until(lambda: pending.done, 1.0)
    assert isinstance(pending.result(), Members)
    cluster.until(lambda: cluster.agree([node for node in (1, 2, 3) if node != leader]), 1.0)
    cluster.until(lambda: cluster[leader].runtime.stopped, 2.0)


def test_a_removed_leader_that_restarts_too_early_informs_the_others_then() -> None:
    cluster, leader = leader_with(2)
    other = cluster.followers()[0]
    slow(cluster, leader)
    cluster.ask(leader, Remove(leader))
    cluster.until(lambda: bool(cluster[leader].raft.handover_index))
    cluster.advance(0)
    cluster[leader].kill()
    cluster.advance(1.0)
    assert voters_of(cluster, other) == {1, 2}
    assert cluster.leaders() == []
    cluster[leader].start()
    rest_elects(cluster, [other])
    cluster.until(lambda: cluster[leader].runtime.stopped, 2.0)
    assert cluster[leader].actor.removed


def test_a_removed_node_stays_as_long_as_the_others_may_need_it() -> None:
    cluster, leader = leader_with(2)
    other = cluster.followers()[0]
    slow(cluster, leader)
    cluster.ask(leader, Remove(leader))
    cluster.until(lambda: bool(cluster[leader].raft.handover_index))
    cluster[leader].kill()
    cluster[other].kill()
    cluster[leader].start()
    cluster.advance(60.0)
    assert not cluster[leader].runtime.stopped, "only this node knows that it was removed"
    cluster[other].start()
    rest_elects(cluster, [other])
    cluster.until(lambda: cluster[leader].runtime.stopped, 2.0)


def test_a_removed_node_does_not_wait_forever_for_lost_members() -> None:
    cluster, _ = leader_with(5)
    removed = cluster.followers()[0]
    asked(cluster, Remove(removed))
    cluster.until(lambda: "removed" in cluster[removed].events.names)
    for node in cluster.followers():
        if node != removed:
            cluster[node].kill()
    cluster.until(lambda: cluster[removed].runtime.stopped, 15.0)


def test_a_node_that_applies_its_leaders_removal_campaigns_early() -> None:
    cluster = Cluster(4)
    leader = cluster.elect()
    cluster[leader].actor.components.applier.free = False
    cluster.ask(leader, Remove(leader))
    others = [node for node in (1, 2, 3, 4) if node != leader]
    cluster.until(lambda: any(leader not in voters_of(cluster, node) for node in others))
    assert cluster.until(lambda: cluster.agree(others)) < cluster[leader].config.election_seconds_min / 2
