"""The log of a simulated run: a readable line for each notable event, a digest of everything.

Owns the record. Two runs with the same digest did the same things at the same times, down to the last byte
on the network. Knows nothing of what the lines mean.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b

_MOMENT = struct.Struct(">d")


class RunLog:
    """Lines, counts and a digest. `listener` is called with each line as it is written."""

    def __init__(self, now: Callable[[], float], listener: Callable[[str], None] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._now = now
        self._listener = listener
        self._hash = blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """A hash of everything so far."""
        return self._hash.hexdigest()

    def tell(self, who: str, what: str) -> None:
        """Write a line."""
        line = f"{self._now():9.4f}s  {who:<8} {what}"
        self._hash.update(line.encode())
        if self._listener is not None:
            self._listener(line)

    def count(self, what: str, times: int = 1) -> None:
        """Count an event of this kind."""
        self.counts[what] += times

    def carried(self, way: bytes, payload: bytes) -> None:
        """A frame has arrived: part of the digest, but not of the lines."""
        self._hash.update(_MOMENT.pack(self._now()) + way + payload)
