"""Pending commands: their outcomes, and when they are answered."""

from __future__ import annotations

import pytest

from raft.core.types import Entry
from raft.node.applier import Rejection
from raft.node.requests import commands
from raft.node.requests.proposals import (
    LEADERSHIP_LOST,
    NODE_STOPPED,
    NOT_APPLIED,
    OVERWRITTEN,
    SNAPSHOT_PASSED,
    Proposals,
)
from raft.protocol.client import Committed, Failed, NotLeader, Refused
from raft.protocol.registry import address_of
from tests.node.cluster import Cluster, command


class Waiter:
    def __init__(self) -> None:
        self.told: list[object] = []

    def send(self, message: object) -> None:
        self.told.append(message)


def logged(proposals: Proposals, term: int, first: int, count: int) -> list[Waiter]:
    waiters = [Waiter() for _ in range(count)]
    proposals.logged(term, first, waiters)
    return waiters


def apply(proposals: Proposals, term: int, *indexes: int, outcome: bytes | Rejection = b"ok") -> None:
    proposals.applied([Entry(term, index) for index in indexes], [outcome for _ in indexes])


def test_each_command_gets_its_own_result() -> None:
    proposals = Proposals(1.0)
    waiters = logged(proposals, 1, 5, 3)
    proposals.applied([Entry(1, 5), Entry(1, 6)], [b"a", Rejection("no")])
    assert [waiter.told for waiter in waiters] == [[Committed(5, b"a")], [Failed(6, "no")], []]
    assert len(proposals) == 1


def test_only_an_entry_of_another_term_at_its_index_shows_that_a_command_is_lost() -> None:
    proposals = Proposals(1.0)
    waiters = logged(proposals, 1, 5, 2)
    proposals.leadership_lost(0.0)
    apply(proposals, 2, 5)
    assert [waiter.told for waiter in waiters] == [[OVERWRITTEN], []]


def test_a_lost_leadership_alone_decides_nothing() -> None:
    proposals = Proposals(1.0)
    (waiter,) = logged(proposals, 1, 5, 1)
    proposals.leadership_lost(0.0)
    proposals.expire(0.9)
    assert waiter.told == []
    apply(proposals, 1, 5)
    assert waiter.told == [Committed(5, b"ok")]


def test_after_a_timeout_the_outcome_is_unknown() -> None:
    proposals = Proposals(1.0)
    (waiter,) = logged(proposals, 1, 5, 1)
    proposals.expire(100.0)
    assert waiter.told == [], "a leader goes on waiting"
    proposals.leadership_lost(100.0)
    proposals.expire(101.0)
    assert waiter.told == [LEADERSHIP_LOST]
    assert len(proposals) == 0


def test_commands_of_two_terms_may_wait_for_one_index_and_at_most_one_is_committed() -> None:
    proposals = Proposals(1.0)
    (old,) = logged(proposals, 1, 5, 1)
    proposals.leadership_lost(0.0)
    (new,) = logged(proposals, 3, 5, 1)
    apply(proposals, 3, 5)
    assert (old.told, new.told) == ([OVERWRITTEN], [Committed(5, b"ok")])


def test_a_snapshot_that_goes_past_a_command_leaves_it_unknown() -> None:
    proposals = Proposals(1.0)
    waiters = logged(proposals, 1, 5, 3)
    proposals.restored(6)
    assert [waiter.told for waiter in waiters] == [[SNAPSHOT_PASSED], [SNAPSHOT_PASSED], []]


def test_a_stopping_node_answers_all_waiting_commands() -> None:
    proposals = Proposals(1.0)
    waiters = logged(proposals, 1, 5, 2)
    proposals.stop()
    assert [waiter.told for waiter in waiters] == [[NODE_STOPPED], [NODE_STOPPED]]
    assert len(proposals) == 0


def test_a_command_of_a_leader_that_applies_nothing_is_unknown_after_a_minute() -> None:
    proposals = Proposals(1.0)
    waiters = logged(proposals, 1, 5, 2)
    proposals.expire(100.0)
    proposals.expire(159.9)
    assert [waiter.told for waiter in waiters] == [[], []]
    proposals.expire(160.1)
    assert [waiter.told for waiter in waiters] == [[NOT_APPLIED], [NOT_APPLIED]]
    assert len(proposals) == 0


def test_a_leader_that_applies_slowly_answers_all_commands() -> None:
    proposals = Proposals(1.0)
    waiters = logged(proposals, 1, 5, 3)
    for moment in range(0, 200, 50):
        proposals.expire(float(moment))
        apply(proposals, 1, 5 + moment // 50)
    assert [len(waiter.told) for waiter in waiters] == [1, 1, 1]
    assert NOT_APPLIED not in [waiter.told[0] for waiter in waiters]


def test_of_the_commands_of_a_turn_no_more_are_taken_than_a_leader_may_have_in_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    monkeypatch.setattr(commands, "PENDING_MAX", 2)
    asks = [cluster.client.ask(address_of(leader), command(b"%d" % n, b"v"), 5.0) for n in range(4)]
    cluster.advance(0.5)
    answers = [ask.result() for ask in asks]
    assert [type(answer) for answer in answers[:2]] == [Committed, Committed]
    assert answers[2:] == [commands.TOO_MANY, commands.TOO_MANY]


def test_commands_that_arrived_in_the_turn_in_which_a_node_stops_are_refused_and_in_no_log() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    for node, refusal in ((leader, Refused), (cluster.followers()[0], NotLeader)):
        parts, waiter = cluster[node].actor.components, Waiter()
        last = parts.raft.log.last
        parts.client_requests.arrived.append((command(b"k", b"v"), waiter))
        parts.client_requests.stop()
        assert [type(told) for told in waiter.told] == [refusal]
        assert (parts.raft.log.last, parts.client_requests.arrived) == (last, [])
