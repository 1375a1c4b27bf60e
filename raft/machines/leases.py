"""Leases as the log knows them: which there are, and for how long each was granted.

Owns the table. No time passes here: that a lease has run out is a command like any other, which the
leader proposes (see lease_clock). Knows nothing of what hangs on a lease.
"""

from __future__ import annotations

from collections.abc import Iterable


class Leases:
    """The leases that have not ended; each is named by the log index at which it was granted."""

    def __init__(self) -> None:
        self.ttls_ms: dict[int, int] = {}
        """How long each lease lasts after a keep-alive, oldest first; to be read only."""
        self.newest = -1
        """No lease was granted after this one, which may have ended."""

    def __contains__(self, lease: int) -> bool:
        return lease in self.ttls_ms

    def grant(self, index: int, ttl_ms: int) -> int:
        """Begin a lease."""
        assert index not in self.ttls_ms, f"the command at {index} was applied before"
        self.ttls_ms[index] = ttl_ms
        self.newest = index
        return index

    def end(self, leases: Iterable[int]) -> tuple[int, ...]:
        """End those that last still, and say which these are, oldest first."""
        ended = tuple(sorted({lease for lease in leases if lease in self.ttls_ms}))
        for lease in ended:
            del self.ttls_ms[lease]
        return ended

    def restore(self, ttls_ms: Iterable[tuple[int, int]]) -> None:
        """Have these leases and no others."""
        self.ttls_ms = dict(ttls_ms)
        self.newest = max(self.ttls_ms, default=-1)
