"""The store in use: saving, snapshots, compaction, and whose directory it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raft.core.errors import Compacted
from raft.core.types import ConfState, HardState, Snapshot
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.device import Device
from raft.storage.errors import DirectoryInUse, DirectoryUnusable, ForeignDirectory
from raft.storage.files import File, RealFiles
from raft.storage.record import Identity
from raft.storage.snapshots import sealed
from raft.storage.store import Store
from tests.storage.support import (
    HERE,
    VOTERS,
    entries,
    entry,
    filled,
    log_of,
    open_store,
    segments,
    snapshot,
    snapshots,
)


def test_a_write_is_one_sync_whatever_is_in_it() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    before = files.syncs
    store.save(HardState(1, 1, 0), entries(1, 1, 64), None)
    assert files.syncs == before + 1


def test_most_writes_go_where_something_was_written_before(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, int]] = []
    write = Device.write

    def noting(device: Device, file: File, offset: int, data: bytes) -> None:
        written.append((offset, offset + len(data)))
        write(device, file, offset, data)

    store = open_store(SimulatedFiles(), segment_bytes=1024 * 1024)
    monkeypatch.setattr(Device, "write", noting)
    for index in range(1, 101):
        store.save(None, entries(1, index, index, size=4000), None)
    beyond = [at for at in range(1, 100) if written[at][1] > max(end for _, end in written[:at])]
    assert len(written) == 100
    assert len(beyond) == 1  # 400,000 bytes, blank ones written 262,144 at a time.


def test_a_commit_index_alone_waits_for_the_next_write_or_the_close() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 1, 0), entries(1, 1, 3), None)
    before = files.syncs
    store.save(HardState(1, 1, 2), [], None)
    assert files.syncs == before
    assert store.initial_state()[0].commit == 2
    files.kill()
    assert open_store(files).initial_state()[0].commit == 0
    files.kill()
    store = open_store(files)
    store.save(HardState(1, 1, 2), [], None)
    store.save(None, [entry(1, 4)], None)
    files.kill()
    store = open_store(files)
    assert store.initial_state()[0].commit == 2
    store.save(HardState(1, 1, 3), [], None)
    store.close()
    assert open_store(files).initial_state()[0].commit == 3


@pytest.mark.parametrize(
    "state", [HardState(2, 2, 3), HardState(3, 9, 3), HardState(3, 0, 3), HardState(3, 2, 2)]
)
def test_a_hard_state_never_goes_back(state: HardState) -> None:
    store = open_store(SimulatedFiles())
    store.save(HardState(3, 2, 3), entries(3, 1, 3), None)
    with pytest.raises(AssertionError, match="never goes back"):
        store.write(state, [], None)


def test_committed_entries_are_never_replaced_and_holes_never_made() -> None:
    store = open_store(SimulatedFiles())
    store.save(HardState(1, 1, 3), entries(1, 1, 5), None)
    with pytest.raises(AssertionError, match="entry 3 would replace one that is committed"):
        store.write(None, [entry(2, 3)], None)
    with pytest.raises(AssertionError, match="entry 7 would leave a hole after entry 5"):
        store.write(None, [entry(2, 7)], None)


def test_readers_see_what_was_written_only_once_it_is_accepted() -> None:
    store = open_store(SimulatedFiles())
    state, new = HardState(1, 1, 0), entries(1, 1, 2)
    store.write(state, new, None)
    assert store.last_index() == 0
    store.accept(state, new, None)
    assert log_of(store) == new
    assert store.term(2) == 1


def test_a_write_larger_than_a_segment_gets_one_of_its_own() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    big = entry(1, 2, b"x" * 100_000)
    store.save(HardState(1, 1, 1), [entry(1, 1)], None)
    store.save(None, [big], None)
    store.save(None, [entry(1, 3)], None)
    store.close()
    assert log_of(open_store(files)) == [entry(1, 1), big, entry(1, 3)]


def test_an_installed_snapshot_replaces_the_log() -> None:
    files = filled(5)
    store = open_store(files)
    store.save(HardState(4, 0, 50), entries(4, 51, 52), snapshot(50, 4))
    for _ in range(2):
        assert store.snapshot() == snapshot(50, 4)
        assert store.initial_state() == (HardState(4, 0, 50), VOTERS)
        assert (store.first_index(), store.last_index()) == (51, 52)
        assert store.term(50) == 4
        store.close()
        store = open_store(files)


def test_an_installed_snapshot_with_nothing_after_it_leaves_an_empty_log() -> None:
    files = filled(5)
    store = open_store(files)
    store.save(HardState(4, 0, 50), [], snapshot(50, 4))
    files.kill()
    store = open_store(files)
    assert (store.first_index(), store.last_index()) == (51, 50)
    assert store.recovery.entries == 0


def test_a_first_configuration_is_an_installed_snapshot() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(None, [], snapshot(1, 1, b""))
    store.close()
    store = open_store(files)
    assert store.initial_state() == (HardState(1, 0, 1), VOTERS)
    store.save(HardState(2, 1, 1), [entry(2, 2)], None)
    store.close()
    assert log_of(open_store(files)) == [entry(2, 2)]


def test_the_last_two_snapshots_are_kept() -> None:
    files = filled(30)
    store = open_store(files)
    for index in (5, 10, 15, 20):
        store.save_snapshot(snapshot(index, data=b"at %d" % index))
    assert len(snapshots(files)) == 2
    store.close()
    assert open_store(files).snapshot() == snapshot(20, data=b"at 20")


def test_a_large_snapshot_is_written_in_steps_with_a_rest_after_each() -> None:
    files = filled(10)
    store = open_store(files)
    large, room = snapshot(10, data=bytes(range(256)) * 4096), list[int]()
    files.capacity_bytes = 1 << 30
    store.write_snapshot(large, lambda: room.append(files.room_for(1 << 30)))
    assert len(room) > 2 and room == sorted(set(room), reverse=True), "it grows from rest to rest"
    store.close()
    assert open_store(files).snapshot() == large


def test_a_snapshot_that_is_not_newer_changes_nothing() -> None:
    files = filled(30)
    store = open_store(files)
    store.save_snapshot(snapshot(20))
    store.save_snapshot(snapshot(10, data=b"older"))
    assert store.snapshot() == snapshot(20)
    assert len(snapshots(files)) == 1


def test_compaction_drops_segments_but_none_that_a_kept_snapshot_needs() -> None:
    files = filled(400, size=200)
    store = open_store(files)
    all_of_them = len(segments(files))
    store.save_snapshot(snapshot(200))
    store.save_snapshot(snapshot(390))
    store.compact(390)
    after_first = len(segments(files))
    assert 1 < after_first < all_of_them
    with pytest.raises(Compacted):
        store.entries(390, 392, 1000)
    store.save_snapshot(snapshot(395))
    store.release(395)
    assert len(segments(files)) < after_first
    store.close()
    again = open_store(files)
    assert again.initial_state()[0] == HardState(1, 1, 400)
    assert again.snapshot() == snapshot(395)
    assert log_of(again) == entries(1, 396, 400, 200)


def test_entries_that_no_snapshot_covers_are_never_compacted() -> None:
    store = open_store(filled(30))
    store.save_snapshot(snapshot(10))
    with pytest.raises(AssertionError, match="the newest snapshot is at 10"):
        store.compact(11)


def test_a_log_without_snapshots_is_never_released() -> None:
    files = filled(400, size=200)
    store = open_store(files)
    assert store.release(400) == 0


def test_the_hard_state_survives_the_segment_that_it_was_written_in() -> None:
    files = SimulatedFiles()
    store = open_store(files, segment_bytes=2048)
    store.save(HardState(7, 3, 0), [], None)
    for each in entries(7, 1, 60, 200):
        store.save(None, [each], None)
    store.save_snapshot(snapshot(58, 7))
    store.compact(58)
    assert segments(files)[0].name != "0000000001.wal"
    files.kill()
    assert open_store(files).initial_state()[0] == HardState(7, 3, 58)


def test_a_snapshot_is_still_named_when_the_segment_that_named_it_is_gone() -> None:
    files = SimulatedFiles()
    store = open_store(files, segment_bytes=512)
    store.save(HardState(7, 3, 50), [], snapshot(50, 7))
    store.save(None, entries(7, 51, 52, 600), None)
    store.compact(50)
    assert [path.name for path in segments(files)] == ["0000000002.wal"]
    files.kill()
    again = open_store(files)
    assert again.snapshot() == snapshot(50, 7)
    assert again.last_index() == 52


def test_two_stores_never_share_a_directory(tmp_path: Path) -> None:
    for files in (RealFiles(), SimulatedFiles()):
        store = open_store(files, tmp_path / "data")
        with pytest.raises(DirectoryInUse, match="in use by another process"):
            open_store(files, tmp_path / "data")
        store.close()
        open_store(files, tmp_path / "data").close()


def test_no_lock_file_is_left(tmp_path: Path) -> None:
    store = open_store(RealFiles(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0000000001.wal"]
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["0000000001.wal"]


@pytest.mark.parametrize("other", [Identity("test", 2), Identity("other", 1)])
def test_the_directory_of_another_node_or_cluster_is_refused_and_left_as_it_is(other: Identity) -> None:
    files = filled(3)
    before = files.read(segments(files)[0])
    with pytest.raises(ForeignDirectory, match="belongs to node 1 of cluster 'test'"):
        open_store(files, identity=other)
    assert files.read(segments(files)[0]) == before
    assert open_store(files).last_index() == 3


def test_the_directory_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "precious.db").write_text("data")
    with pytest.raises(ForeignDirectory, match=r"precious\.db"):
        open_store(RealFiles(), tmp_path)
    (tmp_path / "precious.db").unlink()
    open_store(RealFiles(), tmp_path).close()


def test_a_path_that_can_not_be_a_directory_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryUnusable, match=r"File exists|Not a directory"):
        open_store(RealFiles(), tmp_path / "file")
    with pytest.raises(DirectoryUnusable, match=r"File exists|Not a directory"):
        open_store(RealFiles(), tmp_path / "file" / "below")


def test_directories_are_private(tmp_path: Path) -> None:
    open_store(RealFiles(), tmp_path / "run" / "n1").close()
    assert (tmp_path / "run" / "n1").stat().st_mode & 0o077 == 0
    assert (tmp_path / "run" / "n1" / "0000000001.wal").stat().st_mode & 0o077 == 0


def test_leftovers_of_a_crash_are_tidied_up() -> None:
    files = filled(3)
    for name in ("0000000002.wal.tmp", "00000000000000000003.snap"):
        files.create(HERE / name)
    store = open_store(files)
    assert files.names(HERE) == ["0000000001.wal"]
    assert store.last_index() == 3


def test_a_real_disk_keeps_all_that_a_simulated_one_does(tmp_path: Path) -> None:
    store = open_store(RealFiles(), tmp_path, segment_bytes=4096)
    state = ConfState(voters=(1, 2), voters_outgoing=(1,), learners=(3,), learners_next=(2,), auto_leave=True)
    store.save(HardState(2, 1, 0), [], None)
    for each in entries(2, 1, 100, 150):
        store.save(HardState(2, 1, each.index - 1), [each], None)
    kept = snapshot(50, 2, bytes(3_000_000))
    store.save_snapshot(sealed(type(kept)(kept.index, kept.term, state, kept.data)))
    store.compact(50)
    store.close()
    again = open_store(RealFiles(), tmp_path, segment_bytes=4096)
    assert again.initial_state() == (HardState(2, 1, 99), state)
    assert again.snapshot().data == kept.data
    assert log_of(again) == entries(2, 51, 100, 150)
    again.close()


@contextmanager
def writing_beside(store_of: Callable[[Callable[[str], None]], Store], taken: Snapshot) -> Iterator[Store]:
    """A store while another thread is held in the middle of writing a snapshot's file."""
    reached, go_on = threading.Event(), threading.Event()

    def crash_point(name: str) -> None:
        if name == "snapshot.durable" and threading.current_thread() is writer:
            reached.set()
            assert go_on.wait(60)

    store = store_of(crash_point)
    writer = threading.Thread(target=store.write_snapshot, args=(taken,))
    writer.start()
    assert reached.wait(60)
    yield store
    go_on.set()
    writer.join()


def test_a_snapshot_is_written_beside_the_log() -> None:
    files = filled(10)
    with writing_beside(lambda point: open_store(files, crash_point=point), snapshot(8)) as store:
        store.save(None, entries(1, 11, 12), None)
    store.accept_snapshot(snapshot(8))
    store.close()
    again = open_store(files)
    assert again.snapshot() == snapshot(8)
    assert again.last_index() == 12


def test_a_snapshot_that_was_overtaken_by_the_leader_s_is_left_out() -> None:
    files = filled(10)
    with writing_beside(lambda point: open_store(files, crash_point=point), snapshot(8)) as store:
        store.save(HardState(2, 0, 50), [], snapshot(50, 2))
    store.accept_snapshot(snapshot(8))
    assert store.snapshot() == snapshot(50, 2)
    store.close()
    again = open_store(files)
    assert again.snapshot() == snapshot(50, 2)
    assert len(snapshots(files)) == 1
    assert again.recovery.passed_over is None


def test_a_directory_in_which_other_users_could_change_the_log_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(RealFiles(), tmp_path / "data").close()
    (tmp_path / "data").chmod(0o777)
    with pytest.raises(DirectoryUnusable, match=r"every user may write to it \(mode 777\)"):
        open_store(RealFiles(), tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    owner = (tmp_path / "data").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(DirectoryUnusable, match=f"belongs to user {owner}, and this process runs as user"):
        open_store(RealFiles(), tmp_path / "data")
