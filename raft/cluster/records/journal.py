"""The events of the running cluster: stamped, kept in a file, passed to a listener.

Owns the zero of the cluster's time and the order of events. Their meaning is the report's; their display
is the view's.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import msgspec

from raft.cluster.records.events import Event, EventLog


class Journal:
    """Records events; `listener` is called with each after it is in the file."""

    def __init__(self, log: EventLog, *, started_seconds: float) -> None:
        self._log = log
        self._started_seconds = started_seconds
        self._events: list[Event] = []
        self.listener: Callable[[Event], None] = lambda _event: None

    @property
    def events(self) -> list[Event]:
        """All events so far, in the order of recording."""
        return self._events

    def record(self, event: Event, at_seconds: float) -> None:
        """Record the event, as of a time on the machine's monotonic clock, and call the listener."""
        t = round(at_seconds - self._started_seconds, 6)
        # Read now: counted from the start it would be wrong after a suspension or a change of the clock.
        wall = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        stamped = msgspec.structs.replace(event, t=t, wall=wall.replace("+00:00", "Z"))
        self._events.append(stamped)
        self._log.append(stamped)
        self.listener(stamped)

    def elapsed_seconds(self, now_seconds: float) -> float:
        """The cluster's time now, as stamped on events."""
        return now_seconds - self._started_seconds

    def close(self) -> None:
        """Close the file; nothing is recorded afterwards."""
        self._log.close()
