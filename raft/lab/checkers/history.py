"""The history of simulated clients: what they asked and were told.

Owns the shape of an operation and its outcome. Order is by numbers that grow with every call and return.
Knows nothing of how a request travels or of what is true.
"""

from __future__ import annotations

import enum

from msgspec import Struct

PADDING = b"~"  # Makes a value longer, so that a write spans sectors; not shown.
NEVER = 1 << 62  # The return of an operation with unknown outcome.


class Kind(enum.Enum):
    """The kinds of operations."""

    PUT = "put"
    GET = "get"
    CAS = "cas"


class Outcome(enum.Enum):
    """What a client knows."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"  # It did not take place, and never will.
    UNKNOWN = "unknown"  # It may have taken place, or may still do so.


class Operation(Struct, kw_only=True):
    """One operation on one key.

    `value` is what a put or a cas writes, `expected` what a cas compares with. If it is DONE, `found` is the
    result of a get, or the key's value after a cas, and `swapped` says whether a cas was made. `index` is its
    place in the log, by the node's answer, or up to where a get has seen the log.
    """

    client: str
    key: str
    kind: Kind
    called: int
    value: bytes | None = None
    expected: bytes | None = None
    returned: int = NEVER
    outcome: Outcome = Outcome.PENDING
    found: bytes | None = None
    swapped: bool = False
    index: int = 0

    def describe(self) -> str:
        """One line for the run log."""
        asked = {
            Kind.PUT: f"put {self.key} {show(self.value)}",
            Kind.GET: f"get {self.key}",
            Kind.CAS: f"cas {self.key} {show(self.expected)} {show(self.value)}",
        }[self.kind]
        if self.outcome is not Outcome.DONE:
            return f"{asked}: {self.outcome.value}"
        if self.kind is Kind.PUT:
            return f"{asked}: done at {self.index}"
        if self.kind is Kind.GET:
            return f"{asked}: {show(self.found)} at {self.index}"
        return f"{asked}: {'swapped' if self.swapped else 'holds ' + show(self.found)} at {self.index}"


class History:
    """All operations, in the order of their calls."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._moments = 0

    def called(
        self, client: str, key: str, kind: Kind, value: bytes | None = None, expected: bytes | None = None
    ) -> Operation:
        """A client calls."""
        operation = Operation(
            client=client, key=key, kind=kind, value=value, expected=expected, called=self._next()
        )
        self.operations.append(operation)
        return operation

    def returned(self, operation: Operation, outcome: Outcome) -> None:
        """A client has its answer; an UNKNOWN operation never ends."""
        operation.outcome = outcome
        if outcome is not Outcome.UNKNOWN:
            operation.returned = self._next()

    def by_key(self) -> dict[str, list[Operation]]:
        """The operations on each key."""
        keys: dict[str, list[Operation]] = {}
        for operation in self.operations:
            keys.setdefault(operation.key, []).append(operation)
        return keys

    def _next(self) -> int:
        self._moments += 1
        return self._moments


def show(value: bytes | None) -> str:
    """A value for display."""
    return "nothing" if value is None else value.rstrip(PADDING).decode(errors="replace")
