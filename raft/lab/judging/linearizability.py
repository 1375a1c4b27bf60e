"""Is there an order of the operations on a key that explains every answer, and agrees with real time?

Owns the search: Wing and Gong's, with Lowe's memory of what was tried ("Testing for linearizability",
2017). Knows nothing of clusters. An operation of unknown outcome may be placed anywhere after its call,
or nowhere; one that was refused is nowhere.

A search that takes too long ends undecided, which proves nothing and must not pass for a proof.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from msgspec import Struct

from raft.lab.judging.history import NEVER, Kind, Operation, Outcome

STEPS_MAX = 2_000_000


class Verdict(enum.Enum):
    """What the search has found."""

    LINEARIZABLE = "linearizable"
    VIOLATED = "not linearizable"
    UNDECIDED = "undecided"


class Judgement(Struct, frozen=True):
    """The verdict; if it is not LINEARIZABLE, `stuck` is an operation that no order could explain."""

    verdict: Verdict
    stuck: Operation | None = None


class _Mark:
    """A call or a return in the order of time: a link in a chain from which placed operations are taken."""

    __slots__ = ("bit", "following", "is_call", "mate", "operation", "previous")

    def __init__(self, operation: Operation, bit: int, *, is_call: bool) -> None:
        self.operation = operation
        self.bit = bit
        self.is_call = is_call
        self.mate: _Mark
        self.previous: _Mark
        self.following: _Mark | None = None

    def take_out(self) -> None:
        """Leave the chain; the links of this mark still say where it was."""
        self.previous.following = self.following
        if self.following is not None:
            self.following.previous = self.previous

    def put_back(self) -> None:
        """Undo the last `take_out`."""
        self.previous.following = self
        if self.following is not None:
            self.following.previous = self


def judge(operations: Sequence[Operation], *, steps_max: int = STEPS_MAX) -> Judgement:
    """Judge the operations on one key, which nothing held before the first of them."""
    relevant = [operation for operation in operations if operation.outcome is not Outcome.REFUSED]
    return _search(_without_the_unseen(relevant), steps_max)


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


def _chain(operations: Sequence[Operation]) -> _Mark:
    """All calls and returns in order, behind a mark that is neither."""
    marks: list[tuple[int, int, _Mark]] = []
    for number, operation in enumerate(operations):
        call = _Mark(operation, 1 << number, is_call=True)
        end = _Mark(operation, 1 << number, is_call=False)
        call.mate, end.mate = end, call
        returned = operation.returned if operation.outcome is Outcome.DONE else NEVER
        marks += [(operation.called, number, call), (returned, number, end)]
    marks.sort(key=lambda mark: mark[:2])
    head = last = _Mark(Operation(client="", key="", kind=Kind.GET, called=0), 0, is_call=True)
    for _, _, mark in marks:
        mark.previous, last.following = last, mark
        last = mark
    return head


def _search(operations: Sequence[Operation], steps_max: int) -> Judgement:
    head = _chain(operations)
    needed = sum(1 << number for number, op in enumerate(operations) if op.outcome is Outcome.DONE)
    placed, state = 0, None
    tried: set[tuple[int, bytes | None]] = set()
    trail: list[tuple[_Mark, bytes | None]] = []
    stuck: Operation | None = None
    furthest = -1
    mark = head.following
    for _ in range(steps_max):
        if placed & needed == needed:
            return Judgement(Verdict.LINEARIZABLE)
        assert mark is not None, "as long as a known operation is not placed, its return is in the chain"
        if mark.is_call:
            fits, after = _effect(mark.operation, state)
            step = (placed | mark.bit, after)
            if fits and step not in tried:
                tried.add(step)
                trail.append((mark, state))
                placed, state = step
                mark.take_out()
                mark.mate.take_out()
                mark = head.following
            else:
                mark = mark.following
            continue
        # The operation that returns here had to be placed before anything that follows.
        if len(trail) > furthest:
            furthest, stuck = len(trail), mark.operation
        if not trail:
            return Judgement(Verdict.VIOLATED, stuck)
        mark, state = trail.pop()
        placed &= ~mark.bit
        mark.mate.put_back()
        mark.put_back()
        mark = mark.following
    return Judgement(Verdict.UNDECIDED, stuck)


def _effect(operation: Operation, state: bytes | None) -> tuple[bool, bytes | None]:
    """Does its answer, if it has one, fit the state that it finds? And the state that it leaves."""
    known = operation.outcome is Outcome.DONE
    if operation.kind is Kind.PUT:
        return True, operation.value
    if operation.kind is Kind.GET:
        return not known or operation.found == state, state
    swaps = operation.expected == state
    after = operation.value if swaps else state
    return not known or (operation.swapped == swaps and operation.found == after), after
