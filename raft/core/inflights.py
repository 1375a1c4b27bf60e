"""The window of appends that were sent to a follower and are not acknowledged.

Owns its two limits, by messages and by bytes. Knows nothing of their contents.
"""

from __future__ import annotations

from collections import deque

from raft.core.types import Index


class Inflights:
    """Appends in flight, oldest first, each with the index of its last entry."""

    __slots__ = ("_window", "bytes_in_flight", "bytes_max", "full", "messages_max")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        """Start empty; a `bytes_max` of 0 is no limit."""
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.bytes_in_flight = 0
        self.full = False
        """Whether the window is full; the last append may have exceeded the limit of bytes."""
        self._window: deque[tuple[Index, int]] = deque()

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last_index: Index, size_bytes: int) -> None:
        """Add an append; only when the window is not full."""
        assert not self.full, f"{len(self._window)} appends are in flight, no more are allowed"
        self._window.append((last_index, size_bytes))
        self.bytes_in_flight += size_bytes
        self.full = len(self._window) >= self.messages_max or 0 < self.bytes_max <= self.bytes_in_flight

    def free_up_to(self, index: Index) -> None:
        """Remove every append whose entries are all at or below `index`."""
        window = self._window
        while window and window[0][0] <= index:
            self.bytes_in_flight -= window.popleft()[1]
            self.full = len(window) >= self.messages_max or 0 < self.bytes_max <= self.bytes_in_flight

    def clear(self) -> None:
        """Remove all appends."""
        self._window.clear()
        self.bytes_in_flight = 0
        self.full = False
