"""Retries after errors, with exponential backoff.

Owns which errors are retried, and how long to wait in between. Knows nothing of the work.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from raft.client.errors import ClientError, OutcomeUnknown
from raft.durations import Duration, seconds_of

Result = TypeVar("Result")

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 2.0


class Backoff:
    """How long to wait after each failure: twice as long as before, up to `longest`.

    Each wait is random between half of that and all of it, so that many clients do not retry in step.
    """

    def __init__(self, first: Duration = FIRST_SECONDS, longest: Duration = LONGEST_SECONDS) -> None:
        self._first_seconds = seconds_of(first)
        self._longest_seconds = seconds_of(longest)
        self._random = random.Random()
        self._seconds = self._first_seconds

    def next_seconds(self) -> float:
        """The next wait."""
        seconds = self._seconds
        self._seconds = min(2 * seconds, self._longest_seconds)
        return seconds * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """After a success: begin with the shortest wait again."""
        self._seconds = self._first_seconds

    async def wait(self) -> None:
        """Wait, in an event loop."""
        await asyncio.sleep(self.next_seconds())

    def wait_blocking(self) -> None:
        """Wait, in a thread."""
        time.sleep(self.next_seconds())


def retry(
    work: Callable[[], Result],
    *,
    within: Duration = "30s",
    repeatable: bool = False,
    backoff: Backoff | None = None,
) -> Result:
    """Repeat the work until it succeeds, fails with an error that is not safe to retry, or time is up.

    With `repeatable`, OutcomeUnknown is retried too: only for work that may be done more than once.
    """
    backoff, give_up_at = backoff or Backoff(), time.monotonic() + seconds_of(within)
    while True:
        try:
            return work()
        except ClientError as error:
            seconds = _pause(error, backoff, give_up_at, repeatable=repeatable)
        time.sleep(seconds)


async def retry_async(
    work: Callable[[], Awaitable[Result]],
    *,
    within: Duration = "30s",
    repeatable: bool = False,
    backoff: Backoff | None = None,
) -> Result:
    """`retry` for asyncio."""
    backoff, give_up_at = backoff or Backoff(), time.monotonic() + seconds_of(within)
    while True:
        try:
            return await work()
        except ClientError as error:
            seconds = _pause(error, backoff, give_up_at, repeatable=repeatable)
        await asyncio.sleep(seconds)


def _pause(error: ClientError, backoff: Backoff, give_up_at: float, *, repeatable: bool) -> float:
    """How long to wait before the next attempt; raises the error if there is to be none."""
    seconds = backoff.next_seconds()
    may_retry = error.retry_is_safe or (repeatable and isinstance(error, OutcomeUnknown))
    if not may_retry or time.monotonic() + seconds > give_up_at:
        raise error
    return seconds
