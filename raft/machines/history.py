"""What has happened, revision by revision: where watchers read.

Owns the events that are not forgotten yet. A revision is the log index of the command that made its
events. Knows nothing of what the events mean, or which watchers read them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from raft.machines.commands import ANSWER_BYTES_MAX, LIMIT_MAX, Watch, WatchKeys
from raft.machines.results import Compacted, Event, Events, Item, Led, Left, Removed

# The same on all replicas, or their states part: not an option.
EVENTS_MAX = 16 * 1024
EVENTS_BYTES_MAX = 16 * 1024 * 1024
FREED_AT_ONCE = 512
EVENT_BYTES = 64  # What an event is counted for besides its key and value.


class History:
    """The events in order; the oldest are forgotten, whole revisions at a time, when there are too many.

    Old events are removed when the next revision begins, so the newest one can always be read. What is
    removed is freed a little at a time.
    """

    def __init__(self, events_max: int = EVENTS_MAX, bytes_max: int = EVENTS_BYTES_MAX) -> None:
        self.revision = 0  # The last that has events, forgotten or not.
        self.compacted = 0  # The last that is forgotten.
        self.added = 0
        """Events since this process started: a measure of the work done by commands."""
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._forgotten = 0  # The number of events at the front that are removed, and not yet freed.
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._weights: list[int] = []  # Of all up to and with each of them.
        self._weight = 0
        self._forgotten_weight = 0  # Of all that are forgotten, freed or not.
        self._limit()

    def __len__(self) -> int:
        return len(self._events) - self._forgotten

    @property
    def events(self) -> Sequence[Event]:
        """All that are not forgotten."""
        return self._events[self._forgotten :]

    @property
    def held(self) -> int:
        """The number of events in memory, with those that are forgotten and not yet freed."""
        return len(self._events)

    @property
    def size_bytes(self) -> int:
        """Their total size."""
        return self._weight - self._forgotten_weight

    def add(self, event: Event, weight: int = 0) -> None:
        """Record an event; revisions never go back. `weight`: its `weight_of`, if known."""
        revision = event.revision
        if revision != self.revision:
            assert revision > self.revision, f"an event of {revision} after one of {self.revision}"
            if self._weight > self._weight_max or len(self._events) > self._length_max:
                self._shrink()
            self.revision = revision
        self.added += 1
        self._events.append(event)
        self._revisions.append(revision)
        self._weight += weight or weight_of(event)
        self._weights.append(self._weight)

    def compact(self, revision: int) -> None:
        """Forget the events up to `revision`, which has happened."""
        assert revision <= self.revision, f"{revision} is still to come after {self.revision}"
        if revision > self.compacted:
            self._forgotten = bisect_right(self._revisions, revision)
            if self._forgotten:
                self._forgotten_weight = self._weights[self._forgotten - 1]
            self.compacted = revision
            self._limit()

    def since(self, watch: Watch) -> Events | Compacted:
        """The events that are watched for, from the watch's revision on.

        Reads at most the watch's limit. A revision is split only if it is too large for one answer.
        """
        if watch.revision <= self.compacted:
            return Compacted(self.compacted)
        revisions = self._revisions
        begin = self._position(watch.revision, watch.skip)
        end = min(begin + watch.limit, len(revisions))
        parted_at = begin + LIMIT_MAX
        found: list[Event] = []
        size = 0
        for at in range(begin, len(revisions)):
            full = size >= ANSWER_BYTES_MAX or at >= parted_at
            if (at >= end or full) and (full or revisions[at] != revisions[at - 1]):
                skip = at - bisect_left(revisions, revisions[at])
                return Events(tuple(found), revisions[at], self.revision, skip)
            event = self._events[at]
            if concerns(event, watch):
                found.append(event)
                size += weight_of(event)
        return Events(tuple(found), max(watch.revision, self.revision + 1), self.revision)

    def restore(self, events: Sequence[Event], revision: int, compacted: int) -> None:
        """Restore the state from these three values."""
        self._events = list(events)
        self._revisions = [event.revision for event in events]
        self._weights = list(accumulate(map(weight_of, events)))
        self._weight = self._weights[-1] if self._weights else 0
        self._forgotten = self._forgotten_weight = 0
        self.revision = revision
        self.compacted = compacted
        self._limit()

    def _position(self, revision: int, skip: int) -> int:
        begin = bisect_left(self._revisions, revision)
        return min(begin + skip, bisect_right(self._revisions, revision)) if skip else begin

    def _limit(self) -> None:
        """Set the limits that `add` looks at: of all that is kept, forgotten or not."""
        self._weight_max = self._forgotten_weight + self._bytes_max
        self._length_max = self._forgotten + self._events_max
        if self._forgotten >= FREED_AT_ONCE:
            self._length_max = -1  # Free some of it at the next event.

    def _shrink(self) -> None:
        """Free what is forgotten, some at a time; forget, if need be, down to seven eighths of the limits."""
        number = len(self._events) - self._forgotten
        if number > self._events_max or self.size_bytes > self._bytes_max:
            for_number = len(self._events) - self._events_max * 7 // 8
            for_bytes = bisect_left(self._weights, self._weight - self._bytes_max * 7 // 8) + 1
            forget = max(for_number, for_bytes if self.size_bytes > self._bytes_max * 7 // 8 else 0)
            self.compact(self._revisions[forget - 1])
        if self._forgotten >= FREED_AT_ONCE:
            del self._events[:FREED_AT_ONCE], self._revisions[:FREED_AT_ONCE], self._weights[:FREED_AT_ONCE]
            self._forgotten -= FREED_AT_ONCE
            self._limit()


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
