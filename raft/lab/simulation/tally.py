"""A custom machine that reveals repeated commands: it counts how often each was carried out.

Owns the evidence for exactly-once. Knows nothing of sessions.
"""

from __future__ import annotations

import msgspec

_COUNTS = msgspec.msgpack.Decoder(dict[bytes, int])


class Tally:
    """A `StateMachine`. A command is a name; the answer is how many were counted with it."""

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}
        self.total = 0

    def apply(self, index: int, command: bytes) -> bytes:
        """Count a name."""
        del index
        self.counts[command] = self.counts.get(command, 0) + 1
        self.total += 1
        return b"%d" % self.total

    def query(self, query: bytes) -> bytes:
        """How often a name was counted."""
        return b"%d" % self.counts.get(query, 0)

    def snapshot(self) -> bytes:
        """See `StateMachine.snapshot`."""
        return msgspec.msgpack.encode(self.counts)

    def restore(self, data: bytes) -> None:
        """See `StateMachine.restore`."""
        self.counts = _COUNTS.decode(data) if data else {}
        self.total = sum(self.counts.values())
