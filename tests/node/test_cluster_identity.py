"""A cluster has an identity, and nodes of another cluster are rejected."""

from __future__ import annotations

import pytest

from raft.core.types import Role
from raft.node.members.identity import Origin
from raft.protocol.client import AddLearner, Invalid, LeaderIs, Members, Promote, Refused, Remove, WhoLeads
from raft.protocol.registry import Handshake, address_of
from tests.node.cluster import Cluster, Member, value_in
from tests.node.members import asked, endpoint, grow, voters_of


def identity_of(member: Member) -> str:
    return member.actor.components.handshakes.origin.identity


def identities(cluster: Cluster, *nodes: int) -> set[str]:
    return {identity_of(cluster[node]) for node in nodes or cluster.ids}


def asked_of(cluster: Cluster, leader: int, request: object) -> object:
    """What that leader answers in the end, as there may be others of other clusters."""
    for _ in range(100):
        answer = cluster.answer(leader, request)
        if not isinstance(answer, Refused):
            return answer
        cluster.advance(0.02)
    raise AssertionError(f"still {answer}")


def alone(cluster: Cluster, node: int, writes: int = 5) -> Member:
    """A node that has begun a cluster of its own, with a history."""
    member = cluster.begin(node)
    cluster.until(lambda: member.raft.role is Role.LEADER and bool(identity_of(member)))
    for number in range(writes):
        cluster.put(node, b"k", b"foreign %d" % number)
    return member


def test_the_nodes_of_one_cluster_end_with_one_identity_and_keep_it() -> None:
    cluster = Cluster(3)
    cluster.elect()
    cluster.advance(0.5)
    (identity,) = identities(cluster)
    assert identity
    cluster[cluster.elect()].kill()
    cluster.advance(1.0)
    for member in cluster.members.values():
        member.kill()
        member.start()
    cluster.network.settle()
    assert identities(cluster) == {identity}  # Known from the log, before there is a leader.
    cluster.elect()
    cluster.advance(1.0)
    assert identities(cluster) == {identity}


def test_a_first_leader_that_dies_at_once_leaves_no_second_identity() -> None:
    for seed in range(8):
        cluster = Cluster(3, seed=seed)
        cluster[cluster.elect()].kill()
        cluster.advance(2.0)
        cluster.elect()
        for member in cluster.members.values():
            if not cluster.is_up(member):
                member.start()
        cluster.advance(2.0)
        assert len(identities(cluster)) == 1


def test_two_clusters_of_one_name_have_two_identities() -> None:
    one, other = Cluster(1, seed=1), Cluster(1, seed=2)
    for cluster in (one, other):
        cluster.elect()
        cluster.advance(0.5)
    assert len(identities(one) | identities(other)) == 2


def test_a_founder_that_starts_late_takes_the_identity_from_the_log() -> None:
    cluster = Cluster(3)
    cluster[3].kill()
    cluster.elect()
    cluster.advance(0.5)
    cluster.members[3] = Member(cluster, 3)
    cluster.advance(1.0)
    assert "identity" in cluster[3].events.names
    assert len(identities(cluster)) == 1


def test_a_node_that_joins_has_the_identity_with_its_snapshot_and_after_a_restart() -> None:
    cluster = Cluster(3)
    cluster.elect()
    grow(cluster, 4)
    (identity,) = identities(cluster, 1, 2, 3, 4)
    cluster[4].kill()
    cluster[4].start()
    cluster.network.settle()
    assert identity_of(cluster[4]) == identity
    assert cluster[4].actor.components.handshakes.origin.founders == (1, 2, 3)


def test_a_node_with_a_log_of_another_cluster_is_refused_before_the_log() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"ours")
    stranger = alone(cluster, 4)
    last = cluster[leader].raft.log.last
    answer = cluster.answer(leader, AddLearner(4, endpoint(4)))
    assert isinstance(answer, Invalid)
    assert f"node 4 of cluster {identity_of(stranger)} listens at {endpoint(4)}" in answer.reason
    assert f"this is cluster {identity_of(cluster[leader])}" in answer.reason
    assert cluster[leader].raft.log.last == last
    cluster.advance(2.0)
    assert voters_of(cluster, leader) == {1, 2, 3}
    assert value_in(cluster.get(leader, b"k")) == b"ours"
    assert value_in(cluster.get(4, b"k")) == b"foreign 4"
    assert len(identities(cluster, leader, 4)) == 2
    assert 4 not in cluster[leader].actor.components.peers.endpoints


def test_a_node_of_a_cluster_that_never_elected_a_leader_is_refused_too() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.begin(4, 4, 5, 6)
    answer = cluster.answer(leader, AddLearner(4, endpoint(4)))
    assert isinstance(answer, Invalid)
    assert "node 4 of a cluster that nodes 4, 5, 6 have begun listens at" in answer.reason


def test_a_node_that_counts_itself_among_the_first_members_is_refused_too() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.begin(4, 1, 2, 3, 4)
    answer = cluster.answer(leader, AddLearner(4, endpoint(4)))
    assert isinstance(answer, Invalid)
    assert "Start it with --join and an empty directory" in answer.reason
    cluster.advance(2.0)
    assert cluster[leader].raft.role is Role.LEADER
    assert voters_of(cluster, leader) == {1, 2, 3}


def test_a_node_that_was_removed_may_come_back_with_its_log() -> None:
    cluster = Cluster(3)
    cluster.elect()
    grow(cluster, 4)
    cluster[4].kill()
    cluster.advance(0.5)
    leader = cluster.elect()
    assert isinstance(asked(cluster, Remove(4)), Members)
    cluster.advance(2.0)
    cluster[4].join = True
    cluster[4].start()
    cluster.network.settle()
    assert isinstance(asked(cluster, AddLearner(4, endpoint(4))), Members)
    assert isinstance(asked(cluster, Promote(4)), Members)
    assert len(identities(cluster, leader, 4)) == 1


def test_a_log_of_another_cluster_in_a_members_place_never_counts() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.advance(0.5)
    victim, other = cluster.followers()
    cluster[victim].kill()
    foreign = Cluster(3, seed=77)
    foreign_leader = foreign.elect()
    for number in range(50):
        foreign.put(foreign_leader, b"k", b"foreign %d" % number)
    foreign.advance(0.5)
    cluster[victim].log = foreign[victim].log
    cluster[victim].start()
    before = cluster[leader].raft.tracker.progress[victim].match
    cluster.put(leader, b"k", b"ours")
    cluster.advance(3.0)
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.tracker.progress[victim].match <= before
    assert value_in(cluster.get(leader, b"k")) == b"ours"
    theirs, ours = identity_of(cluster[victim]), identity_of(cluster[leader])
    assert any(f"node {victim} of cluster {theirs} listens" in text for text in cluster[leader].events.texts)
    assert any(f"this is cluster {theirs}" in text for text in cluster[victim].events.texts)
    assert theirs != ours
    cluster[other].kill()
    cluster.advance(3.0)
    assert not cluster.leaders()


def test_a_blank_node_belongs_to_the_first_cluster_that_sends_it_entries() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    alone(cluster, 9)
    cluster.join(4)
    asked_of(cluster, leader, AddLearner(4, endpoint(4)))
    cluster.advance(0.5)
    answer = asked_of(cluster, 9, AddLearner(4, endpoint(4)))
    assert isinstance(answer, Invalid)
    assert f"node 4 of cluster {identity_of(cluster[4])} listens" in answer.reason
    assert isinstance(asked_of(cluster, leader, Promote(4)), Members)


def test_a_node_that_was_down_when_it_was_added_and_has_a_history_never_votes() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    stranger = alone(cluster, 4)
    stranger.kill()
    assert isinstance(asked_of(cluster, leader, AddLearner(4, endpoint(4))), Members)
    stranger.start()
    cluster.advance(3.0)
    answer = cluster.answer(leader, Promote(4))
    assert isinstance(answer, Invalid)
    assert f"node 4 of cluster {identity_of(stranger)} listens" in answer.reason
    assert cluster[leader].raft.tracker.progress[4].match == 0


def test_a_handshake_is_exchanged_only_about_the_cluster() -> None:
    cluster = Cluster(1)
    cluster.elect()
    cluster.advance(0.5)
    told = cluster.answer(1, WhoLeads())
    assert isinstance(told, LeaderIs)
    assert told.identity == identity_of(cluster[1])
    answered = Handshake(1, told.identity, (1,), False, withholds_milliseconds=250)
    assert cluster.answer(1, Handshake(7, "", (), True)) == answered
    for identity, heard in ((told.identity, True), ("0123456789abcdef", False)):
        pending = cluster.client.ask(address_of(1, identity), WhoLeads(), 1.0)
        cluster.network.settle()
        assert pending.done
        assert (pending.failure is None) is heard


@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        (Origin("a"), Origin("a"), True),
        (Origin("a"), Origin("b"), False),
        (Origin("a", (1, 2)), Origin("a", (3,)), True),
        (Origin("", (1, 2)), Origin("b", (1, 2)), True),
        (Origin("", (1, 2)), Origin("b", (1, 3)), False),
        (Origin("", (1, 2)), Origin("", (3, 4)), False),
        (Origin(), Origin("b", (1, 3)), True),
    ],
)
def test_two_nodes_fit_unless_their_identities_or_founders_differ(
    one: Origin, other: Origin, fit: bool
) -> None:
    assert one.fits(other) is other.fits(one) is fit
