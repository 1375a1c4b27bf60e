"""Slow requests to the user's own machine: the client gets a ticket, and asks for the answer later.

Owns the tickets: one for each request that was not answered soon. An answer waits here until the client asks
for it, and is dropped if it doesn't for a while. Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.asks import Answerable
from raft.protocol.client import AwaitAnswer, Committed, QueryResult, StillRunning, Unknown

SOON_SECONDS = 0.030  # Less than any client waits before it asks another node.
HOLD_SECONDS = 0.5  # A waiting client is informed this often that the work continues.
KEEP_SECONDS = 10.0
TICKETS_MAX = 10_000
KEPT_BYTES_MAX = 64 * 1024 * 1024  # Of all answers that no client has asked for yet.

NO_TICKET = Unknown("this node no longer knows that request")
NO_ROOM = Unknown("this node could not keep the answer until it was asked for: too many others wait")
NODE_STOPS = Unknown("the node stops")


class After(Protocol):
    """Sets timers."""

    def __call__(self, seconds: float, call: Callable[[], None], /) -> object:
        """Call something then."""
        ...


class Slow:
    """The reply handle of a request that may take long; the answer goes to the handle that waits last.

    An answer that no client waits for is kept if `may_keep` allows its size.
    """

    def __init__(self, reply: Answerable, asked_at: float, may_keep: Callable[[int], bool]) -> None:
        self.waits: Answerable | None = reply
        self.kept_bytes = 0
        self._may_keep = may_keep
        self.since = asked_at
        self.ticket = 0
        self._answer: object = None
        self._answered = False

    @property
    def over(self) -> bool:
        """Whether the answer was sent."""
        return self._answered and self._answer is None

    def send(self, message: object) -> None:
        """See `Answerable`."""
        self._answered = True
        waits, self.waits = self.waits, None
        if waits is not None:
            waits.send(message)
            return
        size = len(message.result) if isinstance(message, Committed | QueryResult) else 0
        if self._may_keep(size):
            self._answer, self.kept_bytes = message, size
        else:
            self._answer = NO_ROOM

    def wait(self, reply: Answerable, now: float) -> None:
        """The client asks again with its ticket."""
        self.since = now
        if not self._answered:
            if self.waits is not None:
                self.waits.send(StillRunning(self.ticket))
            self.waits = reply
            return
        reply.send(self._answer)
        self._answer = None

    def hold(self, now: float) -> None:
        """Inform the waiting client that the work continues."""
        waits, self.waits = self.waits, None
        if waits is not None:
            self.since = now
            waits.send(StillRunning(self.ticket))


class SlowRequests:
    """All requests to the user's own machine that are unanswered, or whose answers wait for the client."""

    def __init__(self, incarnation: int, now: Callable[[], float], after: After) -> None:
        self.now = now
        self.after = after
        self._last = incarnation << 32
        self._new: list[Slow] = []
        self._tickets: dict[int, Slow] = {}
        self.kept_bytes = 0
        self._set = False

    def take(self, reply: Answerable) -> Answerable:
        """Wrap the reply handle of a request that may take long."""
        slow = Slow(reply, self.now(), self._may_keep)
        self._new.append(slow)
        self._wake(SOON_SECONDS)
        return slow

    def wait(self, request: AwaitAnswer, reply_handle: Callable[[], Answerable]) -> object | None:
        """A client asks with a ticket; answered later, or `Unknown` is returned."""
        slow = self._tickets.get(request.ticket)
        if slow is None or slow.over:
            return NO_TICKET
        slow.wait(reply_handle(), self.now())
        if slow.over:
            self._drop(request.ticket)
        return None

    def stop(self) -> None:
        """Answer all requests that the node stops."""
        for slow in [*self._new, *self._tickets.values()]:
            slow.send(NODE_STOPS)
        self._new.clear()
        self._tickets.clear()

    def new_ticket(self) -> int:
        """A number that no other request of this node ever had, also before a restart."""
        self._last += 1
        return self._last

    def _wake(self, seconds: float) -> None:
        if not self._set:
            self._set = True
            self.after(seconds, self._check)

    def _check(self) -> None:
        self._set = False
        now = self.now()
        self._new = [slow for slow in self._new if not slow.over and not self._give_ticket(slow, now)]
        for ticket, slow in list(self._tickets.items()):
            if slow.over or now - slow.since >= KEEP_SECONDS:
                self._drop(ticket)
            elif now - slow.since >= HOLD_SECONDS:
                slow.hold(now)
        if self._new or self._tickets:
            self._wake(SOON_SECONDS)

    def _may_keep(self, size: int) -> bool:
        if self.kept_bytes + size > KEPT_BYTES_MAX:
            return False
        self.kept_bytes += size
        return True

    def _drop(self, ticket: int) -> None:
        self.kept_bytes -= self._tickets.pop(ticket).kept_bytes

    def _give_ticket(self, slow: Slow, now: float) -> bool:
        if now - slow.since < SOON_SECONDS or len(self._tickets) >= TICKETS_MAX:
            return False
        slow.ticket = self.new_ticket()
        self._tickets[slow.ticket] = slow
        slow.hold(now)
        return True
