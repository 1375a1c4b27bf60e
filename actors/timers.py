"""Things to do at a moment: a heap of deadlines in monotonic seconds.

Owns when; knows nothing of what is done, and reads no clock.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Final

_TIDY_AT: Final = 64  # cancelled timers in the heap before it is worth sweeping them out


class Timer:
    """One deadline, once or periodic; a member of `group` for as long as it may still fire."""

    __slots__ = ("_group", "_timers", "action", "active", "deadline", "period_seconds")

    def __init__(
        self,
        timers: Timers,
        deadline: float,
        action: Callable[[], None],
        period_seconds: float | None,
        group: set[Timer] | None,
    ) -> None:
        self._timers = timers
        self._group = group
        self.deadline = deadline
        self.action = action
        self.period_seconds = period_seconds
        self.active = True
        if group is not None:
            group.add(self)

    def cancel(self) -> None:
        """Never fire (again); does nothing when it has fired or was cancelled."""
        if self.active:
            self.retire()
            self._timers.note_cancelled()

    def retire(self) -> None:
        """Leave the group, as one that won't fire again."""
        self.active = False
        if self._group is not None:
            self._group.discard(self)


class Timers:
    """The deadlines of one runtime."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Timer]] = []
        """All deadlines, the earliest first; cancelled ones stay in it for a while."""
        self._sequence = 0
        self._cancelled = 0

    def at(
        self,
        deadline: float,
        action: Callable[[], None],
        *,
        period_seconds: float | None = None,
        group: set[Timer] | None = None,
    ) -> Timer:
        """Do `action` once `deadline` has come, and then every `period_seconds`, if given."""
        if math.isnan(deadline):
            raise ValueError("a deadline is a number")
        if period_seconds is not None and not period_seconds > 0:
            raise ValueError(f"a period is longer than nothing, not {period_seconds} seconds")
        timer = Timer(self, deadline, action, period_seconds, group)
        self._push(timer)
        return timer

    def next_deadline(self) -> float | None:
        """When `due` has something next; None when nothing is planned."""
        heap = self.heap
        while heap and not heap[0][2].active:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[Timer]:
        """The timers whose deadline has come, in its order; those planned meanwhile wait for the next call.

        A timer that is cancelled before it is reached does not come. A periodic one is planned
        again on its beat, at the first moment after `now`: what was missed is skipped.
        """
        heap = self.heap
        due = []
        while heap and heap[0][0] <= now:
            due.append(heapq.heappop(heap)[2])
        for timer in due:
            if not timer.active:
                self._cancelled -= 1
            elif timer.period_seconds is None:
                timer.retire()
                yield timer
            else:
                missed = math.floor((now - timer.deadline) / timer.period_seconds)
                timer.deadline += (missed + 1) * timer.period_seconds
                self._push(timer)
                yield timer

    def note_cancelled(self) -> None:
        """One in the heap won't fire; sweeps them out when they are the greater part."""
        self._cancelled += 1
        if self._cancelled > _TIDY_AT and self._cancelled * 2 > len(self.heap):
            # In place, as `due` may be looking at it; what it took out already it counts itself.
            swept = [entry for entry in self.heap if entry[2].active]
            self._cancelled -= len(self.heap) - len(swept)
            self.heap[:] = swept
            heapq.heapify(self.heap)

    def _push(self, timer: Timer) -> None:
        self._sequence += 1
        heapq.heappush(self.heap, (timer.deadline, self._sequence, timer))
