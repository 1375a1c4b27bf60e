"""Open watches: their events are sent to clients as soon as they are applied here.

Owns the position of each watch in the history, and its credit: how many messages may be unconfirmed. A client
that does not read costs a position and no more; when the events from there on are forgotten, it is told so.
Knows nothing of what is watched.
"""

from __future__ import annotations

from typing import Final, Protocol, get_args

from msgspec import Struct
from msgspec.structs import replace

from actors.address import Address
from raft.core.raft import Raft
from raft.core.types import NO_NODE
from raft.machines.application import Application
from raft.machines.codec import decode_question, encode_answer, reason_against
from raft.machines.commands import Watch
from raft.machines.history import History
from raft.machines.results import Compacted, Events
from raft.node.applier import Applier
from raft.protocol.client import (
    CloseWatch,
    Invalid,
    OpenWatch,
    Refused,
    WatchAck,
    WatchEnded,
    WatchEvents,
    WatchOpened,
)
from raft.protocol.registry import CLIENT_ACTOR

OPEN_MAX = 10_000
OPEN_BY_ONE_MAX = 1_000
UNACKED_MAX = 64  # Unacknowledged answers to one watch.
PROGRESS_SECONDS = 1.0  # An idle watch gets a progress message this often.
FORGET_SECONDS = 60.0  # A watch without an acknowledgement for so long is closed.
LOOK_SECONDS = 0.1

NO_WATCH: Final = Invalid("these bytes ask for no events")
TOO_MANY: Final = Refused(f"{OPEN_MAX} watches are open at this node already")
TOO_MANY_BY_ONE: Final = Refused(f"this client has {OPEN_BY_ONE_MAX} watches open at this node already")
NO_LEADER: Final = Refused("this node knows no leader, and might get no events")

Key = tuple[str, int]
"""A client's process, and its number for the watch."""


class WatchSender(Protocol):
    """The part of a node's context that is used here."""

    def tell(self, to: Address, message: object) -> None:
        """Send a message."""
        ...

    def watch_process(self, process: str) -> None:
        """Watch for the end of that process."""
        ...


class Open(Struct):
    """One watch: its position, and its answers in flight."""

    to: Address
    number: int
    watch: Watch
    sent: tuple[int, int]  # The revision, and the number of its events, that were sent.
    told_at: float
    seen_at: float
    unheard: int = 0


class PushedWatches:
    """The open watches of one node."""

    def __init__(self, application: Application, raft: Raft, applier: Applier, context: WatchSender) -> None:
        self._application = application
        self._raft = raft
        self._applier = applier
        self._context = context
        self.watches: dict[Key, Open] = {}
        """Those that are open."""
        self._told_to = 0  # Every watch that may get answers has the events up to here.
        self._look_at = 0.0
        self.behind = False
        """Whether there are more events than one turn may send."""

    def open(self, request: OpenWatch, process: str, now: float) -> WatchOpened | Invalid | Refused:
        """Open a watch, or restart it; or return the refusal."""
        watch = decode_question(request.body)
        if not isinstance(watch, get_args(Watch)):
            return NO_WATCH
        if (reason := reason_against(watch)) is not None:
            return Invalid(reason)
        if self._raft.leader == NO_NODE:
            return NO_LEADER
        if len(self.watches) >= OPEN_MAX:
            return TOO_MANY
        if sum(key[0] == process for key in self.watches) >= OPEN_BY_ONE_MAX:
            return TOO_MANY_BY_ONE
        to, sent = Address(process, CLIENT_ACTOR), (watch.revision, watch.skip)
        self.watches[process, request.number] = Open(to, request.number, watch, sent, now, now)
        self._told_to = 0
        self._context.watch_process(process)
        return WatchOpened()

    def acknowledged(self, process: str, message: WatchAck, now: float) -> None:
        """Answers have arrived: as many more may be sent."""
        one = self.watches.get((process, message.number))
        if one is None:
            return
        if one.unheard >= UNACKED_MAX:
            self._told_to = 0
        one.unheard = max(0, one.unheard - message.count)
        one.seen_at = now

    def close(self, process: str, message: CloseWatch) -> None:
        """The client closes a watch."""
        self.watches.pop((process, message.number), None)

    def disconnected(self, process: str) -> None:
        """A client has disconnected: close its watches."""
        for key in [key for key in self.watches if key[0] == process]:
            del self.watches[key]

    def stop(self) -> None:
        """Close all watches, so that clients open them at other nodes."""
        for key in list(self.watches):
            self._end(key, "the node stops")

    def tell(self, now: float) -> None:
        """Send events that were applied; and sometimes, that a watch is still open."""
        if not self._applier.free:
            return
        self.behind = False
        history = self._application.history
        if self._told_to < history.revision:
            self._send_events(history, now)
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._check(history, now)

    def _send_events(self, history: History, now: float) -> None:
        self._told_to, self.behind = history.revision, False
        answers: dict[Watch, tuple[Events | Compacted, bytes]] = {}  # Many may watch the same.
        for key, one in list(self.watches.items()):
            if one.watch.revision > history.revision or one.unheard >= UNACKED_MAX:
                continue
            found = answers.get(one.watch)
            if found is None:
                answer = history.since(one.watch)
                found = answers[one.watch] = answer, encode_answer(answer)
            answer, encoded = found
            if isinstance(answer, Compacted):
                self._tell(one, encoded, now)
                del self.watches[key]
                continue
            one.watch = replace(one.watch, revision=answer.next, skip=answer.skip)
            if answer.events:
                self._tell(one, encoded, now)
                one.sent = answer.next, answer.skip
            if answer.next <= history.revision:  # An answer has a limit.
                self._told_to, self.behind = 0, True

    def _check(self, history: History, now: float) -> None:
        for key, one in list(self.watches.items()):
            if now - one.seen_at > FORGET_SECONDS:
                self._end(key, "nothing was confirmed for too long")
            elif now - one.told_at < PROGRESS_SECONDS:
                continue
            elif self._raft.leader == NO_NODE:
                self._end(key, NO_LEADER.reason)
            elif one.unheard < UNACKED_MAX and one.watch.revision > history.revision:
                self._tell(one, encode_answer(Events((), one.watch.revision, history.revision)), now)
                one.sent = one.watch.revision, one.watch.skip

    def _tell(self, one: Open, result: bytes, now: float) -> None:
        one.unheard += 1
        one.told_at = now
        self._context.tell(one.to, WatchEvents(one.number, *one.sent, result))

    def _end(self, key: Key, reason: str) -> None:
        one = self.watches.pop(key)
        self._context.tell(one.to, WatchEnded(one.number, reason))
