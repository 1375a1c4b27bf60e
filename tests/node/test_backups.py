"""Backup requests that the node's snapshot cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raft.core.types import ConfState, Snapshot
from raft.node.requests.backups import OVERTAKEN, Backups
from raft.node.requests.slow_requests import SlowRequests
from raft.node.snapshots.contents import State, pack_state
from raft.protocol.client import BackupTaken, Refused, TakeBackup
from raft.storage.snapshots import sealed


class Parts:
    """What a node has for backups: reads that are confirmed at once, and snapshots that end as told."""

    applied = 9

    def __init__(self) -> None:
        self.answers: list[object] = []
        self.told: Callable[[int, str], None]
        slow = SlowRequests(1, lambda: 0.0, lambda _seconds, _call: None)
        self.backups = Backups("c", self, self, self, self, slow)  # type: ignore[arg-type]

    def snapshot(self) -> Snapshot:
        return sealed(Snapshot(9, 1, ConfState(voters=(1,)), pack_state(State(), [])))

    def add(self, question: Callable[[], object], reply: Any, _now: float) -> None:
        reply.send(question())

    def take_now(self, told: Callable[[int, str], None]) -> None:
        self.told = told

    def send(self, message: object) -> None:
        self.answers.append(message)

    def ask(self) -> None:
        assert self.backups.take(TakeBackup(), lambda: self) is None


@pytest.mark.parametrize(
    ("taken", "failure", "answer"),
    [(8, "", OVERTAKEN), (9, "no room", Refused("no room")), (9, "", None), (10, "", None)],
)
def test_a_backup_is_given_only_of_a_snapshot_that_was_taken_and_is_new_enough(
    taken: int, failure: str, answer: object
) -> None:
    parts = Parts()
    for _ in range(4):  # And what was refused takes no place.
        parts.answers.clear()
        parts.ask()
        parts.told(taken, failure)
        if answer is None:
            assert isinstance(parts.answers[0], BackupTaken)
            return
        assert parts.answers == [answer]
