"""A log of which a file is gone, or is an older copy: refused, whichever file it is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raft.core.types import HardState
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.batch import read_batch, used_bytes
from raft.storage.dump import dump
from raft.storage.errors import CorruptLog, StoreFull
from raft.storage.record import Kind
from raft.storage.segment import Segment, is_sealed
from tests.storage.support import (
    HERE,
    Crash,
    entries,
    entry,
    filled,
    log_of,
    open_store,
    segments,
    snapshot,
    snapshots,
)


def copy_of(files: SimulatedFiles) -> SimulatedFiles:
    copy = SimulatedFiles()
    copy.make_directory(HERE)
    for name in files.names(HERE):
        rewrite(copy, HERE / name, files.read(HERE / name))
    return copy


def rewrite(files: SimulatedFiles, path: Path, data: bytes) -> None:
    files.make_directory(path.parent)
    file = files.create(path)
    file.write(0, data)
    file.sync()
    files.sync_directory(path.parent)


def after_snapshots() -> SimulatedFiles:
    """A log whose oldest segments have gone, as two snapshots cover them."""
    files = SimulatedFiles()
    store = open_store(files)
    for each in entries(1, 1, 400, 200):
        store.save(HardState(1, 1, each.index), [each], None)
        if each.index in (150, 250):
            store.save_snapshot(snapshot(each.index))
            store.compact(each.index)
    store.close()
    assert segments(files)[0].name != "0000000001.wal"
    return files


@pytest.mark.parametrize("log", [lambda: filled(300, size=200), after_snapshots])
def test_a_log_that_lost_any_one_segment_is_refused_or_complete(
    log: Callable[[], SimulatedFiles],
) -> None:
    files = log()
    whole = log_of(open_store(copy_of(files)))
    first, *others = segments(files)
    assert len(others) > 2
    for missing in (first, *others):
        damaged = copy_of(files)
        damaged.remove(missing)
        try:
            assert log_of(open_store(damaged)) == whole, "a snapshot holds all that was in it"
            assert missing == first
        except CorruptLog as error:
            assert "missing" in error.reason or "the log begins at entry" in error.reason


@pytest.mark.parametrize("gone", [2, 3])
def test_a_log_without_its_last_segments_is_refused(gone: int) -> None:
    files = filled(300, size=200)
    for missing in segments(files)[-gone:]:
        files.remove(missing)
    with pytest.raises(CorruptLog, match="is missing") as refusal:
        open_store(files)
    assert refusal.value.path.name == segments(files)[-1].name.replace(
        segments(files)[-1].stem, f"{len(segments(files)) + 1:010d}"
    )


def test_a_segment_of_no_bytes_is_refused_and_so_is_the_last_one() -> None:
    files = filled(300, size=200)
    for path in segments(files):
        damaged = copy_of(files)
        damaged.cut(path, 0)
        with pytest.raises(CorruptLog):
            open_store(damaged)


def test_an_older_copy_of_a_segment_that_is_not_the_last_is_refused() -> None:
    files = filled(150, size=200)
    older = copy_of(files)
    newest = segments(files)[-1]
    store = open_store(files)
    for each in entries(1, 151, 300, 200):
        store.save(HardState(1, 1, each.index), [each], None)
    store.close()
    assert segments(files)[-1] != newest
    rewrite(files, newest, older.read(newest))
    with pytest.raises(CorruptLog):
        open_store(files)


def test_entries_of_a_lost_first_segment_are_missed_even_without_later_ones() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 1, 0), entries(1, 1, 60, 200), None)
    store.save_snapshot(snapshot(20))
    store.save(HardState(1, 1, 20), [], None)
    for term in range(2, 1000):
        if len(segments(files)) == 2:
            break
        store.save(HardState(term, 1, 20), [], None)
    store.close()
    assert len(segments(files)) == 2
    assert log_of(open_store(copy_of(files)))[-1].index == 60
    files.remove(segments(files)[0])
    with pytest.raises(CorruptLog, match="entries 21 to 60 are missing"):
        open_store(files)


def test_a_lost_snapshot_is_refused_unless_an_older_one_and_the_log_cover_it() -> None:
    files = after_snapshots()
    older, newer = snapshots(files)
    for missing in ([older], [newer]):
        damaged = copy_of(files)
        for path in missing:
            damaged.remove(path)
        assert open_store(damaged).last_index() == 400
    for path in (older, newer):
        files.remove(path)
    with pytest.raises(CorruptLog, match="the snapshot is missing"):
        open_store(files)


# -- the seal ---------------------------------------------------------------------------------------


def seal_at(files: SimulatedFiles, path: Path) -> bool:
    """Does this segment end with a seal?"""
    return [line.kind for line in dump(HERE, files) if line.segment == path.name][-1] == "sealed"


def test_every_segment_but_the_last_is_sealed_and_the_seal_says_what_follows() -> None:
    files = filled(300, size=200)
    *before, last = segments(files)
    assert all(seal_at(files, path) for path in before)
    assert not seal_at(files, last)
    seals = [line for line in dump(HERE, files) if line.kind == "sealed"]
    assert [line.text for line in seals] == [f"{path.name} is there" for path in [*before[1:], last]]


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize(
    "point", ["segment.created", "segment.written", "segment.synced", "segment.renamed", "segment.durable"]
)
def test_a_crash_at_any_step_of_a_rotation_loses_nothing_and_the_seal_follows_later(
    point: str, power: bool
) -> None:
    files = SimulatedFiles()
    armed = False

    def crash_point(name: str) -> None:
        if armed and name == point:
            raise Crash(name)

    store = open_store(files, crash_point=crash_point)
    armed = True
    saved = 0
    with pytest.raises(Crash):
        for each in entries(1, 1, 300, 200):
            store.save(HardState(1, 1, each.index), [each], None)
            saved = each.index
    if power:
        files.power_cut(random.Random(point))
    else:
        files.kill()
    again = open_store(files)
    assert again.last_index() >= saved
    for each in entries(1, again.last_index() + 1, 301, 200):
        again.save(HardState(1, 1, each.index), [each], None)
    again.close()
    files.remove(segments(files)[-1])
    with pytest.raises(CorruptLog, match="is missing"):
        open_store(files)


def test_a_log_of_a_version_without_seals_gets_one_when_it_is_opened() -> None:
    files = filled(300, size=200)
    before = segments(files)[-2]
    data = files.read(before)
    sequence = int(before.stem)
    offset, tail = 0, read_batch(data, 0, len(data), sequence)
    while not is_sealed(tail):
        offset = tail.end  # type: ignore[union-attr]
        tail = read_batch(data, offset, len(data), sequence)
    rewrite(files, before, data[:offset])
    open_store(files).close()
    assert seal_at(files, before)


def test_nothing_is_written_to_a_segment_before_the_one_before_it_is_sealed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk between the two: the write is refused, and is made when there is room."""
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 1, 0), entries(1, 1, 49, 200), None)
    index = 50
    refused = []

    def no_room(_segment: Segment) -> None:
        refused.append(True)
        raise StoreFull("no room")

    monkeypatch.setattr(Segment, "seal", no_room)
    large = entry(1, index, b"y" * 8000)
    for _ in range(2):
        with pytest.raises(StoreFull):
            store.save(None, [large], None)
    with pytest.raises(StoreFull):
        store.save(None, [entry(1, index, b"small")], None)
    assert len(refused) == 3
    monkeypatch.undo()
    store.save(None, [large], None)
    store.close()
    assert log_of(open_store(files))[-1] == large
    assert any(record.kind == Kind.SEALED for record in _records(files, segments(files)[0]))


def _records(files: SimulatedFiles, path: Path) -> list[Any]:
    data, found, offset = files.read(path), [], 0
    while offset < used_bytes(data):
        batch = read_batch(data, offset, used_bytes(data), int(path.stem))
        found += batch.records  # type: ignore[union-attr]
        offset = batch.end  # type: ignore[union-attr]
    return found  # type: ignore[return-value]
