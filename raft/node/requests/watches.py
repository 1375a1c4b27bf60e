"""Long polls for events: answered as soon as events were applied at this node.

Owns the waiting requests. After an answer the client asks again from where it ends: so a slow client costs
nothing, and one that changes to another node misses nothing. Knows nothing of what is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from msgspec import Struct

from actors.asks import Answerable
from raft.core.raft import Raft
from raft.core.types import NO_NODE
from raft.machines.application import Application
from raft.machines.codec import decode_question, encode_answer, reason_against
from raft.machines.commands import Watch
from raft.machines.results import Answer, Events
from raft.machines.watchers import Watchers
from raft.node.applier import Applier
from raft.protocol.client import AwaitEvents, Invalid, QueryResult, Refused

HOLD_SECONDS_MAX = 10.0
WAITING_MAX = 10_000

NO_WATCH = Invalid("these bytes ask for no events")
TOO_MANY = Refused(f"{WAITING_MAX} clients wait for events at this node already")
NO_LEADER = Refused("this node knows no leader, and might get no events")
NODE_STOPS = Refused("the node stops")


class Waiting(Struct, frozen=True):
    """The reply handle, and the latest time to answer."""

    reply: Answerable
    give_up_at: float


class WatchRequests:
    """The requests that wait for events of the application."""

    def __init__(self, application: Application, raft: Raft, applier: Applier) -> None:
        self._application = application
        self._raft = raft
        self._applier = applier
        self._watchers: Watchers[int] = Watchers()
        self.waiting: dict[int, Waiting] = {}
        self._last = 0

    def take(
        self, request: AwaitEvents, reply_handle: Callable[[], Answerable], now: float
    ) -> Invalid | Refused | None:
        """Answer as soon as there are events, or when the time is up; or return the refusal."""
        watch = decode_question(request.body)
        if not isinstance(watch, get_args(Watch)):
            return NO_WATCH
        if (reason := reason_against(watch)) is not None:
            return Invalid(reason)
        if self._raft.leader == NO_NODE:
            return NO_LEADER
        if len(self.waiting) >= WAITING_MAX:
            return TOO_MANY
        self._last += 1
        self._watchers.add(self._last, watch)
        hold_seconds = min(max(0.0, request.hold_seconds), HOLD_SECONDS_MAX)
        self.waiting[self._last] = Waiting(reply_handle(), now + hold_seconds)
        return None

    def tell(self, now: float) -> None:
        """Answer requests with new events, and those that have waited long enough."""
        if not self._applier.free:
            return
        history, watchers = self._application.history, self._watchers
        while watchers.behind(history):
            for watcher, answer in watchers.news(history):
                self._answer(watcher, answer)
        for watcher in [number for number, waiting in self.waiting.items() if waiting.give_up_at <= now]:
            if self._raft.leader == NO_NODE:
                self._end(watcher, NO_LEADER)
            else:
                self._answer(watcher, Events((), watchers.next_of(watcher), history.revision))

    def stop(self) -> None:
        """Refuse all, so that clients ask another node."""
        for watcher in list(self.waiting):
            self._end(watcher, NODE_STOPS)

    def _answer(self, watcher: int, answer: Answer) -> None:
        applier = self._applier
        result = QueryResult(applier.applied, encode_answer(answer), True, applier.configuration)
        self._end(watcher, result)

    def _end(self, watcher: int, answer: QueryResult | Refused) -> None:
        self._watchers.remove(watcher)
        self.waiting.pop(watcher).reply.send(answer)
