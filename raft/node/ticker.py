"""Seconds into ticks, honestly: a process that was stopped does not make up for lost time.

Owns the count of ticks that are due. Knows nothing of what a tick does.
"""

from __future__ import annotations

TICKS_AT_ONCE_MAX = 2
SLACK_TICKS = 0.1  # A timer that fires a little early still counts.


class Ticker:
    """How many ticks have passed since the last look.

    After a stall (SIGSTOP, a machine that was too busy) there is one, not a burst: what the others
    said meanwhile has to be heard before silence may be counted against them.
    """

    def __init__(self, tick_seconds: float, now: float) -> None:
        self.stalled_seconds = 0.0
        self._tick_seconds = tick_seconds
        self._looked_at = now
        self._owed_ticks = 0.0

    def is_late(self, now: float) -> bool:
        """Has it been so long since the last look that the process must have stood still?"""
        return now - self._looked_at >= (TICKS_AT_ONCE_MAX + 1) * self._tick_seconds

    def due(self, now: float) -> int:
        """The ticks to let pass now; `stalled_seconds` says how long we were away, if we were."""
        elapsed_seconds = now - self._looked_at
        late = self.is_late(now)
        self._looked_at = now
        self.stalled_seconds = elapsed_seconds if late else 0.0
        if late:
            self._owed_ticks = 0.0
            return 1
        owed = self._owed_ticks + elapsed_seconds / self._tick_seconds
        ticks = min(int(owed + SLACK_TICKS), TICKS_AT_ONCE_MAX)
        self._owed_ticks = owed - ticks
        return ticks
