"""An asynchronous context held by a blocking program: in an event loop in a thread of its own.

Owns that thread, which has ended when the context is left. Knows nothing of what is held.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from actors.errors import ActorsError
from raft.client.errors import ClientClosed, ClientError

Thing = TypeVar("Thing")
Result = TypeVar("Result")


class Background(Generic[Thing]):
    """Enters what `hold` makes in a loop of its own, and leaves it there."""

    def __init__(self, hold: Callable[[], AbstractAsyncContextManager[Thing]]) -> None:
        self._hold = hold
        self._thread: threading.Thread | None = None
        self._entered: Future[Thing] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holding: asyncio.Task[None] | None = None

    def enter(self) -> Thing:
        """Wait until it is entered; raises what entering raised."""
        assert self._thread is None, "this is entered already; make another one"
        self._entered = Future()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="raft-client")
        self._thread.start()
        ready.wait()
        try:
            return self._entered.result()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Leave it, and let the thread end. Twice is once."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._holding is None:
            return
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._holding.cancel)
        thread.join()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Have something done in the loop, and wait for it."""
        if self._thread is None or self._loop is None:
            work.close()
            raise ClientClosed("the context that this belongs to has been left")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._holding = asyncio.get_running_loop(), asyncio.current_task()
        ready.set()
        try:
            async with self._hold() as thing:
                self._entered.set_result(thing)
                await asyncio.Event().wait()  # Until it is left.
        except asyncio.CancelledError:
            return
        except (ClientError, ActorsError) as error:
            if self._entered.done():
                raise
            self._entered.set_exception(error)
        finally:
            if not self._entered.done():
                self._entered.set_exception(ClientClosed("the client was closed"))
