"""A recipe as steps, and their running.

Owns the running: a recipe yields a command, a question, or a watch to wait for its next events, and is sent
the answer; errors are thrown into it, so that it can clean up. Knows nothing of any recipe.
"""

from __future__ import annotations

import secrets
import time
from asyncio import CancelledError
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from raft.client.asyncio_keys import AsyncKeys
from raft.client.calls.store import range_of
from raft.client.errors import ClientError, EventsForgotten, Rejected
from raft.durations import Duration, seconds_of
from raft.machines.commands import Answered, Count, Get, Range, WatchKeys

Result = TypeVar("Result")

Steps: TypeAlias = Generator[Answered[Any], Any, Result]

WAIT_SECONDS_MAX = 5.0  # Of one wait for events; then the state is read again.


class TimeUp(Exception):
    """Thrown into steps that would have to wait when their time is up."""


INTERRUPTS = (ClientError, TimeUp, KeyboardInterrupt, CancelledError)
"""The errors thrown into steps, after which they clean up."""


def unique() -> str:
    """A name that no other participant has."""
    return secrets.token_hex(8)


def change(prefix: bytes, revision: int) -> WatchKeys:
    """The step that waits for a change after a revision to the keys with a prefix."""
    return WatchKeys(revision + 1, *range_of(prefix, prefix=True))


def in_time(steps: Steps[object]) -> Steps[bool]:
    """Whether the steps were done before the time was up."""
    try:
        yield from steps
    except TimeUp:
        return False
    return True


class Clock:
    """How much of a time-out is left; None means no limit."""

    def __init__(self, timeout: Duration | None) -> None:
        self._until = None if timeout is None else time.monotonic() + seconds_of(timeout)

    def wait_seconds(self) -> float:
        """How long the next wait may last; raises TimeUp."""
        if self._until is None:
            return WAIT_SECONDS_MAX
        left_seconds = self._until - time.monotonic()
        if left_seconds <= 0:
            raise TimeUp
        return min(left_seconds, WAIT_SECONDS_MAX)


async def run_steps(keys: AsyncKeys, steps: Steps[Result], timeout: Duration | None = None) -> Result:
    """Run the steps; returns their result."""
    clock = Clock(timeout)
    try:
        step = next(steps)
        while True:
            try:
                answer = await _answer(keys, step, clock)
            except INTERRUPTS as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


async def _answer(keys: AsyncKeys, step: Answered[Any], clock: Clock) -> Any:
    if isinstance(step, WatchKeys):
        seconds = clock.wait_seconds()
        try:
            return await keys.await_events(step, timeout_seconds=seconds)
        except (EventsForgotten, Rejected):
            return None  # The recipe reads the state again.
    return await (keys.ask(step) if isinstance(step, Get | Range | Count) else keys.call(step))
