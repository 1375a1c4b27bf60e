"""Replicas whose answers differ from the leader's are detected, and stop."""

from __future__ import annotations

from itertools import count

import pytest

from raft.client.calls import application
from raft.machines.application import Application
from raft.machines.codec import decode_call
from raft.machines.commands import Check
from raft.node.machine_services import CHECK_SECONDS
from raft.protocol.client import Command
from tests.node.cluster import Cluster

PATIENCE_SECONDS = 3 * CHECK_SECONDS


class Fickle:
    """A machine of which each instance answers by a number of its own."""

    numbers = count()

    def __init__(self) -> None:
        self._number = next(self.numbers)

    def apply(self, index: int, command: bytes) -> bytes:
        return b"%d" % (self._number if command == b"fickle" else index)

    def query(self, query: bytes) -> bytes:
        return query

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        """There is nothing to become."""


def fickle_cluster(*, apply_on_worker: bool = False) -> Cluster:
    return Cluster(3, machine=lambda: Application(Fickle()), apply_on_worker=apply_on_worker)


def own(cluster: Cluster, body: bytes) -> None:
    cluster.answer(cluster.elect(), Command(application.own_command(body)))


def checks_in(cluster: Cluster) -> int:
    log = cluster[cluster.elect()].raft.log
    calls = [
        decode_call(entry.data) for entry in log.slice(log.first_index(), log.last + 1, 2**30) if entry.data
    ]
    return sum(call is not None and isinstance(call.operation, Check) for call in calls)


@pytest.mark.parametrize("apply_on_worker", [False, True])
def test_replicas_whose_answers_differ_from_the_leaders_stop_with_the_reason(
    *, apply_on_worker: bool
) -> None:
    cluster = fickle_cluster(apply_on_worker=apply_on_worker)
    own(cluster, b"fickle")
    leader = cluster.elect()
    cluster.network.run_until(lambda: len(cluster.crashes) == 2, PATIENCE_SECONDS)
    assert {crash.error.partition(":")[0] for crash in cluster.crashes} == {"Diverged"}
    assert [member.node for member in cluster.alive()] == [leader]


def test_replicas_with_equal_answers_are_checked_and_continue() -> None:
    cluster = fickle_cluster()
    own(cluster, b"steady")
    cluster.advance(PATIENCE_SECONDS)
    assert checks_in(cluster) == 2
    own(cluster, b"steady")
    cluster.advance(PATIENCE_SECONDS)
    assert checks_in(cluster) == 4


def test_nothing_is_checked_where_nothing_happens() -> None:
    cluster = fickle_cluster()
    own(cluster, b"steady")
    cluster.advance(PATIENCE_SECONDS)
    last = cluster[cluster.elect()].raft.log.last
    cluster.advance(10 * PATIENCE_SECONDS)
    assert cluster[cluster.elect()].raft.log.last == last


def test_a_replica_that_diverged_before_its_snapshot_is_still_detected() -> None:
    cluster = fickle_cluster()
    own(cluster, b"fickle")
    follower = cluster[cluster.followers()[0]]
    machine = Application(Fickle())
    machine.restore(follower.machine.snapshot())
    for restored, before in (
        (machine.answer_checksum, follower.machine.answer_checksum),
        (machine.own.answer_checksum, follower.machine.own.answer_checksum),
    ):
        assert (restored.value, restored.version) == (before.value, before.version)
        assert restored.last == before.last
