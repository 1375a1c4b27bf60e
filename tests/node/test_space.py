"""A quota of state, history and log: writes are refused before it is reached, and deletes continue."""

from __future__ import annotations

from typing import Any

import pytest

from raft.client.calls import application
from raft.machines.codec import decode_answer, encode_call
from raft.machines.commands import (
    RANGE_KEYS_MAX,
    Call,
    Campaign,
    Delete,
    DeleteRange,
    Grant,
    OpenSession,
    Operation,
    Put,
    Transaction,
)
from raft.machines.elections import ANNOUNCED_BYTES_MAX
from raft.node import space
from raft.node.applier import TOO_MANY_KEYS, TOO_MUCH_ANNOUNCED
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import Tuning
from raft.protocol.admin import GetStatus, SpaceIs
from raft.protocol.client import Command, Committed, Invalid, OutOfSpace
from tests.node.cluster import Cluster, Supervisor

QUOTA_BYTES = 4 * 1024 * 1024
VALUE = bytes(64 * 1024)


def cluster_of(nodes: int = 3, **options: Any) -> Cluster:
    return Cluster(nodes, tuning=Tuning(quota_bytes=QUOTA_BYTES), **options)


def do(cluster: Cluster, operation: Operation) -> Any:
    return cluster.answer(cluster.elect(), Command(encode_call(Call(0, 0, 0, operation))))


def fill(cluster: Cluster) -> int:
    """Put until the cluster is out of space; how many keys there are then."""
    for number in range(1000):
        answer = do(cluster, Put(b"k%03d" % number, VALUE))
        if isinstance(answer, OutOfSpace):
            return number
        assert isinstance(answer, Committed)
    raise AssertionError("the quota was never reached")


def used(cluster: Cluster) -> list[int]:
    return [member.actor.components.space.used_bytes for member in cluster.alive()]


def test_writes_are_refused_before_the_quota_is_reached() -> None:
    cluster = cluster_of()
    assert fill(cluster) > 10
    last = cluster[cluster.elect()].raft.log.last
    for operation in (Put(b"k", b""), Transaction((), (Put(b"k", b""),))):
        answer = do(cluster, operation)
        assert isinstance(answer, OutOfSpace)
        assert answer.quota_bytes == QUOTA_BYTES
    assert cluster[cluster.elect()].raft.log.last == last
    assert max(used(cluster)) <= QUOTA_BYTES


def test_a_leader_accepts_commands_in_the_turn_that_elected_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space.Space, "check", lambda *_: None)  # A turn's end comes after its messages.
    cluster = cluster_of()
    assert isinstance(do(cluster, Put(b"k", b"")), Committed)


def test_deletions_and_keep_alives_work_during_the_alarm() -> None:
    cluster = cluster_of()
    fill(cluster)
    session = do(cluster, OpenSession(60_000))
    assert isinstance(session, Committed)
    assert isinstance(do(cluster, Grant(1000)), Committed)
    assert isinstance(do(cluster, Delete(b"k000")), Committed)
    assert isinstance(do(cluster, Transaction((), (Delete(b"k001"),))), Committed)
    assert isinstance(do(cluster, Put(b"k", b"")), OutOfSpace), "there is not yet much room"


def test_the_alarm_is_reported_once_and_clears_when_enough_is_deleted() -> None:
    cluster = cluster_of(1, supervisor="ipc:///launcher")
    supervisor = Supervisor(cluster)
    keys = fill(cluster)
    cluster.advance(0.2)
    assert [report.alarm for report in supervisor.of(SpaceIs)] == [False, True]
    assert cluster.answer(1, GetStatus()).out_of_space
    assert cluster[1].events.names.count("out-of-space") == 1
    for number in range(keys):
        assert isinstance(do(cluster, Delete(b"k%03d" % number)), Committed)
    cluster.advance(3 * space.TIDY_SECONDS)
    assert [report.alarm for report in supervisor.of(SpaceIs)] == [False, True, False]
    status = cluster.answer(1, GetStatus())
    assert not status.out_of_space
    assert status.used_bytes < QUOTA_BYTES / 2, "history and log are let go, too"
    assert isinstance(do(cluster, Put(b"k", VALUE)), Committed)


def test_overwriting_one_key_forever_does_not_reach_the_quota() -> None:
    policy = SnapshotPolicy(entries_max=0, bytes_max=0)
    cluster = cluster_of(1, snapshots=policy)
    for _ in range(300):
        answer = do(cluster, Put(b"k", VALUE))
        while isinstance(answer, OutOfSpace):
            cluster.advance(space.TIDY_SECONDS)
            answer = do(cluster, Put(b"k", VALUE))
    assert max(used(cluster)) <= QUOTA_BYTES


def test_a_new_leader_raises_the_alarm_itself() -> None:
    cluster = cluster_of()
    fill(cluster)
    cluster[cluster.elect()].kill()
    cluster.until(lambda: bool(cluster.leaders()))
    assert isinstance(do(cluster, Put(b"k", VALUE)), OutOfSpace)


def test_a_users_machine_is_counted_by_its_commands_and_its_snapshots() -> None:
    from raft.machines.application import Application
    from raft.machines.own_machine import OwnMachine
    from tests.node.test_own_machine import Counting

    cluster = cluster_of(1, machine=lambda: Application(Counting()))
    answers = [
        cluster.answer(1, Command(application.own_command(VALUE))) for _ in range(70) if cluster.elect()
    ]
    assert isinstance(answers[0], Committed)
    assert isinstance(answers[-1], OutOfSpace)
    own = OwnMachine(Counting())
    own.machine_bytes = 1000
    assert len(list(own.parts())) == 2
    assert own.size_bytes == len(b"0")


def test_the_quota_is_a_share_of_the_memory_that_a_process_may_have() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    assert 0 < space.default_quota() <= space.QUOTA_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (1 << 34, hard))
    try:
        assert space.default_quota() <= (1 << 34) // space.MEMORY_SHARE
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# -- commands that are too much work ---------------------------------------------------------------


def test_a_range_of_too_many_keys_is_refused_before_the_log_with_its_limit(monkeypatch: Any) -> None:
    monkeypatch.setattr("raft.machines.store.RANGE_KEYS_MAX", 10)
    cluster = Cluster(1)
    for number in range(11):
        do(cluster, Put(b"k%02d" % number, b""))
    last = cluster[1].raft.log.last
    for operation in (DeleteRange(b"k", None), Transaction((), (DeleteRange(b"k", None),))):
        answer = do(cluster, operation)
        assert isinstance(answer, Invalid)
        assert answer == TOO_MANY_KEYS and str(RANGE_KEYS_MAX) in answer.reason
    assert cluster[1].raft.log.last == last
    assert decode_answer(do(cluster, DeleteRange(b"k", b"k10")).result).count == 10


def test_seats_that_would_announce_too_much_are_refused_before_the_log_with_the_limit() -> None:
    cluster = Cluster(1)
    lease = do(cluster, Grant(60_000)).index
    last = cluster[1].raft.log.last
    answer = do(cluster, Campaign("e", lease, bytes(ANNOUNCED_BYTES_MAX // 10), 11))
    assert isinstance(answer, Invalid)
    assert answer == TOO_MUCH_ANNOUNCED and str(ANNOUNCED_BYTES_MAX) in answer.reason
    assert cluster[1].raft.log.last == last


def test_a_long_command_is_carried_out_over_many_turns_and_everything_sees_it_whole(monkeypatch: Any) -> None:
    monkeypatch.setattr("raft.machines.store.STEP_KEYS", 2)
    monkeypatch.setattr("raft.node.applier.WORK_PER_TURN_MAX", 4)
    cluster = Cluster(3)
    leader = cluster.elect()
    lease = do(cluster, Grant(60_000)).index
    for number in range(40):
        do(cluster, Put(b"k%02d" % number, b"", lease))
    store, seen = cluster[leader].machine.store, list[int]()
    monkeypatch.setattr(
        type(cluster[leader].actor),
        "on_turn_end",
        watched(type(cluster[leader].actor).on_turn_end, seen, store),
    )
    answer = decode_answer(do(cluster, DeleteRange(b"k", None)).result)
    assert answer.count == 40
    assert len({count for count in seen if 0 < count < 40}) > 3, "not all in one turn"
    cluster.advance(0.2)
    assert len({member.machine.snapshot() for member in cluster.alive()}) == 1


def watched(on_turn_end: Any, seen: list[int], store: Any) -> Any:
    def turn(node: Any) -> None:
        on_turn_end(node)
        seen.append(len(store.snapshot()))

    return turn
