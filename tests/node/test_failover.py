"""Early campaigns: the order of candidates, and their delays."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.msgpack import Decoder

from actors.codec import Registry
from raft.core.messages import RequestVote
from raft.core.types import NO_NODE, Role
from raft.node import node
from raft.node.leadership import failover
from raft.node.leadership.failover import Failover, FastElection, rank
from raft.node.members.peers import Peers
from raft.protocol.registry import FAILOVER_MESSAGES, TAGS
from tests.node.cluster import Cluster
from tests.node.waits import Waits


def quick(node: int) -> tuple[FastElection, Waits, list[int]]:
    waits, campaigns = Waits(), []
    election = FastElection(
        node=node, random=Random(1), after=waits.after, campaign=lambda: campaigns.append(1)
    )
    return election, waits, campaigns


def test_each_survivor_has_its_own_rank_and_the_next_id_is_first() -> None:
    for dead in range(6):
        survivors = [node for node in range(1, 6) if node != dead]
        ranks = {rank(node, range(1, 6), dead): node for node in survivors}
        assert sorted(ranks) == list(range(len(survivors)))
        assert ranks[0] == (dead % 5) + 1


def test_the_first_in_rank_campaigns_at_once_and_the_others_wait_their_turn() -> None:
    first, _, campaigns = quick(2)
    first.begin([1, 2, 3], dead=1)
    assert campaigns == [1]
    second, waits, campaigns = quick(3)
    second.begin([1, 2, 3], dead=1)
    assert campaigns == []
    assert failover.RANK_SECONDS <= waits.fire() <= failover.RANK_SECONDS + failover.JITTER_SECONDS
    assert campaigns == [1]


def test_a_node_backs_off_after_a_vote_request_of_another_candidate() -> None:
    election, waits, campaigns = quick(3)
    election.begin([1, 2, 3], dead=1)
    election.back_off()
    assert len(waits.pending) == 1
    assert waits.fire() >= failover.BACK_OFF_SECONDS
    assert campaigns == [1]


def test_campaigns_end_with_a_leader_and_after_a_few_tries() -> None:
    election, waits, campaigns = quick(2)
    election.begin([1, 2, 3], dead=1)
    election.end()
    assert waits.pending == []
    election.begin([1, 2, 3], dead=1)
    while waits.pending:
        waits.fire()
    assert len(campaigns) == 1 + failover.TRIES_MAX


def test_a_node_without_a_vote_never_campaigns_early() -> None:
    election, waits, campaigns = quick(9)
    election.begin([1, 2, 3], dead=1)
    assert (waits.pending, campaigns) == ([], [])


class Log:
    def is_up_to_date(self, index: int, term: int) -> bool:
        return True


class Core:
    """A follower in term 5 without a leader."""

    id, leader, term, role = 3, NO_NODE, 5, Role.FOLLOWER
    pledged, pledged_to = False, NO_NODE

    def __init__(self) -> None:
        self.log = Log()
        self.campaigns: list[int] = []

    def forget_leader(self) -> None: ...

    def campaign(self) -> None:
        self.campaigns.append(self.term)


def test_a_candidate_that_may_have_won_this_term_is_given_time() -> None:
    waits, core, peers = Waits(), Core(), Peers(3, "three", (1, 2, 3, 4))
    raft: Any = core
    processes: Any = None
    failover_ = Failover(
        raft, peers, processes, allowed=True, gone=lambda _leader, _reason: None, random=Random(1),
        now=lambda: 0.0, after=waits.after, step_vote=lambda _: None,
    )  # fmt: skip
    failover_.leader_gone(1)
    core.term = 6
    failover_.vote_requested(RequestVote(2, 3, 6, 1, 1, False))
    waits.fire()
    assert core.campaigns == []
    waits.fire()
    assert core.campaigns == [6], "it has not won"
    failover_.vote_requested(RequestVote(2, 3, 5, 1, 1, False))
    waits.fire()
    assert core.campaigns == [6, 6], "a rival of an earlier term has lost"


def test_a_node_has_prepared_to_read_what_a_failover_takes_before_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(TAGS)
    made: list[object] = []
    monkeypatch.setattr(msgspec.msgpack, "Decoder", lambda kind: made.append(kind) or Decoder(kind))
    monkeypatch.setattr(node, "REGISTRY", registry)
    cluster = Cluster(1)
    cluster.elect()
    cluster.advance(3.0)
    assert set(FAILOVER_MESSAGES) <= set(made)
