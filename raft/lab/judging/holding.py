"""Locks and elections: one holder at a time, tokens that grow, and writes that a fence turns down.

Owns those three rules. A client that was stopped may believe that it holds what it has lost; that is no
anomaly, and what fences are for. So a hold counts only if it is certain: the release of it found it held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

from msgspec import Struct

from raft.lab.judging.evidence import Findings, end_of
from raft.lab.judging.records import Record


class Hold(Struct, frozen=True):
    """From its acquisition to the call of a release that was carried out."""

    acquired: Record
    released: Record

    @property
    def since(self) -> float:
        """From here on it was held for certain."""
        return end_of(self.acquired)

    @property
    def until(self) -> float:
        """Up to here it was held for certain."""
        return self.released.call


def judge_holds(findings: Findings) -> None:
    """Every lock on its own, and every fenced key on its own."""
    for key, records in findings.by_key({"acquire", "release"}).items():
        acquired = [record for record in records if record.op == "acquire" and record.done]
        _tokens_grow(findings, key, acquired)
        _nobody_else_holds(findings, key, certain_holds(records))
    for key, records in findings.by_key({"fenced-put"}).items():
        accepted = [record for record in records if record.done and record.result["accepted"]]
        _fences_hold(findings, key, accepted)


def certain_holds(records: Iterable[Record]) -> list[Hold]:
    """Each acquisition with the next release by the same client, if that found the lock still held."""
    open_holds: dict[str, Record] = {}
    holds = []
    for record in records:
        if record.op == "acquire":
            open_holds.pop(record.client, None)
            if record.done:
                open_holds[record.client] = record
        elif record.op == "release":
            acquired = open_holds.pop(record.client, None)
            if acquired is not None and record.done and end_of(acquired) <= record.call:
                holds.append(Hold(acquired, record))
    return holds


def _token(acquired: Record) -> int:
    return cast(int, acquired.result["token"])


def _tokens_grow(findings: Findings, key: str, acquired: Sequence[Record]) -> None:
    """No token is given twice; whoever asks after another was given one gets a larger one."""
    owners: dict[int, Record] = {}
    for record in acquired:
        other = owners.setdefault(_token(record), record)
        if other is not record:
            text = f"{other.client} and {record.client} were both given token {_token(record)}"
            findings.wrong("token-given-twice", key, text, [other, record])
            return
    pair = _inversion(acquired)
    if pair is not None:
        earlier, later = pair
        text = f"{later.client} was given token {_token(later)}, after {earlier.client} had {_token(earlier)}"
        findings.wrong("token-went-back", key, text, pair)


def _inversion(acquired: Sequence[Record]) -> tuple[Record, Record] | None:
    """An acquisition that had returned before another was called, and had a larger token."""
    by_end = sorted(acquired, key=end_of)
    largest: Record | None = None
    place = 0
    for record in sorted(acquired, key=lambda record: record.call):
        while place < len(by_end) and end_of(by_end[place]) < record.call:
            if largest is None or _token(by_end[place]) > _token(largest):
                largest = by_end[place]
            place += 1
        if largest is not None and _token(largest) > _token(record):
            return largest, record
    return None


def _nobody_else_holds(findings: Findings, key: str, holds: Sequence[Hold]) -> None:
    for first, second in pairwise(sorted(holds, key=lambda hold: hold.since)):
        if second.since < first.until:
            text = (
                f"{first.acquired.client} and {second.acquired.client} both held {key} "
                f"from {second.since:.6f} s to {min(first.until, second.until):.6f} s"
            )
            proof = [first.acquired, first.released, second.acquired, second.released]
            findings.wrong("two-holders", key, text, proof)
            return


def _fences_hold(findings: Findings, key: str, accepted: Sequence[Record]) -> None:
    """Once a write with a newer token was accepted, none with an older one is."""
    by_end = sorted(accepted, key=end_of)
    newest: Record | None = None
    place = 0
    for record in accepted:
        while place < len(by_end) and end_of(by_end[place]) < record.call:
            if newest is None or _fence(by_end[place]) > _fence(newest):
                newest = by_end[place]
            place += 1
        if newest is not None and _fence(newest) > _fence(record):
            text = (
                f"{record.client} wrote to {key} with token {record.expected}, after {newest.client} had "
                f"written with token {newest.expected}: the fence let an old holder through"
            )
            findings.wrong("stale-token-accepted", key, text, [newest, record])
            return


def _fence(record: Record) -> int:
    return cast(int, record.expected)
