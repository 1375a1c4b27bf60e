"""A snapshot received: what is taken, what is refused, and that only the disk holds it."""

from __future__ import annotations

from random import Random
from zlib import crc32

import pytest

from raft.core.messages import InstallSnapshot
from raft.core.types import ConfState, Index, Snapshot
from raft.node.log_writer import DiskFailed
from raft.node.snapshots.receiver import Receiver
from raft.node.worker import InlineWorker
from raft.protocol.registry import SnapshotChunk, SnapshotProgress
from raft.storage.errors import StoreFailed, StoreFull
from raft.storage.snapshots import sealed
from tests.node.cluster import MemoryDraft

VOTERS = ConfState(voters=(1, 2, 3))


class Rig:
    """A receiver whose disk is at once done, unless the worker is holding."""

    def __init__(self) -> None:
        self.drafts: list[MemoryDraft] = []
        self.fail: Exception | None = None
        self.said: list[SnapshotProgress] = []
        self.whole: list[InstallSnapshot] = []
        self.failures: list[str] = []
        self.worker = InlineWorker(lambda work: work.deliver())
        self.receiver = Receiver(
            2,
            log=self,
            worker=self.worker,
            tell=self.said.append,
            step=self.whole.append,
            failed=self.failures.append,
        )

    def draft(self, head: Snapshot, size: int) -> MemoryDraft:
        if self.fail is not None:
            raise self.fail
        self.drafts.append(MemoryDraft(head))
        return self.drafts[-1]

    def take(self, chunk: SnapshotChunk, committed: Index = 0) -> int | None:
        """How much the receiver says that it has, if it says anything."""
        before = len(self.said)
        self.receiver.take(chunk, committed)
        return self.said[-1].received if len(self.said) > before else None


def checksum(index: Index, data: bytes) -> int:
    made = sealed(Snapshot(index, 1, VOTERS, data)).checksum
    assert made is not None
    return made


def chunks(index: Index = 10, term: int = 3, size: int = 10, step: int = 4) -> list[SnapshotChunk]:
    data = bytes(range(size))
    whole = checksum(index, data)

    def chunk(offset: int) -> SnapshotChunk:
        part = data[offset : offset + step]
        return SnapshotChunk(1, 2, term, index, 1, VOTERS, offset, size, crc32(part), part, whole)

    return [chunk(offset) for offset in range(0, size or 1, step)]


def test_only_all_chunks_in_order_make_the_snapshot() -> None:
    rig = Rig()
    first, second, third = chunks()
    assert rig.take(first) == 4
    assert rig.said == [SnapshotProgress(2, 1, 3, 10, 4)]
    assert rig.take(second) == 8
    assert not rig.whole
    assert rig.take(third) == 10
    assert rig.whole == [InstallSnapshot(1, 2, 3, sealed(Snapshot(10, 1, VOTERS, bytes(range(10)))))]


def test_an_empty_snapshot_is_one_chunk() -> None:
    rig = Rig()
    assert rig.take(chunks(size=0)[0]) == 0
    assert rig.whole[0].snapshot == sealed(Snapshot(10, 1, VOTERS))


def test_chunks_duplicated_reordered_or_late_make_the_same_snapshot_or_none() -> None:
    dice = Random(5)
    for _ in range(300):
        rig = Rig()
        rig.worker.holding = True
        stock = [*chunks(index=10), *chunks(index=10), *chunks(index=12), *chunks(index=12), *chunks(term=2)]
        dice.shuffle(stock)
        for chunk in stock:
            rig.take(chunk)
            while rig.worker.waiting and dice.random() < 0.5:
                rig.worker.do_next()
        while rig.worker.waiting:
            rig.worker.do_next()
        assert all(whole.snapshot.data == bytes(range(10)) for whole in rig.whole)


def test_a_chunk_is_acknowledged_only_when_it_is_written() -> None:
    rig = Rig()
    rig.worker.holding = True
    first, second, _ = chunks()
    assert rig.take(first) is None
    assert rig.take(second) is None, "the next ones need not wait for that"
    assert rig.take(first) == 0
    rig.worker.do_next()
    assert rig.said[-1].received == 4
    rig.worker.do_next()
    assert rig.said[-1].received == 8


def test_a_corrupted_chunk_is_refused() -> None:
    rig = Rig()
    first = chunks()[0]
    first.data = b"\xff" + first.data[1:]
    assert rig.take(first) == 0
    assert not rig.drafts
    assert rig.take(chunks()[0]) == 4


def test_a_chunk_beyond_a_gap_is_refused() -> None:
    rig = Rig()
    first, _, third = chunks()
    rig.take(first)
    assert rig.take(third) == 4
    assert rig.drafts[0].data == bytes(range(4))


def test_a_chunk_beyond_the_end_is_refused() -> None:
    rig = Rig()
    long = chunks(size=5, step=5)[0]
    long.size = 4
    assert rig.take(long) == 0
    assert not rig.whole


def test_a_chunk_of_a_snapshot_of_another_size_is_ignored() -> None:
    rig = Rig()
    rig.take(chunks()[0])
    assert rig.take(chunks(size=12)[1]) is None
    assert rig.take(chunks()[1]) == 8


def test_chunks_of_older_snapshots_and_leaders_are_ignored() -> None:
    rig = Rig()
    rig.take(chunks(index=12, term=3)[0])
    assert rig.take(chunks(index=10, term=3)[0]) is None
    assert rig.take(chunks(index=20, term=2)[0]) is None
    assert rig.take(chunks(index=12, term=3)[1]) == 8


def test_a_newer_snapshot_replaces_an_unfinished_one() -> None:
    rig = Rig()
    rig.worker.holding = True
    rig.take(chunks(index=10)[0])
    for chunk in chunks(index=12):
        rig.take(chunk)
    while rig.worker.waiting:
        rig.worker.do_next()
    assert [(draft.head.index, draft.discarded) for draft in rig.drafts] == [(10, True), (12, False)]
    assert [whole.snapshot.index for whole in rig.whole] == [12]
    assert {progress.index for progress in rig.said} == {12}


def test_a_snapshot_that_is_not_newer_is_acknowledged_at_once() -> None:
    rig = Rig()
    assert rig.take(chunks(index=10)[1], committed=10) == 10
    for chunk in chunks(index=10):
        rig.take(chunk, committed=10)
    assert not rig.whole


def test_a_missing_beginning_is_requested() -> None:
    assert Rig().take(chunks()[1]) == 0


def test_a_later_chunk_of_a_newer_snapshot_does_not_end_the_current_transfer() -> None:
    rig = Rig()
    rig.take(chunks(index=10)[0])
    assert rig.take(chunks(index=12)[1]) == 0
    assert rig.take(chunks(index=10)[1]) == 8


def test_a_transfer_of_an_earlier_leader_is_dropped_and_removed() -> None:
    rig = Rig()
    rig.take(chunks()[0])
    rig.receiver.forget_before(3)
    assert rig.take(chunks()[1]) == 8, "it is of this term"
    rig.receiver.forget_before(4)
    assert rig.drafts[0].discarded
    assert rig.take(chunks()[2]) == 0


def test_a_full_disk_ends_a_transfer_that_may_begin_again() -> None:
    rig = Rig()
    rig.fail = StoreFull("no room")
    assert rig.take(chunks()[0]) is None
    assert rig.failures == ["no room"]
    rig.fail = None
    assert rig.take(chunks()[1]) == 0
    for chunk in chunks():
        rig.take(chunk)
    assert len(rig.whole) == 1


def test_a_failed_disk_ends_the_node() -> None:
    rig = Rig()
    rig.fail = StoreFailed("a write failed")
    with pytest.raises(DiskFailed):
        rig.take(chunks()[0])
