"""A run as pictures need it: its events, and what else its directory holds.

Owns the reading. A run of chaos has a history and a verdict, a cluster that was steered by hand only events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from raft.cluster.events import Event, read_events
from raft.lab.judging.records import RecordedHistory, read_history
from raft.lab.judging.verdict import Verdict


class Summary(Struct, kw_only=True):
    """What verdict.json says, as far as a report shows it; all of it may be missing."""

    ruling: str = ""
    reason: str = ""
    seed: int | None = None
    nodes: int = 0
    workload: str = ""
    command: str = ""
    operations: dict[str, int] = {}
    latency_ms: dict[str, float] = {}
    availability: dict[str, Any] = {}
    faults: dict[str, int] = {}
    judgement: Verdict | None = None


class Run(Struct, kw_only=True):
    """What is known of a run."""

    events: list[Event]
    history: RecordedHistory | None = None
    summary: Summary = msgspec.field(default_factory=Summary)


def read_run(path: Path) -> Run:
    """The run that left this directory, or this file of events; raises OSError or msgspec.DecodeError."""
    if not path.is_dir():
        return Run(events=read_events(path))
    run = Run(events=read_events(path / "events.jsonl"))
    if (path / "history.jsonl").exists():
        run.history = read_history(path / "history.jsonl")
    if (path / "verdict.json").exists():
        run.summary = msgspec.json.decode((path / "verdict.json").read_bytes(), type=Summary)
    return run
