"""Snapshots that come in pieces, from the first piece to the log that names them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raft.core.types import HardState, Snapshot
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.drafts import DRAFT_SUFFIX, SYNC_BYTES
from raft.storage.errors import CorruptLog, StoreFull
from raft.storage.files import RealFiles
from raft.storage.record import Marker
from raft.storage.snapshots import read_snapshot, sealed
from raft.storage.store import Store
from tests.storage.support import HERE, VOTERS, Crash, entry, filled, log_of, open_store, snapshot, snapshots

HEAD = Snapshot(20, 2, VOTERS)
DATA = bytes(range(256)) * 40
STATE = HardState(2, 0, 20)
POINTS = [f"snapshot.{step}" for step in ("begun", "created", "written", "synced", "renamed", "durable")]


def drafts(files: SimulatedFiles) -> list[str]:
    return [name for name in files.names(HERE) if name.endswith(DRAFT_SUFFIX)]


def headed(head: Snapshot, data: bytes) -> Snapshot:
    """What comes before the data, with the checksum of the whole."""
    whole = sealed(Snapshot(head.index, head.term, head.conf_state, data))
    return Snapshot(head.index, head.term, head.conf_state, checksum=whole.checksum)


def receive(store: Store, head: Snapshot = HEAD, data: bytes = DATA, step: int = 1000) -> Snapshot:
    draft = store.draft(headed(head, data), len(data))
    for offset in range(0, len(data), step):
        draft.add(data[offset : offset + step])
    return draft.finish()


@pytest.mark.parametrize("data", [DATA, b""])
def test_a_snapshot_received_in_chunks_is_written_once(data: bytes) -> None:
    files = filled(5)
    store = open_store(files)
    whole = receive(store, data=data)
    assert whole == sealed(Snapshot(20, 2, VOTERS, data))
    assert not snapshots(files), "it is not yet named"
    inode = files.file_at(HERE / drafts(files)[0])
    store.save(STATE, (), whole)
    assert [files.file_at(path) for path in snapshots(files)] == [inode]
    assert not drafts(files)
    files.power_cut(random.Random(1))
    again = open_store(files)
    assert again.snapshot() == whole
    assert log_of(again) == []
    again.save(None, [entry(2, 21)], None)


def test_an_unfinished_or_unnamed_draft_does_not_outlive_the_process() -> None:
    files = filled(5)
    store = open_store(files)
    store.draft(HEAD, 5).add(b"abc")
    files.kill()
    store = open_store(files)
    assert not drafts(files)
    receive(store)
    files.kill()
    store = open_store(files)
    assert not drafts(files)
    assert store.last_index() == 5


def test_a_replaced_draft_is_removed_and_its_snapshot_can_still_be_saved() -> None:
    files = filled(5)
    store = open_store(files)
    first = receive(store)
    second = receive(store, Snapshot(30, 2, VOTERS), b"newer")
    assert len(drafts(files)) == 1
    store.save(STATE, (), first)
    assert store.snapshot() == first
    store.save(HardState(2, 0, 30), (), second)
    store.close()
    assert open_store(files).snapshot() == second


def test_a_draft_of_the_same_index_never_passes_for_another_leaders_snapshot() -> None:
    files = filled(5)
    store = open_store(files)
    receive(store, data=b"one way to write it")
    store.save(STATE, (), snapshot(20, 2, b"another way"))
    store.close()
    assert open_store(files).snapshot().data == b"another way"


def test_a_discarded_draft_is_removed_and_a_published_one_stays() -> None:
    files = filled(5)
    store = open_store(files)
    draft = store.draft(headed(HEAD, b"abc"), 3)
    draft.add(b"abc")
    draft.discard()
    assert not drafts(files)
    draft = store.draft(headed(HEAD, b"abc"), 3)
    draft.add(b"abc")
    store.save(STATE, (), draft.finish())
    draft.discard()
    assert len(snapshots(files)) == 1


def test_a_draft_is_published_once_and_never_after_it_was_discarded() -> None:
    files = filled(5)
    store = open_store(files)
    draft = store.draft(headed(HEAD, b"abc"), 3)
    draft.add(b"abc")
    whole = draft.finish()
    draft.discard()
    assert not draft.publish(whole)
    draft = store.draft(headed(HEAD, b"abc"), 3)
    draft.add(b"abc")
    whole = draft.finish()
    assert draft.publish(whole)
    assert not draft.publish(whole)
    store.save(STATE, (), whole)
    assert store.snapshot() == whole


def test_a_snapshot_under_the_name_of_another_is_refused() -> None:
    files = filled(5)
    store = open_store(files)
    store.save(STATE, (), receive(store))
    for marker in (Marker(20, 1), Marker(20, 3)):
        with pytest.raises(CorruptLog, match="not the snapshot"):
            read_snapshot(files, HERE, marker)
    assert read_snapshot(files, HERE, Marker(20, 2)) == store.snapshot()


def test_an_own_snapshot_that_is_not_newer_is_not_written() -> None:
    files = filled(5)
    store = open_store(files)
    store.save_snapshot(snapshot(5))
    syncs = files.syncs
    store.save_snapshot(snapshot(5))
    assert files.syncs == syncs


def test_a_draft_with_a_missing_chunk_is_never_finished() -> None:
    store = open_store(filled(5))
    draft = store.draft(HEAD, 4)
    draft.add(b"abc")
    with pytest.raises(AssertionError, match="1 bytes"):
        draft.finish()


def test_a_full_disk_stops_a_draft_and_not_the_log() -> None:
    files = filled(5)
    store = open_store(files)
    files.capacity_bytes = sum(len(files.read(HERE / name)) for name in files.names(HERE)) + 2000
    draft = store.draft(HEAD, len(DATA))
    draft.add(DATA[:1000])
    with pytest.raises(StoreFull):
        draft.add(DATA[1000:])
    draft.discard()
    store.save(None, [entry(1, 6)], None)
    store.save(STATE, (), receive(store, data=b"small"))


def test_a_long_draft_is_synced_while_it_arrives() -> None:
    files = filled(5)
    store = open_store(files)
    draft = store.draft(HEAD, 3 * SYNC_BYTES)
    before = files.syncs
    for _ in range(3):
        draft.add(bytes(SYNC_BYTES))
    assert files.syncs == before + 2


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("point", [*POINTS, "snapshot.marked", "snapshot.purged"])
def test_a_crash_at_any_step_leaves_the_log_or_the_snapshot(point: str, power: bool) -> None:
    files = filled(5)

    def crash_point(name: str) -> None:
        if name == point:
            raise Crash(name)

    store = open_store(files, crash_point=crash_point)
    with pytest.raises(Crash):
        store.save(STATE, (), receive(store))
    if power:
        files.power_cut(random.Random(point))
    else:
        files.kill()
    again = open_store(files)
    assert not drafts(files)
    if again.snapshot().index:
        assert (again.snapshot().data, log_of(again)) == (DATA, [])
    else:
        assert again.last_index() == 5


def test_a_received_snapshot_stays_readable_after_its_file_is_removed(tmp_path: Path) -> None:
    store = open_store(RealFiles(), tmp_path)
    first = receive(store)
    second = receive(store, data=DATA[::-1])
    assert (bytes(first.data), bytes(second.data)) == (DATA, DATA[::-1])
    store.save(STATE, (), second)
    store.save(HardState(2, 0, 40), (), receive(store, Snapshot(40, 2, VOTERS), b"newer"))
    assert bytes(second.data) == DATA[::-1]
    store.close()
    assert open_store(RealFiles(), tmp_path).snapshot().data == b"newer"


def test_of_an_empty_file_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert RealFiles().contents(tmp_path / "empty") == b""


def test_a_replaced_log_is_released_from_memory() -> None:
    store = open_store(filled(5))
    store.save(STATE, (), receive(store))
    assert store.unswept == 5
    store.sweep()
    assert store.unswept == 0
