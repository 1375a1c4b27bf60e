"""The event queue of a world whose clock jumps from one event to the next.

Owns the order of events: by time, and at equal times in the order of scheduling, so that nothing depends on
chance. Knows nothing of what an event does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class EventQueue:
    """The future events, and the time that they move."""

    def __init__(self) -> None:
        self.time = 0.0
        """In seconds; an attribute, because it is read more often than anything else."""
        self._events: list[tuple[float, int, Action]] = []
        self._planned = 0

    def now(self) -> float:
        """The time, in seconds."""
        return self.time

    def at(self, moment: float, action: Action) -> None:
        """Schedule an action; one in the past is done as soon as possible."""
        self._planned += 1
        heapq.heappush(self._events, (moment, self._planned, action))

    def after(self, seconds: float, action: Action) -> None:
        """Schedule an action after a delay."""
        self.at(self.time + seconds, action)

    def run_until(self, end: float, done: Callable[[], bool] | None = None) -> bool:
        """Run all events up to that time, or until `done`; returns whether it was done."""
        events = self._events
        while events and events[0][0] <= end:
            moment, _, action = heapq.heappop(events)
            if moment > self.time:
                self.time = moment
            action()
            if done is not None and done():
                return True
        self.time = max(self.time, end)
        return done is not None and done()
