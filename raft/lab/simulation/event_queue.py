"""The event queue of a world whose clock jumps from one event to the next.

Owns the order of events: by time, and at equal times in the order of scheduling, so that nothing depends on
chance. Knows nothing of what an event does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from actors.clock import ManualClock

Action = Callable[[], None]


class EventQueue:
    """The future events, and the clock that they move."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.now = self.clock.now
        self._events: list[tuple[float, int, Action]] = []
        self._planned = 0

    def at(self, moment: float, action: Action) -> None:
        """Schedule an action; one in the past is done as soon as possible."""
        self._planned += 1
        heapq.heappush(self._events, (moment, self._planned, action))

    def after(self, seconds: float, action: Action) -> None:
        """Schedule an action after a delay."""
        self.at(self.now() + seconds, action)

    def run_until(self, end: float, done: Callable[[], bool] | None = None) -> bool:
        """Run all events up to that time, or until `done`; returns whether it was done."""
        events, advance_to = self._events, self.clock.advance_to
        while events and events[0][0] <= end:
            moment, _, action = heapq.heappop(events)
            advance_to(moment)
            action()
            if done is not None and done():
                return True
        advance_to(end)
        return done is not None and done()
