"""Counters: does every read tell a sum that can have been there?

Owns the words for a sum that is too small or too large; whether an order exists is the search's.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft.lab.judging.evidence import Findings, end_of
from raft.lab.judging.proving import prefix, prove
from raft.lab.judging.records import Record
from raft.lab.judging.search import MISFIT, STEPS_MAX, Call, Effect, search
from raft.lab.judging.verdict import Ruling

PROOF_STEPS_MAX = 20_000


def judge_counter(findings: Findings) -> None:
    """Every counter on its own, from zero."""
    for key, records in findings.by_key({"add", "read"}).items():
        relevant = [record for record in records if _matters(record)]
        found = search([_call_of(record) for record in relevant], 0, steps_max=STEPS_MAX)
        if found.ruling is Ruling.UNDECIDED:
            impossible = next(
                (read for read in relevant if read.op == "read" and _bounds(read, relevant)), None
            )
            if impossible is None:
                findings.cannot_tell(key)
            else:
                name, text = _bounds(impossible, relevant) or ("", "")
                findings.wrong(name, key, text, [impossible])
        elif found.ruling is Ruling.ILLEGAL:
            _tell(findings, key, relevant, relevant[found.stuck])


def _matters(record: Record) -> bool:
    return record.done or (record.op == "add" and record.outcome != "refused")


def _call_of(record: Record) -> Call:
    value = record.value
    if record.op == "read":
        return Call(called=record.call, returned=end_of(record), effect=_tells(record.result), reads=True)
    assert isinstance(value, int), "the form of a history has been checked"
    return Call(
        called=record.call,
        returned=end_of(record),
        effect=_adds(value),
        optional=not record.done,
        alike=value,
    )


def _adds(number: int) -> Effect:
    return lambda state: state + number  # type: ignore[operator]  # A counter's state is a number.


def _tells(number: int) -> Effect:
    return lambda state: state if state == number else MISFIT


def _is_illegal(records: Sequence[Record]) -> bool:
    calls = [_call_of(record) for record in records]
    return search(calls, 0, steps_max=PROOF_STEPS_MAX).ruling is Ruling.ILLEGAL


def _tell(findings: Findings, key: str, records: Sequence[Record], stuck: Record) -> None:
    kept = prove(prefix(records, end_of(stuck)), _is_illegal)
    for read in kept:
        if read.op == "read":
            told = _bounds(read, records)
            if told is not None:
                findings.wrong(told[0], key, told[1], kept)
                return
    findings.wrong("not-linearizable", key, f"no order of the additions to {key} explains these reads", kept)


def _bounds(read: Record, records: Sequence[Record]) -> tuple[str, str] | None:
    """Is what was read less than what must, or more than what can have been added?"""
    low = high = 0
    for record in records:
        if record.op != "add" or not isinstance(record.value, int):
            continue
        surely, maybe = end_of(record) < read.call, record.call <= end_of(read)
        low += record.value if surely or (maybe and record.value < 0) else 0
        high += record.value if surely or (maybe and record.value > 0) else 0
    if read.result < low:
        return "lost-add", f"{read.asked()} found {read.result}, though at least {low} had been added"
    if read.result > high:
        return "doubled-add", f"{read.asked()} found {read.result}, though at most {high} had been added"
    return None
