"""Open watches of a client: one for each range of keys or election, shared by all iterators over it.

Owns the latest events of each, and which node serves it. Each iterator keeps a position of its own and
takes events from there; one that is behind the kept events asks a node for the rest. So an iterator that is
not read blocks nothing, and a hundred iterators cost the cluster one message. Knows nothing of sockets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from raft.client.calls.application import question_bytes
from raft.machines.codec import decode_answer
from raft.machines.commands import Watch, WatchKeys
from raft.machines.results import Compacted, Events
from raft.protocol.client import CloseWatch, OpenWatch, WatchAck, WatchEnded, WatchEvents

KEPT_EVENTS_MAX = 4_096  # Of one range or election,
KEPT_PARTS_MAX = 1_024  # in this many answers.
CONFIRMED_AT_ONCE = 16
IDLE_LOOKS = 4  # A channel that was not used for this many checks is closed.

Place = tuple[int, int]
"""A revision, and how many of its events were read."""

Subject = tuple[bytes, bytes | None] | str
"""A range of keys, or an election."""


class Channel:
    """One watch, open at a node or not yet (re)opened."""

    def __init__(self) -> None:
        self.number = 0
        self.node = 0
        """The node that serves it; 0 if none does."""
        self.heard = True
        """Has anything arrived since the last check?"""
        self.forgotten = 0
        """Events up to this revision are forgotten by the nodes."""
        self.wanted = True
        """Has an iterator used it since the last check?"""
        self.idle_looks = 0
        self.waiting: dict[Callable[[], None], None] = {}
        """To be called, once each, when there is something new."""
        self._parts: OrderedDict[Place, Events] = OrderedDict()  # By the position of their first event.
        self._kept = 0
        self._end: Place = (0, 0)
        self._unconfirmed = 0

    def begin(self, number: int, node: int, watch: Watch) -> None:
        """That node is to serve it, under that number, from the watch's position on."""
        self.number, self.node, self.heard, self._unconfirmed = number, node, True, 0
        place = watch.revision, watch.skip
        if place != self._end:
            self._parts.clear()
            self._kept, self._end = 0, place

    def lost(self) -> None:
        """No node serves it any longer."""
        self.node = 0
        self.wake()

    def add(self, place: Place, told: Events) -> bool:
        """Keep the events from that position on; False if earlier ones are missing."""
        if place != self._end:
            return False
        self.heard = True
        self._end = told.next, told.skip
        if self._end != place:
            self._parts[place] = told
            self._kept += len(told.events)
        while (self._kept > KEPT_EVENTS_MAX or len(self._parts) > KEPT_PARTS_MAX) and len(self._parts) > 1:
            _, oldest = self._parts.popitem(last=False)
            self._kept -= len(oldest.events)
        self.wake()
        return True

    def confirm(self) -> int:
        """An answer has arrived; returns how many to acknowledge now, 0 for not yet."""
        self._unconfirmed += 1
        if self._unconfirmed < CONFIRMED_AT_ONCE:
            return 0
        count, self._unconfirmed = self._unconfirmed, 0
        return count

    def take(self, watch: Watch) -> Events | None:
        """The kept events from the watch's position on: those of one answer, or None if they are not here."""
        self.wanted = True
        place = watch.revision, watch.skip
        if place >= self._end:
            return None
        told = self._parts.get(place)
        if told is not None or watch.skip:
            return told
        for (revision, skip), told in self._parts.items():
            if not skip and revision < watch.revision < told.next:
                later = tuple(event for event in told.events if event.revision >= watch.revision)
                return msgspec.structs.replace(told, events=later)
        return None

    def reaches(self, watch: Watch) -> bool:
        """Will all events from the watch's position on arrive here, once a node serves it?"""
        if self.node:
            return (watch.revision, watch.skip) >= self._end
        return watch.revision > self.forgotten

    def wake(self) -> None:
        """Wake all waiting iterators."""
        waiting, self.waiting = self.waiting, {}
        for call in waiting:
            call()


class Channels:
    """The channels of one client, by range of keys or election."""

    def __init__(
        self,
        tell: Callable[[int, object], None],
        attend: Callable[[int], None],
    ) -> None:
        """`tell` sends a node a message; after `attend`, `node_down` is called when that node is gone."""
        self._tell = tell
        self._attend = attend
        self._channels: dict[Subject, Channel] = {}
        self._subjects: dict[int, Subject] = {}  # By number of the open watch.
        self._last = 0

    def of(self, watch: Watch) -> Channel:
        """The channel of a watch; the caller will take events from it."""
        subject = _subject(watch)
        channel = self._channels.get(subject)
        if channel is None:
            channel = self._channels[subject] = Channel()
        return channel

    def begin(self, channel: Channel, node: int, watch: Watch) -> OpenWatch:
        """The request that makes a node serve the channel from the watch's position on."""
        self._subjects.pop(channel.number, None)
        self._last += 1
        self._subjects[self._last] = _subject(watch)
        channel.begin(self._last, node, watch)
        self._attend(node)
        return OpenWatch(self._last, question_bytes(watch))

    def told(self, node: int, message: WatchEvents) -> None:
        """A node sends events."""
        channel = self._expected(node, message.number)
        if channel is None:
            return
        answer = decode_answer(message.result)
        if isinstance(answer, Compacted):
            channel.forgotten = answer.revision
        if not isinstance(answer, Events):
            channel.lost()
        elif not channel.add((message.revision, message.skip), answer):
            channel.lost()
            self._tell(node, CloseWatch(message.number))
        elif (count := channel.confirm()) > 0:
            self._tell(node, WatchAck(message.number, count))

    def ended(self, node: int, message: WatchEnded) -> None:
        """A node has ended a watch."""
        channel = self._expected(node, message.number)
        if channel is not None:
            channel.lost()

    def wake(self) -> None:
        """Wake all waiting iterators: some may be cancelled."""
        for channel in self._channels.values():
            channel.wake()

    def look(self) -> None:
        """Give up nodes that have sent nothing since the last check, not even that the watch is open.

        Close channels that were not used for several checks.
        """
        for subject, channel in list(self._channels.items()):
            channel.idle_looks = 0 if channel.wanted or channel.waiting else channel.idle_looks + 1
            idle = channel.idle_looks >= IDLE_LOOKS
            if channel.node and (idle or not channel.heard):
                self._tell(channel.node, CloseWatch(channel.number))
                channel.lost()
            channel.heard = channel.wanted = False
            if idle:
                del self._channels[subject]
                self._subjects.pop(channel.number, None)

    def node_down(self, node: int) -> None:
        """A node is gone."""
        for channel in self._channels.values():
            if channel.node == node:
                channel.lost()

    def _expected(self, node: int, number: int) -> Channel | None:
        """The channel of that number, if that node serves it; otherwise the watch is closed at the node."""
        subject = self._subjects.get(number)
        channel = None if subject is None else self._channels[subject]
        if channel is not None and channel.node == node:
            return channel
        self._tell(node, CloseWatch(number))
        return None


def _subject(watch: Watch) -> Subject:
    return (watch.start, watch.end) if isinstance(watch, WatchKeys) else watch.election
