"""What clients asked and what they were told: the only evidence that a judge of a store may use.

Owns the shape of an operation and the honesty of its outcome. Order is by numbers that grow with every
call and return. Knows nothing of how a request travels or of what is true.
"""

from __future__ import annotations

import enum

from msgspec import Struct

PADDING = b"~"  # Makes a value longer, so that a write spans sectors; not shown.
NEVER = 1 << 62  # When an operation returns of which nobody knows whether it took place.


class Kind(enum.Enum):
    """What was asked."""

    PUT = "put"
    GET = "get"
    CAS = "cas"


class Outcome(enum.Enum):
    """What a client may believe."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"  # It did not take place, and never will.
    UNKNOWN = "unknown"  # It may have taken place, or may yet.


class Operation(Struct, kw_only=True):
    """One operation on one key.

    `value` is what a put or a cas writes, `expected` what a cas compares with. Of one that is DONE, `found`
    is what a get returned, or what the key held after a cas, and `swapped` says whether a cas was made.
    `index` is where the node said that it stands in the log, or up to where a get has seen it.
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
        """One line for the story."""
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
        """A client asks."""
        operation = Operation(
            client=client, key=key, kind=kind, value=value, expected=expected, called=self._next()
        )
        self.operations.append(operation)
        return operation

    def returned(self, operation: Operation, outcome: Outcome) -> None:
        """A client has its answer; one that is UNKNOWN never ends."""
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
    """A value in words."""
    return "nothing" if value is None else value.rstrip(PADDING).decode(errors="replace")
