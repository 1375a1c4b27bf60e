"""Counters: is every read a sum that is possible at that time?

Owns the descriptions of sums that are too small or too large; whether an order exists is up to the search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from raft.lab.checkers.counterexample import prefix, prove
from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record
from raft.lab.checkers.search import CONTRADICTION, STEPS_MAX, Call, Effect, search
from raft.lab.checkers.verdict import Ruling

PROOF_STEPS_MAX = 2_000


def judge_counter(findings: Findings) -> None:
    """Every counter on its own, from zero."""
    for key, records in findings.by_key({"add", "read"}).items():
        relevant = [record for record in records if _matters(record)]
        found = search([_call_of(record) for record in relevant], 0, steps_max=STEPS_MAX)
        if found.ruling is Ruling.UNDECIDED:
            if not _reported_a_read(findings, key, relevant, relevant, alone=True):
                findings.cannot_tell(key)
        elif found.ruling is Ruling.ILLEGAL:
            _tell(findings, key, relevant, relevant[found.stuck])


def _matters(record: Record) -> bool:
    return record.done or (record.op == "add" and record.outcome != "refused")


def _call_of(record: Record) -> Call:
    if record.op == "read":
        return Call(
            called=record.call,
            returned=end_of(record),
            effect=_tells(record.result),
            reads=True,
            index=record.index,
        )
    number = _number(record)
    return Call(
        called=record.call,
        returned=end_of(record),
        effect=_adds(number),
        optional=not record.done,
        alike=number,
        index=record.index if record.done else 0,
    )


def _adds(number: int) -> Effect:
    return lambda state: state + number  # type: ignore[operator]  # A counter's state is a number.


def _tells(number: int) -> Effect:
    return lambda state: state if state == number else CONTRADICTION


def _is_illegal(records: Sequence[Record]) -> bool:
    calls = [_call_of(record) for record in records]
    return search(calls, 0, steps_max=PROOF_STEPS_MAX).ruling is Ruling.ILLEGAL


def _tell(findings: Findings, key: str, records: Sequence[Record], stuck: Record) -> None:
    kept = prove(prefix(records, end_of(stuck)), _is_illegal)
    if _reported_a_read(findings, key, kept, records):
        return
    findings.wrong("not-linearizable", key, f"no order of the additions to {key} explains these reads", kept)


def _reported_a_read(
    findings: Findings, key: str, kept: Sequence[Record], records: Sequence[Record], *, alone: bool = False
) -> bool:
    """Report the first read that no sum explains; there may be none even if no order is possible."""
    bounds = _Bounds(records)
    for read in kept:
        told = bounds.broken_by(read) if read.op == "read" else None
        if told is not None:
            findings.wrong(told[0], key, told[1], [read] if alone else kept)
            return True
    return False


class _Bounds:
    """The smallest and largest possible results of a read, by sums over time."""

    def __init__(self, records: Sequence[Record]) -> None:
        adds = [record for record in records if record.op == "add"]
        self._positive = _Sums([(add.call, max(_number(add), 0)) for add in adds])
        self._negative = _Sums([(add.call, min(_number(add), 0)) for add in adds])
        self._certain_positive = _Sums([(end_of(add), max(_number(add), 0)) for add in adds])
        self._certain_negative = _Sums([(end_of(add), min(_number(add), 0)) for add in adds])

    def broken_by(self, read: Record) -> tuple[str, str] | None:
        """Is the result less than what must, or more than what can have been added?"""
        begin, end = read.call, end_of(read)
        low = self._certain_positive.before(begin) + self._negative.until(end)
        high = self._positive.until(end) + self._certain_negative.before(begin)
        if read.result < low:
            return "lost-add", f"{read.asked()} found {read.result}, though at least {low} had been added"
        if read.result > high:
            return "doubled-add", f"{read.asked()} found {read.result}, though at most {high} had been added"
        return None


class _Sums:
    """Sums of numbers up to any moment."""

    def __init__(self, numbers: Sequence[tuple[float, int]]) -> None:
        ordered = sorted(numbers)
        self._moments = [moment for moment, _ in ordered]
        self._sums = [0, *accumulate(number for _, number in ordered)]

    def before(self, moment: float) -> int:
        """Of those strictly before it."""
        return self._sums[bisect_left(self._moments, moment)]

    def until(self, moment: float) -> int:
        """Of those up to it, and at it."""
        return self._sums[bisect_right(self._moments, moment)]


def _number(add: Record) -> int:
    assert isinstance(add.value, int), "the form of a history has been checked"
    return add.value
