"""Linearizability of simulated histories: an order that explains every answer and agrees with real time.

Owns the effect of a simulated client's operations on a key, for the search. An operation of unknown outcome
may be placed anywhere after its call, or nowhere; a refused one is nowhere.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence
from math import inf

from msgspec import Struct

from raft.lab.checkers.history import Kind, Operation, Outcome
from raft.lab.checkers.search import CONTRADICTION, STEPS_MAX, Call, Effect, search
from raft.lab.checkers.verdict import Ruling


class Verdict(enum.Enum):
    """The result of the search."""

    LINEARIZABLE = "linearizable"
    VIOLATED = "not linearizable"
    UNDECIDED = "undecided"


class Judgement(Struct, frozen=True):
    """The verdict; if it is VIOLATED, no order explains the answers up to that of `stuck`."""

    verdict: Verdict
    stuck: Operation | None = None


_VERDICTS = {
    Ruling.LEGAL: Verdict.LINEARIZABLE,
    Ruling.ILLEGAL: Verdict.VIOLATED,
    Ruling.UNDECIDED: Verdict.UNDECIDED,
}


def judge(operations: Sequence[Operation], *, steps_max: int = STEPS_MAX) -> Judgement:
    """Check the operations on one key, which did not exist before the first of them."""
    relevant = _without_the_unseen([op for op in operations if op.outcome is not Outcome.REFUSED])
    found = search([_call_of(operation) for operation in relevant], None, steps_max=steps_max)
    stuck = relevant[found.stuck] if found.ruling is Ruling.ILLEGAL else None
    return Judgement(_VERDICTS[found.ruling], stuck)


def _without_the_unseen(operations: list[Operation]) -> list[Operation]:
    """Leave out operations with neither an answer nor an effect on one.

    A read without an answer explains nothing. Neither does an unknown write whose value no operation could
    have seen: an order that contains it is still an order without it, since no answer depends on it.
    """
    seen: set[bytes | None] = set()
    for operation in operations:
        if operation.outcome is Outcome.DONE and operation.kind is not Kind.PUT:
            seen.add(operation.found)
        if operation.kind is Kind.CAS:
            seen.add(operation.expected)
    return [
        operation
        for operation in operations
        if operation.outcome is Outcome.DONE or (operation.kind is not Kind.GET and operation.value in seen)
    ]


def _call_of(operation: Operation) -> Call:
    known = operation.outcome is Outcome.DONE
    called, returned = operation.called, float(operation.returned) if known else inf
    if operation.kind is Kind.GET:
        effect = _holds(operation.found)
        return Call(called=called, returned=returned, effect=effect, reads=True, needs=operation.found)
    if operation.kind is Kind.PUT:
        value = operation.value
        return Call(
            called=called, returned=returned, effect=lambda _state: value, optional=not known, makes=value
        )
    if known and not operation.swapped:
        effect = _differs(operation.expected, operation.found)
        return Call(called=called, returned=returned, effect=effect, reads=True, needs=operation.found)
    lies = known and operation.found != operation.value
    return Call(
        called=called,
        returned=returned,
        effect=_swap(operation.expected, CONTRADICTION if lies else operation.value),
        optional=not known,
        needs=operation.expected,
        makes=operation.value,
    )


def _holds(value: bytes | None) -> Effect:
    return lambda state: state if state == value else CONTRADICTION


def _differs(expected: bytes | None, found: bytes | None) -> Effect:
    return lambda state: state if state == found != expected else CONTRADICTION


def _swap(expected: bytes | None, after: Hashable) -> Effect:
    return lambda state: after if state == expected else CONTRADICTION
