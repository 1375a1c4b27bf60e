"""What a power cut would take: writes that are not synced yet, and what was there before them.

Owns that memory, and putting it back. A process that is killed loses nothing, as the kernel has its writes;
here they can be lost all the same. What is older than `kept_seconds` counts as written back by the kernel.
Names of files, and their lengths, count as durable at once. Knows nothing of what causes a power cut.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

KEPT_SECONDS = 1.0


class _Note(NamedTuple):
    at_seconds: float
    file: int
    offset: int
    before: bytes


class Unsynced:
    """The memory of all files of one process; any thread may write. Files are known by their descriptors."""

    def __init__(
        self, *, kept_seconds: float = KEPT_SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept_seconds = kept_seconds
        self._now = now
        self._lock = threading.Lock()
        self._notes: deque[_Note] = deque()

    def write(self, descriptor: int, offset: int, size: int, write: Callable[[], None]) -> None:
        """Carry a write out, and remember what it overwrites."""
        with self._lock:
            before = os.pread(descriptor, size, offset)
            now = self._now()
            while self._notes and self._notes[0].at_seconds < now - self._kept_seconds:
                self._notes.popleft()
            self._notes.append(_Note(now, descriptor, offset, before.ljust(size, b"\0")))
            write()

    def synced(self, descriptor: int) -> None:
        """Note that all writes to a file are durable; a closed file is no longer tracked."""
        with self._lock:
            self._notes = deque(note for note in self._notes if note.file != descriptor)

    def lose(self) -> None:
        """Put back what was there before, newest first. Nothing can be written after that: die now."""
        self._lock.acquire()
        for note in reversed(self._notes):
            length = os.fstat(note.file).st_size
            os.pwrite(note.file, note.before[: max(0, length - note.offset)], note.offset)
