"""Keys in order, against a plain sorted list."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from raft.machines.keys import SortedKeys, prefix_end

# Few enough that the same one comes again.
names = st.lists(st.sampled_from([b"", b"a", b"b", b"\xff"]), max_size=2).map(b"".join)


@given(
    st.lists(names, max_size=40),
    st.lists(st.tuples(st.sampled_from("+-?"), names), max_size=60),
    names,
    st.none() | names,
    st.sampled_from([1, 16]),
)
def test_they_are_a_sorted_set_whatever_is_added_and_removed(
    begin: list[bytes], changes: list[tuple[str, bytes]], start: bytes, end: bytes | None, ratio: int
) -> None:
    with patch("raft.machines.keys.CHUNK_KEYS", 3), patch("raft.machines.keys.REBUILD_RATIO", ratio):
        keys, model = SortedKeys(begin), set(begin)
        for change, key in changes:
            if change == "+" and key not in model:
                keys.add(key)
                model.add(key)
            elif change == "-" and key in model:
                keys.remove(key)
                model.remove(key)
            elif change == "?":
                assert list(keys) == sorted(model)
        assert all(0 < size <= 6 for size in keys.chunk_sizes)
    assert list(keys) == sorted(model)
    assert len(keys) == len(model)
    assert list(keys.between(start, end)) == [
        key for key in sorted(model) if key >= start and (end is None or key < end)
    ]


def test_chunks_stay_short_however_the_keys_arrive() -> None:
    with patch("raft.machines.keys.CHUNK_KEYS", 3):
        keys = SortedKeys()
        for number in range(100):
            keys.add(b"%03d" % number)
            assert len(list(keys)) == number + 1
        assert max(keys.chunk_sizes) <= 6


@given(st.binary(max_size=3), st.binary(max_size=4))
def test_the_end_of_a_prefix_separates_its_keys_from_the_following_ones(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    assert key.startswith(prefix) == (key >= prefix and (end is None or key < end))


def test_a_prefix_of_last_bytes_has_an_end_too() -> None:
    assert prefix_end(b"a\xff") == b"b"
    assert prefix_end(b"\xff\xff") is None
    assert prefix_end(b"") is None
