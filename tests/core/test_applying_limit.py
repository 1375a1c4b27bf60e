"""The limit on entries that are handed out and not yet applied."""

from raft.core.log import Log
from raft.core.types import ConfState, Entry, EntryKind, Snapshot
from raft.storage.memory import MemoryStorage


def log_with(entries: list[Entry], bytes_max: int) -> Log:
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(1, 1, ConfState((1,))))
    storage.append(entries)
    return Log(storage, bytes_max, applies_unstable=False)


def hand_out(log: Log, committed: int) -> list[int]:
    log.commit_to(committed)
    entries = log.next_committed()
    if entries:
        log.accept_applying(entries)
    return [entry.index for entry in entries]


def test_what_is_being_applied_counts_against_the_limit():
    entries = [Entry(1, index, EntryKind.NORMAL, b"x" * 10) for index in range(2, 10)]
    size = entries[0].size()
    log = log_with(entries, 3 * size)
    assert hand_out(log, 3) == [2, 3]
    assert hand_out(log, 9) == [4], "two of three are still being applied"
    assert hand_out(log, 9) == []
    log.applied_to(3, 2 * size)
    assert hand_out(log, 9) == [5, 6]


def test_one_entry_is_handed_out_however_large_it_is():
    entries = [Entry(1, index, EntryKind.NORMAL, b"x" * 100) for index in (2, 3)]
    log = log_with(entries, 1)
    assert hand_out(log, 3) == [2]
    assert hand_out(log, 3) == []
