"""The steps that a call yields, and the time and attempts of one call.

Owns no decision: see routing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from actors.errors import AskFailed
from raft.client.errors import (
    ClientError,
    Unreachable,
)
from raft.client.failure_detector import ANSWER_SECONDS_MAX
from raft.client.watches.channels import Channel
from raft.protocol.client import (
    Answer,
    AwaitAnswer,
    AwaitEvents,
    Command,
    KeepAlive,
    ListMembers,
    MemberChange,
    OpenWatch,
    Query,
    ReadBackup,
    TakeBackup,
    TimeLeft,
    WhoLeads,
)

WAIT_SECONDS_FIRST = 0.002
WAIT_SECONDS_MAX = 0.050
# A refused request is not sent again when less time is left than this, or than a quarter of the whole: an
# answer could not arrive in time, and a certain refusal would become an unknown outcome. A node that knows of
# no leader waits for one for up to 20 ms before it refuses.
LAST_SECONDS_MAX = 0.050

Request: TypeAlias = (
    Command
    | Query
    | WhoLeads
    | ListMembers
    | MemberChange
    | KeepAlive
    | TimeLeft
    | AwaitEvents
    | OpenWatch
    | AwaitAnswer
    | TakeBackup
    | ReadBackup
)


class Ask(Struct, frozen=True, gc=False):
    """Ask that node; the outcome is its answer or an AskFailed."""

    node: int
    request: Request
    timeout_seconds: float
    relayed: bool = False
    """To be relayed to the leader."""


class Wait(Struct, frozen=True, gc=False):
    """Wait this long, or less if a node becomes reachable meanwhile."""

    seconds: float


class AwaitChannel(Struct, frozen=True, gc=False):
    """Wait until the channel has something new, or has closed."""

    channel: Channel


Step: TypeAlias = Ask | Wait | AwaitChannel
Outcome: TypeAlias = Answer | AskFailed | None
Attempt: TypeAlias = tuple[int, Outcome]
"""Which node was asked, and the outcome."""


class RetryBudget:
    """The time of one call, its failed attempts, and the error that it ends with when the time is up.

    `attempt_seconds_max`: how long one node may take for a change of the members before it is asked again.
    """

    def __init__(
        self,
        now: Callable[[], float],
        timeout_seconds: float,
        began_at: float | None = None,
        attempt_seconds_max: float = math.inf,
    ) -> None:
        self.now = now
        self._attempt_seconds_max = attempt_seconds_max
        self._deadline = (now() if began_at is None else began_at) + timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._last_seconds = min(LAST_SECONDS_MAX, timeout_seconds / 4)
        self._attempted = False
        self._wait_seconds = WAIT_SECONDS_FIRST
        self._redirected = False
        self._turned_away = False
        self._failed_at = 0
        self._timeout_factor = 1
        self.error: type[ClientError] = Unreachable
        self.reason = "no node was asked"

    @property
    def left_seconds(self) -> float:
        """The time left."""
        return max(0.0, self._deadline - self.now())

    @property
    def attempt_seconds(self) -> float:
        """The time that one node may take."""
        return min(self.left_seconds, self._attempt_seconds_max)

    def begin_attempt(self) -> int:
        """Begin an attempt; returns a node to avoid, or 0.

        Raises the last error when too little time is left.
        """
        if self.left_seconds <= (self._last_seconds if self._attempted else 0.0):
            raise self.error(f"{self.reason} (tried for {self._timeout_seconds:g} s)")
        failed_at, self._failed_at = self._failed_at, 0
        return failed_at

    def note_failure(self, error: type[ClientError], reason: str, node: int = 0) -> None:
        """Remember why the last attempt failed, and at which node."""
        self.error, self.reason, self._failed_at = error, reason, node
        self._attempted = True

    def may_follow_redirect(self) -> bool:
        """May a redirect be followed at once? Only one in a row: two nodes might redirect to each other."""
        before, self._redirected = self._redirected, True
        return not before and self.left_seconds > 0

    def may_ask_another(self) -> bool:
        """May another node be asked at once, because one was not connected? Only once in a call.

        Not after a redirect: the connection to the node that was named is being made.
        """
        before, self._turned_away = self._turned_away, True
        return not before and not self._redirected and self.left_seconds > 0

    def scaled_timeout(self, seconds: float) -> float:
        """How long to wait for one node: longer each time, since it may be slow rather than dead."""
        return min(self._timeout_factor * seconds, ANSWER_SECONDS_MAX)

    def double_timeout(self) -> None:
        """Wait twice as long next time."""
        self._timeout_factor *= 2

    def next_wait(self) -> Wait:
        """The wait before the next attempt: twice the last one, or all the time left if no attempt fits."""
        self._redirected = False
        seconds, left_seconds = self._wait_seconds, self.left_seconds
        self._wait_seconds = min(2 * seconds, WAIT_SECONDS_MAX)
        return Wait(seconds if left_seconds - seconds > self._last_seconds else left_seconds)
