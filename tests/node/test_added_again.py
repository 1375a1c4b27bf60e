"""A member that is removed and added again under its id, as others learn of it late."""

from __future__ import annotations

import pytest

from raft.core.messages import AppendEntries, Heartbeat, PreVote, RequestVote
from raft.core.types import Role
from raft.node.snapshots.policy import SnapshotPolicy
from raft.protocol.admin import Done, TakeSnapshot, Transfer
from raft.protocol.client import AddLearner, Members, Promote, Remove
from raft.protocol.registry import process_of
from tests.node.cluster import Cluster
from tests.node.members import asked, endpoint


def cut(cluster: Cluster, node: int) -> None:
    """Let a node and the others not hear each other."""
    rest = [other for other in cluster.members if other != node]
    cluster[node].cut(*rest)
    for other in rest:
        cluster[other].cut(node)


def test_a_leader_that_was_removed_and_added_again_is_followed_by_a_node_that_knows_only_the_removal() -> (
    None
):
    cluster = Cluster(5)
    leader = cluster.elect()
    again, behind = cluster.followers()[:2]
    others = [node for node in range(1, 6) if node not in (again, behind)]

    cut(cluster, again)  # So that it does not leave.
    asked(cluster, Remove(again))
    cluster.until(lambda: again not in cluster[behind].raft.tracker.progress, 2.0)
    cut(cluster, behind)
    asked(cluster, AddLearner(again, endpoint(again)))
    for node in (*others, again):
        cluster[node].heal()
    for node in (*others, again):
        cluster[node].cut(behind)
    cluster.until(lambda: again in cluster[again].raft.tracker.configuration.learners, 5.0)
    assert isinstance(asked(cluster, Promote(again)), Members)
    assert cluster.answer(leader, Transfer(again)) == Done()
    cluster.until(lambda: cluster[again].raft.role is Role.LEADER, 5.0)
    for node in range(1, 6):
        cluster[node].heal()
    cluster.until(lambda: cluster[behind].raft.leader == again, 10.0)
    cluster.until(lambda: again in cluster[behind].raft.tracker.configuration.voter_ids(), 5.0)
    cluster.advance(3.0)
    assert cluster[again].raft.role is Role.LEADER
    assert [cluster[node].actor.components.peers.removed for node in range(1, 6)] == [{}] * 5


def test_a_snapshot_that_tells_of_its_sender_s_removal_leaves_the_sender_a_member() -> None:
    cluster = Cluster(3, snapshots=SnapshotPolicy(entries_max=0, bytes_max=0, entries_kept=0))
    leader = cluster.elect()
    behind = cluster.followers()[0]
    cut(cluster, behind)
    cluster.put(leader, b"k", b"v")
    # A node of an earlier version that was added again keeps its removal in mind.
    cluster[leader].actor.components.peers.removed[leader] = 1
    cluster.answer(leader, TakeSnapshot())
    for member in cluster.members.values():
        member.heal()
    cluster.until(lambda: cluster[behind].log.snapshot().index > 1)
    cluster.put(leader, b"k", b"w")
    cluster.until(lambda: cluster[behind].raft.log.applied == cluster[leader].raft.log.applied)
    cluster[behind].kill()
    cluster[behind].start()
    cluster.until(lambda: cluster[behind].raft.leader == leader)
    cluster.put(leader, b"k", b"x")
    cluster.until(lambda: cluster[behind].raft.log.applied == cluster[leader].raft.log.applied)


@pytest.mark.parametrize("kind", ["append", "heartbeat", "vote", "pre-vote"])
@pytest.mark.parametrize("later", [0, 1], ids=["in the term of its removal", "in a later term"])
def test_a_removed_node_is_heard_again_only_as_a_leader_of_a_later_term(kind: str, later: int) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    removed, other = cluster.followers()
    asked(cluster, Remove(removed))
    cluster.until(lambda: removed in cluster[other].actor.components.peers.removed)
    membership, term = cluster[other].actor.components.membership, cluster[leader].raft.term + later
    message = {
        "append": AppendEntries(removed, other, term, term, 0, 0, []),
        "heartbeat": Heartbeat(removed, other, term, 0),
        "vote": RequestVote(removed, other, term, term, 9),
        "pre-vote": PreVote(removed, other, term, term, 9),
    }[kind]
    membership.reject(process_of(removed), removed, message)
    is_heard = removed not in cluster[other].actor.components.peers.removed
    assert is_heard == (later == 1 and kind in ("append", "heartbeat"))


def test_a_removal_that_is_compacted_away_is_as_old_as_the_log_s_beginning() -> None:
    cluster = Cluster(3, snapshots=SnapshotPolicy(entries_max=0, bytes_max=0, entries_kept=0))
    leader = cluster.elect()
    removed, other = cluster.followers()
    asked(cluster, Remove(removed))
    for _ in range(5):
        cluster.put(leader, b"k", b"v")
    cluster.until(lambda: cluster[other].raft.log.applied == cluster[leader].raft.log.applied)
    cluster.answer(other, TakeSnapshot())
    peers, membership = cluster[other].actor.components.peers, cluster[other].actor.components.membership
    assert peers.removed[removed] + 1 < cluster[other].raft.log.first_index()
    term = cluster[leader].raft.term
    membership.reject(process_of(removed), removed, Heartbeat(removed, other, term, 0))
    assert removed in peers.removed
    membership.reject(process_of(removed), removed, Heartbeat(removed, other, term + 1, 0))
    assert removed not in peers.removed
