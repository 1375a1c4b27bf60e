"""Snapshots in running nodes: taken, sent in chunks, installed; over real stores on simulated disks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors.transport.faults import Fault
from raft.client.calls import store
from raft.core.errors import BrokenStorage
from raft.core.types import ConfState, Index, Snapshot
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.machines import state
from raft.machines.application import Application
from raft.node.snapshots import sender
from raft.node.snapshots.contents import State, pack_state, unpack_state
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.worker import InlineWorker
from raft.protocol.admin import SnapshotTaken, TakeSnapshot
from raft.protocol.client import AddLearner
from raft.protocol.registry import process_of
from raft.storage.device import CRASH_POINTS, no_crash
from raft.storage.record import Identity
from raft.storage.snapshots import sealed
from raft.storage.store import Store
from tests.node.cluster import Cluster, Member, value_in
from tests.storage.support import entries

EVERY_TEN = SnapshotPolicy(entries_max=10, bytes_max=0, entries_kept=2)
NEVER = SnapshotPolicy(entries_max=0, bytes_max=0, entries_kept=0)
VOTERS = ConfState(voters=(1, 2, 3))


class Crash(BaseException):
    """The process ends here."""


def write(cluster: Cluster, count: int, size: int = 0, start: int = 0) -> None:
    leader = cluster.leaders()[0]
    for number in range(start, start + count):
        cluster.put(leader, b"k%d" % number, b"v%d" % number + b"x" * size)


def snapshot_index(member: Member) -> Index:
    return member.log.snapshot().index


def test_a_snapshot_is_taken_after_so_many_entries_and_a_tail_of_the_log_stays() -> None:
    cluster = Cluster(3, snapshots=EVERY_TEN)
    cluster.elect()
    write(cluster, 35)
    cluster.advance(0.5)
    for member in cluster.alive():
        newest = snapshot_index(member)
        assert newest > 20
        assert member.log.first_index() == newest - 2 + 1
        assert member.log.last_index() - newest < 10


def test_a_snapshot_is_taken_after_so_many_bytes_but_not_more_often_than_the_state_is_large() -> None:
    policy = SnapshotPolicy(entries_max=0, bytes_max=1000, entries_kept=0)
    cluster = Cluster(1, snapshots=policy)
    cluster.elect()
    write(cluster, 5, size=400)
    first = snapshot_index(cluster[1])
    assert first > 1
    cluster.put(1, b"large", b"x" * 50_000)
    write(cluster, 1)
    large = snapshot_index(cluster[1])
    assert large > first
    write(cluster, 20, size=1000)
    assert snapshot_index(cluster[1]) == large, "less was written since than the snapshot holds"
    write(cluster, 200, size=1000)
    assert snapshot_index(cluster[1]) > large


def test_without_limits_a_snapshot_is_taken_on_request_only() -> None:
    cluster = Cluster(3, snapshots=NEVER)
    leader = cluster.elect()
    write(cluster, 30, size=1000)
    assert {snapshot_index(member) for member in cluster.members.values()} == {1}, "what a log begins with"
    cluster.answer(leader, TakeSnapshot())
    assert snapshot_index(cluster[leader]) > 30


def test_a_requested_snapshot_is_answered_when_it_is_durable() -> None:
    cluster = Cluster(1, snapshots=NEVER)
    cluster.elect()
    write(cluster, 3)
    applied = cluster[1].raft.log.applied
    assert cluster.answer(1, TakeSnapshot()) == SnapshotTaken(applied)
    assert cluster.answer(1, TakeSnapshot()) == SnapshotTaken(applied), "the newest will do"
    assert snapshot_index(cluster[1]) == applied


def test_an_empty_node_takes_no_snapshot() -> None:
    cluster = Cluster(3)
    cluster.elect()
    blank = cluster.join(4)
    assert cluster.answer(4, TakeSnapshot()) == SnapshotTaken(0)
    assert not [head for _, _, head in blank.log.writes if head is not None]
    assert "snapshot-taken" not in blank.events.names


def test_a_large_state_is_taken_and_restored_with_a_rest_after_each_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rested: list[str] = []
    cluster = Cluster(3, snapshots=NEVER)
    leader = cluster.elect()
    for key in (b"a", b"b", b"c"):
        cluster.put(leader, key, bytes(state.PART_BYTES))
    monkeypatch.setattr(InlineWorker, "rest", lambda _: rested.append("taken"))
    cluster.answer(leader, TakeSnapshot())
    # Some head and an end, and each value twice, as an event and as an item; and then the writing.
    assert rested == ["taken"] * (8 + 1)
    rested.clear()
    monkeypatch.setattr(InlineWorker, "rest", lambda _: rested.append("restored"))
    cluster.join(4)
    cluster.answer(leader, AddLearner(4, "ipc:///n4"))
    cluster.until(caught_up(cluster, leader, 4), 5.0)
    assert len(rested) >= 8 + 7, "the leader's next snapshot, which knows the node, and the node's restoring"


def test_commands_that_are_applied_while_a_snapshot_is_written_are_not_in_it() -> None:
    machine = Application()
    machine.apply(1, store.put_request(b"a", b"1"))
    frozen = machine.snapshot_parts()
    machine.apply(2, store.put_request(b"a", b"2"))
    machine.apply(3, store.put_request(b"b", b"3"))
    restored = Application()
    restored.restore_parts(unpack_state(pack_state(State(), frozen)).machine)
    expected = Application()
    expected.apply(1, store.put_request(b"a", b"1"))
    assert restored.snapshot() == expected.snapshot()


def test_the_data_of_a_snapshot_is_read_back_part_by_part() -> None:
    chunks = [b"", b"x", b"y" * 300_000]
    state = unpack_state(pack_state(State({1: "here"}, {2: 7}), chunks))
    assert (state.members, state.removed) == ({1: "here"}, {2: 7})
    assert [bytes(part) for part in state.machine] == chunks
    assert unpack_state(b"") == State()
    with pytest.raises(BrokenStorage):
        unpack_state(pack_state(State(), chunks)[:-1])


# -- sending ----------------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "CHUNK_BYTES", 256)


def left_behind(**options: Any) -> tuple[Cluster, int, int]:
    """A cluster whose follower is cut off and lacks what only a snapshot holds now; leader and follower."""
    cluster = Cluster(3, snapshots=EVERY_TEN, **options)
    leader = cluster.elect()
    slow = cluster.followers()[0]
    for node in cluster.ids:
        if node != slow:
            cluster[node].cut(slow)
            cluster[slow].cut(node)
    write(cluster, 40, size=100)
    assert cluster[slow].raft.log.last < cluster[leader].log.first_index()
    return cluster, leader, slow


def heal(cluster: Cluster) -> None:
    for member in cluster.members.values():
        member.heal()


def heal_slowly(cluster: Cluster, leader: int, slow: int) -> None:
    """Every message to the follower takes a while from now on, so that one can look at a transfer."""
    heal(cluster)
    cluster[leader].transport.add(Fault(to=process_of(slow), delay_seconds=0.02))


def caught_up(cluster: Cluster, leader: int, slow: int) -> Callable[[], bool]:
    return lambda: cluster[slow].machine.snapshot() == cluster[leader].machine.snapshot()


@pytest.mark.usefixtures("small_pieces")
def test_a_follower_behind_the_log_catches_up_by_a_snapshot_in_chunks() -> None:
    cluster, leader, slow = left_behind()
    heal(cluster)
    cluster.until(caught_up(cluster, leader, slow), 5.0)
    assert snapshot_index(cluster[slow]) > 1
    assert "snapshot-sent" in cluster[leader].events.names
    write(cluster, 3, start=100)
    cluster.until(caught_up(cluster, leader, slow), 1.0)


@pytest.mark.usefixtures("small_pieces")
def test_a_node_that_joins_gets_a_snapshot_that_has_it_as_a_member() -> None:
    cluster = Cluster(3, snapshots=EVERY_TEN)
    leader = cluster.elect()
    write(cluster, 25)
    cluster.join(4)
    cluster.answer(leader, AddLearner(4, "ipc:///n4"))
    cluster.until(caught_up(cluster, leader, 4), 5.0)
    assert 4 in cluster[4].log.snapshot().conf_state.learners


def test_a_leader_has_a_snapshot_for_a_node_that_it_adds_before_that_is_there() -> None:
    cluster = Cluster(3, snapshots=EVERY_TEN)
    leader = cluster.elect()
    write(cluster, 25)
    cluster.answer(leader, AddLearner(4, "ipc:///n4"))
    cluster.network.settle()
    assert 4 in cluster[leader].log.snapshot().conf_state.learners


@pytest.mark.usefixtures("small_pieces")
def test_a_transfer_continues_after_a_lost_connection() -> None:
    cluster, leader, slow = left_behind()
    heal_slowly(cluster, leader, slow)
    sending = cluster[leader].actor.components.snapshots.transfers.in_progress
    cluster.until(lambda: slow in sending and sending[slow].received > 500, 5.0)
    transfer = sending[slow]
    before = transfer.received
    cluster[leader].cut(slow)
    cluster[slow].cut(leader)
    cluster.advance(0.2)
    write(cluster, 25, start=200)  # Another snapshot is newer by now, and the log is shorter.
    assert sending[slow] is transfer, "it is kept as it is"
    assert transfer.received >= before
    heal(cluster)
    cluster.until(caught_up(cluster, leader, slow), 5.0)
    assert snapshot_index(cluster[slow]) >= transfer.message.snapshot.index


@pytest.mark.usefixtures("small_pieces")
def test_the_log_after_a_snapshot_in_transfer_is_kept_but_not_forever() -> None:
    cluster, leader, slow = left_behind()
    heal_slowly(cluster, leader, slow)
    sending = cluster[leader].actor.components.snapshots.transfers
    cluster.until(lambda: sending.oldest is not None, 5.0)
    cluster[leader].cut(slow)
    pinned = sending.oldest
    assert pinned is not None
    write(cluster, 22, start=300)
    assert snapshot_index(cluster[leader]) >= pinned + 20
    assert cluster[leader].log.first_index() <= pinned + 1
    write(cluster, 60, start=400)
    assert cluster[leader].log.first_index() > pinned + 1, "a slow peer has had its time"


@pytest.mark.usefixtures("small_pieces")
def test_a_transfer_without_progress_is_given_up_and_the_core_is_informed() -> None:
    cluster, leader, slow = left_behind()
    heal_slowly(cluster, leader, slow)
    sending = cluster[leader].actor.components.snapshots.transfers
    cluster.until(lambda: sending.oldest is not None, 5.0)
    cluster[slow].kill()
    cluster.advance(15.0)
    assert sending.oldest is None
    assert cluster[leader].raft.tracker.progress[slow].state.value == "probe"
    assert "snapshot-abandoned" in cluster[leader].events.names


@pytest.mark.usefixtures("small_pieces")
def test_a_peer_that_restarts_during_a_transfer_gets_all_of_it_again() -> None:
    cluster, leader, slow = left_behind()
    heal_slowly(cluster, leader, slow)
    sending = cluster[leader].actor.components.snapshots.transfers.in_progress
    cluster.until(lambda: slow in sending and sending[slow].received > 500, 5.0)
    cluster[slow].kill()
    cluster[slow].start()
    cluster.until(caught_up(cluster, leader, slow), 5.0)


# -- crashes ----------------------------------------------------------------------------------------


def open_store(files: SimulatedFiles, crash_point: Callable[[str], None] = no_crash) -> Store:
    return Store.open(
        Path("/data"), identity=Identity("c", 1), files=files, segment_bytes=4096, crash_point=crash_point
    )


class Armed:
    """Lets the process die at the `nth` time that a point is passed."""

    def __init__(self, point: str, nth: int = 1) -> None:
        self.point, self.left = point, nth

    def __call__(self, name: str) -> None:
        if name == self.point:
            self.left -= 1
            if self.left == 0:
                raise Crash(name)


SNAPSHOT_POINTS = [name for name in CRASH_POINTS if name.startswith(("snapshot.", "compact."))]


class DiskCluster(Cluster):
    """One node whose log is a real store; it dies at a named point."""

    def __init__(self, files: SimulatedFiles, crash_point: Callable[[str], None]) -> None:
        self.store = open_store(files, crash_point)
        super().__init__(1, snapshots=EVERY_TEN)

    def make_log(self) -> Store:
        return self.store


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("point", SNAPSHOT_POINTS)
def test_a_crash_at_any_step_of_taking_a_snapshot_loses_nothing(point: str, power: bool) -> None:
    files, acknowledged = SimulatedFiles(), 0
    # The first snapshot file and marker are those of the bootstrap.
    armed = Armed(point, 2 if point.startswith("snapshot.") and point != "snapshot.purged" else 1)
    try:
        cluster = DiskCluster(files, armed)
        cluster.elect()
        for number in range(60):
            cluster.put(1, b"k%d" % number, b"v" * 200)
            acknowledged = number + 1
    except Crash:
        pass
    if power:
        files.power_cut(Random(point))
    else:
        files.kill()
    assert armed.left <= 0 or point == "compact.removed", f"{point} was never passed"
    again = DiskCluster(files, no_crash)
    again.elect()
    for number in range(acknowledged):
        assert value_in(again.get(1, b"k%d" % number)) == b"v" * 200, f"write {number} is lost"


def test_an_own_snapshot_does_not_remove_a_draft_of_the_leaders() -> None:
    """Both are written at the same time, by two threads; the log names them one after the other."""
    files = SimulatedFiles()
    store = open_store(files)
    store.save(None, (), sealed(Snapshot(1, 1, VOTERS)))
    store.save(None, entries(1, 2, 5), None)
    own_came_between: list[bool] = []

    def between(name: str) -> None:
        if name == "snapshot.durable" and not own_came_between:
            own_came_between.append(True)
            store.write_snapshot(sealed(Snapshot(4, 1, VOTERS, b"own")))

    store.device.crash_point = between
    store.write(None, (), sealed(Snapshot(9, 1, VOTERS, b"leader's")))
    store.device.crash_point = no_crash
    store.close()
    assert open_store(files).snapshot().data == b"leader's"
