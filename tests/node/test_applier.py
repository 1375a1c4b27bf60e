"""The limit on entries applied in one turn."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from raft.client.calls.store import put_request
from raft.core.messages import StorageApply
from raft.core.types import Entry
from raft.machines.application import Application
from raft.node.applier import Applier
from raft.node.worker import InlineWorker

WORK_MAX = 6  # A put counts for two: itself, and the event that it makes.


def test_a_turn_applies_a_limited_amount_for_any_grouping_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raft.node.applier.WORK_PER_TURN_MAX", WORK_MAX)
    for parts in (1, 2, 12):
        waiters: Any = SimpleNamespace(applied=lambda *_: None)
        own_machine: Any = SimpleNamespace(full=False, commands=0, queries=0)
        asked: list[None] = []
        applier = Applier(
            machine=Application(), applied=0, waiters=waiters, on_config=lambda _: None,
            answer=lambda _: None, slow=InlineWorker(lambda work: work.deliver()), own_machine=own_machine,
            again=partial(asked.append, None),
        )  # fmt: skip
        entries = [Entry(1, index, data=put_request(b"k%d" % index, b"v")) for index in range(1, 13)]
        size = len(entries) // parts
        for begin in range(0, len(entries), size):
            applier.apply(StorageApply(1, 1, 1, entries[begin : begin + size], []))
        turns = [applier.applied]
        while applier.applied < len(entries):
            applier.resume()
            turns.append(applier.applied)
        assert turns == [3, 6, 9, 12], f"in {parts} parts"
        assert asked, "for another turn"
