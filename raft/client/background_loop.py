"""An asynchronous context held by a blocking program: in an event loop in a thread of its own.

Owns that thread, which has ended when the context is left. A program that ends without leaving it is not held
up: the thread ends with it. Knows nothing of what is held.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

from actors.errors import ActorsError
from raft.client.errors import ClientClosed, ClientError

Thing = TypeVar("Thing")
Result = TypeVar("Result")


class Background(Generic[Thing]):
    """Enters what `hold` makes in a loop of its own, once, and leaves it there."""

    def __init__(self, hold: Callable[[], AbstractAsyncContextManager[Thing]]) -> None:
        self._hold = hold
        self._process = os.getpid()
        self._ready = threading.Event()
        self._entered: Future[Thing] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holding: asyncio.Task[None] | None = None
        # A daemon: a program that ends with this entered does end, and its lease a little later.
        self._thread: threading.Thread | None = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="raft-client", daemon=True
        )

    def enter(self) -> Thing:
        """Wait until it is entered; raises what entering raised."""
        assert self._thread is not None, "entered only once"
        self._thread.start()
        self._ready.wait()
        try:
            return self._entered.result()
        except BaseException:
            self.leave()
            raise

    def give_up(self, error: Exception) -> None:
        """Let `enter` raise that instead, if it waits still."""
        with suppress(InvalidStateError):
            self._entered.set_exception(error)

    def leave(self) -> None:
        """Leave it, and let the thread end. Idempotent; a forked child holds nothing to leave."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._holding is None or os.getpid() != self._process:
            return
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._holding.cancel)
        thread.join()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Have something done in the loop, and wait for it."""
        if os.getpid() != self._process:
            work.close()
            raise ClientClosed(
                f"what is used here is held by process {self._process}, from which this one was forked: "
                "make another client after the fork"
            )
        if self._thread is None or self._loop is None:
            work.close()
            raise ClientClosed("the context that this belongs to has been left")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run(self) -> None:
        self._loop, self._holding = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        try:
            async with self._hold() as thing:
                with suppress(InvalidStateError):  # Given up meanwhile: `enter` leaves it.
                    self._entered.set_result(thing)
                await asyncio.Event().wait()  # Until it is left.
        except asyncio.CancelledError:
            return
        except (ClientError, ActorsError) as error:
            if self._entered.done() and self._entered.exception() is None:
                raise
            self.give_up(error)
        finally:
            self.give_up(ClientClosed("the client was closed"))
