"""Panels about the clients: throughput, latency, and periods without a write.

Owns how these are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from raft.lab.checkers.records import Record
from raft.lab.checkers.revisions import EVENTS
from raft.lab.reports.measures import Bin, bins_of, gaps_of
from raft.lab.reports.nodes import milliseconds
from raft.lab.reports.panel import Panel, heading, label
from raft.lab.reports.svg import Scale, area, element, group, line, polyline, rect, round_step, text

HEIGHT = 96
DOTS_MAX = 3_000  # More are sampled, except operations that were not done.


def panels(records: Sequence[Record], x: Scale) -> list[Panel]:
    """Both charts; periods without a write are marked in the upper one."""
    bins = bins_of(records, x.low, x.high)
    return [_throughput(records, bins, x), _latency(records, bins, x)]


def _throughput(records: Sequence[Record], bins: Sequence[Bin], x: Scale) -> Panel:
    most = max((part.per_second for part in bins), default=1.0) or 1.0
    step = round_step(most / 3)
    y = Scale(0, step * -(-most // step), HEIGHT, 0)
    parts = [heading("operations a second")]
    for tick in y.ticks(3):
        parts += [line(x.begin, y(tick), x.end, y(tick), "grid"), label(y(tick) + 4, f"{tick:g}", "tick")]
    for gap in gaps_of(records):
        words = milliseconds(1000 * (gap.end - gap.start))
        begin, end = x(gap.start), x(gap.end)
        tip = f"no write came back for {words}, from {gap.start:.3f} s"
        parts.append(rect(begin, 0, max(end - begin, 1.5), HEIGHT, "unavailable", tip=tip))
    middles = [(x((part.start + part.end) / 2), y(part.per_second)) for part in bins]
    parts += [area(middles, HEIGHT, "area"), polyline(middles, "curve")]
    parts += [
        _tip(part, x, f"{part.per_second:.0f} operations a second, {part.failed} failed") for part in bins
    ]
    return Panel(content=group(parts, label="throughput"), height=HEIGHT, above=14)


def _latency(records: Sequence[Record], bins: Sequence[Bin], x: Scale) -> Panel:
    """On a logarithmic scale: median, rare latencies, and single operations."""
    known = [part for part in bins if part.p50_ms is not None]
    low = min((part.p50_ms or 1.0 for part in known), default=1.0)
    high = max((part.p99_ms or 1.0 for part in known), default=1.0)
    decades = range(_decade(low), _decade(high) + 2)
    y = Scale(decades[0], decades[-1], HEIGHT, 0)
    parts = [heading("latency")]
    for decade in decades:
        parts.append(line(x.begin, y(decade), x.end, y(decade), "grid"))
        parts.append(label(y(decade) + 4, milliseconds_of_decade(decade), "tick"))
    parts += _dots(records, x, y)
    for name, class_ in (("p99", "curve rare"), ("p50", "curve")):
        for piece in _pieces(bins, name):
            points = [(x((p.start + p.end) / 2), y(log10(max(_value(p, name) or 1.0, 1e-3)))) for p in piece]
            if len(points) == 1:
                points.append((points[0][0] + 1, points[0][1]))
            parts.append(polyline(points, class_))
    parts += [text(x.begin + 62, -8, "p99", "heading rare"), text(x.begin + 94, -8, "p50", "heading usual")]
    parts += [
        _tip(part, x, f"p50 {milliseconds(part.p50_ms)}, p99 {milliseconds(part.p99_ms)}")
        for part in known
        if part.p50_ms is not None and part.p99_ms is not None
    ]
    return Panel(content=group(parts, label="latency"), height=HEIGHT, above=14)


def _dots(records: Sequence[Record], x: Scale, y: Scale) -> list[str]:
    """Operations by outcome, at their calls; one of unknown outcome has no latency, and is at the top."""
    asked = [record for record in records if record.op not in EVENTS]
    every = -(-len(asked) // DOTS_MAX) or 1
    paths: dict[str, list[str]] = {}
    for number, record in enumerate(asked):
        if record.outcome != "done" or number % every == 0:
            height = 2.0
            if record.returned is not None:
                height = y(log10(max(1000 * (record.returned - record.call), 1e-3)))
            paths.setdefault(record.outcome, []).append(f"M{x(record.call):g} {height:.1f}h0")
    return [
        element("path", d="".join(paths[outcome]), class_=f"dots {outcome}")
        for outcome in ("done", "refused", "unknown")
        if outcome in paths
    ]


def milliseconds_of_decade(decade: int) -> str:
    """A power of ten of milliseconds, as a label."""
    return f"{10.0 ** (decade - 3):g} s" if decade >= 3 else f"{10.0**decade:g} ms"


def _decade(value: float) -> int:
    return int(log10(max(value, 1e-3)) // 1)


def _value(part: Bin, name: str) -> float | None:
    return part.p50_ms if name == "p50" else part.p99_ms


def _pieces(bins: Sequence[Bin], name: str) -> list[list[Bin]]:
    """A curve has a gap where there is nothing to measure."""
    pieces: list[list[Bin]] = [[]]
    for part in bins:
        if _value(part, name) is None:
            pieces.append([])
        else:
            pieces[-1].append(part)
    return [piece for piece in pieces if piece]


def _tip(part: Bin, x: Scale, words: str) -> str:
    tip = f"{part.start:.2f} s – {part.end:.2f} s: {words}"
    return rect(x(part.start), 0, x(part.end) - x(part.start), HEIGHT, "touch", tip=tip)
