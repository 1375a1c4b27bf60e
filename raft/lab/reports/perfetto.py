"""A run as a trace for ui.perfetto.dev and chrome://tracing.

Owns the format: complete events on a track for each node and each kind of fault, times in microseconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from raft.lab.reports.measures import bins_of
from raft.lab.reports.run import Run

CLUSTER, FAULTS, CLIENTS = 1, 2, 3  # As processes of the trace.


def trace(run: Run) -> str:
    """The trace as JSON."""
    picture = run.picture()
    rows = [_named(CLUSTER, "cluster"), _named(FAULTS, "faults")]
    for lane in picture.lanes:
        rows.append(_named(CLUSTER, f"n{lane.node}", lane.node))
        rows += [_span(CLUSTER, lane.node, "up", span.start, span.end, {}) for span in lane.up]
        for span in lane.led:
            words = f"leads term {span.term}"
            rows.append(_span(CLUSTER, lane.node, words, span.start, span.end, {"what": span.text}))
        for ended in lane.exits:
            rows.append(_instant(lane.node, f"exited: {ended.text}", ended.t))
    for election in picture.elections:
        rows.append(
            _instant(election.node, f"elected in term {election.term}: {election.reason}", election.t)
        )
    for fault in picture.faults:
        rows.append(_named(FAULTS, f"{fault.kind} {fault.id}", fault.id))
        rows.append(_span(FAULTS, fault.id, fault.kind, fault.start, fault.end, {"text": fault.text}))
    if run.history is not None and picture.end:
        rows.append(_named(CLIENTS, "clients"))
        for part in bins_of(run.history.records, 0.0, picture.end):
            rows.append(
                {"ph": "C", "pid": CLIENTS, "name": "operations a second", "ts": round(part.start * 1e6, 3),
                 "args": {"done": round(part.per_second, 1)}}
            )  # fmt: skip
    return msgspec.json.encode({"traceEvents": rows, "displayTimeUnit": "ms"}).decode()


def _named(process: int, name: str, thread: int | None = None) -> dict[str, Any]:
    kind = "process_name" if thread is None else "thread_name"
    return {"ph": "M", "pid": process, "tid": thread or 0, "name": kind, "args": {"name": name}}


def _span(
    process: int, thread: int, name: str, start: float, end: float, more: dict[str, str]
) -> dict[str, Any]:
    begin, lasted = round(start * 1e6, 3), round(max(end - start, 0.0) * 1e6, 3)
    return {"ph": "X", "pid": process, "tid": thread, "name": name, "ts": begin, "dur": lasted, "args": more}


def _instant(thread: int, name: str, t: float) -> dict[str, Any]:
    return {"ph": "i", "pid": CLUSTER, "tid": thread, "name": name, "ts": round(t * 1e6, 3), "s": "t"}
