"""Node actors that run the application machine: leases end when they must and not before; events arrive."""

from __future__ import annotations

from typing import Any

import pytest

from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_call, encode_question
from raft.machines.commands import (
    Call,
    Campaign,
    Compact,
    Get,
    Grant,
    OpenSession,
    Operation,
    Put,
    WatchElection,
    WatchKeys,
)
from raft.machines.lease_clock import QUIET_SECONDS
from raft.machines.results import Campaigned, Compacted, Events, Granted, Led, Opened
from raft.protocol.client import (
    AwaitEvents,
    Command,
    Committed,
    Invalid,
    KeepAlive,
    LeaseTime,
    NotLeader,
    QueryResult,
    Refused,
    TimeLeft,
)
from tests.node.cluster import Cluster

ENDED = 0.0


def cluster_of(nodes: int = 3, **options: Any) -> Cluster:
    return Cluster(nodes, **options)


def call(cluster: Cluster, operation: Operation) -> Any:
    (leader,) = cluster.leaders()
    answer = cluster.answer(leader, Command(encode_call(Call(0, 0, 0, operation))))
    assert isinstance(answer, Committed), answer
    return decode_answer(answer.result)


def grant(cluster: Cluster, ttl_ms: int) -> int:
    granted = call(cluster, Grant(ttl_ms))
    assert isinstance(granted, Granted)
    return granted.lease


def leases(cluster: Cluster) -> set[int]:
    machine = cluster[cluster.leaders()[0]].machine
    assert isinstance(machine, Application)
    return set(machine.leases.ttls_ms)


def watch(cluster: Cluster, revision: int = 1, hold_seconds: float = 1.0) -> AwaitEvents:
    return AwaitEvents(encode_question(WatchKeys(revision, b"", None)), hold_seconds)


def events_in(answer: Any) -> Any:
    assert isinstance(answer, QueryResult), answer
    return decode_answer(answer.result)


# -- leases --------------------------------------------------------------------------------------


def test_a_lease_without_keep_alive_ends_on_all_nodes_after_its_time() -> None:
    cluster = cluster_of()
    cluster.elect()
    lease = grant(cluster, 1000)
    call(cluster, Put(b"k", b"v", lease))
    cluster.advance(0.99)
    assert leases(cluster) == {lease}
    cluster.advance(0.11)
    assert leases(cluster) == set()
    cluster.advance(0.1)
    assert len({member.machine.snapshot() for member in cluster.alive()}) == 1
    answer = cluster.answer(cluster.leaders()[0], watch(cluster))
    assert [type(event).__name__ for event in events_in(answer).events] == ["Item", "Removed"]


def test_a_lease_that_is_kept_alive_lasts_and_reports_the_time_left() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    lease = grant(cluster, 1000)
    for _ in range(5):
        cluster.advance(0.6)
        assert cluster.answer(leader, KeepAlive(lease)) == LeaseTime(lease, 1.0, 1.0)
    cluster.advance(0.4)
    left = cluster.answer(leader, TimeLeft(lease))
    assert left.ttl_seconds == 1.0 and 0.5 < left.left_seconds < 0.61
    cluster.advance(0.8)
    assert cluster.answer(leader, KeepAlive(lease)) == LeaseTime(lease, ENDED, ENDED)
    assert cluster.answer(leader, TimeLeft(lease)) == LeaseTime(lease, ENDED, ENDED)


def test_only_the_leader_keeps_a_lease_alive() -> None:
    cluster = cluster_of()
    cluster.elect()
    lease = grant(cluster, 1000)
    assert isinstance(cluster.answer(cluster.followers()[0], KeepAlive(lease)), NotLeader)


def test_a_new_leader_gives_every_lease_its_full_time_again() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    lease = grant(cluster, 1000)
    cluster.advance(0.9)
    cluster[leader].kill()
    cluster.until(lambda: bool(cluster.leaders()))
    cluster.advance(0.9)
    assert leases(cluster) == {lease}
    cluster.advance(0.25)
    assert leases(cluster) == set()


def test_a_leader_that_is_cut_off_keeps_nothing_alive() -> None:
    cluster = cluster_of(5)
    leader = cluster.elect()
    lease = grant(cluster, 5000)
    cluster.advance(0.2)
    others = cluster.followers()
    cluster[leader].cut(*others)
    for other in others:
        cluster[other].cut(leader)
    kept = cluster.ask(leader, KeepAlive(lease), 5.0)
    cluster.until(lambda: kept.done, 5.0)
    assert isinstance(kept.result(), Refused | NotLeader)


@pytest.mark.parametrize("busy", [False, True])
def test_time_in_which_the_leader_read_nothing_counts_for_no_lease(*, busy: bool) -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    lease = grant(cluster, 1000)
    cluster.advance(0.9)
    cluster[leader].actor.late(0.5, busy=busy)
    cluster.advance(QUIET_SECONDS - 0.05)
    assert leases(cluster) == {lease}, "what has arrived meanwhile has to be read first"
    cluster.advance(0.2)
    assert leases(cluster) == set()
    longer = grant(cluster, 2000)
    cluster.advance(0.2)
    cluster[leader].actor.late(5.0, busy=busy)
    cluster.advance(6.7)
    assert leases(cluster) == {longer}
    cluster.advance(0.2)
    assert leases(cluster) == set()


def test_a_lease_bound_to_a_connection_ends_within_a_tenth_of_a_second_of_it() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    bound, free = grant(cluster, 60_000), grant(cluster, 60_000)
    for lease, release in ((bound, True), (free, False)):
        assert cluster.answer(leader, KeepAlive(lease, release)).left_seconds == 60.0
    cluster.advance(1.0)
    assert leases(cluster) == {bound, free}
    cluster.network.crash("client")
    cluster.advance(0.1)
    assert leases(cluster) == {free}


def test_a_lease_whose_end_is_on_its_way_can_not_be_kept_alive() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    lease = grant(cluster, 60_000)
    assert cluster.answer(leader, KeepAlive(lease, True)).left_seconds == 60.0
    cluster[leader].disk.holding = True
    for follower in cluster.followers():
        cluster[follower].disk.holding = True
    cluster[leader].actor.components.machine_services.disconnected("client")
    cluster[leader].actor.on_turn_end()
    assert cluster.answer(leader, KeepAlive(lease)) == LeaseTime(lease, ENDED, ENDED)
    assert leases(cluster) == {lease}, "not applied yet"


def test_a_dropped_expiry_is_proposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of()
    cluster.elect()
    lease = grant(cluster, 300)

    def drop(*_: object) -> None:
        raise ProposalDropped("standing is being handed over")

    with monkeypatch.context() as patch:
        patch.setattr(Raft, "propose_batch", drop)
        cluster.advance(0.4)
        assert leases(cluster) == {lease}
    cluster.advance(0.1)
    assert leases(cluster) == set()


def test_a_keep_alive_of_an_earlier_term_is_not_answered_by_the_clock_of_a_later_one() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    lease = grant(cluster, 1000)
    leasing = cluster[leader].actor.components.machine_services.leases
    assert leasing is not None
    term = cluster[leader].raft.term
    assert isinstance(leasing.answer(KeepAlive(lease), term, ""), LeaseTime)
    assert isinstance(leasing.answer(KeepAlive(lease), term - 1, ""), Refused)


def test_leases_work_with_a_thread_for_the_machine() -> None:
    cluster = cluster_of(apply_on_worker=True)
    leader = cluster.elect()
    lease = grant(cluster, 1000)
    assert cluster.answer(leader, KeepAlive(lease)) == LeaseTime(lease, 1.0, 1.0)
    cluster.advance(1.2)
    assert leases(cluster) == set()


def test_while_a_thread_uses_the_machine_no_lease_ends_and_no_event_is_sent() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    grant(cluster, 1000)
    waiting = cluster.ask(leader, watch(cluster, hold_seconds=0.2))
    node = cluster[leader]
    last = node.raft.log.last
    node.actor.components.applier.free = False
    cluster.advance(1.5)
    assert (waiting.done, node.raft.log.last) == (False, last)
    node.actor.components.applier.free = True
    cluster.advance(0.2)
    assert waiting.done
    cluster.advance(1.2)
    assert leases(cluster) == set(), "the time in which the node could not look is given back"


# -- events --------------------------------------------------------------------------------------


def test_a_long_poll_is_answered_as_soon_as_events_are_applied_at_any_node() -> None:
    cluster = cluster_of()
    cluster.elect()
    waiting = [cluster.ask(node, watch(cluster)) for node in cluster.ids]
    assert not any(ask.done for ask in waiting)
    stored = call(cluster, Put(b"k", b"v"))
    cluster.advance(0.06)
    for ask in waiting:
        told = events_in(ask.result())
        assert isinstance(told, Events)
        assert [(event.key, event.revision) for event in told.events] == [(b"k", stored.revision)]
        assert told.next == stored.revision + 1


def test_earlier_events_are_sent_at_once_and_in_order() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    for number in range(10):
        call(cluster, Put(b"k", b"%d" % number))
    told = events_in(cluster.ask(leader, watch(cluster)).result())
    assert [event.value for event in told.events] == [b"%d" % number for number in range(10)]


def test_a_long_poll_without_events_is_answered_when_its_time_is_up() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    ask = cluster.ask(leader, watch(cluster, hold_seconds=0.5))
    cluster.advance(0.45)
    assert not ask.done
    cluster.advance(0.15)
    assert events_in(ask.result()).events == ()


def test_a_node_without_a_leader_refuses_watchers() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    cluster.advance(0.2)
    ask = cluster.ask(leader, watch(cluster, hold_seconds=3.0), 10.0)
    for node in cluster.followers():
        cluster[node].kill()
    cluster.until(lambda: ask.done, 5.0)
    assert isinstance(ask.result(), Refused)
    assert isinstance(cluster.ask(leader, watch(cluster)).result(), Refused)


def test_compacted_events_are_reported_as_compacted() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    stored = call(cluster, Put(b"k", b"v"))
    call(cluster, Compact(stored.revision))
    assert events_in(cluster.answer(leader, watch(cluster))) == Compacted(stored.revision)


def test_an_invalid_watch_is_refused_for_good() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    for body in (b"garbage", encode_question(Get(b"k"))):
        assert isinstance(cluster.answer(leader, AwaitEvents(body, 1.0)), Invalid)
    assert isinstance(cluster.answer(leader, AwaitEvents(b"\x95\x18\x00\xc4\x00\xc0\x01", 1.0)), Invalid), (
        "revision 0"
    )


def test_a_stopping_node_refuses_watchers() -> None:
    cluster = cluster_of()
    cluster.elect()
    follower = cluster.followers()[0]
    ask = cluster.ask(follower, watch(cluster), 10.0)
    cluster[follower].stop()
    cluster.advance(0.1)
    assert isinstance(ask.result(), Refused)


def test_the_next_candidate_gets_its_seat_when_the_holders_lease_ends() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    tokens = []
    for ttl_ms in (1000, 60_000):
        opened = call(cluster, OpenSession(ttl_ms))
        assert isinstance(opened, Opened)
        standing = call(cluster, Campaign("e", opened.session))
        assert isinstance(standing, Campaigned)
        tokens.append(standing.token)
    body = encode_question(WatchElection(tokens[1] + 1, "e"))
    ask = cluster.ask(leader, AwaitEvents(body, 5.0), 10.0)
    cluster.advance(1.1)
    events = events_in(ask.result()).events
    assert [event.token for event in events if isinstance(event, Led)] == [tokens[1]]
