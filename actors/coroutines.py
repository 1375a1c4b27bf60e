"""Coroutines of actors: `async def` handlers, and what an actor starts beside them.

States of one: it runs (as a task of the process's asyncio loop), and it has ended, or its actor's incarnation
has. While a handler's coroutine runs, its actor is AWAITING: messages wait, timers wait, and only this
coroutine goes on; a re-entrant actor stays RUNNING, and handles others between its steps. Each step finds
the context as the handler left it: its message, sender, and claim to an answer. When the incarnation ends the
coroutine is cancelled; what it does from then on is its own affair, and no message of a later incarnation
waits for it.

Knows nothing of who turns the loop. asyncio is imported when it is first needed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final

from actors.errors import ActorsError

if TYPE_CHECKING:
    import asyncio

    from actors.cell import Cell
    from actors.mailbox import QueuedMessage

REENTRANT_MAX: Final = 1000
"""Coroutines of one re-entrant actor; when there are so many, messages wait until one ends."""


class RunningCoroutine:
    """One coroutine of an actor, with the letter that it is about."""

    __slots__ = ("_begun", "_cell", "_coroutine", "_over", "doing", "pending_ask", "queued", "task")

    def __init__(
        self, cell: Cell, coroutine: Coroutine[Any, Any, object], queued: QueuedMessage, pending_ask: int
    ) -> None:
        self._cell = cell
        self._coroutine = coroutine
        self._begun = False
        self._over = False
        self.queued = queued
        self.pending_ask = pending_ask
        message = queued[0]
        self.doing = (
            type(message).__qualname__
            if message is not None
            else getattr(coroutine, "__qualname__", "a task")
        )
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """The incarnation that it belongs to has ended."""
        self._over = True
        if not self._begun:
            self._coroutine.close()  # Or Python would warn that it was never awaited.
        if self.task is not None:
            self.task.cancel()

    async def run(
        self, ended: Callable[[RunningCoroutine, BaseException | None], None], wake: Callable[[], None]
    ) -> None:
        """Run it to its end, and say how it ended, unless its incarnation has ended before."""
        error: BaseException | None = None
        try:
            await self._steps(wake)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as raised:  # noqa: BLE001 - the supervision point of coroutines
            error = raised
        if not self._over:
            ended(self, error)
            wake()

    @types.coroutine
    def _steps(self, wake: Callable[[], None]) -> Generator[Any, Any, None]:
        """The coroutine's own steps, each within the context of its message."""
        cell, step = self._cell, self._coroutine.send
        argument: Any = None
        self._begun = True
        while True:
            if not self._over:
                cell.queued, cell.pending_ask = self.queued, self.pending_ask
                if not cell.touched:
                    cell.touch()
            try:
                waits_for = step(argument)
            except StopIteration:
                return
            finally:
                if not self._over:
                    self.pending_ask, cell.pending_ask = cell.pending_ask, 0
                    wake()
            try:
                argument = yield waits_for
                step = self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - it is thrown on, into the coroutine
                argument, step = error, self._coroutine.throw


def start(
    running: RunningCoroutine,
    coroutine: Coroutine[Any, Any, object],
    ended: Callable[[RunningCoroutine, BaseException | None], None],
    wake: Callable[[], None],
) -> None:
    """Make a task of it in the running loop; raises ActorsError where there is none."""
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        coroutine.close()
        raise ActorsError(
            f"{running.doing} awaits, and this process has no asyncio loop: spawn the actor with"
            " `spawn_process`, which gives one to a process whose actor has `async def` methods"
        ) from None
    running.task = loop.create_task(running.run(ended, wake))
