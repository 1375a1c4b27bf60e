"""A recipe as steps that a blocking program and an event loop carry out alike.

Owns the driving: a recipe yields a command, a question, or a watch to wait for its next events, and is sent
the answer; what goes wrong is thrown into it, so that it can tidy up. Knows nothing of any recipe.
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
from raft.client.keys import Keys
from raft.durations import Duration, seconds_of
from raft.machines.commands import Answered, Count, Get, Range, WatchKeys

Result = TypeVar("Result")

Steps: TypeAlias = Generator[Answered[Any], Any, Result]

WAIT_SECONDS_MAX = 5.0  # So long one wait for events lasts at most; then the state is read again.


class TimeUp(Exception):
    """Thrown into steps that would wait, when their time is up."""


INTERRUPTS = (ClientError, TimeUp, KeyboardInterrupt, CancelledError)
"""What is thrown into steps, and so what they tidy up after."""


def unique() -> str:
    """A name that no other participant has."""
    return secrets.token_hex(8)


def change(prefix: bytes, revision: int) -> WatchKeys:
    """The step that waits for something to happen to the keys that begin so, after a revision."""
    return WatchKeys(revision + 1, *range_of(prefix, prefix=True))


def in_time(steps: Steps[object]) -> Steps[bool]:
    """Whether the steps were done before the time was up."""
    try:
        yield from steps
    except TimeUp:
        return False
    return True


class Clock:
    """How much of a time-out is left; None is for ever."""

    def __init__(self, timeout: Duration | None) -> None:
        self._until = None if timeout is None else time.monotonic() + seconds_of(timeout)

    def wait_seconds(self) -> float:
        """How long the next wait may be; raises TimeUp."""
        if self._until is None:
            return WAIT_SECONDS_MAX
        left_seconds = self._until - time.monotonic()
        if left_seconds <= 0:
            raise TimeUp
        return min(left_seconds, WAIT_SECONDS_MAX)


def carry_out(keys: Keys, steps: Steps[Result], timeout: Duration | None = None) -> Result:
    """What the steps lead to, in a blocking program."""
    clock = Clock(timeout)
    try:
        step = next(steps)
        while True:
            try:
                answer = _take(keys, step, clock)
            except INTERRUPTS as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


def _take(keys: Keys, step: Answered[Any], clock: Clock) -> Any:
    if isinstance(step, WatchKeys):
        seconds = clock.wait_seconds()
        try:
            return keys.news(step, timeout_seconds=seconds)
        except (EventsForgotten, Rejected):
            return None  # It will read what it waits for.
    return keys.ask(step) if isinstance(step, Get | Range | Count) else keys.call(step)


async def carry_out_async(keys: AsyncKeys, steps: Steps[Result], timeout: Duration | None = None) -> Result:
    """What the steps lead to, in an event loop."""
    clock = Clock(timeout)
    try:
        step = next(steps)
        while True:
            try:
                answer = await _take_async(keys, step, clock)
            except INTERRUPTS as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


async def _take_async(keys: AsyncKeys, step: Answered[Any], clock: Clock) -> Any:
    if isinstance(step, WatchKeys):
        seconds = clock.wait_seconds()
        try:
            return await keys.news(step, timeout_seconds=seconds)
        except (EventsForgotten, Rejected):
            return None
    return await (keys.ask(step) if isinstance(step, Get | Range | Count) else keys.call(step))
