"""Leading, in a blocking program: the same as in an event loop, which runs in a thread of its own meanwhile.

Owns that thread: it begins when the context is entered and has ended when the context is left. Nobody can
cancel a blocking function from outside, so long work looks at `check` or `lost` now and then.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from actors.errors import ActorsError
from raft.client.asyncio_election import Lead as AsyncLead
from raft.client.errors import ClientClosed, ClientError

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.asyncio_election import AsyncElection


class Lead:
    """A leadership, while its context lasts; `token` is its fencing token, `lost` is set when it is over."""

    def __init__(self, lead: AsyncLead) -> None:
        self.token = lead.token
        self.fence = lead.fence
        self.lost = threading.Event()
        self._lead = lead

    @property
    def remaining(self) -> float:
        """For how many seconds work may go on if no other keep-alive succeeds; 0 once leadership is lost."""
        return self._lead.remaining

    def check(self) -> None:
        """Raise LeadershipLost unless this client leads for certain, at this moment."""
        self._lead.check()


class Election:
    """An election, lock or semaphore; each `with` waits for a leadership of its own.

    `connect` and `stand` make the asyncio client and its candidate, in the thread's loop.
    """

    def __init__(
        self, connect: Callable[[], AsyncClient], stand: Callable[[AsyncClient], AsyncElection]
    ) -> None:
        self._connect = connect
        self._stand = stand
        self._thread: threading.Thread | None = None
        self._led: Future[Lead] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holding: asyncio.Task[None] | None = None

    def __enter__(self) -> Lead:
        """Wait for a seat, in the order of arrival. Raises Taken, LeadershipLost or another ClientError."""
        assert self._thread is None, "this election is entered already; make another one"
        self._led = Future()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._hold(ready)), name="raft-election")
        self._thread.start()
        ready.wait()
        try:
            return self._led.result()
        except BaseException:
            self._leave()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def _hold(self, ready: threading.Event) -> None:
        self._loop, self._holding = asyncio.get_running_loop(), asyncio.current_task()
        ready.set()
        lead: Lead | None = None
        try:
            async with self._connect() as client, self._stand(client) as held:
                lead = Lead(held)
                self._led.set_result(lead)
                await held.session.wait_lost()
                lead.lost.set()
                await asyncio.Event().wait()  # Until the context is left.
        except asyncio.CancelledError:
            return
        except (ClientError, ActorsError) as error:
            if lead is not None:
                raise
            self._led.set_exception(error)
        finally:
            if lead is not None:
                lead.lost.set()
            elif not self._led.done():
                self._led.set_exception(ClientClosed("the candidate is gone"))

    def _leave(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._holding is None:
            return
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._holding.cancel)
        thread.join()
