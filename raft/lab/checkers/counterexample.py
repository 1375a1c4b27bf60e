"""Minimal counterexamples: the few operations that prove that a history is illegal.

Owns the narrowing. It only weakens claims: a read is dropped, a write becomes one that may or may not have
taken place. So the rest is illegal for the same reason as the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import msgspec

from raft.lab.checkers.records import Record
from raft.lab.shrinking import shrink

FIRST_GUESS = 16
RUNS_MAX = 60  # A longer proof is valid, too.
READS = frozenset({"get", "read"})


def weakened(record: Record) -> Record | None:
    """The operation with a weaker claim; None for a read, which claims nothing else."""
    if record.op in READS:
        return None
    return msgspec.structs.replace(record, outcome="unknown", returned=None, result=None, index=0)


def prefix(records: Sequence[Record], until: float) -> list[Record]:
    """The history as of a moment: calls that had not returned have no answer."""
    seen: list[Record] = []
    for record in records:
        if record.call > until:
            continue
        ended = record.returned is not None and record.returned <= until
        as_it_was = record if ended or not record.done else weakened(record)
        if as_it_was is not None:
            seen.append(as_it_was)
    return seen


def prove(records: Sequence[Record], is_illegal: Callable[[Sequence[Record]], bool]) -> list[Record]:
    """The operations among these that cannot be weakened; `records` is illegal.

    Unknown writes are included only if their value is needed.
    """
    claims = sorted((record for record in records if record.done), key=_end)

    def fails(kept: Sequence[Record]) -> bool:
        claimed = set(map(id, kept))
        candidate = [record if id(record) in claimed else weakened(record) for record in records]
        return is_illegal([record for record in candidate if record is not None])

    size = FIRST_GUESS
    while size < len(claims) and not fails(claims[-size:]):
        size *= 4
    return list(shrink(claims[-size:], fails, runs_max=RUNS_MAX))


def _end(record: Record) -> float:
    return inf if record.returned is None else record.returned
