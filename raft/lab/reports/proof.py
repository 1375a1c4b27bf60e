"""An anomaly, drawn: the few operations that prove it, a row each, on a common time axis.

Owns how these are drawn. The axis is not linear: all moments are equally far apart, since only their order
matters.
"""

from __future__ import annotations

from raft.lab.checkers.records import Record
from raft.lab.checkers.verdict import Anomaly
from raft.lab.reports.panel import WIDTH
from raft.lab.reports.svg import Scale, circle, element, group, line, rect, text, width_of

LEFT = 60
ROW = 34


def proof_svg(anomaly: Anomaly) -> str:
    """The operations of an anomaly in order of their calls."""
    records = anomaly.operations
    moments = sorted(
        {time for record in records for time in (record.call, record.returned) if time is not None}
    )
    place = {moment: number for number, moment in enumerate(moments)}
    x = Scale(-0.3, max(len(moments), 2) + 0.6, LEFT, WIDTH - 220)
    height = ROW * len(records) + 26
    parts = [line(x(n), 4, x(n), height - 20, "grid") for n in range(len(moments))]
    last = max(records, key=lambda record: (record.done, record.returned or 0.0))
    for row, record in enumerate(records):
        parts.append(_row(record, row, x, place, len(moments), is_culprit=record is last))
    free_from = 0.0
    for moment, number in place.items():
        words = f"{moment:.4f} s"
        if x(number) - width_of(words, 10) / 2 >= free_from:
            parts.append(text(x(number), height - 6, words, "tick", "middle"))
            free_from = x(number) + width_of(words, 10) / 2 + 6
    return element(
        "svg", group(parts), xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height}",
        class_="proof", role="img", aria_label=anomaly.text,
    )  # fmt: skip


def _row(
    record: Record, row: int, x: Scale, place: dict[float, int], moments: int, *, is_culprit: bool
) -> str:
    top = row * ROW + 6
    begin = x(place[record.call])
    known = record.done and record.returned is not None
    end = x(place[record.returned]) if known and record.returned is not None else x(moments + 0.5)
    turned_down = record.op == "cas" and known and not record.result["swapped"]
    reads = record.op in ("get", "read", "event") or turned_down
    style = "open" if not known else "reads" if reads else "writes"
    style += " culprit" if is_culprit else ""
    parts = [
        text(LEFT - 12, top + 16, record.client, "label strong", "end"),
        rect(begin, top, max(end - begin, 4), 22, f"operation {style}", tip=record.describe(), round_=4),
        text(end + 9, top + 15, f"{record.asked()}  →  {record.answered()}", "words"),
    ]
    if known and end - begin < 5:
        parts.append(circle(begin, top + 11, 4, f"operation {style}"))
    return group(parts)
