"""A disk that fills up, fails, slows down or forgets."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from raft.core.types import HardState
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.errors import StoreFailed, StoreFull
from raft.storage.faulty import FaultyFiles
from raft.storage.files import RealFiles
from raft.storage.store import Store
from tests.storage.support import (
    HERE,
    entries,
    entry,
    filled,
    log_of,
    open_store,
    segments,
    snapshot,
    snapshots,
)


@pytest.mark.parametrize("room", range(0, 3000, 100))
def test_a_full_disk_refuses_a_write_as_a_whole_and_takes_it_when_there_is_room(room: int) -> None:
    files = filled(5)
    store = open_store(files)
    files.capacity_bytes = size_of(files) + room
    index = 6
    with pytest.raises(StoreFull, match="Make room"):
        while True:
            store.save(None, [entry(1, index, b"x" * 3000)], None)
            index += 1
    assert store.last_index() == index - 1
    with pytest.raises(StoreFull):
        store.save(None, [entry(1, index, b"x" * 30000)], None)
    assert not [name for name in files.names(HERE) if name.endswith(".tmp")]
    files.capacity_bytes = None
    store.save(None, [entry(1, index)], None)
    store.close()
    assert log_of(open_store(files))[index - 1 :] == [entry(1, index)]


def test_a_write_cut_short_by_a_full_disk_has_no_effect() -> None:
    inner = filled(5)
    files = FaultyFiles(inner)
    store = open_store(files)
    files.full = True
    for _ in range(3):
        with pytest.raises(StoreFull):
            store.save(HardState(2, 1, 5), entries(2, 6, 9), None)
    inner.kill()
    files.clear()
    store = open_store(files)
    assert store.initial_state()[0] == HardState(1, 1, 5)
    assert store.last_index() == 5
    files.full = True
    with pytest.raises(StoreFull):
        store.save(None, entries(1, 6, 9, 100), None)
    files.full = False
    store.save(None, [entry(1, 6, b"")], None)
    inner.power_cut(random.Random(1))
    assert log_of(open_store(inner))[5:] == [entry(1, 6, b"")]


def test_bytes_left_by_a_refused_write_do_not_affect_the_next_one() -> None:
    for seed in range(20):
        inner = filled(5)
        files = FullAfterWriteBack(inner)
        store = open_store(files, crash_point=crash_at("save.written"))
        files.full = True
        with pytest.raises(StoreFull):
            store.save(None, entries(1, 6, 9, 1500), None)
        files.full = False
        with pytest.raises(ProcessDied):
            store.save(None, entries(1, 6, 9, 1000), None)
        inner.power_cut(random.Random(seed))
        assert open_store(inner).last_index() in (5, 9), f"seed {seed}"


def test_a_full_disk_refuses_a_snapshot_and_goes_on_with_the_log() -> None:
    files = filled(5)
    store = open_store(files)
    files.capacity_bytes = size_of(files) + 1000
    with pytest.raises(StoreFull):
        store.save_snapshot(snapshot(5, data=b"x" * 2000))
    with pytest.raises(StoreFull):
        store.save(HardState(2, 0, 20), [], snapshot(20, 2, b"x" * 2000))
    assert not snapshots(files)
    assert store.initial_state()[0] == HardState(1, 1, 5)
    store.save(None, [entry(1, 6)], None)
    store.save_snapshot(snapshot(5, data=b"small"))
    store.close()
    assert open_store(files).snapshot() == snapshot(5, data=b"small")


def test_checking_for_room_changes_nothing() -> None:
    inner = filled(5)
    files = FaultyFiles(inner)
    store = open_store(files)
    before = {name: files.read(HERE / name) for name in files.names(HERE)}
    store.check_room()
    files.full = True
    for _ in range(2):
        with pytest.raises(StoreFull):
            store.check_room()
    files.full = False
    store.check_room()
    assert {name: files.read(HERE / name) for name in files.names(HERE)} == before
    store.save(None, [entry(1, 6)], None)
    inner.power_cut(random.Random(1))
    assert open_store(inner).last_index() == 6


def test_a_full_disk_at_the_first_start_says_so(tmp_path: Path) -> None:
    files = FaultyFiles(RealFiles())
    files.full = True
    with pytest.raises(StoreFull):
        open_store(files, tmp_path)
    files.clear()
    open_store(files, tmp_path).close()


def test_a_failed_sync_is_final_for_every_later_call() -> None:
    inner = filled(5)
    files = FaultyFiles(inner)
    store = open_store(files)
    files.fail_sync = True
    with pytest.raises(StoreFailed, match="Input/output error"):
        store.save(None, [entry(1, 6)], None)
    files.clear()
    assert_refuses_everything(store)
    assert store.last_index() == 5


def test_a_failed_sync_of_a_directory_is_final() -> None:
    files = filled(5)
    store = open_store(files)

    def sync_directory(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    files.sync_directory = sync_directory  # type: ignore[method-assign]
    with pytest.raises(StoreFailed):
        store.save_snapshot(snapshot(5))
    assert_refuses_everything(store)


def test_a_failed_write_is_final() -> None:
    inner = filled(5)
    files = FaultyFiles(inner)
    store = open_store(files)

    def need_space() -> None:
        raise OSError(errno.EIO, "Input/output error")

    files.need_space = need_space  # type: ignore[method-assign]
    with pytest.raises(StoreFailed):
        store.save(None, [entry(1, 6)], None)
    assert_refuses_everything(store)


def test_after_a_failed_sync_the_last_write_is_written_again_at_the_next_start() -> None:
    """After a failed sync the kernel calls data clean that the disk doesn't have (Rebello et al., ATC'20)."""
    files = filled(5)
    store = open_store(files)
    files.fail_syncs = True
    with pytest.raises(StoreFailed):
        store.save(HardState(2, 3, 5), entries(2, 6, 30), None)
    files.fail_syncs = False
    files.kill()
    store = open_store(files)
    assert (store.initial_state()[0], store.last_index()) == (HardState(2, 3, 5), 30)
    for seed in range(20):
        files.power_cut(random.Random(seed))
        store = open_store(files)
        assert (store.initial_state()[0], store.last_index()) == (HardState(2, 3, 5), 30)


def test_the_unsynced_last_write_of_a_killed_process_is_synced_at_the_next_start() -> None:
    for seed in range(20):
        files = filled(5)
        store = open_store(files, crash_point=crash_at("save.written"))
        with pytest.raises(ProcessDied):
            store.save(HardState(2, 3, 5), entries(2, 6, 30), None)
        files.kill()
        assert open_store(files).last_index() == 30
        files.power_cut(random.Random(seed))
        assert open_store(files).last_index() == 30


def test_a_segment_survives_a_power_cut_as_soon_as_it_was_written_to() -> None:
    for seed in range(40):
        files = SimulatedFiles()
        store = open_store(files, segment_bytes=1024)
        store.save(HardState(1, 1, 0), [], None)
        for each in entries(1, 1, 20, 150):
            store.save(None, [each], None)
        files.power_cut(random.Random(seed))
        store = open_store(files)
        assert store.last_index() == 20, f"seed {seed}"
        assert store.recovery.segments > 1


def test_a_snapshot_survives_a_power_cut_as_soon_as_it_was_saved() -> None:
    for seed in range(40):
        files = filled(10)
        store = open_store(files)
        store.save_snapshot(snapshot(9, data=b"x" * 5000))
        files.power_cut(random.Random(seed))
        assert open_store(files).snapshot() == snapshot(9, data=b"x" * 5000), f"seed {seed}"


def test_each_new_directory_is_made_durable_in_its_parent(tmp_path: Path) -> None:
    synced: list[Path] = []

    class Recording(RealFiles):
        def sync_directory(self, path: Path) -> None:
            synced.append(path)
            super().sync_directory(path)

    Recording().make_directory(tmp_path / "run" / "n1")
    assert synced == [tmp_path, tmp_path / "run"]


def test_without_sync_nothing_is_synced() -> None:
    files = SimulatedFiles()
    store = open_store(files, sync=False, segment_bytes=1024)
    store.save(HardState(1, 1, 0), entries(1, 1, 50), None)
    store.save_snapshot(snapshot(30))
    assert files.syncs == 0
    files.kill()
    store = open_store(files, sync=False)
    assert (store.snapshot().index, store.last_index()) == (30, 50)


def test_a_slow_disk_is_slow_for_each_sync() -> None:
    slept: list[float] = []
    files = FaultyFiles(filled(1), sleep=slept.append)
    store = open_store(files)
    slept.clear()
    files.sync_delay_seconds = 0.05
    store.save(None, [entry(1, 2)], None)
    assert slept == [0.05]


class ProcessDied(Exception):
    pass


class FullAfterWriteBack(FaultyFiles):
    """Part of a write reaches the medium before the device turns out to be full."""

    def __init__(self, inner: SimulatedFiles) -> None:
        super().__init__(inner)
        self._disk = inner
        self._written_back = False

    def need_space(self) -> None:
        if self.full and not self._written_back:
            self._disk.write_back()
            self._written_back = True
        super().need_space()


def crash_at(point: str):  # type: ignore[no-untyped-def]
    def crash_point(name: str) -> None:
        if name == point:
            raise ProcessDied

    return crash_point


def assert_refuses_everything(store: Store) -> None:
    for call in (
        lambda: store.save(HardState(9, 1, 5), [], None),
        lambda: store.save(None, [entry(1, 6)], None),
        lambda: store.save(HardState(9, 1, 99), [], snapshot(99, 9)),
        lambda: store.save_snapshot(snapshot(5)),
        lambda: store.release(1),
    ):
        with pytest.raises(StoreFailed, match="start the node again"):
            call()
    store.close()


def size_of(files: SimulatedFiles) -> int:
    return sum(len(files.read(path)) for path in [*segments(files), *snapshots(files)])
