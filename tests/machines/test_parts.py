"""The parts of a snapshot: where one ends depends on nothing but what is in it."""

from __future__ import annotations

from unittest.mock import patch

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from raft.machines import state
from raft.machines.state import in_parts

PART_BYTES = 100


def parted(sizes: list[int]) -> list[list[int]]:
    """One value after another, each counted for itself."""
    parts: list[list[int]] = [[]]
    for size in sizes:
        if sum(parts[-1]) >= PART_BYTES:
            parts.append([])
        parts[-1].append(size)
    return parts if sizes else []


@given(st.lists(st.integers(1, 250), max_size=60), st.integers(1, 20))
def test_a_part_ends_with_the_value_that_makes_it_large_enough(sizes: list[int], run_values: int) -> None:
    with patch.object(state, "PART_BYTES", PART_BYTES), patch.object(state, "RUN_VALUES", run_values):
        parts = list(in_parts(iter(sizes), lambda run: run))
    assert [msgspec.msgpack.decode(part) for part in parts] == parted(sizes)
