"""One write: what it looks like, and whether damage to it is a tear or corruption."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.storage.batch import (
    SECTOR_BYTES,
    Batch,
    Damage,
    blank_sectors,
    encode_batch,
    find_batch,
    read_batch,
    used_bytes,
)
from raft.storage.record import Kind

SEGMENT = 7
BLANK = bytes(8192)
values = st.one_of(st.binary(max_size=2500), st.integers(0, 2500).map(bytes))
payloads = st.lists(st.tuples(st.sampled_from(Kind), values), min_size=1, max_size=4)
offsets = st.integers(0, 100).map(lambda step: step * 16)


def read(data: bytes, offset: int) -> Batch | Damage:
    return read_batch(data, offset, used_bytes(data), SEGMENT)


def written(batch: bytes, offset: int) -> bytes:
    """A segment with only this batch in it; what precedes it doesn't matter here."""
    return b"\x01" * offset + batch + BLANK


@given(payloads, offsets)
def test_what_was_written_is_read(records: list[tuple[Kind, bytes]], offset: int) -> None:
    batch = encode_batch(records, SEGMENT, offset)
    found = read(written(batch, offset), offset)
    assert isinstance(found, Batch)
    assert [(record.kind, record.payload) for record in found.records] == records
    assert found.end == offset + len(batch)


@given(payloads, offsets, st.data())
def test_a_flipped_bit_in_a_whole_write_is_never_taken_for_a_tear(
    records: list[tuple[Kind, bytes]], offset: int, data: st.DataObject
) -> None:
    batch = encode_batch(records, SEGMENT, offset)
    used = used_bytes(batch)
    if any(chunk.count(0) == len(chunk) - 1 for chunk in sectors(batch, offset)):
        return  # One bit more and such a sector is blank: that flip can't be told from a tear.
    flipped = bytearray(batch)
    bit = data.draw(st.integers(0, used * 8 - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    found = read(written(bytes(flipped), offset), offset)
    assert isinstance(found, Damage)
    assert not found.torn, found.reason


@given(payloads, offsets, st.randoms(use_true_random=False))
def test_a_write_of_which_sectors_were_lost_is_torn_or_still_whole(
    records: list[tuple[Kind, bytes]], offset: int, dice: random.Random
) -> None:
    batch = encode_batch(records, SEGMENT, offset)
    torn = b"".join(chunk if dice.random() < 0.5 else bytes(len(chunk)) for chunk in sectors(batch, offset))
    segment = written(torn, offset)
    if not any(torn):
        assert used_bytes(segment) <= offset
        return
    found = read(segment, offset)
    if torn == batch:
        assert isinstance(found, Batch)
    else:
        assert isinstance(found, Damage)
        assert found.torn, found.reason


@given(payloads, offsets, st.data())
def test_a_write_that_stopped_at_any_byte_is_torn(
    records: list[tuple[Kind, bytes]], offset: int, data: st.DataObject
) -> None:
    batch = encode_batch(records, SEGMENT, offset)
    stop = data.draw(st.integers(1, used_bytes(batch) - 1))
    zeroed = read(written(batch[:stop] + bytes(len(batch) - stop), offset), offset)
    missing = read(written(batch, offset)[: offset + stop], offset)
    for found in (zeroed, missing):
        assert isinstance(found, Damage)
        assert found.torn, found.reason


@given(payloads, payloads, offsets, st.data())
def test_a_damaged_write_before_a_valid_one_is_never_torn(
    first: list[tuple[Kind, bytes]], second: list[tuple[Kind, bytes]], offset: int, data: st.DataObject
) -> None:
    before = encode_batch(first, SEGMENT, offset)
    after = encode_batch(second, SEGMENT, offset + len(before))
    start = data.draw(st.integers(0, used_bytes(before) - 1))
    stop = data.draw(st.integers(start + 1, len(before)))
    damaged = before[:start] + bytes(stop - start) + before[stop:]
    if damaged == before:
        return
    found = read(written(damaged + after, offset), offset)
    assert isinstance(found, Damage)
    assert not found.torn, found.reason


def test_a_write_whose_beginning_is_blank_is_torn_only_if_nothing_follows() -> None:
    before = encode_batch([(Kind.ENTRY, b"x" * 2000)], SEGMENT, 0)
    after = encode_batch([(Kind.ENTRY, b"y")], SEGMENT, len(before))
    blanked = bytes(SECTOR_BYTES) + before[SECTOR_BYTES:]
    assert read(written(blanked, 0), 0) == Damage(
        0, True, "the last write is incomplete: its beginning is missing"
    )
    assert read(written(blanked + after, 0), 0) == Damage(
        0, False, "a bad write, with later writes behind it"
    )


def test_a_write_in_the_wrong_place_is_refused() -> None:
    batch = encode_batch([(Kind.ENTRY, b"value")], SEGMENT, 32)
    assert isinstance(read_batch(written(batch, 32), 32, 1000, SEGMENT), Batch)
    assert isinstance(read_batch(written(batch, 48), 48, 1000, SEGMENT), Damage)
    assert isinstance(read_batch(written(batch, 32), 32, 1000, SEGMENT + 1), Damage)


def test_a_value_that_looks_like_a_write_is_not_found_as_one() -> None:
    inner = encode_batch([(Kind.ENTRY, b"bait")], SEGMENT, 64)
    outer = encode_batch([(Kind.ENTRY, bytes(8) + inner)], SEGMENT, 0)
    data = written(outer, 0)
    assert data.index(inner) % 16 == 0, "the bait lies where a header could"
    assert find_batch(data, 16, SEGMENT) is None


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_the_blank_end_is_measured_exactly(size: int) -> None:
    assert used_bytes(b"\x01" * size + bytes(150_000)) == size
    assert used_bytes(b"\x01" * size) == size


def test_blank_sectors_are_counted_where_the_disk_has_them() -> None:
    data = b"\x01" + bytes(SECTOR_BYTES * 2)
    assert blank_sectors(data, 0, len(data)) == 2
    assert blank_sectors(data, 1, SECTOR_BYTES) == 1


def sectors(batch: bytes, offset: int) -> list[bytes]:
    """The parts of a batch that lie in one sector each."""
    cuts = [0, *range(-offset % SECTOR_BYTES or SECTOR_BYTES, len(batch), SECTOR_BYTES), len(batch)]
    return [batch[start:stop] for start, stop in pairwise(cuts)]
