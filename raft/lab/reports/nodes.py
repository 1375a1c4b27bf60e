"""Panels about the cluster: elections, a lane for each node, and the faults.

Owns how these are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from raft.lab.reports.lanes import LINKS, Election, Fault, Lane, Picture
from raft.lab.reports.panel import Panel, heading, label
from raft.lab.reports.svg import Scale, circle, group, line, rect, text, width_of

TOGETHER_SECONDS = 0.1
LANE = 26
LANE_GAP = 8
ROW = 15
ROW_GAP = 5
REASONS = {
    "startup": "the cluster started",
    "leader-died": "the leader died",
    "timeout": "the leader was silent",
    "transfer": "leadership was transferred",
}
KINDS = {
    "kill": "kill", "crash": "kill", "power-cut": "kill", "pause": "pause", "partition": "net",
    "isolate": "net", "ring": "net", "link": "link", "disk": "disk", "clock": "clock",
}  # fmt: skip


def class_of(kind: str) -> str:
    """The style class of a kind of fault; similar kinds share one."""
    return KINDS.get(kind, "other")


def elections_panel(picture: Picture, x: Scale) -> Panel:
    """A mark for each election that was won, with a label if there is space."""
    parts = [label(11, "elections")]
    places = [x(election.t) for election in picture.elections]
    for election, place, free_until in zip(
        picture.elections, places, [*places[1:], x.end + 12], strict=False
    ):
        tip = election_words(election)
        parts.append(circle(place, 7, 4.5, "won", tip))
        who, term = f"n{election.node}", f"term {election.term}"
        for words in (f"{who} · {term} · {milliseconds(election.took_ms)}", f"{who} · {term}", who):
            if place + 9 + width_of(words, 10.5) + 8 <= free_until:
                parts.append(text(place + 9, 11, words, "note"))
                break
    return Panel(content=group(parts, label="elections"), height=14)


def election_words(election: Election) -> str:
    """An election in a sentence."""
    why = REASONS.get(election.reason, election.reason)
    return (
        f"n{election.node} won term {election.term} at {election.t:.3f} s with {election.votes} of "
        f"{election.voters} votes, {milliseconds(election.took_ms)} after it had noticed that "
        f"there was no leader ({why})"
    )


def milliseconds(value: float) -> str:
    """A short time, with suitable precision."""
    return (
        f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"
    )


def lanes_panel(picture: Picture, x: Scale) -> Panel:
    """Each node: down, up, paused, leading; and the periods without a leader."""
    height = len(picture.lanes) * (LANE + LANE_GAP) - LANE_GAP
    parts = [heading("nodes")]
    for span in picture.leaderless:
        tip = f"no leader for {milliseconds(1000 * (span.end - span.start))}, from {span.start:.3f} s"
        parts.append(rect(x(span.start), -3, x(span.end) - x(span.start), height + 6, "leaderless", tip=tip))
    for row, lane in enumerate(picture.lanes):
        parts.append(_lane(lane, picture.faults, row * (LANE + LANE_GAP), x))
    return Panel(content=group(parts, label="nodes"), height=height, above=14)


def _lane(lane: Lane, faults: Iterable[Fault], y: float, x: Scale) -> str:
    middle = y + LANE / 2
    parts = [
        label(middle + 4, f"n{lane.node}", "label strong"),
        line(x.begin, middle, x.end, middle, "down"),
    ]
    for span in lane.up:
        tip = f"n{lane.node} is up from {span.start:.3f} s to {span.end:.3f} s"
        parts.append(
            rect(x(span.start), middle - 5, x(span.end) - x(span.start), 10, "up", tip=tip, round_=3)
        )
    for span in lane.led:
        begin, end = x(span.start), x(span.end)
        tip = f"n{lane.node} {span.text}; from {span.start:.3f} s to {span.end:.3f} s"
        parts.append(rect(begin, y, max(end - begin, 1.5), LANE, "leader", tip=tip, round_=4))
        for words in (f"leader, term {span.term}", f"term {span.term}", str(span.term)):
            if width_of(words) + 10 <= end - begin:
                parts.append(text(begin + 7, middle + 4, words, "inside"))
                break
    for fault in faults:
        if lane.node in fault.nodes and fault.kind not in LINKS:
            tip = f"{fault.text}: {fault.start:.3f} s to {fault.end:.3f} s"
            begin, width = x(fault.start), max(x(fault.end) - x(fault.start), 2.0)
            parts.append(rect(begin, y, width, LANE, f"hurt {class_of(fault.kind)}", tip=tip, round_=2))
            if fault.kind == "pause":
                parts.append(rect(begin, y, width, LANE, "striped"))
    parts += [
        _cross(x(exit_.t), middle, f"n{lane.node}: {exit_.text}, at {exit_.t:.3f} s", exit_.cause)
        for exit_ in lane.exits
    ]
    return group(parts, label=f"node {lane.node}")


def _cross(x: float, y: float, tip: str, cause: str) -> str:
    """The mark where a process ended; smaller for a graceful stop."""
    if cause == "stopped":
        return line(x, y - 7, x, y + 7, "stop", tip)
    return group(
        [
            line(x - 4, y - 4, x + 4, y + 4, "cross", tip),
            line(x - 4, y + 4, x + 4, y - 4, "cross", tip),
        ]
    )


def merged(faults: Iterable[Fault]) -> list[Fault]:
    """Faults of one kind with the same period, as one."""
    alike: list[Fault] = []
    counts: list[int] = []
    for fault in faults:
        last = alike[-1] if alike else None
        if last is not None and max(fault.start - last.start, abs(fault.end - last.end)) < TOGETHER_SECONDS:
            counts[-1] += 1
            last.text = f"{last.text}, {fault.text}"
        else:
            alike.append(msgspec.structs.replace(fault))
            counts.append(1)
    for fault, count in zip(alike, counts, strict=True):
        fault.text = f"{count} ×  {fault.text}" if count > 1 else fault.text
    return alike


def faults_panel(picture: Picture, x: Scale) -> Panel:
    """A row for each kind of fault, with a label if there is space."""
    kinds = list(dict.fromkeys(fault.kind for fault in picture.faults))
    if not kinds:
        return Panel(content="", height=0)
    parts = [heading("faults")]
    y = 0.0
    for kind in kinds:
        parts.append(label(y + ROW - 4, kind))
        rows: list[float] = []
        for fault in merged([fault for fault in picture.faults if fault.kind == kind]):
            begin, end = x(fault.start), max(x(fault.end), x(fault.start) + 3)
            row = next((n for n, until in enumerate(rows) if until <= begin), len(rows))
            rows[row:] = [end, *rows[row + 1 :]]
            tip = f"{kind} {fault.text}: {fault.start:.3f} s to {fault.end:.3f} s"
            top = y + row * (ROW + 1)
            parts.append(rect(begin, top, end - begin, ROW, f"fault {class_of(kind)}", tip=tip, round_=3))
            for words in (fault.text, *fault.text.split("  ", 1)[::-1]):
                if width_of(words, 10) + 8 <= end - begin:
                    parts.append(text(begin + 5, top + ROW - 4, words, "inside small"))
                    break
        y += len(rows) * (ROW + 1) + ROW_GAP
    return Panel(content=group(parts, label="faults"), height=y - ROW_GAP, above=14)
