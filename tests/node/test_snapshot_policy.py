"""When a snapshot is due: the rule by itself, and nodes with states of different sizes."""

from __future__ import annotations

import pytest

from raft.machines.codec import encode_call
from raft.machines.commands import Call, Delete
from raft.node.snapshots import policy
from raft.node.snapshots.policy import ENTRIES_MAX, ENTRIES_MIN, SnapshotPolicy
from raft.protocol.admin import TakeSnapshot
from raft.protocol.client import Command
from tests.node.cluster import Cluster

MIB = 1024 * 1024
GROWTH = SnapshotPolicy()
EVERY_300 = SnapshotPolicy(entries_max=300)
BY_BYTES = SnapshotPolicy(entries_max=0, bytes_max=MIB)
NEVER = SnapshotPolicy(entries_max=0, bytes_max=0)
UNLIMITED = SnapshotPolicy(bytes_max=0)


def is_due(rule: SnapshotPolicy, entries: int, size: int, newest: int) -> bool:
    entries_limit, bytes_limit = rule.limits(entries, newest)
    return entries >= entries_limit or size >= bytes_limit


@pytest.mark.parametrize(
    ("rule", "entries", "size", "newest", "due"),
    [
        # A small state: as soon as there are enough entries.
        (GROWTH, ENTRIES_MIN - 1, 2 * MIB, MIB, False),
        (GROWTH, ENTRIES_MIN, 2 * MIB, MIB, True),
        (GROWTH, ENTRIES_MIN, 0, 0, True),
        # A middling one: when there is more in the log than in the snapshot.
        (GROWTH, ENTRIES_MIN, 4 * MIB, 5 * MIB, False),
        (GROWTH, 2 * ENTRIES_MIN, 5 * MIB, 5 * MIB, True),
        # A large one: so that a restart doesn't become long.
        (GROWTH, ENTRIES_MAX - 1, 9 * MIB, 90 * MIB, False),
        (GROWTH, ENTRIES_MAX, 10 * MIB, 90 * MIB, True),
        # Large commands: so that the log doesn't fill the memory.
        (GROWTH, 1000, 64 * MIB - 1, MIB, False),
        (GROWTH, 1000, 64 * MIB, MIB, True),
        (GROWTH, 1000, 64 * MIB, 100 * MIB, False),
        (GROWTH, 1000, 100 * MIB, 100 * MIB, True),
        (UNLIMITED, 1000, 500 * MIB, MIB, False),
        (UNLIMITED, ENTRIES_MIN, 500 * MIB, MIB, True),
        # A number that is set is that number.
        (EVERY_300, 299, MIB, 0, False),
        (EVERY_300, 300, 0, 90 * MIB, True),
        (SnapshotPolicy(entries_max=2 * ENTRIES_MAX), 2 * ENTRIES_MAX - 1, MIB, 0, False),
        (SnapshotPolicy(entries_max=2 * ENTRIES_MAX), 2 * ENTRIES_MAX, MIB, 0, True),
        (BY_BYTES, 10 * ENTRIES_MAX, MIB - 1, 0, False),
        (BY_BYTES, 1, MIB, 0, True),
        (BY_BYTES, 1, MIB, 2 * MIB, False),
        (NEVER, 10 * ENTRIES_MAX, 500 * MIB, 0, False),
    ],
)  # fmt: skip
def test_when_a_snapshot_is_due(
    rule: SnapshotPolicy, entries: int, size: int, newest: int, due: bool
) -> None:
    assert is_due(rule, entries, size, newest) is due


def taken_during(monkeypatch: pytest.MonkeyPatch, value_bytes: int, commands: int) -> int:
    """How many snapshots a node takes by itself while commands come that leave its state as it is."""
    monkeypatch.setattr(policy, "ENTRIES_MIN", 40)
    monkeypatch.setattr(policy, "ENTRIES_MAX", 100)
    cluster = Cluster(1)
    cluster.elect()
    cluster.put(1, b"key", bytes(value_bytes))
    cluster.answer(1, TakeSnapshot())
    before = cluster[1].events.names.count("snapshot-taken")
    for _ in range(commands):
        cluster.answer(1, Command(encode_call(Call(0, 0, 0, Delete(b"absent")))))
    return cluster[1].events.names.count("snapshot-taken") - before


def test_a_large_state_is_written_less_often_than_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken_during(monkeypatch, 10, 205) == 5
    assert taken_during(monkeypatch, 500, 205) == 3, "when the commands since have as many bytes"
    assert taken_during(monkeypatch, 50_000, 205) == 2
