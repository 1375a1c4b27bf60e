"""The only clock: seconds that never go back.

Owns reading time. Wall-clock time is not here on purpose: it decides nothing.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic seconds; only differences mean something."""

    def now(self) -> float:
        """Seconds since some fixed moment."""


class MonotonicClock:
    """The machine's monotonic clock: seconds since some fixed moment of this machine."""

    now = staticmethod(time.monotonic)


class ScaledClock:
    """Another clock, faster or slower than it is; what it shows never jumps."""

    def __init__(self, inner: Clock) -> None:
        self._read = inner.now
        self._zero = self._shown = inner.now()
        self._rate = 1.0

    def now(self) -> float:
        """The seconds of the other clock, stretched."""
        return self._shown + (self._read() - self._zero) * self._rate

    @property
    def rate(self) -> float:
        """How many of its seconds go by in one of the other clock's."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._shown, self._zero = self.now(), self._read()
        self._rate = rate


class ManualClock:
    """A clock that moves only when it is told to, for tests and simulations."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        """The seconds it was moved so far."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by that many seconds."""
        assert seconds >= 0, f"time would go back by {-seconds} seconds"
        self._now += seconds

    def advance_to(self, moment: float) -> None:
        """Move forward to that moment; does nothing when it has passed."""
        self._now = max(self._now, moment)
