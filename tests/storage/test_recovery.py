"""Opening a log after something went wrong: cut back what was never acknowledged, refuse all else."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from raft.core.types import HardState
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.batch import Batch, encode_batch, used_bytes
from raft.storage.errors import CorruptLog, NewerFormat
from raft.storage.record import Kind
from raft.storage.segment import is_sealed, scan
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


def test_an_empty_directory_is_fresh_and_a_used_one_is_not() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    assert store.recovery.fresh
    assert (store.first_index(), store.last_index()) == (1, 0)
    store.close()
    assert not open_store(files).recovery.fresh


def test_entries_and_hard_state_come_back() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(3, 2, 0), entries(3, 1, 5), None)
    store.save(HardState(3, 2, 4), [entry(3, 6, b"")], None)
    store.close()
    again = open_store(files)
    assert again.initial_state()[0] == HardState(3, 2, 4)
    assert log_of(again) == [*entries(3, 1, 5), entry(3, 6, b"")]
    assert again.recovery.entries == 6
    assert again.recovery.cut_bytes == 0


def test_the_bytes_of_an_entry_are_kept_as_they_were_made() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    made = entry(1, 1, b"value")
    store.save(None, [made], None)
    assert made.encoded() in files.read(segments(files)[0])
    store.close()
    assert log_of(open_store(files))[0].encoded_cache == made.encoded()


def test_later_entries_replace_the_suffix_from_their_index_on() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 0, 2), entries(1, 1, 10), None)
    store.save(HardState(2, 0, 2), entries(2, 4, 6), None)
    expected = [*entries(1, 1, 3), *entries(2, 4, 6)]
    assert log_of(store) == expected
    store.close()
    assert log_of(open_store(files)) == expected


def test_a_log_cut_at_each_of_its_last_bytes_starts_with_all_whole_writes() -> None:
    files = filled(20, size=190)
    path = segments(files)[0]
    data = files.read(path)
    ends = [end_of(write) for write in writes(data)]
    for size in range(used_bytes(data) - 4096, used_bytes(data) + 1):
        damaged = SimulatedFiles()
        rewrite(damaged, path, data[:size])
        store = open_store(damaged)
        assert store.last_index() == sum(end <= size for end in ends[2:]), f"cut at {size}"
        assert_usable(store, damaged)


def test_a_log_zeroed_from_each_of_its_last_bytes_starts_with_all_whole_writes() -> None:
    files = filled(20, size=190)
    path = segments(files)[0]
    data = files.read(path)
    for size in range(writes(data)[-1].start + 1, used_bytes(data)):
        damaged = SimulatedFiles()
        rewrite(damaged, path, data[:size] + bytes(len(data) - size))
        store = open_store(damaged)
        assert store.last_index() == 19, f"zeroed from {size}"
        assert store.recovery.cut is not None
        assert store.recovery.cut_bytes > 0
        assert_usable(store, damaged)


def test_zeroed_pages_in_the_middle_are_refused() -> None:
    files = filled(100, size=300)
    path = segments(files)[0]
    data = files.read(path)
    rewrite(files, path, data[:4096] + bytes(4096) + data[8192:])
    with pytest.raises(CorruptLog, match="later writes"):
        open_store(files)


def test_one_flipped_bit_anywhere_loses_nothing_silently() -> None:
    files = filled(4, size=60)
    store = open_store(files)
    store.save(None, entries(1, 5, 12, 50), None)
    store.close()
    path = segments(files)[0]
    data = files.read(path)
    used = used_bytes(data)
    refused = 0
    for bit in [*range(used * 8), *random.Random(1).sample(range(used * 8, len(data) * 8), 1000)]:
        damaged = SimulatedFiles()
        rewrite(damaged, path, data)
        damaged.flip_bit(path, bit)
        try:
            store = open_store(damaged)
        except CorruptLog:
            refused += 1
        else:
            assert store.last_index() == 12, f"bit {bit % 8} of byte {bit // 8} cost entries"
            assert log_of(store)[4:] == entries(1, 5, 12, 50)
    assert refused >= (used - 16 * 6) * 8, "each bit that says anything is checked"


def test_a_flipped_bit_in_an_older_segment_is_refused() -> None:
    files = filled(300, size=200)
    assert len(segments(files)) > 3
    for path in segments(files)[:-1]:
        damaged = copy_of(files)
        damaged.flip_bit(path, (used_bytes(files.read(path)) - 100) * 8)
        with pytest.raises(CorruptLog) as refusal:
            open_store(damaged)
        assert refusal.value.path == path


def test_a_flipped_bit_past_the_end_of_an_older_segment_costs_nothing() -> None:
    files = filled(300, size=200)
    path = segments(files)[0]
    files.flip_bit(path, 8 * (used_bytes(files.read(path)) + 40))
    assert open_store(files).last_index() == 300


def test_writes_missing_at_the_end_of_an_older_segment_are_refused() -> None:
    files = filled(300, size=200)
    path = segments(files)[1]
    data = files.read(path)
    *_, last, seal = writes(data, 2)
    assert is_sealed(seal)
    end = last.start
    rewrite(files, path, data[:end] + bytes(len(data) - end))
    with pytest.raises(CorruptLog):
        open_store(files)
    files.cut(path, end)
    with pytest.raises(CorruptLog):
        open_store(files)


def test_a_missing_segment_is_refused() -> None:
    files = filled(300, size=200)
    for missing in segments(files)[:-1]:
        damaged = copy_of(files)
        damaged.remove(missing)
        with pytest.raises(CorruptLog, match=r"missing|the log begins at entry"):
            open_store(damaged)


def test_a_log_without_entries_that_were_committed_is_refused() -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 1, 5), entries(1, 1, 5), None)
    store.close()
    path = segments(files)[0]
    data = files.read(path)
    start = writes(data)[-1].start
    hard_state_only = encode_batch([(Kind.HARD_STATE, msgspec.msgpack.encode((1, 1, 5)))], 1, start)
    rewrite(files, path, data[:start] + hard_state_only + bytes(len(data) - start - len(hard_state_only)))
    with pytest.raises(CorruptLog, match="up to 5 were committed and the log ends at 0"):
        open_store(files)


@pytest.mark.parametrize("state", [(1, 1, 0), (2, 3, 0)])
def test_a_hard_state_that_goes_back_is_refused(state: tuple[int, int, int]) -> None:
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(2, 2, 0), [], None)
    store.close()
    add_write(files, (Kind.HARD_STATE, msgspec.msgpack.encode(state)))
    with pytest.raises(CorruptLog, match=r"the (term|vote)"):
        open_store(files)


def test_a_hole_between_entries_is_refused() -> None:
    files = filled(5)
    add_write(files, (Kind.ENTRY, entry(1, 7).encoded()))
    with pytest.raises(CorruptLog, match="entry 7 follows entry 5"):
        open_store(files)


def test_a_record_of_an_unknown_kind_is_refused() -> None:
    files = filled(5)
    add_write(files, (7, b""))
    with pytest.raises(CorruptLog, match="unknown kind"):
        open_store(files)


def test_a_newer_format_is_refused_with_what_to_do() -> None:
    files = filled(1)
    header = msgspec.msgpack.encode({"format": 2, "something": "new"})
    rewrite(files, segments(files)[0], encode_batch([(Kind.SEGMENT, header)], 1, 0))
    with pytest.raises(NewerFormat, match=r"format 2 .* up to format 1.*newer version"):
        open_store(files)


def test_the_newest_valid_snapshot_is_used_with_the_log_after_it() -> None:
    files = with_two_snapshots()
    store = open_store(files)
    assert store.snapshot() == snapshot(80, data=b"new")
    assert (store.first_index(), store.last_index()) == (81, 100)
    assert store.recovery.passed_over is None


def test_a_damaged_snapshot_is_replaced_by_the_one_before_and_the_log() -> None:
    files = with_two_snapshots()
    newest = snapshots(files)[-1]
    files.flip_bit(newest, 8 * (len(files.read(newest)) - 1))
    store = open_store(files)
    assert store.snapshot() == snapshot(40, data=b"old")
    assert log_of(store) == entries(1, 41, 100, 200)
    assert store.recovery.passed_over is not None
    assert newest.name in store.recovery.passed_over
    store.save_snapshot(snapshot(70))
    store.close()
    assert open_store(files).snapshot() == snapshot(70)


def test_a_gap_between_snapshot_and_log_is_refused() -> None:
    files = with_two_snapshots()
    for path in snapshots(files):
        files.remove(path)
    with pytest.raises(CorruptLog, match="snapshot is missing"):
        open_store(files)


def test_every_bit_of_a_snapshot_is_checked() -> None:
    files = SimulatedFiles()
    open_store(files).save(HardState(1, 0, 9), [], snapshot(9))
    files.kill()
    path = snapshots(files)[0]
    for bit in range(8 * len(files.read(path))):
        damaged = copy_of(files)
        damaged.flip_bit(path, bit)
        with pytest.raises(CorruptLog):
            open_store(damaged)


def test_snapshots_without_a_log_are_refused() -> None:
    files = with_two_snapshots()
    for path in segments(files):
        files.remove(path)
    with pytest.raises(CorruptLog, match="the log that names them is gone"):
        open_store(files)


def test_a_wiped_log_after_compaction_is_refused() -> None:
    files = with_two_snapshots()
    for path in [*segments(files)[:-1], *snapshots(files)]:
        files.remove(path)
    with pytest.raises(CorruptLog):
        open_store(files)


def with_two_snapshots() -> SimulatedFiles:
    """Snapshots at 40 and 80 of a log of 100 entries, compacted as far as allowed."""
    files = filled(100, size=200)
    store = open_store(files, segment_bytes=2048)
    store.save_snapshot(snapshot(40, data=b"old"))
    store.save_snapshot(snapshot(80, data=b"new"))
    store.compact(80)
    store.close()
    return files


def assert_usable(store: Store, files: SimulatedFiles) -> None:
    """A recovered store takes further entries, and keeps them."""
    following = store.last_index() + 1
    store.save(None, [entry(1, following)], None)
    store.close()
    again = open_store(files)
    assert again.last_index() == following
    assert again.recovery.cut is None
    again.close()


def writes(data: bytes, sequence: int = 1) -> list[Batch]:
    return [found for found in scan(data, sequence) if isinstance(found, Batch)]


def end_of(write: Batch) -> int:
    """Where a write ends, its padding left out."""
    last = write.records[-1]
    return last.offset + 8 + len(last.payload) + 1


def rewrite(files: SimulatedFiles, path: Path, data: bytes) -> None:
    files.make_directory(HERE)
    file = files.create(path)
    file.write(0, data)
    file.sync()
    files.sync_directory(HERE)


def add_write(files: SimulatedFiles, *records: tuple[int, bytes]) -> None:
    """Put a valid write behind the last one."""
    path = segments(files)[-1]
    data = files.read(path)
    start = -(-used_bytes(data) // 16) * 16
    batch = encode_batch(records, 1, start)
    rewrite(files, path, data[:start] + batch + bytes(1024))


def copy_of(files: SimulatedFiles) -> SimulatedFiles:
    copy = SimulatedFiles()
    for name in files.names(HERE):
        rewrite(copy, HERE / name, files.read(HERE / name))
    return copy


@pytest.mark.parametrize("term", [1, 2])
def test_under_a_snapshot_of_a_later_term_an_earlier_vote_does_not_count(term: int) -> None:
    """The snapshot's term was reached, in which the node may have voted for another node, or for none."""
    files = SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 3, 0), (), None)
    store.save(None, (), snapshot(20, term))
    store.close()
    assert open_store(files).initial_state()[0] == HardState(term, 3 if term == 1 else 0, 20)
