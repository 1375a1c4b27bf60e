"""Elections for blocking programs, on the asyncio election in a thread of its own.

Owns what such a program sees of its leadership. A blocking function cannot be cancelled from outside: when
leadership is lost the body continues, and must check for that, by `check`, `lost` or a listener. Its writes
are rejected in any case by whatever checks its token.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from raft.client.background_loop import Background, in_background
from raft.client.blocking import blocking, blocking_iterator
from raft.client.errors import ClientError, LeadershipLost, Taken, is_by_loss
from raft.client.retries import Backoff
from raft.client.sessions.asyncio_election import AsyncElection, AsyncLead
from raft.client.sessions.asyncio_session import SessionState
from raft.client.sessions.candidacy import AsyncSeats, Candidacy, may_campaign_again
from raft.client.sessions.reentry import Entries
from raft.durations import Duration

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.client import Client

Result = TypeVar("Result")


class Lead:
    """A leadership, while its context lasts; `token` is its fencing token, `lost` is set when it is over."""

    def __init__(self, lead: AsyncLead, background: Background[Lead]) -> None:
        self.token = lead.token
        self.fence = lead.fence
        self.lost = threading.Event()
        self.in_loop = lead
        self.background = background
        self.add_listener(lambda state: self.lost.set() if state is SessionState.LOST else None)

    @property
    def remaining(self) -> float:
        """How many seconds work may continue if no further keep-alive succeeds; 0 once leadership is lost."""
        return self.in_loop.remaining

    def check(self) -> None:
        """Raise LeadershipLost unless this client is certain to lead at this moment."""
        self.in_loop.check()

    extend = in_background(AsyncLead.extend)
    proclaim = in_background(AsyncLead.proclaim)

    def add_listener(self, listener: Callable[[SessionState], None]) -> None:
        """Call it with each new state, in the thread that keeps the lease alive: it must not block."""
        self.in_loop.session.add_listener(listener)


class Election:
    """An election, lock or semaphore; each `with` waits for a leadership of its own.

    The body is not cancelled when leadership is lost: see the module's text. It may be entered repeatedly,
    also by several threads at once: each entry has a candidate of its own.
    """

    def __init__(
        self,
        client: Client,
        connect: Callable[[], AsyncClient],
        candidacy: Candidacy,
        ttl_seconds: float,
        *,
        release_on_disconnect: bool = False,
    ) -> None:
        self._client = client
        self._connect = connect
        self._candidacy = candidacy
        self._ttl_seconds = ttl_seconds
        self._release_on_disconnect = release_on_disconnect
        self._entries: Entries[Background[Lead]] = Entries(threading.get_ident)
        self._leads: dict[Background[Lead], Lead] = {}
        self._pending: set[Background[Lead]] = set()

    def __enter__(self) -> Lead:
        """Wait for a seat, in the order of arrival. Raises Taken, LeadershipLost or another ClientError."""
        return self._enter(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, *, timeout: Duration | None = None) -> Lead:
        """Wait for a seat, held until `release`; Taken when the time is up. With 0, does not wait."""
        return self._enter(timeout)

    def release(self) -> None:
        """Give up the seat that this thread acquired last; RuntimeError if there is none."""
        entry = self._entries.take()
        self._leads.pop(entry)
        entry.leave()

    def cancel(self) -> None:
        """Make all threads that wait for a seat by this object raise Taken."""
        for entry in list(self._pending):
            entry.give_up(Taken(f"waiting for {self._candidacy.election!r} was cancelled"))

    def extend(self) -> float:
        """See `Lead.extend`; for the seat that this thread acquired last."""
        return self._leads[self._entries.last()].extend()

    def owned(self) -> bool:
        """Is it certain at this moment that this object holds a seat?"""
        return any(lead.remaining for lead in list(self._leads.values()))

    @property
    def unsuspended(self) -> AsyncSeats:
        """The seats, read by coroutines that block instead of suspending."""
        return AsyncSeats(self._client.unsuspended, self._candidacy.election)

    current = blocking(AsyncSeats.current)
    locked = blocking(AsyncSeats.locked)
    contenders = blocking(AsyncSeats.contenders)
    observe = blocking_iterator(AsyncSeats.observe)

    def run(self, work: Callable[[Lead], Result]) -> Result:
        """Wait for a leadership, do the work, and step down; returns the work's result.

        The work is not cancelled when leadership is lost; LeadershipLost is then raised once it has returned,
        or has raised that a request came too late for the lease.
        """
        with self as lead:
            try:
                result = work(lead)
            except ClientError as error:
                if is_by_loss(error, lead.remaining):
                    raise LeadershipLost("the work came too late for its lease") from error
                raise
            lead.check()
            return result

    def keep_running(self, work: Callable[[Lead], Result], *, backoff: Backoff | None = None) -> Result:
        """`run` repeatedly, until the work has returned as the leader; returns or raises its outcome.

        Repeats after LeadershipLost, and after each ClientError that is safe to retry.
        """
        backoff = backoff or Backoff()
        while True:
            try:
                return self.run(work)
            except ClientError as error:
                if not may_campaign_again(error):
                    raise
            backoff.wait_blocking()

    def __call__(self, work: Callable[[Lead], Result]) -> Callable[[], Result]:
        """As a decorator: each call waits for a leadership, works, and steps down."""

        @wraps(work)
        def led() -> Result:
            with self as lead:
                return work(lead)

        return led

    def _enter(self, timeout: Duration | None) -> Lead:
        entry: Background[Lead] = Background(lambda: self._hold(entry, timeout))
        self._pending.add(entry)
        try:
            lead = entry.enter()
        finally:
            self._pending.discard(entry)
        self._leads[entry] = lead
        self._entries.add(entry)
        return lead

    @asynccontextmanager
    async def _hold(self, entry: Background[Lead], timeout: Duration | None) -> AsyncIterator[Lead]:
        async with self._connect() as client:
            election = AsyncElection(
                client, self._candidacy, self._ttl_seconds, release_on_disconnect=self._release_on_disconnect
            )
            lead = Lead(await election.acquire(timeout=timeout), entry)
            try:
                yield lead
            finally:
                await election.release()
                lead.lost.set()
