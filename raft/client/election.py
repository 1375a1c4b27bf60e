"""Leading, in a blocking program: the same as in an event loop, which runs in a thread of its own meanwhile.

Owns what such a program sees of its leadership. Nobody can cancel a blocking function from outside, so long
work looks at `check` or `lost` now and then.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from raft.client.asyncio_election import Lead as AsyncLead
from raft.client.background import Background
from raft.client.entries import Entries

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.asyncio_election import AsyncElection

Result = TypeVar("Result")


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

    async def watch(self) -> None:
        """Set `lost` when the lease is lost; in the event loop."""
        await self._lead.session.wait_lost()
        self.lost.set()


class Election:
    """An election, lock or semaphore; each `with` waits for a leadership of its own.

    It may be entered again and again, by several threads at once too: each entry has a candidate of its own.
    `connect` and `stand` make the asyncio client and its candidate, in the thread's loop.
    """

    def __init__(
        self, connect: Callable[[], AsyncClient], stand: Callable[[AsyncClient], AsyncElection]
    ) -> None:
        self._connect = connect
        self._stand = stand
        self._entries: Entries[Background[Lead]] = Entries(threading.get_ident)

    def __enter__(self) -> Lead:
        """Wait for a seat, in the order of arrival. Raises Taken, LeadershipLost or another ClientError."""
        entry = Background(self._hold)
        lead = entry.enter()
        self._entries.add(entry)
        return lead

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entries.take().leave()

    def __call__(self, work: Callable[[Lead], Result]) -> Callable[[], Result]:
        """As a decorator: each call waits for a leadership, works, and steps aside."""

        @wraps(work)
        def led() -> Result:
            with Election(self._connect, self._stand) as lead:
                return work(lead)

        return led

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[Lead]:
        async with self._connect() as client, self._stand(client) as held:
            lead = Lead(held)
            watching = asyncio.create_task(lead.watch())
            try:
                yield lead
            finally:
                watching.cancel()
                lead.lost.set()
