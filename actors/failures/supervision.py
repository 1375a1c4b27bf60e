"""When what has failed is started again, how soon, and when to give up.

Owns the decision, as arithmetic on names and moments; OTP's supervisors are the model. Knows
nothing of actors or processes: those who carry out a decision do.
"""

from __future__ import annotations

import enum
import random
from collections import deque

import msgspec


class Strategy(enum.Enum):
    """Who is started again when one child has ended."""

    ONE_FOR_ONE = "one-for-one"  # the one that ended
    ONE_FOR_ALL = "one-for-all"  # all children
    REST_FOR_ONE = "rest-for-one"  # that one, and those that were started after it


class Restart(enum.Enum):
    """After which endings a child is started again."""

    PERMANENT = "permanent"  # any
    TRANSIENT = "transient"  # failures only
    TEMPORARY = "temporary"  # none


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before a restart: doubled with each failure in a row, then shortened by chance."""

    first_seconds: float = 0.05
    max_seconds: float = 5.0
    jitter: float = 0.2  # the wait is drawn from [1 - jitter, 1] times its full length
    reset_seconds: float = 10.0  # a child that has lived so long fails for the first time again

    def __post_init__(self) -> None:
        if not 0 <= self.first_seconds <= self.max_seconds:
            raise ValueError(
                f"first_seconds {self.first_seconds} is not within [0, max_seconds {self.max_seconds}]"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a part of the wait, within [0, 1], not {self.jitter}")

    def seconds(self, failures_before: int, random: random.Random) -> float:
        """How long to wait after a failure that follows so many others in a row."""
        # Beyond 2**64 the maximum has long been reached, and a float would overflow.
        full = min(self.first_seconds * 2.0 ** min(failures_before, 64), self.max_seconds)
        return full * (1 - self.jitter * random.random())


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor does about its children: at most `max_restarts` in any `window_seconds`."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    restart: Restart = Restart.TRANSIENT
    max_restarts: int = 5
    window_seconds: float = 30.0
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        if self.max_restarts < 0:
            raise ValueError(f"max_restarts counts restarts, and can't be {self.max_restarts}")
        if not self.window_seconds > 0:
            raise ValueError(f"window_seconds is longer than nothing, not {self.window_seconds}")


class RestartChildren(msgspec.Struct, frozen=True):
    """Stop those of `stop` now, in that order; start those of `start` after a wait, in that order.

    A child that is in `stop` and not in `start` is gone for good.
    """

    stop: tuple[str, ...]
    start: tuple[str, ...]
    after_seconds: float


class ForgetChild(msgspec.Struct, frozen=True):
    """The child stays ended; no other child is concerned."""


class GiveUp(msgspec.Struct, frozen=True):
    """Too many restarts: stop all children, and fail oneself."""

    reason: str


Decision = RestartChildren | ForgetChild | GiveUp


class _Child:
    __slots__ = ("failures_in_a_row", "restart", "started_at")

    def __init__(self, restart: Restart, started_at: float) -> None:
        self.restart = restart
        self.started_at = started_at
        self.failures_in_a_row = 0


class Supervisor:
    """The children of one supervisor, in the order in which they were first started."""

    def __init__(self, policy: RestartPolicy, random: random.Random) -> None:
        if not isinstance(policy, RestartPolicy):
            raise TypeError(f"supervision is a RestartPolicy, not {type(policy).__qualname__}")
        self.policy = policy
        self._random = random
        self._children: dict[str, _Child] = {}
        self._restarts: deque[float] = deque()

    @property
    def children(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._children)

    def started(self, name: str, now: float, restart: Restart | None = None) -> None:
        """A child is there, for the first time or again; `restart` deviates from the policy's."""
        child = self._children.get(name)
        if child is None:
            self._children[name] = _Child(restart or self.policy.restart, now)
        else:
            child.started_at = now

    def forget(self, name: str) -> None:
        """A child was stopped on purpose, and is none any more."""
        self._children.pop(name, None)

    def forgive(self) -> None:
        """Count restarts from none again, as a supervisor that is itself started again does."""
        self._restarts.clear()

    def ended(self, name: str, now: float, *, failed: bool) -> Decision:
        """What to do about a child that ended by itself: by a failure, or as it had nothing left to do."""
        child = self._children[name]
        if child.restart is Restart.TEMPORARY or (child.restart is Restart.TRANSIENT and not failed):
            del self._children[name]
            return ForgetChild()
        window = self.policy.window_seconds
        while self._restarts and self._restarts[0] <= now - window:
            self._restarts.popleft()
        if len(self._restarts) >= self.policy.max_restarts:
            return GiveUp(f"{name} ended after {len(self._restarts)} restarts within {window:g} seconds")
        self._restarts.append(now)
        if now - child.started_at >= self.policy.backoff.reset_seconds:
            child.failures_in_a_row = 0
        after_seconds = self.policy.backoff.seconds(child.failures_in_a_row, self._random)
        child.failures_in_a_row += 1
        return self._restart(name, after_seconds)

    def _restart(self, name: str, after_seconds: float) -> RestartChildren:
        names = list(self._children)
        if self.policy.strategy is Strategy.ONE_FOR_ONE:
            names = [name]
        elif self.policy.strategy is Strategy.REST_FOR_ONE:
            names = names[names.index(name) :]
        stop = tuple(other for other in reversed(names) if other != name)
        start = tuple(other for other in names if self._children[other].restart is not Restart.TEMPORARY)
        for other in set(names) - set(start):
            del self._children[other]
        return RestartChildren(stop, start, after_seconds)
