"""A slow user machine delays nothing else: neither leases nor the store nor elections."""

from __future__ import annotations

from typing import Any

import pytest

from actors.asks import Pending
from raft.client.calls import application
from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_call
from raft.machines.commands import Call, Grant, OpenSession, Own
from raft.machines.results import Done
from raft.node import machine_worker
from raft.node.requests import slow_requests
from raft.protocol.client import (
    AwaitAnswer,
    Command,
    Committed,
    Consistency,
    KeepAlive,
    LeaseTime,
    Query,
    QueryResult,
    Refused,
    StillRunning,
    Unknown,
)
from tests.node.cluster import Cluster, command, query, value_in

TTL_SECONDS = 2.0
SLOW_SECONDS = 3.0


class Counting:
    """Counts its commands; a query is answered by their number, and by itself."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, index: int, command: bytes) -> bytes:
        self.count += 1
        return b"%s %d" % (command, self.count)

    def query(self, query: bytes) -> bytes:
        return b"%s %d" % (query, self.count)

    def snapshot(self) -> bytes:
        return b"%d" % self.count

    def restore(self, data: bytes) -> None:
        self.count = int(data or b"0")


def cluster_of(nodes: int = 3, **options: Any) -> Cluster:
    return Cluster(nodes, machine=lambda: Application(Counting()), apply_on_worker=True, **options)


def hold(cluster: Cluster, *, holding: bool = True) -> None:
    """Let each user's machine take its time with what it is asked from now on; or do all of it."""
    for member in cluster.alive():
        member.applying.holding = holding
        while not holding and member.applying.waiting:
            member.applying.do_next()
    cluster.network.settle()


def tell(cluster: Cluster, body: bytes, call: Call | None = None) -> Pending[Any]:
    (leader,) = cluster.leaders()
    return cluster.ask(leader, Command(encode_call(call or Call(0, 0, 0, Own(body)))))


def ask(
    cluster: Cluster, node: int, body: bytes, consistency: Consistency = Consistency.LINEARIZABLE
) -> Pending[Any]:
    return cluster.ask(node, Query(application.own_query(body), consistency))


def result(answer: Any) -> bytes:
    assert isinstance(answer, Committed | QueryResult), answer
    done = decode_answer(answer.result)
    assert isinstance(done, Done), done
    return done.result


def settled(cluster: Cluster, node: int, pending: Pending[Any]) -> Any:
    """The answer in the end, asked for by the ticket if there is one."""
    answer = pending.result()
    return cluster.answer(node, AwaitAnswer(answer.ticket)) if isinstance(answer, StillRunning) else answer


def test_a_slow_command_and_a_slow_query_cost_no_lease_no_leader_and_delay_no_write() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    term = cluster[leader].raft.term
    lease = cluster.answer(leader, Command(encode_call(Call(0, 0, 0, Grant(int(1000 * TTL_SECONDS)))))).index
    hold(cluster)
    slow = [tell(cluster, b"slow"), *(ask(cluster, node, b"slow") for node in cluster.ids)]
    for _ in range(10):
        cluster.advance(SLOW_SECONDS / 10)
        assert cluster.answer(leader, KeepAlive(lease)) == LeaseTime(lease, TTL_SECONDS, TTL_SECONDS)
        assert isinstance(cluster.put(leader, b"k", b"v"), Committed)
        for node in cluster.ids:
            assert value_in(cluster.get(node, b"k")) == b"v"
    assert cluster.leaders() == [leader]
    assert cluster[leader].raft.term == term
    assert all(isinstance(pending.result(), StillRunning) for pending in slow)
    hold(cluster, holding=False)
    answers = [
        settled(cluster, node, pending) for node, pending in zip([leader, *cluster.ids], slow, strict=True)
    ]
    assert [result(answer) for answer in answers] == [b"slow 1"] * 4


def test_a_query_shows_all_commands_that_were_answered_or_committed_before_it() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    hold(cluster)
    tell(cluster, b"a")
    tell(cluster, b"b")
    queries = [ask(cluster, node, b"?", consistency) for node in cluster.ids for consistency in Consistency]
    cluster.advance(0.1)
    tell(cluster, b"c")
    hold(cluster, holding=False)
    nodes = [node for node in cluster.ids for _ in Consistency]
    answers = [settled(cluster, node, pending) for node, pending in zip(nodes, queries, strict=True)]
    assert [result(answer) for answer in answers[::2]] == [b"? 2"] * 3
    assert all(answer.index <= cluster[leader].raft.log.committed for answer in answers)


def test_a_ticket_gets_the_answer_when_it_is_ready() -> None:
    cluster = cluster_of(1)
    leader = cluster.elect()
    hold(cluster)
    pending = tell(cluster, b"slow")
    cluster.until(lambda: pending.done, 2 * slow_requests.SOON_SECONDS + 0.01)
    ticket = pending.result().ticket
    waits = cluster.ask(leader, AwaitAnswer(ticket))
    cluster.until(lambda: waits.done, slow_requests.HOLD_SECONDS + 2 * slow_requests.SOON_SECONDS)
    assert waits.result() == StillRunning(ticket)
    waits = cluster.ask(leader, AwaitAnswer(ticket))
    cluster.advance(0.01)
    assert not waits.done
    hold(cluster, holding=False)
    assert result(waits.result()) == b"slow 1"
    assert isinstance(cluster.answer(leader, AwaitAnswer(ticket)), Unknown), "an answer is told once"


def test_an_answer_that_the_client_does_not_ask_for_is_dropped() -> None:
    cluster = cluster_of(1)
    leader = cluster.elect()
    hold(cluster)
    pending = tell(cluster, b"slow")
    cluster.advance(1.0)
    hold(cluster, holding=False)
    cluster.advance(slow_requests.KEEP_SECONDS + 1.0)
    assert isinstance(cluster.answer(leader, AwaitAnswer(pending.result().ticket)), Unknown)


def test_answers_that_are_not_asked_for_are_kept_up_to_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(1)
    leader = cluster.elect()

    def wait_for(*bodies: bytes) -> list[int]:
        """The tickets of commands that are done before their client asks again."""
        hold(cluster)
        pendings = [tell(cluster, body) for body in bodies]
        cluster.until(lambda: all(pending.done for pending in pendings))
        hold(cluster, holding=False)
        cluster.advance(0.1)
        return [pending.result().ticket for pending in pendings]

    monkeypatch.setattr(slow_requests, "KEPT_BYTES_MAX", 1_000)
    one, two = wait_for(bytes(600), bytes(600))
    assert cluster.answer(leader, AwaitAnswer(two)) == slow_requests.NO_ROOM
    (three,) = wait_for(bytes(100))
    for ticket in (one, three):
        result(cluster.answer(leader, AwaitAnswer(ticket)))
    four, five = wait_for(bytes(600), bytes(200))
    cluster.advance(slow_requests.KEEP_SECONDS + 1.0)
    assert cluster[leader].actor.components.slow_requests.kept_bytes == 0
    assert isinstance(cluster.answer(leader, AwaitAnswer(four)), Unknown)
    assert isinstance(cluster.answer(leader, AwaitAnswer(five)), Unknown)


def test_a_command_repeated_in_its_session_while_the_machine_works_on_it_is_carried_out_once() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    session = cluster.answer(leader, Command(encode_call(Call(0, 0, 0, OpenSession(60_000))))).index
    hold(cluster)
    call = Call(session, 1, 0, Own(b"once"))
    tries = [tell(cluster, b"", call) for _ in range(3)]
    cluster.advance(0.1)
    hold(cluster, holding=False)
    assert [result(settled(cluster, leader, one)) for one in tries] == [b"once 1"] * 3
    assert result(settled(cluster, leader, tell(cluster, b"", call))) == b"once 1"
    cluster.advance(0.2)
    assert len({member.machine.snapshot() for member in cluster.alive()}) == 1


def test_a_snapshot_holds_the_state_of_one_index_however_far_the_users_machine_is_behind() -> None:
    cluster = cluster_of()
    leader = cluster.elect()
    cluster.put(leader, b"k", b"old")
    hold(cluster)
    tell(cluster, b"counts")
    index = cluster[leader].actor.components.applier.applied
    cluster[leader].actor.components.snapshots.want()
    cluster.advance(0.1)
    tell(cluster, b"does not count")
    cluster.put(leader, b"k", b"new")
    hold(cluster, holding=False)
    cluster.until(lambda: cluster[leader].log.snapshot().index >= index)
    snapshot = cluster[leader].log.snapshot()
    assert snapshot.index == index
    restored = Application(Counting())
    from raft.node.snapshots.contents import unpack_state

    restored.restore_parts(unpack_state(snapshot.data).machine)
    assert restored.own.snapshot() == b"1"
    assert b"old" in restored.snapshot() and b"new" not in restored.snapshot()


def test_a_restarted_node_restores_the_users_machine_on_its_worker_and_replays_the_log() -> None:
    cluster = cluster_of(1)
    leader = cluster.elect()
    for body in (b"a", b"b"):
        assert tell(cluster, body).done
    cluster[leader].actor.components.snapshots.want()
    cluster.advance(0.1)
    tell(cluster, b"c")
    cluster[leader].kill()
    cluster[leader].start()
    cluster.elect()
    assert result(ask(cluster, leader, b"?").result()) == b"? 3"


def test_finished_steps_of_a_batch_are_answered_before_a_slow_one_ends() -> None:
    from raft.machines.own_machine import ApplyTask, OwnMachine
    from raft.node.worker import InlineWorker

    told: list[int] = []
    here = machine_worker.OwnMachineWorker(OwnMachine(Counting()), None, lambda: 0.0)

    class Slow(Counting):
        def apply(self, index: int, command: bytes) -> bytes:
            if index == 2:  # Meanwhile the loop takes a turn.
                here.deliver()
                assert told == [1]
            return b""

    here = machine_worker.OwnMachineWorker(
        OwnMachine(Slow()), InlineWorker(lambda work: work.deliver()), lambda: 0.0
    )
    here.run([ApplyTask(1, b""), ApplyTask(2, b"")], lambda index, _answer: told.append(index))
    assert told == [1, 2]


def test_the_queue_of_own_commands_is_limited_and_others_are_accepted(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("raft.node.requests.commands.COMMANDS_MAX", 2)
    cluster = cluster_of()
    leader = cluster.elect()
    hold(cluster)
    for _ in range(2):
        tell(cluster, b"slow")
    refused = tell(cluster, b"one too many").result()
    assert isinstance(refused, Refused) and "your own machine" in refused.reason
    assert isinstance(cluster.answer(leader, command(b"k", b"v")), Committed)
    assert value_in(cluster.answer(leader, query(b"k"))) == b"v"


def test_a_node_whose_machine_is_far_behind_applies_nothing_more_until_it_has_caught_up(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(machine_worker, "BACKLOG_MAX", 2)
    cluster = cluster_of(3)
    leader = cluster.elect()
    follower = cluster[cluster.followers()[0]]
    follower.applying.holding = True
    for _ in range(3):
        tell(cluster, b"x")
    cluster.put(leader, b"k", b"v")
    cluster.advance(0.2)
    assert follower.actor.components.applier.applied < cluster[leader].actor.components.applier.applied
    hold(cluster, holding=False)
    cluster.advance(0.2)
    assert follower.actor.components.applier.applied == cluster[leader].actor.components.applier.applied
