"""Leases as the log knows them: which there are, and for how long each was granted.

Owns the table. No time passes here: that a lease has run out is a command like any other, which the
leader proposes (see lease_clock). Knows nothing of what hangs on a lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from raft.machines.keys import Table
from raft.machines.results import LeaseList


class Leases:
    """The leases that have not ended; each is named by the log index at which it was granted."""

    def __init__(self) -> None:
        self._table: Table[int, int] = Table()
        self.newest = -1
        """No lease was granted after this one, which may have ended."""
        self.ends = 0
        """How many have ended here: a number to see by whether any have."""

    def __contains__(self, lease: int) -> bool:
        return lease in self._table.live

    def __len__(self) -> int:
        return len(self._table.live)

    @property
    def ttls_ms(self) -> dict[int, int]:
        """How long each lease lasts after a keep-alive, oldest first; for reading."""
        return self._table.live

    def page(self, after: int, limit: int) -> LeaseList:
        """At most `limit` leases that were granted after the given one, oldest first."""
        found = [
            (lease, self._table.live[lease])
            for lease in islice(self._table.between(after + 1, None), limit + 1)
        ]
        return LeaseList(tuple(found[:limit]), len(found) > limit)

    def grant(self, index: int, ttl_ms: int) -> int:
        """Add a lease."""
        assert index not in self, f"the command at {index} was applied before"
        self._table.put(index, ttl_ms)
        self.newest = index
        return index

    def end(self, leases: Iterable[int]) -> tuple[int, ...]:
        """Remove those that exist, and return them, oldest first."""
        ended = tuple(sorted({lease for lease in leases if lease in self}))
        for lease in ended:
            self._table.pop(lease)
        self.ends += len(ended)
        return ended

    def snapshot(self) -> list[tuple[int, int]]:
        """Each lease and its time, oldest first."""
        return list(self._table.items())

    def frozen(self) -> Iterator[tuple[int, int]]:
        """The same, as of this moment, to be drawn later."""
        return self._table.frozen()

    def restore(self, ttls_ms: Iterable[tuple[int, int]]) -> None:
        """Have these leases and no others, given oldest first."""
        self._table.fill(ttls_ms)
        self.newest = next(reversed(self._table.live), -1)
