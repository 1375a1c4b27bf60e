"""The window of appends that a follower has been sent and has not acknowledged.

Owns its two limits, by messages and by bytes. Knows nothing of what the messages hold.
"""

from __future__ import annotations

from collections import deque

from raft.core.types import Index


class Inflights:
    """Appends under way, oldest first, each by the last index in it."""

    __slots__ = ("_window", "bytes_in_flight", "bytes_max", "full", "messages_max")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        """Start empty; a `bytes_max` of 0 is no limit."""
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.bytes_in_flight = 0
        self.full = False
        """Whether nothing more may be sent; the last append may have overshot the bytes."""
        self._window: deque[tuple[Index, int]] = deque()

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last_index: Index, size_bytes: int) -> None:
        """Count one more append under way; only when not full."""
        assert not self.full, f"{len(self._window)} appends are under way, no more are allowed"
        self._window.append((last_index, size_bytes))
        self.bytes_in_flight += size_bytes
        self.full = len(self._window) >= self.messages_max or 0 < self.bytes_max <= self.bytes_in_flight

    def free_up_to(self, index: Index) -> None:
        """Forget every append whose entries all lie at or below `index`."""
        window = self._window
        while window and window[0][0] <= index:
            self.bytes_in_flight -= window.popleft()[1]
            self.full = len(window) >= self.messages_max or 0 < self.bytes_max <= self.bytes_in_flight

    def clear(self) -> None:
        """Forget them all."""
        self._window.clear()
        self.bytes_in_flight = 0
        self.full = False
