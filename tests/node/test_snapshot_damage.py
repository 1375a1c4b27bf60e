"""A snapshot damaged by a disk: detected by each node that reads or receives it, and replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest

from actors.transport.faults import Fault
from raft.core.errors import SnapshotTemporarilyUnavailable
from raft.core.messages import InstallSnapshot
from raft.core.types import Snapshot
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.machines.application import Application
from raft.node.applier import Applier
from raft.node.log_writer import DiskFailed
from raft.node.machine_worker import OwnMachineWorker
from raft.node.snapshots import sender
from raft.node.snapshots.contents import SendableSnapshots, verified
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.snapshots.sender import Transfer
from raft.node.worker import InlineWorker
from raft.protocol.admin import Done, TakeSnapshot
from raft.protocol.admin import Transfer as TransferLeadership
from raft.protocol.registry import SnapshotChunk, SnapshotProgress, process_of
from raft.storage.drafts import DRAFT_SUFFIX
from raft.storage.errors import SnapshotDamaged
from raft.storage.memory import MemoryStorage
from raft.storage.snapshots import is_sound, sealed
from raft.storage.store import Store
from tests.node.cluster import Cluster, value_in
from tests.node.test_receiver import Rig, chunks
from tests.storage.support import HERE, VOTERS, entries, open_store, snapshots

EVERY_TEN = SnapshotPolicy(entries_max=10, bytes_max=0, entries_kept=2)
VALUE = b"the value that was committed"


class DiskCluster(Cluster):
    """Each node has a store on a simulated disk of its own, in the order of their ids."""

    def __init__(self, nodes: int, **options: Any) -> None:
        self.disks: list[SimulatedFiles] = []
        super().__init__(nodes, **options)

    def make_log(self) -> Store:
        self.disks.append(SimulatedFiles())
        return open_store(self.disks[-1])

    def flip_in_snapshot(self, node: int, bytes_of: bytes) -> None:
        """Change a bit of these bytes wherever the newest snapshot's file has them."""
        files = self.disks[node - 1]
        path = snapshots(files)[-1]
        data = files.read(path)
        at = data.find(bytes_of)
        assert at > 0
        while at >= 0:
            files.flip_bit(path, at * 8)
            at = data.find(bytes_of, at + 1)


def apart(cluster: Cluster, *nodes: int) -> None:
    """Nothing reaches these nodes, and nothing comes from them."""
    for node in nodes:
        for other in cluster.ids:
            if other != node:
                cluster[node].cut(other)
                cluster[other].cut(node)


def received_by_the_leader() -> tuple[DiskCluster, int, int]:
    """Five nodes, of which one got a snapshot and leads now, and one still needs it; these two."""
    cluster = DiskCluster(5, snapshots=EVERY_TEN)
    first = cluster.elect()
    leader, needs_it = cluster.followers()[:2]
    apart(cluster, leader, needs_it)
    cluster.put(first, b"key", VALUE)
    for number in range(40):
        cluster.put(first, b"k%d" % number, b"x" * 100)
    for member in cluster.members.values():
        member.heal()
    apart(cluster, needs_it)
    cluster.until(lambda: cluster[leader].machine.snapshot() == cluster[first].machine.snapshot(), 5.0)
    assert cluster.answer(first, TransferLeadership(leader)) == Done()
    cluster.until(lambda: cluster.leaders() == [leader], 5.0)
    return cluster, leader, needs_it


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "CHUNK_BYTES", 256)


# -- sent -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pieces")
def test_a_received_snapshot_damaged_on_disk_is_not_sent_but_taken_again() -> None:
    cluster, leader, needs_it = received_by_the_leader()
    damaged = cluster[leader].log.snapshot()
    cluster.flip_in_snapshot(leader, VALUE)
    assert not is_sound(damaged), "the leader's snapshot is what its disk holds"
    for member in cluster.members.values():
        member.heal()
    cluster.until(lambda: cluster[needs_it].raft.log.applied == cluster[leader].raft.log.applied, 10.0)
    assert value_in(cluster.get(needs_it, b"key")) == VALUE
    assert cluster[needs_it].machine.snapshot() == cluster[leader].machine.snapshot()
    assert "snapshot-damaged" in cluster[leader].events.names
    assert is_sound(cluster[leader].log.snapshot())
    assert is_sound(cluster[needs_it].log.snapshot())


@pytest.mark.usefixtures("small_pieces")
def test_a_damaged_snapshot_is_replaced_at_its_own_index_if_nothing_was_applied_since() -> None:
    cluster, leader, _ = received_by_the_leader()
    node = cluster[leader]
    cluster.answer(leader, TakeSnapshot())
    taken = node.log.snapshot()
    assert taken.index == node.raft.log.applied
    # As if it had come from another node: the bytes in memory are those of the damaged file.
    cluster.flip_in_snapshot(leader, VALUE)
    changed = bytes(taken.data).replace(VALUE, b"x" * len(VALUE))
    damaged = Snapshot(taken.index, taken.term, taken.conf_state, changed, taken.checksum)
    node.log.memory.repair_snapshot(damaged)
    node.actor.components.snapshots.note_damage(node.log.snapshot())
    cluster.answer(leader, TakeSnapshot())
    assert node.log.snapshot() == taken
    node.kill()
    node.log.close()
    assert open_store(cluster.disks[leader - 1]).snapshot() == taken


def transfer_of(data: bytearray) -> Transfer:
    return Transfer(InstallSnapshot(1, 2, 3, sealed(Snapshot(10, 2, VOTERS, data))), 0.0)


def chunks_of(transfer: Transfer) -> list[SnapshotChunk | None]:
    found = [transfer.chunk()]
    while found[-1] is not None and transfer.sent < transfer.size:
        found.append(transfer.chunk())
    return found


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("at", [0, 255, 256, 999])
def test_the_last_chunk_of_a_damaged_snapshot_is_never_sent(at: int) -> None:
    data = bytearray(1000)
    transfer = transfer_of(data)
    data[at] ^= 1
    assert chunks_of(transfer)[-1] is None
    assert transfer.chunk() is None, "whatever is sent again"


@pytest.mark.usefixtures("small_pieces")
def test_a_repeated_chunk_is_counted_once() -> None:
    transfer = transfer_of(bytearray(1000))
    transfer.chunk()
    transfer.sent = 0
    chunks = chunks_of(transfer)
    assert [chunk.offset for chunk in chunks if chunk is not None] == [0, 256, 512, 768]
    transfer.sent = 0
    assert None not in chunks_of(transfer)


def test_a_transfer_that_the_receiver_refused_ends_and_the_core_begins_another(small_pieces: None) -> None:
    cluster, leader, needs_it = received_by_the_leader()
    sent = cluster[leader].actor.components.snapshots.transfers
    for member in cluster.members.values():
        member.heal()
    cluster[leader].transport.add(Fault(to=process_of(needs_it), delay_seconds=0.02))
    cluster.until(lambda: needs_it in sent.in_progress, 5.0)
    first = sent.in_progress[needs_it]
    index = first.message.snapshot.index
    sent.progress(SnapshotProgress(needs_it, leader, first.message.term, index, 0, damaged=True))
    assert needs_it not in sent.in_progress
    cluster.until(lambda: cluster[needs_it].raft.log.applied == cluster[leader].raft.log.applied, 5.0)
    assert "snapshot-abandoned" in cluster[leader].events.names


def test_a_snapshot_that_is_known_to_be_damaged_is_not_given_to_the_core_again() -> None:
    log = MemoryStorage()
    log.apply_snapshot(Snapshot(5, 1, VOTERS))
    wanted: list[bool] = []
    damaged = True
    sendable = SendableSnapshots(log, set, lambda: wanted.append(True), lambda _: damaged)
    with pytest.raises(SnapshotTemporarilyUnavailable):
        sendable.snapshot()
    assert wanted == [True]
    damaged = False
    assert sendable.snapshot() == log.snapshot()


# -- received ---------------------------------------------------------------------------------------


def test_a_snapshot_with_a_wrong_checksum_is_refused_on_arrival() -> None:
    rig = Rig()
    first, second, third = chunks()
    second.data = bytes([second.data[0] ^ 1]) + second.data[1:]
    second.checksum = crc32(second.data)  # As a sender does that reads a changed file.
    for chunk in (first, second, third):
        rig.take(chunk)
    assert not rig.whole
    assert rig.said[-1] == SnapshotProgress(2, 1, 3, 10, 0, damaged=True)
    assert rig.drafts[0].discarded
    assert "has changed" in rig.failures[0]
    for chunk in chunks():
        rig.take(chunk)
    assert len(rig.whole) == 1, "it can begin again"


def test_a_draft_with_a_wrong_checksum_never_becomes_a_snapshot() -> None:
    store = open_store(SimulatedFiles())
    whole = sealed(Snapshot(20, 2, VOTERS, VALUE))
    draft = store.draft(Snapshot(20, 2, VOTERS, checksum=whole.checksum), len(VALUE))
    draft.add(b"x" + VALUE[1:])
    with pytest.raises(SnapshotDamaged, match="had arrived"):
        draft.finish()


def test_a_disk_that_changes_a_snapshot_while_it_is_installed_ends_the_node() -> None:
    cluster = DiskCluster(3, snapshots=EVERY_TEN)
    first = cluster.elect()
    slow = cluster.followers()[0]
    apart(cluster, slow)
    cluster.put(first, b"key", VALUE)
    for number in range(40):
        cluster.put(first, b"k%d" % number, b"x" * 100)

    def flip(point: str) -> None:
        if point == "snapshot.marked":
            cluster.flip_in_snapshot(slow, VALUE)

    cluster[slow].log.device.crash_point = flip
    for member in cluster.members.values():
        member.heal()
    cluster.network.run_until(lambda: bool(cluster.crashes), 5.0)
    assert cluster.crashes[0].error.startswith("DiskFailed: the snapshot at ")


def test_data_that_a_disk_returns_changed_are_not_installed() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    whole = sealed(Snapshot(20, 2, VOTERS, VALUE))
    draft = store.draft(Snapshot(20, 2, VOTERS, checksum=whole.checksum), len(VALUE))
    draft.add(VALUE)

    def flip(point: str) -> None:
        if point == "snapshot.synced":
            path = next(HERE / name for name in files.names(HERE) if name.endswith(DRAFT_SUFFIX))
            files.flip_bit(path, files.read(path).find(VALUE) * 8)

    store.device.crash_point = flip
    with pytest.raises(SnapshotDamaged, match="read back"):
        draft.finish()
    draft.discard()
    assert not [name for name in files.names(HERE) if name.endswith(DRAFT_SUFFIX)]


# -- read and written -------------------------------------------------------------------------------


def test_a_machine_is_never_restored_from_a_damaged_snapshot() -> None:
    taken: list[bytes] = []
    machine: Any = SimpleNamespace(restore_apart=lambda parts: taken.extend(parts))
    worker = InlineWorker(lambda work: work.deliver())
    applier = Applier(
        machine=machine, applied=1, waiters=machine, on_config=taken.append, answer=taken.append,
        slow=worker, own_machine=OwnMachineWorker(Application().own, worker, lambda: 0.0), again=lambda: None,
    )  # fmt: skip
    data = bytearray(b"state")
    snapshot = sealed(Snapshot(20, 2, VOTERS, data))
    data[0] ^= 1
    with pytest.raises(DiskFailed, match="has changed"):
        applier.restore(20, verified(snapshot, [data]))
    assert applier.applied == 1


def test_a_snapshot_damaged_in_memory_is_not_written() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(None, entries(1, 1, 9), None)
    data = bytearray(VALUE)
    snapshot = sealed(Snapshot(5, 1, VOTERS, data))
    data[3] ^= 1
    with pytest.raises(SnapshotDamaged):
        store.save_snapshot(snapshot)
    assert not snapshots(files)
    data[3] ^= 1
    store.save_snapshot(snapshot)
    assert store.snapshot().checksum == snapshot.checksum
    store.close()
    assert open_store(files).snapshot() == snapshot, "and the checksum is the one with which it was taken"


def test_the_users_own_machine_is_never_given_views_of_a_file() -> None:
    given: list[object] = []

    class Own:
        def apply(self, index: int, command: bytes) -> bytes:
            return b""

        def query(self, query: bytes) -> bytes:
            return b""

        def snapshot(self) -> bytes:
            return b""

        def restore(self, snapshot: bytes) -> None:
            given.append(snapshot)

        def snapshot_parts(self) -> Iterator[bytes]:
            return iter((b"part",))

        def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
            given.extend(parts)

    Application(Own()).restore_parts(memoryview(part) for part in Application(Own()).snapshot_parts())
    assert given == [b"part"]
    assert type(given[0]) is bytes
