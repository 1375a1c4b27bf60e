"""What happens when, in a world whose clock jumps from one event to the next.

Owns the order of events: by moment, and among equals in the order in which they were planned, so that
nothing depends on chance. Knows nothing of what an event does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from actors.clock import ManualClock

Action = Callable[[], None]


class EventQueue:
    """The events to come, and the clock that they move."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.now = self.clock.now
        self._events: list[tuple[float, int, Action]] = []
        self._planned = 0

    def at(self, moment: float, action: Action) -> None:
        """Plan something; what should have been before now is done as soon as possible."""
        self._planned += 1
        heapq.heappush(self._events, (moment, self._planned, action))

    def after(self, seconds: float, action: Action) -> None:
        """Plan something for so many seconds from now."""
        self.at(self.now() + seconds, action)

    def run_until(self, end: float, done: Callable[[], bool] | None = None) -> bool:
        """Let everything happen up to that moment, or until `done`; whether it was done."""
        events, advance_to = self._events, self.clock.advance_to
        while events and events[0][0] <= end:
            moment, _, action = heapq.heappop(events)
            advance_to(moment)
            action()
            if done is not None and done():
                return True
        advance_to(end)
        return done is not None and done()
