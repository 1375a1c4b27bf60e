"""Group commit: what is written together, and that no response leaves before it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.core.messages import AppendReply, Message, StorageAppend
from raft.core.types import Entry, HardState, Snapshot, entries_size
from raft.node.log_writer import (
    LOOP_BYTES_MAX,
    QUICK_WRITES_MIN,
    WAITING_MAX,
    DiskFailed,
    LogWriter,
    WritePlacement,
    merge,
)
from raft.node.worker import Done, InlineWorker, Job
from raft.storage.errors import StoreFailed, StoreFull
from raft.storage.memory import MemoryStorage
from tests.node.cluster import MemoryLog


def append(
    *indexes: int, term: int = 1, hard_state: HardState | None = None, snapshot: Snapshot | None = None
) -> StorageAppend:
    entries = [Entry(term, index, data=b"%d" % term) for index in indexes]
    last = indexes[-1] if indexes else 0
    responses = [AppendReply(1, 2, term, last)]
    return StorageAppend(1, 2, term, entries, hard_state, snapshot, responses, entries_size(entries))


class Watch:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.slow_seconds = 0.0

    def began(self, write: int) -> None:
        self.told.append(f"began {write}")

    def ended(self, seconds: float) -> None:
        self.told.append("ended")

    def full(self, reason: str) -> None:
        self.told.append(reason)

    def has_room(self) -> None:
        self.told.append("has room")


class PlacedWorker(InlineWorker):
    """Notes which jobs were done on the loop."""

    def __init__(self) -> None:
        super().__init__(lambda work: work.deliver())
        self.on_loop: list[bool] = []

    def submit(self, job: Job, done: Done) -> None:
        self.on_loop.append(False)
        super().submit(job, done)

    def do_here(self, job: Job, done: Done) -> None:
        self.on_loop.append(True)
        super().submit(job, done)


class TimedLog(MemoryLog):
    """A disk whose writes take as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.write_seconds = 0.0
        self.clock = 0.0

    def write(self, *what: Any) -> None:
        self.clock += self.write_seconds
        super().write(*what)


class Rig:
    def __init__(self) -> None:
        self.log = TimedLog()
        self.said: list[int] = []
        self.on_answer: Callable[[], None] = lambda: None
        self.restored: list[Snapshot] = []
        self.worker = PlacedWorker()
        self.worker.holding = True
        self.watch = Watch()
        self.later: list[Any] = []
        self.disk = LogWriter(
            self.log, self.worker, HardState(), self.restored.append, self.answer,
            self.watch, lambda _seconds, call: self.later.append(call),
            lambda: self.log.clock, WritePlacement(0.005),
        )  # fmt: skip

    def answer(self, responses: Sequence[Message]) -> None:
        self.said += [message.index for message in responses if isinstance(message, AppendReply)]
        self.on_answer()


def test_no_response_is_delivered_before_the_write_has_ended() -> None:
    rig = Rig()
    rig.disk.append(append(1))
    assert rig.said == []
    assert rig.log.last_index() == 0, "nor shown to readers"
    rig.worker.do_next()
    assert rig.said == [1]
    assert rig.log.last_index() == 1


def test_messages_that_arrive_during_a_write_are_written_together() -> None:
    rig = Rig()
    for index in range(1, 11):
        rig.disk.append(append(index))
    rig.worker.do_next()
    assert rig.said == [1]
    rig.worker.do_next()
    assert rig.said == list(range(1, 11))
    assert [len(entries) for _, entries, _ in rig.log.writes] == [1, 9]


def test_a_response_without_a_write_waits_only_for_earlier_writes() -> None:
    rig = Rig()
    rig.disk.append(append())
    assert rig.said == [0]
    rig.disk.append(append(1))
    rig.disk.append(append())
    assert rig.said == [0]
    rig.worker.do_next()
    assert rig.said == [0, 1, 0]
    assert rig.worker.waiting == 0


def test_a_commit_index_alone_waits_for_the_next_write_and_goes_along() -> None:
    rig = Rig()
    rig.disk.append(append(1, hard_state=HardState(1, 1, 0)))
    rig.worker.do_next()
    rig.disk.append(append(hard_state=HardState(1, 1, 1)))
    assert rig.said == [1, 0]
    assert rig.worker.waiting == 0
    assert rig.log.initial_state()[0].commit == 1
    rig.disk.append(append(2))
    rig.worker.do_next()
    assert rig.log.writes[-1][0] == HardState(1, 1, 1)


@pytest.mark.parametrize("promise", [HardState(2, 1, 0), HardState(1, 2, 0)])
def test_a_new_term_or_vote_is_written_before_any_response(promise: HardState) -> None:
    rig = Rig()
    rig.disk.append(append(hard_state=HardState(1, 1, 0)))
    rig.worker.do_next()
    rig.said.clear()
    rig.disk.append(append(hard_state=promise))
    assert rig.said == []
    rig.worker.do_next()
    assert rig.said == [0]
    assert rig.log.writes[-1][0] == promise


def test_a_snapshot_is_written_alone_and_restored_before_any_response() -> None:
    rig = Rig()
    snapshot = Snapshot(index=10, term=1)
    rig.disk.append(append(1))
    rig.disk.append(append(2))
    rig.disk.append(append(snapshot=snapshot))
    rig.disk.append(append(11))
    for _ in range(2):
        rig.worker.do_next()
    assert rig.restored == []
    rig.worker.do_next()
    assert rig.restored == [snapshot]
    rig.worker.do_next()
    assert [(len(entries), snap) for _, entries, snap in rig.log.writes] == [
        (1, None),
        (1, None),
        (0, snapshot),
        (1, None),
    ]


def test_a_failed_write_is_fatal_and_delivers_no_response() -> None:
    rig = Rig()
    rig.log.fail = StoreFailed("a sync failed: Input/output error")
    rig.disk.append(append(1))
    with pytest.raises(DiskFailed, match="Input/output error"):
        rig.worker.do_next()
    assert rig.said == []
    assert not rig.later, "nor is it tried again"


def test_a_write_without_room_is_retried_with_all_later_messages() -> None:
    rig = Rig()
    rig.log.fail = StoreFull("no room")
    rig.disk.append(append(1, hard_state=HardState(1, 1, 0)))
    rig.worker.do_next()
    rig.disk.append(append(2, 3))
    assert rig.worker.waiting == 0, "not before its time"
    rig.later.pop()()
    rig.worker.do_next()
    assert rig.said == []
    assert rig.watch.told == ["began 1", "no room", "began 2", "no room"]
    rig.log.fail = None
    rig.later.pop()()
    rig.worker.do_next()
    assert rig.said == [1, 3]
    assert [(state, len(entries)) for state, entries, _ in rig.log.writes] == [(HardState(1, 1, 0), 3)]
    assert rig.watch.told[-1] == "ended"


def test_a_closed_disk_does_not_try_again() -> None:
    rig = Rig()
    rig.log.fail = StoreFull("no room")
    rig.disk.append(append(1))
    rig.worker.do_next()
    rig.disk.close()
    rig.later.pop()()
    assert rig.worker.waiting == 0


def test_a_full_disk_and_its_recovery_are_detected_without_a_write() -> None:
    rig = Rig()
    rig.log.fail = StoreFull("no room")
    rig.disk.probe()
    rig.worker.do_next()
    assert rig.watch.told == ["no room"]
    rig.later.pop()()
    rig.worker.do_next()
    rig.log.fail = None
    rig.later.pop()()
    rig.worker.do_next()
    assert rig.watch.told == ["no room", "no room", "has room"]
    assert rig.log.writes == []
    assert not rig.later, "nor is it looked at again"


def test_room_is_checked_even_if_no_waiting_message_needs_a_write() -> None:
    rig = Rig()
    rig.log.fail = StoreFull("no room")
    rig.disk.probe()
    rig.worker.do_next()
    rig.disk.append(append())
    rig.later.pop()()
    assert rig.said == [0]
    rig.log.fail = None
    rig.worker.do_next()
    assert rig.watch.told == ["no room", "has room"]
    rig.disk.append(append(1))
    rig.worker.do_next()
    assert rig.said == [0, 1]


def test_a_message_without_a_write_does_not_delay_the_snapshot_behind_it() -> None:
    rig = Rig()
    rig.disk.probe()
    rig.disk.append(append())
    rig.disk.append(append(snapshot=Snapshot(index=7, term=1)))
    rig.worker.do_next()
    rig.worker.do_next()
    assert [snapshot.index for snapshot in rig.restored] == [7]


def test_a_write_waits_for_a_check_of_room() -> None:
    rig = Rig()
    rig.disk.probe()
    rig.disk.append(append(1))
    assert rig.worker.waiting == 1
    rig.worker.do_next()
    rig.worker.do_next()
    assert rig.said == [1]


def test_room_is_not_checked_during_a_write() -> None:
    rig = Rig()
    rig.disk.append(append(1))
    rig.disk.probe()
    assert rig.worker.waiting == 1


def test_messages_that_wait_for_room_are_merged_and_get_the_last_response() -> None:
    rig = Rig()
    rig.log.fail = StoreFull("no room")
    rig.disk.append(append(1))
    rig.worker.do_next()
    for index in range(2, 10 * WAITING_MAX):
        rig.disk.append(append(index))
    assert rig.disk.waiting <= WAITING_MAX
    rig.log.fail = None
    rig.later.pop()()
    rig.worker.do_next()
    assert rig.log.last_index() == 10 * WAITING_MAX - 1
    assert rig.said[-1] == 10 * WAITING_MAX - 1
    assert len(rig.said) <= WAITING_MAX


writes = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 4)), min_size=1, max_size=8)


@given(writes)
def test_a_merged_write_leaves_the_log_that_single_ones_would(shape: list[tuple[int, int]]) -> None:
    single = MemoryStorage()
    group: list[StorageAppend] = []
    for term, (first, count) in enumerate(shape, 1):
        first = min(first, single.last_index() + 1)
        message: Any = append(*range(first, first + count), term=term, hard_state=HardState(term, 1, 0))
        single.append(message.entries)
        group.append(message)
    merged = MemoryStorage()
    hard_state, entries, snapshot = merge(group)
    merged.append(entries)
    assert snapshot is None
    assert hard_state == HardState(len(shape), 1, 0)
    last = single.last_index()
    assert merged.last_index() == last
    if last:
        assert merged.entries(1, last + 1, 2**63) == single.entries(1, last + 1, 2**63)


def test_a_commit_index_in_a_write_without_room_is_retried_with_it() -> None:
    rig = Rig()
    rig.disk.append(append(1, hard_state=HardState(1, 1, 0)))
    rig.worker.do_next()
    rig.disk.append(append(hard_state=HardState(1, 1, 1)))
    rig.log.fail = StoreFull("no room")
    rig.disk.append(append(2))
    rig.worker.do_next()
    rig.log.fail = None
    rig.later.pop()()
    rig.worker.do_next()
    assert rig.log.writes[-1][0] == HardState(1, 1, 1)


def test_a_write_without_room_stays_before_those_that_came_after_it() -> None:
    """In the other order the older leader's entry would replace the newer one's."""
    rig = Rig()
    rig.log.fail = StoreFull("no room")
    rig.disk.append(append(1, term=1))
    rig.disk.append(append(1, term=2))
    rig.worker.do_next()
    rig.log.fail = None
    rig.later.pop()()
    while rig.worker.waiting:
        rig.worker.do_next()
    assert rig.log.entries(1, 2, 1 << 20) == [Entry(2, 1, data=b"2")]
    assert rig.said == [1, 1]


def test_readers_see_a_write_before_its_responses_are_delivered() -> None:
    rig = Rig()
    seen: list[int] = []
    rig.on_answer = lambda: seen.append(rig.log.last_index())
    rig.disk.append(append(1, 2))
    rig.worker.do_next()
    rig.disk.append(append())
    assert seen == [2, 2]
    commit = HardState(0, 0, 2)
    committed: list[int] = []
    rig.on_answer = lambda: committed.append(rig.log.initial_state()[0].commit)
    rig.disk.append(append(hard_state=commit))
    assert committed == [2], "not even about a commit index, which needs no write"


def written(rig: Rig, indexes: range, seconds: float) -> list[bool]:
    """Write these entries one by one, each in so many seconds; which of them were written on the loop."""
    rig.log.write_seconds = seconds
    rig.worker.on_loop.clear()
    for index in indexes:
        rig.disk.append(append(index))
        rig.worker.do_next()
    return [*rig.worker.on_loop]


def test_after_many_quick_writes_the_loop_writes() -> None:
    rig = Rig()
    assert not any(written(rig, range(1, QUICK_WRITES_MIN + 1), 0.001))
    assert all(written(rig, range(QUICK_WRITES_MIN + 1, QUICK_WRITES_MIN + 11), 0.001))


def test_after_one_slow_write_the_thread_writes_again() -> None:
    rig = Rig()
    written(rig, range(1, QUICK_WRITES_MIN + 1), 0.001)
    last = QUICK_WRITES_MIN + 1
    assert written(rig, range(last, last + 3), 0.3) == [True, False, False], "one heartbeat waits, no more"
    assert not any(written(rig, range(last + 3, last + 3 + QUICK_WRITES_MIN), 0.001))
    assert written(rig, range(last + 3 + QUICK_WRITES_MIN, last + 4 + QUICK_WRITES_MIN), 0.001) == [True]


def test_a_large_write_and_a_snapshot_are_left_to_the_thread() -> None:
    rig = Rig()
    written(rig, range(1, QUICK_WRITES_MIN + 1), 0.001)
    rig.worker.on_loop.clear()
    index = QUICK_WRITES_MIN + 1
    large = [Entry(1, index, data=bytes(LOOP_BYTES_MAX + 1))]
    rig.disk.append(StorageAppend(1, 2, 1, large, None, None, [], entries_size(large)))
    rig.worker.do_next()
    rig.disk.append(append(snapshot=Snapshot(index + 1, 1)))
    rig.worker.do_next()
    assert rig.worker.on_loop == [False, False]


def test_quick_writes_are_not_reported_while_all_are_quick() -> None:
    rig = Rig()
    rig.watch.slow_seconds = 0.2
    for number, seconds in enumerate((0.1, 0.2, 0.1), 1):
        rig.log.write_seconds = seconds
        rig.disk.append(append(number))
        assert rig.disk.in_progress
        rig.worker.do_next()
    assert rig.watch.told == ["ended"]
    assert (rig.disk.writes, rig.disk.last, rig.disk.in_progress) == (3, 3, False)
    assert sum(rig.disk.write_seconds.counts().counts) == 3
