"""Any log can be shown, a damaged one too."""

from __future__ import annotations

from raft.core.types import HardState
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.batch import used_bytes
from raft.storage.dump import DumpedRecord, dump
from tests.storage.support import HERE, entries, entry, filled, open_store, segments, snapshot


def test_every_record_is_shown_in_order() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(2, 3, 0), [entry(2, 1, b"set x 1"), entry(2, 2, b"y" * 100)], None)
    store.save(HardState(2, 3, 2), [], None)
    store.save_snapshot(snapshot(2, 2))
    lines = list(dump(HERE, files))
    assert [line.kind for line in lines] == [
        "segment",
        "entry",
        "entry",
        "hard-state",
        "snapshot",
        "hard-state",
    ]
    assert "cluster test, node 1" in lines[0].text
    assert (lines[1].index, lines[1].term, lines[1].text) == (1, 2, "normal set x 1")
    assert lines[2].text.endswith("... (100 bytes)")
    assert lines[3].text == "vote 3, commit 0"
    assert (lines[4].index, lines[4].text) == (2, "taken here")
    assert [line.offset for line in lines] == sorted(line.offset for line in lines)


def test_a_damaged_stretch_is_named_and_what_follows_is_shown() -> None:
    files = filled(10)
    path = segments(files)[0]
    middle = next(line for line in dump(HERE, files) if line.index == 5)
    files.flip_bit(path, 8 * (middle.offset + 10))
    lines = list(dump(HERE, files))
    assert [line.index for line in lines if line.kind == "entry"] == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    damage = only(lines, "damaged")
    assert damage.offset == middle.offset
    assert "up to the write at byte" in damage.text


def test_a_torn_end_is_named() -> None:
    files = filled(10)
    path = segments(files)[0]
    files.cut(path, used_bytes(files.read(path)) - 3)
    lines = list(dump(HERE, files))
    assert lines[-1].kind == "torn"
    assert lines[-2].index == 9 or lines[-2].kind == "hard-state"


def test_a_missing_segment_is_named() -> None:
    files = filled(300, size=200)
    files.remove(segments(files)[2])
    lines = list(dump(HERE, files))
    assert only(lines, "missing").segment == "0000000003.wal"


def test_a_log_that_is_in_use_can_be_shown() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(None, entries(1, 1, 3), None)
    assert [line.index for line in dump(HERE, files) if line.kind == "entry"] == [1, 2, 3]


def only(lines: list[DumpedRecord], kind: str) -> DumpedRecord:
    (found,) = (line for line in lines if line.kind == kind)
    return found
