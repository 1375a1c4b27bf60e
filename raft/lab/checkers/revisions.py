"""Places in the log: a different one for each write, in an order that agrees with real time.

Owns the rules across keys, which share one log. An operation without an `index` is not checked here. What
the order means for the values is up to each workload's rules.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft.lab.checkers.counterexample import READS
from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record

EVENTS = frozenset({"event", "watch", "led", "left", "keep"})  # Notifications.


def judge_revisions(findings: Findings) -> None:
    """All operations with an index."""
    placed = [record for record in findings.records if _is_placed(record)]
    if _given_once(findings, placed):
        _agrees_with_time(findings, placed)


def changes(record: Record) -> bool:
    """Did it change anything?"""
    if record.op == "cas":
        return bool(record.result["swapped"])
    if record.op == "fenced-put":
        return bool(record.result["accepted"])
    return record.op not in READS


def _is_placed(record: Record) -> bool:
    return record.done and record.index > 0 and record.op not in EVENTS


def _given_once(findings: Findings, placed: Sequence[Record]) -> bool:
    owners: dict[int, Record] = {}
    for record in placed:
        if not changes(record):
            continue
        other = owners.setdefault(record.index, record)
        if other is not record:
            text = f"{other.asked()} and {record.asked()} both stand at {record.index} in the log"
            findings.wrong("revision-given-twice", record.key, text, [other, record])
            return False
    return True


def _agrees_with_time(findings: Findings, placed: Sequence[Record]) -> None:
    """An operation that was over before another began is placed before it, or was seen by it."""
    by_end = sorted(placed, key=end_of)
    latest: Record | None = None
    place = 0
    for record in sorted(placed, key=lambda record: record.call):
        while place < len(by_end) and end_of(by_end[place]) < record.call:
            if latest is None or by_end[place].index > latest.index:
                latest = by_end[place]
            place += 1
        if latest is None:
            continue
        # A read may have seen the same as the one before it; a write is placed after both.
        if record.index < latest.index or (changes(record) and record.index == latest.index):
            text = (
                f"{latest.asked()} was over, and had come to {latest.index} in the log, before "
                f"{record.asked()} was asked for, which stands at {record.index}"
            )
            findings.wrong("revisions-against-time", record.key, text, [latest, record])
            return
