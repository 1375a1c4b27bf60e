"""A comparison as pictures: bars on a logarithmic scale, as SVG text.

Owns the drawing. Knows nothing of how the figures came about; needs no library and no font.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.peers.record import Record, Row

WIDTH, LEFT, RIGHT = 860, 300, 90
BAR, GAP, HEAD = 14, 14, 46
COLOURS = ("#1b6ca8", "#d1495b", "#7a8b99", "#b8c4cc", "#4fa3d9", "#e58e99")
TEXT = 'font-family="sans-serif" font-size="12" fill="#222"'

PICTURES: dict[str, tuple[str, str, str]] = {
    "throughput.svg": ("throughput", "/s", "operations per second, three nodes (more is better)"),
    "failover.svg": (
        "failover",
        "ms",
        "milliseconds until a write succeeds again, five nodes (less is better)",
    ),
}


def write_pictures(record: Record, rows: Sequence[Row], directory: Path) -> list[Path]:
    """Every picture for which there are figures."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (scenario, unit, title) in PICTURES.items():
        found = [
            row for row in rows if row.scenario == scenario and row.unit == unit and ": p" not in row.what
        ]
        if found:
            path = directory / name
            path.write_text(bars(title, list(record.peers), found))
            written.append(path)
    return written


def bars(title: str, peers: Sequence[str], rows: Sequence[Row]) -> str:
    """A group of bars a row, a bar a peer."""
    shown = [peer for peer in peers if any(peer in row.medians for row in rows)]
    values = [value for row in rows for value in row.medians.values() if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    span = max(1, high - low)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - low) / span

    parts, y = legend(title, shown), HEAD
    bottom = HEAD + sum(BAR * len(row.medians) + GAP for row in rows)
    for power in range(low, high + 1):
        at = x(10**power)
        parts.append(f'<line x1="{at:.0f}" y1="{HEAD - 6}" x2="{at:.0f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{at:.0f}" y="{bottom + 14}" text-anchor="middle" {TEXT}>{10**power:,g}</text>'
        )
    for row in rows:
        height = BAR * len(row.medians)
        middle = y + height / 2 + 4
        parts.append(
            f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end" {TEXT}>{escape(row.what)}</text>'
        )
        for peer in shown:
            value = row.medians.get(peer)
            if value is None:
                continue
            end = max(x(value), LEFT + 1) if value > 0 else LEFT + 1
            colour = COLOURS[shown.index(peer) % len(COLOURS)]
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.0f}" height="{BAR - 2}" fill="{colour}"/>'
            )
            label = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
            parts.append(f'<text x="{end + 4:.0f}" y="{y + BAR - 4}" {TEXT}>{label}</text>')
            y += BAR
        y += GAP
    size = f'width="{WIDTH}" height="{bottom + 24}" viewBox="0 0 {WIDTH} {bottom + 24}"'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{ground}{"".join(parts)}</svg>\n'


def legend(title: str, peers: Sequence[str]) -> list[str]:
    """The title, and which colour is whose."""
    parts = [f'<text x="8" y="16" {TEXT} font-weight="bold">{escape(title)}</text>']
    x = 8
    for index, peer in enumerate(peers):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{x}" y="24" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="33" {TEXT}>{escape(peer)}</text>')
        x += 30 + 8 * len(peer)
    return parts
