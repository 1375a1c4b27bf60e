"""Elections for asyncio: campaign, work while the lease lasts, step down.

Owns one candidate, from its campaign to its end. Locks and semaphores are elections in which no value is
announced. Each candidate has a session of its own, so nothing of it outlives its context.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from raft.client.calls.store import Text, to_bytes
from raft.client.child_program import Program, run_program
from raft.client.errors import (
    ClientError,
    EventsForgotten,
    LeadershipLost,
    LeaseEnded,
    OutcomeUnknown,
    SessionExpired,
    Taken,
)
from raft.client.retries import Backoff
from raft.client.sessions.asyncio_session import AsyncSession, SessionState
from raft.client.sessions.candidacy import AsyncSeats, Candidacy, may_campaign_again
from raft.client.sessions.reentry import Entries
from raft.durations import Duration, seconds_of
from raft.machines.commands import Campaign, Fence, Proclaim, WatchElection
from raft.machines.results import Led

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")

GRACE_RATIO = 0.05  # Of a lease, between SIGTERM and SIGKILL of a program: half of the session's margin.


class AsyncLead:
    """A leadership, while its context lasts.

    `token` is its fencing token: it grows with every leadership. A process that was stopped for longer than
    its lease wakes up believing that it leads, so pass the token, or `fence`, to whatever is written to.
    """

    def __init__(self, candidacy: Candidacy, token: int, session: AsyncSession) -> None:
        self.token = token
        self.fence = Fence(candidacy.election, token)
        self.session = session

    @property
    def remaining(self) -> float:
        """How many seconds work may continue if no further keep-alive succeeds; 0 once leadership is lost."""
        return self.session.remaining_seconds

    def check(self) -> None:
        """Raise LeadershipLost unless this client is certain to lead at this moment."""
        if not self.remaining:
            raise self.lost_error()

    def lost_error(self) -> LeadershipLost:
        """The error to raise once leadership is lost."""
        return LeadershipLost(f"the leadership {self.token} of {self.fence.election!r} is over")

    async def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do the work. Before the lease can end, it is cancelled and LeadershipLost is raised."""
        self.check()
        return await self.session.during(work())

    async def run_program(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        foreground: bool = False,
        started: Callable[[Program], None] = lambda _program: None,
    ) -> int:
        """Run a program with FENCING_TOKEN in its environment; its exit code, negative for a signal.

        Before the lease can end, all its processes are ended, first by SIGTERM, then by SIGKILL, and
        LeadershipLost is raised; also if this process is killed or stopped for that long. Processes that are
        left when the program has exited are ended in the same way. With `foreground` it gets the terminal, as
        from a shell; `started` is called with it, and may send it signals.
        """
        environment = {**(os.environ if env is None else env), "FENCING_TOKEN": str(self.token)}
        grace_seconds = self.session.ttl_seconds * GRACE_RATIO

        def until() -> float:
            return time.monotonic() + self.remaining + grace_seconds

        return await self.run(
            lambda: run_program(
                arguments, environment, grace_seconds, until=until, foreground=foreground, started=started
            )
        )

    async def extend(self) -> float:
        """Renew the lease for its full time now, besides the automatic keep-alives; returns the seconds left.

        Raises LeadershipLost if it is over.
        """
        return await self.session.refresh()

    async def proclaim(self, value: Text) -> None:
        """Change the announced value; FenceRejected if the seat is lost."""
        await self.session.call(Proclaim(self.fence.election, self.token, to_bytes(value)))


class Body:
    """The block of an `async with`: cancelled when leadership is lost, as by `asyncio.timeout`.

    Except within `run` or `run_program`, which end their work and raise LeadershipLost themselves.
    """

    def __init__(self, lead: AsyncLead) -> None:
        self._lead = lead
        self._task = asyncio.current_task()
        self._limit = asyncio.timeout(None)

    async def enter(self) -> None:
        """The block begins."""
        await self._limit.__aenter__()
        self._lead.session.add_listener(self._hear)

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The block has ended. Raises LeadershipLost if it was cancelled for that."""
        self._lead.session.remove_listener(self._hear)
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._lead.lost_error() from None

    def _hear(self, state: SessionState) -> None:
        if state is SessionState.LOST and not self._lead.session.is_working(self._task):
            self._limit.reschedule(asyncio.get_running_loop().time())


class Entry(Struct):
    """A leadership, and the block that it was entered for, if any."""

    lead: AsyncLead
    body: Body | None = None


class AsyncElection(AsyncSeats):
    """An election, lock or semaphore by name; each `async with` waits for a leadership of its own.

    Before the lease can end, the block is cancelled and LeadershipLost is raised, as with a time-out. The
    result of `acquire` is not bound to a block: only the work of `AsyncLead.run` is cancelled.
    It may be entered repeatedly, also by several tasks at once: each entry has a candidate of its own.
    """

    def __init__(
        self, client: AsyncClient, candidacy: Candidacy, ttl: Duration, *, release_on_disconnect: bool = False
    ) -> None:
        super().__init__(client, candidacy.election)
        self._client = client
        self._candidacy = candidacy
        self._ttl = ttl
        self._release_on_disconnect = release_on_disconnect
        self._entries: Entries[Entry] = Entries(asyncio.current_task)
        self._pending: set[asyncio.Timeout] = set()

    async def __aenter__(self) -> AsyncLead:
        """Wait for a seat, in the order of arrival. Raises Taken or a ClientError.

        A candidate that could not keep its lease alive in the queue starts again at the end, with a new
        lease.
        """
        lead = await self._take(self._candidacy, None)
        body = Body(lead)
        await body.enter()
        self._entries.add(Entry(lead, body))
        return lead

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entry = self._entries.take()
        try:
            if entry.body is not None:
                await entry.body.leave(kind, error, trace)
        finally:
            await entry.lead.session.close()

    async def acquire(self, *, timeout: Duration | None = None) -> AsyncLead:
        """Wait for a seat, held until `release`; Taken when the time is up. With 0, does not wait."""
        seconds = None if timeout is None else seconds_of(timeout)
        candidacy = self._candidacy if seconds != 0 else msgspec.structs.replace(self._candidacy, wait=False)
        lead = await self._take(candidacy, seconds or None)
        self._entries.add(Entry(lead))
        return lead

    async def release(self) -> None:
        """Give up the seat that this task acquired last; RuntimeError if there is none."""
        await self.__aexit__(None, None, None)

    def cancel(self) -> None:
        """Make all tasks that wait for a seat by this object raise Taken."""
        for waiting in self._pending:
            if not waiting.expired():
                waiting.reschedule(asyncio.get_running_loop().time())

    async def extend(self) -> float:
        """See `AsyncLead.extend`; for the seat that this task acquired last."""
        return await self._entries.last().lead.extend()

    def owned(self) -> bool:
        """Is it certain at this moment that this object holds a seat?"""
        return any(entry.lead.remaining for entry in self._entries.all())

    async def run(self, work: Callable[[AsyncLead], Coroutine[Any, Any, Result]]) -> Result:
        """Wait for a leadership, do the work while it lasts, and step down; returns the work's result.

        Raises LeadershipLost if the work had to be cancelled.
        """
        async with self as lead:
            return await lead.run(lambda: work(lead))

    async def keep_running(
        self, work: Callable[[AsyncLead], Coroutine[Any, Any, Result]], *, backoff: Backoff | None = None
    ) -> Result:
        """`run` repeatedly, until the work has ended by itself; returns or raises its outcome.

        Repeats after LeadershipLost, and after each ClientError that is safe to retry.
        """
        backoff = backoff or Backoff()
        while True:
            try:
                return await self.run(work)
            except ClientError as error:
                if not may_campaign_again(error):
                    raise
            await backoff.wait()

    async def _take(self, candidacy: Candidacy, timeout_seconds: float | None) -> AsyncLead:
        limit = asyncio.timeout(timeout_seconds)
        self._pending.add(limit)
        try:
            async with limit:
                while True:
                    lead = await self._campaign(candidacy)
                    if lead is not None:
                        return lead
        except TimeoutError:
            raise Taken(f"{candidacy.election!r} had no free seat before the time was up") from None
        finally:
            self._pending.discard(limit)

    async def _campaign(self, candidacy: Candidacy) -> AsyncLead | None:
        """Open a session and wait for a seat with it; None if its lease was lost before."""
        session = AsyncSession(self._client, self._ttl, release_on_disconnect=self._release_on_disconnect)
        await session.open()
        try:
            return AsyncLead(candidacy, await self._take_seat(candidacy, session), session)
        except (LeadershipLost, LeaseEnded, SessionExpired, OutcomeUnknown) as error:
            is_over = not session.remaining_seconds  # The candidate ended with the session.
            await session.close()
            if isinstance(error, OutcomeUnknown) and not is_over:
                raise
            return None
        except BaseException:
            await session.close()
            raise

    async def _take_seat(self, candidacy: Candidacy, session: AsyncSession) -> int:
        standing = await session.during(
            session.call(
                Campaign(candidacy.election, session.lease, candidacy.value, candidacy.seats, candidacy.wait)
            )
        )
        if not standing.token:
            raise Taken(f"{candidacy.election!r} has no free seat: {standing.ahead} candidates came before")
        if not standing.seated:
            await session.during(self.wait_for_seat(standing.token))
        return standing.token

    async def wait_for_seat(self, token: int) -> None:
        """Return when the candidate with that token has a seat; raises LeadershipLost if it is gone."""
        revision, election = token + 1, self._candidacy.election
        while True:
            try:
                async for event in self._client.events(WatchElection(revision, election)):
                    if isinstance(event, Led) and event.token == token:
                        return
            except EventsForgotten:
                state = await self.current()
                if any(holder.token == token for holder in state.holders):
                    return
                waiting = [candidate.token for candidate in state.waiting]
                is_hidden = state.more and (not waiting or token > waiting[-1])
                if token not in waiting and not is_hidden:
                    raise LeadershipLost(f"the candidate {token} of {election!r} no longer exists") from None
                revision = state.revision + 1

    def __call__(
        self, work: Callable[[AsyncLead], Coroutine[Any, Any, Result]]
    ) -> Callable[[], Coroutine[Any, Any, Result]]:
        """As a decorator: each call waits for a leadership, works while it lasts, and steps down."""

        @wraps(work)
        async def led() -> Result:
            return await self.run(work)

        return led
