"""Keeps an asynchronous context open for a blocking program, in an event loop in a thread of its own.

Owns that thread, which ends when the context is left. The thread is a daemon, so a program that exits without
leaving the context is not delayed. Knows nothing of the context's purpose.

`in_background` makes the blocking twin of an asyncio method, with its signature and docstring: it runs the
method of `self.in_loop` in the event loop of `self.background`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from actors.errors import ActorsError
from raft.client.errors import ClientClosed, ClientError

Thing = TypeVar("Thing")
Result = TypeVar("Result")
Target = TypeVar("Target")
P = ParamSpec("P")


class Background(Generic[Thing]):
    """Enters the context that `hold` makes in its own event loop, once, and exits it there."""

    def __init__(self, hold: Callable[[], AbstractAsyncContextManager[Thing]]) -> None:
        self._hold = hold
        self._process = os.getpid()
        self._ready = threading.Event()
        self._entered: Future[Thing] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holding: asyncio.Task[None] | None = None
        # A daemon: a program can exit while the context is open. Its lease then ends a little later.
        self._thread: threading.Thread | None = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="raft-client", daemon=True
        )

    def enter(self) -> Thing:
        """Wait until the context is entered; raises what entering raised."""
        assert self._thread is not None, "entered only once"
        self._thread.start()
        self._ready.wait()
        try:
            return self._entered.result()
        except BaseException:
            self.leave()
            raise

    def give_up(self, error: Exception) -> None:
        """Make a waiting `enter` raise this error."""
        with suppress(InvalidStateError):
            self._entered.set_exception(error)

    def leave(self) -> None:
        """Exit the context and end the thread. Idempotent; does nothing in a forked child."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._holding is None or os.getpid() != self._process:
            return
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._holding.cancel)
        thread.join()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the loop, and wait for its result."""
        if os.getpid() != self._process:
            work.close()
            raise ClientClosed(
                f"this object belongs to process {self._process}, from which this process was forked: "
                "create another client after the fork"
            )
        if self._thread is None or self._loop is None:
            work.close()
            raise ClientClosed("the context of this object has been closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run(self) -> None:
        self._loop, self._holding = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        try:
            async with self._hold() as thing:
                with suppress(InvalidStateError):  # After `give_up`; `enter` exits the context.
                    self._entered.set_result(thing)
                await asyncio.Event().wait()  # Until cancelled by `leave`.
        except asyncio.CancelledError:
            return
        except (ClientError, ActorsError) as error:
            if self._entered.done() and self._entered.exception() is None:
                raise
            self.give_up(error)
        finally:
            self.give_up(ClientClosed("the client was closed"))


def in_background(
    method: Callable[Concatenate[Target, P], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Any, P], Result]:
    """The blocking twin of an asyncio method of what a background holds."""

    @wraps(method)
    def twin(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        background: Background[Any] = self.background
        return background.do(method(self.in_loop, *args, **kwargs))

    return twin
