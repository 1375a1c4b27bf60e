"""Nodes that are told and asked everything that has a tag, with values that make no sense."""

from __future__ import annotations

from random import Random

import pytest

from actors.address import Address
from actors.errors import CodecError
from actors.failures.dead_letters import Reason
from actors.runtime import Runtime
from raft.core.messages import Heartbeat, PreVote, RequestVote, TimeoutNow, VoteReply
from raft.protocol.client import Remove, Replace
from raft.protocol.registry import TAGS, address_of, process_of
from tests.node.cluster import Cluster, command, value_in
from tests.strangers.values import Absurd, kinds

KINDS = kinds(TAGS)
TERMS_AT_MOST = 100


def harass(cluster: Cluster, stranger: Runtime, to: Address, absurd: Absurd, kind: type) -> None:
    """Tell it and ask it everything of a kind; what cannot be encoded cannot be sent either."""
    for message in absurd.messages(kind):
        if isinstance(message, Remove | Replace):
            leaves = message.node if isinstance(message, Remove) else message.old
            if leaves in cluster.ids:
                continue  # Every client may ask for that in earnest.
        try:
            stranger.tell(to, message)
            stranger.ask(to, message, 5.0)
        except (CodecError, UnicodeEncodeError):
            continue
    cluster.network.settle()
    assert not cluster.crashes, f"a {kind.__name__} ended it:\n{cluster.crashes[0].traceback}"


@pytest.mark.parametrize("name", ["stranger", "n9", "launcher"])
def test_no_message_of_a_stranger_ends_a_node_or_changes_what_is_committed(name: str) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    cluster.put(leader, b"kept", b"value")
    stranger = cluster.process(name)
    for node in cluster.ids:
        stranger.transport.connect(f"n{node}", "")
    cluster.network.settle()
    absurd, order = Absurd(1), Random(1)
    for kind in order.sample(KINDS, len(KINDS)):
        leader = cluster.elect()  # Any client may ask it to step down.
        for node in (leader, order.choice(cluster.followers())):
            harass(cluster, stranger, address_of(node), absurd, kind)
        cluster.advance(0.1)
    cluster.advance(20.0)
    cluster.elect()
    assert len(cluster.alive()) == 3
    assert value_in(cluster.get(cluster.leaders()[0], b"kept")) == b"value"
    cluster.put(cluster.leaders()[0], b"later", b"value")
    assert all(member.raft.term < TERMS_AT_MOST for member in cluster.alive())
    assert set(cluster[1].raft.tracker.progress) >= {1, 2, 3}


def test_a_request_that_is_told_is_answered_to_no_one_and_counted() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    dead = cluster[leader].runtime.dead_letters
    cluster.client.tell(address_of(leader), command(b"key", b"value"))
    cluster.network.settle()
    assert dead.counts[Reason.NO_REPLY_EXPECTED] == 1
    assert value_in(cluster.get(leader, b"key")) == b"value"


@pytest.mark.parametrize("term", [2**62 + 1, 2**64 - 2, 2**62, 2**33])
def test_a_term_that_no_cluster_comes_to_is_not_taken_from_a_member_either(term: int) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower, other = cluster.followers()
    before = cluster[leader].raft.term
    for message in (
        RequestVote(other, follower, term, term, 2**40),
        PreVote(other, follower, term, term, 2**40),
        Heartbeat(other, follower, term, 0),
        VoteReply(other, follower, term, True),
        TimeoutNow(other, follower, term),
    ):
        cluster[other].runtime.tell(address_of(follower), message)
        cluster.network.settle()
    cluster.advance(5.0)
    assert cluster[follower].raft.term == before
    assert cluster.leaders() == [leader]


def test_a_message_with_a_members_id_counts_only_from_that_member() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower, other = cluster.followers()
    before = cluster[leader].raft.term
    for name in ("stranger", "n9"):
        stranger = cluster.process(name)
        stranger.transport.connect(process_of(follower), "")
        cluster.network.settle()
        stranger.tell(address_of(follower), RequestVote(other, follower, before + 1, before + 1, 2**40, True))
        stranger.tell(address_of(follower), Heartbeat(other, follower, before + 1, 0))
        cluster.network.settle()
    assert cluster[follower].raft.term == before
    assert cluster.leaders() == [leader]
