"""What has happened, revision by revision: where watchers read.

Owns the events that are not forgotten yet. A revision is the log index of the command that made its
events. Knows nothing of what the events mean, nor of who reads them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from raft.machines.answers import Compacted, Event, Events, Item, Led, Left, Removed
from raft.machines.operations import ANSWER_BYTES_MAX, Watch, WatchKeys

# The same on all replicas, or their states part: not an option.
EVENTS_MAX = 16 * 1024
EVENTS_BYTES_MAX = 16 * 1024 * 1024
EVENT_BYTES = 64  # What an event is counted for besides its key and value.


class History:
    """The events in order; the oldest are forgotten, whole revisions at a time, when there are too many.

    They are forgotten when the next revision begins, so the newest one can always be read.
    """

    def __init__(self, events_max: int = EVENTS_MAX, bytes_max: int = EVENTS_BYTES_MAX) -> None:
        self.revision = 0  # The last that has events, forgotten or not.
        self.compacted = 0  # The last that is forgotten.
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def events(self) -> Sequence[Event]:
        """All that are not forgotten."""
        return self._events

    def add(self, event: Event) -> None:
        """Let an event have happened; revisions never go back."""
        revision = event.revision
        if revision != self.revision:
            assert revision > self.revision, f"an event of {revision} after one of {self.revision}"
            if self._bytes > self._bytes_max or len(self._events) > self._events_max:
                self._shrink()
            self.revision = revision
        self._events.append(event)
        self._revisions.append(revision)
        self._bytes += weight_of(event)

    def compact(self, revision: int) -> None:
        """Forget the events up to `revision`, which has happened."""
        assert revision <= self.revision, f"{revision} is still to come after {self.revision}"
        if revision > self.compacted:
            self._forget(bisect_right(self._revisions, revision))
            self.compacted = revision

    def since(self, watch: Watch) -> Events | Compacted:
        """The events that are watched for, from the watch's revision on.

        Looks at no more than the watch's limit, but never at a part of a revision only, however large.
        """
        if watch.revision <= self.compacted:
            return Compacted(self.compacted)
        revisions = self._revisions
        begin = bisect_left(revisions, watch.revision)
        end = min(begin + watch.limit, len(revisions))
        found: list[Event] = []
        size = 0
        for at in range(begin, len(revisions)):
            if (at >= end or size >= ANSWER_BYTES_MAX) and revisions[at] != revisions[at - 1]:
                return Events(tuple(found), revisions[at], self.revision)
            event = self._events[at]
            if concerns(event, watch):
                found.append(event)
                size += weight_of(event)
        return Events(tuple(found), max(watch.revision, self.revision + 1), self.revision)

    def restore(self, events: Sequence[Event], revision: int, compacted: int) -> None:
        """Become what these three say."""
        self._events = list(events)
        self._revisions = [event.revision for event in events]
        self._bytes = sum(map(weight_of, events))
        self.revision = revision
        self.compacted = compacted

    def _shrink(self) -> None:
        """Down to seven eighths of both limits, so that it is seldom done."""
        forget = max(0, len(self._events) - self._events_max * 7 // 8)
        size = self._bytes - sum(map(weight_of, self._events[:forget]))
        while size > self._bytes_max * 7 // 8:
            size -= weight_of(self._events[forget])
            forget += 1
        self.compact(self._revisions[forget - 1])

    def _forget(self, count: int) -> None:
        self._bytes -= sum(map(weight_of, self._events[:count]))
        del self._events[:count]
        del self._revisions[:count]


def concerns(event: Event, watch: Watch) -> bool:
    """Is it one of the events that are watched for?"""
    if isinstance(watch, WatchKeys):
        if not isinstance(event, Item | Removed):
            return False
        return watch.start <= event.key and (watch.end is None or event.key < watch.end)
    return isinstance(event, Led | Left) and event.election == watch.election


def weight_of(event: Event) -> int:
    """The bytes that an event is counted for."""
    if type(event) is Item:
        return EVENT_BYTES + len(event.key) + len(event.value)
    if type(event) is Removed:
        return EVENT_BYTES + len(event.key)
    return EVENT_BYTES + (len(event.value) if type(event) is Led else 0)
