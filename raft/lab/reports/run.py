"""A run for reports: its events, and the other contents of its directory.

Owns the reading. A chaos run has a history and a verdict, a manually controlled cluster only events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from raft.cluster.records.events import Event, read_events
from raft.lab.checkers.records import RecordedHistory, read_history
from raft.lab.checkers.verdict import Verdict
from raft.lab.reports.lanes import Picture, picture_of


class Summary(Struct, kw_only=True):
    """The part of verdict.json that a report shows; all of it may be missing."""

    ruling: str = ""
    reason: str = ""
    seed: int | None = None
    nodes: int = 0
    workload: str = ""
    command: str = ""
    operations: dict[str, int] = {}
    latency_ms: dict[str, float] = {}
    availability: dict[str, Any] = {}
    recoveries: dict[str, float] = {}
    faults: dict[str, int] = {}
    host_load: list[float] = []
    judgement: Verdict | None = None


class Run(Struct, kw_only=True):
    """The data of a run; `now` is on the events' own clock if the run is still going on, else 0."""

    events: list[Event]
    now: float = 0.0
    history: RecordedHistory | None = None
    summary: Summary = msgspec.field(default_factory=Summary)

    def picture(self) -> Picture:
        """Its events as spans, up to its last known time."""
        records = self.history.records if self.history is not None else []
        last = max((record.returned or record.call for record in records), default=0.0)
        return picture_of(self.events, max(last, self.now))


def read_run(path: Path) -> Run:
    """The run in this directory, or in this file of events; raises OSError or msgspec.DecodeError."""
    if not path.is_dir():
        events = read_events(path)
        if not events and path.stat().st_size:
            raise msgspec.DecodeError("no line of it is an event")
        return Run(events=events)
    run = Run(events=read_events(path / "events.jsonl"))
    if (path / "history.jsonl").exists():
        run.history = read_history(path / "history.jsonl")
    if (path / "verdict.json").exists():
        run.summary = msgspec.json.decode((path / "verdict.json").read_bytes(), type=Summary)
    return run
