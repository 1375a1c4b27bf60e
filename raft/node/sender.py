"""Sends messages of the core to other nodes.

Owns the way from the core to the runtime. Knows nothing of why a message is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Raw

from raft.core.messages import AppendEntries, Heartbeat, HeartbeatReply, InstallSnapshot, Message
from raft.core.types import Entry, NodeId
from raft.node.histogram import Histogram
from raft.node.snapshots.sender import Transfers
from raft.protocol.registry import address_of, pack_append, pack_entries

if TYPE_CHECKING:
    from actors.context import Context


class MessageSender:
    """Encodes appends once for all followers, and sends every kind of message its own way."""

    def __init__(self, context: Context, transfers: Transfers) -> None:
        self._context = context
        self._transfers = transfers
        self._coalescer = AppendCoalescer(context.after, context.now, self._send_append)
        self.round_trips = RoundTrips(context.now)
        self._entries: list[Entry] = []
        self._packed: list[Raw] = []

    def send(self, message: Message) -> None:
        """Send a message to another node."""
        if type(message) is AppendEntries:
            self._coalescer.send(message)
        elif type(message) is InstallSnapshot:
            self._transfers.begin(message)
        else:
            if type(message) is Heartbeat:
                self.round_trips.sent(message)
            self._context.tell(address_of(message.to), message)

    def _send_append(self, message: AppendEntries) -> None:
        entries, before = message.entries, self._entries
        if not entries:
            packed: list[Raw] = []
        # Most followers get the same entries. Within one log, equal ends mean equal entries.
        elif len(entries) == len(before) and entries[0] is before[0] and entries[-1] is before[-1]:
            packed = self._packed
        else:
            packed = pack_entries(entries)
            self._entries, self._packed = entries, packed
        self._context.tell(address_of(message.to), pack_append(message, packed))


class RoundTrips:
    """How long heartbeats and their replies take, for each peer; of one heartbeat at a time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.by_peer: dict[NodeId, Histogram] = {}
        self._now = now
        self._out: dict[NodeId, tuple[Heartbeat, float]] = {}

    def sent(self, heartbeat: Heartbeat) -> None:
        """A heartbeat leaves."""
        out = self._out.get(heartbeat.to)
        if out is None or out[0].term != heartbeat.term:
            self._out[heartbeat.to] = heartbeat, self._now()

    def replied(self, reply: HeartbeatReply) -> None:
        """A heartbeat was answered; if it was a later one, the earlier one was lost."""
        out = self._out.get(reply.sender)
        if out is None or reply.term != out[0].term or reply.sent_tick < out[0].sent_tick:
            return
        del self._out[reply.sender]
        if reply.sent_tick == out[0].sent_tick:
            self.by_peer.setdefault(reply.sender, Histogram()).observe(self._now() - out[1])


COALESCE_SECONDS = 0.005


class AppendCoalescer:
    """Delays empty appends, one for each peer; any later append to that peer replaces it.

    An empty one that replaces another is due when that was, so a peer that gets no others hears of commits.
    """

    def __init__(
        self,
        after: Callable[[float, Callable[[], None]], object],
        now: Callable[[], float],
        send: Callable[[AppendEntries], None],
    ) -> None:
        self._after = after
        self._now = now
        self._send = send
        self._held: dict[NodeId, tuple[float, AppendEntries]] = {}  # With the moment when it is due.
        self._waiting = False

    def send(self, message: AppendEntries) -> None:
        """Send an append now if it has entries, else if no other one follows it soon."""
        if message.entries:
            self._held.pop(message.to, None)
            self._send(message)
            return
        held = self._held.get(message.to)
        due_at = self._now() + COALESCE_SECONDS if held is None else held[0]
        self._held[message.to] = due_at, message
        if not self._waiting:
            self._waiting = True
            self._after(COALESCE_SECONDS, self._end)

    def _end(self) -> None:
        now = self._now()
        for to, (due_at, message) in list(self._held.items()):
            if due_at <= now:
                del self._held[to]
                self._send(message)
        self._waiting = bool(self._held)
        if self._waiting:
            self._after(min(due_at for due_at, _ in self._held.values()) - now, self._end)
