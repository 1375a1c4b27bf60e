"""Is there an order of the operations on a key that explains every answer, and agrees with real time?

Owns what the operations of a simulated client do to a key, as the search sees it. An operation of unknown
outcome may be placed anywhere after its call, or nowhere; one that was refused is nowhere.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence
from math import inf

from msgspec import Struct

from raft.lab.checkers.history import Kind, Operation, Outcome
from raft.lab.checkers.search import MISFIT, STEPS_MAX, Call, Effect, search
from raft.lab.checkers.verdict import Ruling


class Verdict(enum.Enum):
    """What the search has found."""

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
    """Judge the operations on one key, which nothing held before the first of them."""
    relevant = _without_the_unseen([op for op in operations if op.outcome is not Outcome.REFUSED])
    found = search([_call_of(operation) for operation in relevant], None, steps_max=steps_max)
    stuck = relevant[found.stuck] if found.ruling is Ruling.ILLEGAL else None
    return Judgement(_VERDICTS[found.ruling], stuck)


def _without_the_unseen(operations: list[Operation]) -> list[Operation]:
    """Leave out what has no answer and no trace.

    A read without an answer explains nothing. Neither does an unknown write whose value nobody could have
    seen: in an order that holds it, it can be struck out, for no answer depends on it.
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
        effect=_swap(operation.expected, MISFIT if lies else operation.value),
        optional=not known,
        needs=operation.expected,
        makes=operation.value,
    )


def _holds(value: bytes | None) -> Effect:
    return lambda state: state if state == value else MISFIT


def _differs(expected: bytes | None, found: bytes | None) -> Effect:
    return lambda state: state if state == found != expected else MISFIT


def _swap(expected: bytes | None, after: Hashable) -> Effect:
    return lambda state: after if state == expected else MISFIT
