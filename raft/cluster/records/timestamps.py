"""Times for users: since the start, on the wall clock, or how long ago.

Owns the three forms. Decides nothing by them: wall-clock time is for display only.
"""

from __future__ import annotations

import datetime
import enum
import time
from collections.abc import Iterable

from msgspec import Struct

from raft.cluster.quantities import format_duration
from raft.cluster.records.events import Event


class TimeStyle(enum.StrEnum):
    """How times are written."""

    ELAPSED = "elapsed"
    WALL = "wall"
    AGO = "ago"


class Stamp(Struct, frozen=True):
    """Writes times in one style; `zero` and `now` are seconds on the wall clock.

    `zero` is the start of the launcher, from which an event's `t` counts.
    """

    style: TimeStyle = TimeStyle.ELAPSED
    zero: float = 0.0
    now: float = 0.0

    def of_event(self, event: Event) -> str:
        """An event's own `t`, or the wall time read when it was recorded."""
        if self.style is TimeStyle.ELAPSED or not event.wall:
            return f"{event.t:.3f}s"
        return self._of(wall_seconds(event.wall))

    def of_elapsed(self, t: float) -> str:
        """A time on the clock of the present run's events."""
        return f"{t:.3f}s" if self.style is TimeStyle.ELAPSED else self._of(self.zero + t)

    def of_wall(self, moment: float) -> str:
        """A time on the wall clock, as in a log."""
        return f"{moment - self.zero:.3f}s" if self.style is TimeStyle.ELAPSED else self._of(moment)

    def _of(self, moment: float) -> str:
        if self.style is TimeStyle.AGO:
            return f"{format_duration(max(self.now - moment, 0.0))} ago"
        local = datetime.datetime.fromtimestamp(moment, datetime.UTC).astimezone()
        return local.strftime("%H:%M:%S.") + f"{local.microsecond // 1000:03}"


def stamp_for(style: TimeStyle, events: Iterable[Event]) -> Stamp:
    """The stamp for times of the run that these events belong to."""
    now = wall_now()
    first = next((event for event in events if event.wall), None)
    return Stamp(style, now if first is None else wall_seconds(first.wall) - first.t, now)


def stamp_of_run(started_seconds: float) -> Stamp:
    """The stamp for a run that began at that time of the monotonic clock and still lasts."""
    now = wall_now()
    return Stamp(TimeStyle.ELAPSED, now - (time.monotonic() - started_seconds), now)


def wall_now() -> float:
    """Seconds since the epoch, to show."""
    return datetime.datetime.now(datetime.UTC).timestamp()


def wall_seconds(text: str) -> float:
    """The seconds since the epoch of an RFC 3339 text."""
    return datetime.datetime.fromisoformat(text).timestamp()
