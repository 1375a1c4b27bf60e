"""The running cluster's memory of what happened: stamped, kept in a file, passed to who listens.

Owns the moment zero of the cluster's time and the order in which events are recorded. What an
event means is the report's; how it looks is the view's.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

from msgspec import Struct

from raft.cluster.events import Event, EventLog


class Stamp(Struct, frozen=True):
    """When something happened, in both notations of an event."""

    t: float
    wall: str


class Journal:
    """Records events; `listener` is told of each after it is in the file."""

    def __init__(self, log: EventLog, *, started_seconds: float, now_seconds: float) -> None:
        self._log = log
        self._started_seconds = started_seconds
        ago = datetime.timedelta(seconds=now_seconds - started_seconds)
        self._started_wall = datetime.datetime.now(datetime.UTC) - ago
        self._events: list[Event] = []
        self.listener: Callable[[Event], None] = lambda _event: None

    @property
    def events(self) -> list[Event]:
        """Everything so far, in the order of recording."""
        return self._events

    def stamp(self, at_seconds: float) -> Stamp:
        """The stamp of a moment on the machine's monotonic clock."""
        t = round(at_seconds - self._started_seconds, 6)
        wall = self._started_wall + datetime.timedelta(seconds=t)
        return Stamp(t, wall.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    def record(self, event: Event) -> None:
        """Keep the event for good and tell the listener."""
        self._events.append(event)
        self._log.append(event)
        self.listener(event)

    def close(self) -> None:
        """Close the file; nothing is recorded afterwards."""
        self._log.close()
