"""When what has failed is started again, how soon, and when to give up.

Owns the decision, as pure arithmetic on names and moments; OTP's supervisors are the model.
Knows nothing of actors or processes: those who carry out a decision do.
"""

from __future__ import annotations

import enum

import msgspec


class Strategy(enum.Enum):
    """Who is restarted when one child fails."""

    ONE_FOR_ONE = "one-for-one"
    ONE_FOR_ALL = "one-for-all"
    REST_FOR_ONE = "rest-for-one"


class Restart(enum.Enum):
    """After which endings a child is started again."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before a restart: doubled after each failure in a row, with some jitter."""

    first_seconds: float = 0.05
    max_seconds: float = 5.0
    jitter: float = 0.2  # the wait is drawn from [1 - jitter, 1] times its nominal length
    reset_seconds: float = 10.0  # after so long a life a failure is the first in a row again


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor does about its children's failures."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    restart: Restart = Restart.TRANSIENT
    max_restarts: int = 5
    window_seconds: float = 30.0
    backoff: Backoff = Backoff()
