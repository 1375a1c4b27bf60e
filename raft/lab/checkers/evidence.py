"""The common part of all rules: operations by key, findings, and what durable logs settle.

Owns the collecting. Knows no workload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf

import msgspec

from raft.lab.checkers.records import Outcome, Record
from raft.lab.checkers.verdict import Anomaly

_BLIND = {"put", "append", "add", "fenced-put"}  # Their effect does not depend on the state before.


class Findings:
    """The operations to check, and the anomalies found so far."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.anomalies: list[Anomaly] = []
        self.undecided: list[str] = []
        self.notes: list[str] = []

    def by_key(self, operations: Collection[str]) -> dict[str, list[Record]]:
        """The operations of these kinds on each key, in order of their calls."""
        keys: dict[str, list[Record]] = {}
        for record in self.records:
            if record.op in operations:
                keys.setdefault(record.key, []).append(record)
        return keys

    def wrong(self, name: str, key: str, text: str, operations: Iterable[Record]) -> None:
        """Report an anomaly; `operations` prove it."""
        proof = tuple(sorted(operations, key=lambda record: record.call))
        self.anomalies.append(Anomaly(name=name, key=key, text=text, operations=proof))

    def cannot_tell(self, key: str) -> None:
        """The search for this key came to no result."""
        self.undecided.append(key)

    def note(self, text: str) -> None:
        """Something could not be checked, since the history lacks information."""
        if text not in self.notes:
            self.notes.append(text)


def end_of(record: Record) -> float:
    """The latest time at which it took place; infinite for one without an answer."""
    return record.returned if record.done and record.returned is not None else inf


def settle(records: Iterable[Record], committed: Collection[str]) -> list[Record]:
    """Settle unknown outcomes by durable logs: such a write was done at some time, or never will be."""
    values = frozenset(committed)
    settled = []
    for record in records:
        if record.outcome == "unknown" and record.op in _BLIND and isinstance(record.value, str):
            outcome: Outcome = "refused"
            if record.value in values:  # A fence may still have rejected it.
                outcome = "unknown" if record.op == "fenced-put" else "done"
            settled.append(msgspec.structs.replace(record, outcome=outcome, returned=None))
        else:
            settled.append(record)
    return settled


def judge_durability(findings: Findings, committed: Collection[str]) -> None:
    """Acknowledged writes are in the logs."""
    values = frozenset(committed)
    for record in findings.records:
        blind = record.op in _BLIND and record.op != "fenced-put"
        if record.done and blind and isinstance(record.value, str) and record.value not in values:
            text = f"{record.asked()} was acknowledged, and no durable log has it"
            findings.wrong("lost-write", record.key, text, [record])
