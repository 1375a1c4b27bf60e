"""A comparison as markdown: the machine, the peers, and a table a scenario.

Owns what is shown, in which order, and how a figure is written. Knows nothing of how it came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.peers.record import Record, Row

OURS = "raft-actors"
YARDSTICK = "etcd"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
TITLES = {
    "throughput": "Load on three nodes",
    "more-nodes": "Load on five and seven nodes",
    "start": "Cold start",
    "failover": "Losing the leader of five nodes",
    "watch": "Watching",
    "hand-over": "Elections among clients",
    "catch-up": "A new node",
    "idle": "Three nodes at rest",
    "many-nodes": "Many nodes at rest",
}


def markdown(record: Record, rows: Sequence[Row]) -> str:
    """All of it."""
    parts = [machine(record), peers(record)]
    for scenario, title in TITLES.items():
        found = [row for row in rows if row.scenario == scenario]
        if found:
            parts.append(f"### {title}\n\n{table(record, found)}")
    if record.failed:
        parts.append("Failed:\n\n" + "\n".join(f"- {line}" for line in record.failed))
    return "\n\n".join(parts)


def machine(record: Record) -> str:
    """On what it ran."""
    told = "; ".join(f"{name}: {value}" for name, value in record.machine.items())
    times = "one round" if record.rounds == 1 else f"medians of {record.rounds} rounds"
    return f"{told}; {times}."


def peers(record: Record) -> str:
    """What ran, and what did not."""
    lines = ["| peer | version | how | fsync before a write is acknowledged |", "| --- | --- | --- | --- |"]
    for name, version in record.peers.items():
        durable = "yes" if record.durable[name] else "**no**"
        lines.append(f"| {name} | {version} | {record.notes[name]} | {durable} |")
    lines += [f"| {name} | left out | {why} | |" for name, why in record.missing.items()]
    return "\n".join(lines)


def table(record: Record, rows: Iterable[Row]) -> str:
    """A line a figure, a column a peer; last, how many times better this project is than the yardstick."""
    rows = list(rows)
    names = [name for name in record.peers if any(name in row.medians for row in rows)]
    compared = {OURS, YARDSTICK} <= set(names)
    heads = ["", "nodes", *names, *([f"{OURS} : {YARDSTICK}"] if compared else [])]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in rows:
        cells = [written(row.medians.get(name), row.unit) for name in names]
        if compared:
            ratio = row.ratio(OURS, YARDSTICK)
            cells.append(f"{ratio:.2f}" if ratio else "")
        lines.append("| " + " | ".join([row.what, str(row.nodes), *cells]) + " |")
    note = "The last column is above 1 where this project is the better one."
    return "\n".join(lines) + (f"\n\n{note}" if compared else "")


def written(value: float | None, unit: str) -> str:
    """A figure with three digits that count, more if it is larger."""
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip().replace(" /s", "/s")


def insert(page: Path, text: str) -> None:
    """Put the tables between the page's marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
