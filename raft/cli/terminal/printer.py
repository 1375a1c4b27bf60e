"""Printing for a process that must not wait for its terminal.

Owns a bounded queue of lines and the thread that writes them. If the reader is slow, stopped (Ctrl-S) or
gone, or a disk is full, lines are dropped and counted; the caller never waits. Knows nothing of the lines.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections import deque
from collections.abc import Callable

LINES_MAX = 10_000
BYTES_MAX = 4 * 1024 * 1024
CLOSE_SECONDS_MAX = 2.0
_MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EAGAIN})


class Printer:
    """Prints lines in order through `write`, which may block.

    A line for which `write` raises OSError is dropped. After any error except a full disk nothing more is
    written: the output is gone.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        # Each line, and how many dropped lines it reports: 0, unless it is a notice about them.
        self._lines: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._missing = 0
        self._left_out = 0
        self._closing = self._gone = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
        self._thread.start()

    @property
    def left_out(self) -> int:
        """How many lines were dropped so far."""
        return self._left_out

    def print(self, line: str) -> None:
        """Queue one line, from any thread, without waiting; dropped if the queue is full."""
        with self._changed:
            if self._closing:
                return
            has_room = len(self._lines) < LINES_MAX and self._bytes + len(line) <= BYTES_MAX
            # Once lines were dropped, the lines queued before are printed first, then the number of dropped
            # ones.
            if self._gone or not has_room or (self._missing and self._lines):
                self._missing += 1
                self._left_out += 1
                return
            if self._missing:
                self._append(f"(omitted, since they could not be printed: {self._missing})", self._missing)
                self._missing = 0
            self._append(line, 0)
            self._changed.notify()

    def close(self, timeout_seconds: float = CLOSE_SECONDS_MAX) -> bool:
        """Print the queued lines, waiting up to the time-out; False if some were not printed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        with self._changed:
            self._left_out += sum(1 for _, speaks_for in self._lines if not speaks_for)
            self._lines.clear()
        return not self._thread.is_alive() and not self._left_out

    def _append(self, line: str, speaks_for: int) -> None:
        self._lines.append((line, speaks_for))
        self._bytes += len(line)

    def _run(self) -> None:
        while (found := self._next()) is not None:
            line, speaks_for = found
            try:
                self._write(line)
            except OSError as error:
                with self._changed:
                    self._missing += speaks_for or 1
                    self._left_out += 0 if speaks_for else 1
                    self._gone = self._gone or error.errno not in _MAY_PASS

    def _next(self) -> tuple[str, int] | None:
        """The next line, as soon as there is one; None at the end."""
        with self._changed:
            while not (self._lines or self._closing):
                self._changed.wait()
            if self._gone or not self._lines:
                return None
            found = self._lines.popleft()
            self._bytes -= len(found[0])
            return found


def write_line(fd: int, line: str) -> None:
    """Write one line; see `write_all`."""
    write_all(fd, line + "\n")


def write_all(fd: int, text: str) -> None:
    """Write a whole text, waiting for a slow descriptor, blocking or not.

    Not through `sys.stdout`: the rest of its buffer for a closed reader would be written again at exit.
    """
    rest = memoryview(text.encode(errors="backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            select.select([], [fd], [])
