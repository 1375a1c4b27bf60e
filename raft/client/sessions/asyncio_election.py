"""Leading, in an event loop: campaign, work while the lease lasts, step aside.

Owns the way of one candidate from its campaign to its end. Locks and semaphores are elections in which
nobody announces anything. Each candidate has a session of its own, so nothing of it outlives its context.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from raft.client.calls.store import Text, to_bytes
from raft.client.calls.watches import ElectionObserver
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
from raft.client.sessions.reentry import Entries
from raft.client.sessions.seats import Seat
from raft.durations import Duration, seconds_of
from raft.machines.commands import Campaign, Fence, GetElection, Proclaim, WatchElection
from raft.machines.results import Candidate, ElectionState, Led, Left

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")

GRACE_RATIO = 0.05  # Of a lease, for a program between SIGTERM and SIGKILL: half of the session's margin.


class AsyncLead:
    """A leadership, while its context lasts.

    `token` is its fencing token: it grows with every leadership. A process that was stopped for longer than
    its lease wakes up believing that it leads: so hand the token, or `fence`, to whatever is written to.
    """

    def __init__(self, seat: Seat, token: int, session: AsyncSession) -> None:
        self.token = token
        self.fence = Fence(seat.election, token)
        self.session = session

    @property
    def remaining(self) -> float:
        """For how many seconds work may go on if no other keep-alive succeeds; 0 once leadership is lost."""
        return self.session.remaining_seconds

    def check(self) -> None:
        """Raise LeadershipLost unless this client leads for certain, at this moment."""
        if not self.remaining:
            raise self.lost_error()

    def lost_error(self) -> LeadershipLost:
        """What is raised once it is lost."""
        return LeadershipLost(f"the leadership {self.token} of {self.fence.election!r} is over")

    async def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do the work; it is cancelled, and LeadershipLost raised, before the lease can run out."""
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

        All that came of it is ended, and LeadershipLost raised, before the lease can run out: first by
        SIGTERM, then by SIGKILL; also when this process is killed, or stands still for so long. What is left
        when the program itself has ended is ended in the same way. With `foreground` it gets the terminal, as
        from a shell; `started` is told of it, and may send it signals.
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
        """Give the lease its full time again, now; the seconds that are left. It is kept alive without this.

        Raises LeadershipLost if it is over.
        """
        return await self.session.refresh()

    async def proclaim(self, value: Text) -> None:
        """Change what is announced; FenceRejected if the seat is lost."""
        await self.session.call(Proclaim(self.fence.election, self.token, to_bytes(value)))


class Body:
    """The block of an `async with`: cancelled when leadership is lost, as by `asyncio.timeout`.

    Unless it is within `run` or `run_program` then: these end their work and raise LeadershipLost themselves.
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
        """The block has ended so. Raises LeadershipLost if that is what it was cancelled for."""
        self._lead.session.remove_listener(self._hear)
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._lead.lost_error() from None

    def _hear(self, state: SessionState) -> None:
        if state is SessionState.LOST and not self._lead.session.is_working(self._task):
            self._limit.reschedule(asyncio.get_running_loop().time())


class Entry(Struct):
    """A leadership that was taken, and the block it was taken for, if for one."""

    lead: AsyncLead
    body: Body | None = None


class AsyncElection:
    """An election, lock or semaphore by name; each `async with` waits for a leadership of its own.

    The block is cancelled, and LeadershipLost raised, before the lease can run out, like a time-out's. What
    `acquire` gives is not bound to a block: nothing of it is cancelled but the work of `AsyncLead.run`.

    It may be entered again and again, by several tasks at once too: each entry has a candidate of its own.
    """

    def __init__(
        self, client: AsyncClient, seat: Seat, ttl: Duration, *, release_on_disconnect: bool = False
    ) -> None:
        self._client = client
        self._seat = seat
        self._ttl = ttl
        self._release_on_disconnect = release_on_disconnect
        self._entries: Entries[Entry] = Entries(asyncio.current_task)
        self._pending: set[asyncio.Timeout] = set()

    async def __aenter__(self) -> AsyncLead:
        """Wait for a seat, in the order of arrival. Raises Taken or a ClientError.

        Who could not keep its lease alive in the queue goes to its end, with a new one.
        """
        lead = await self._take(self._seat, None)
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
        """Wait for a seat that lasts until `release`; Taken if there is none in time, at once with 0."""
        seconds = None if timeout is None else seconds_of(timeout)
        seat = self._seat if seconds != 0 else msgspec.structs.replace(self._seat, wait=False)
        lead = await self._take(seat, seconds or None)
        self._entries.add(Entry(lead))
        return lead

    async def release(self) -> None:
        """Give the seat back that this task has acquired last; RuntimeError if there is none."""
        await self.__aexit__(None, None, None)

    def cancel(self) -> None:
        """Let all who wait for a seat by this object give up: they raise Taken."""
        for waiting in self._pending:
            if not waiting.expired():
                waiting.reschedule(asyncio.get_running_loop().time())

    async def extend(self) -> float:
        """See `AsyncLead.extend`; of the seat that this task has taken last."""
        return await self._entries.last().lead.extend()

    def owned(self) -> bool:
        """Is a seat held by this object, for certain, at this moment?"""
        return any(entry.lead.remaining for entry in self._entries.all())

    async def locked(self) -> bool:
        """Are all seats taken, by whichever client?"""
        state = await self.current()
        return 0 < state.seats <= len(state.holders)

    async def contenders(self) -> tuple[Candidate, ...]:
        """Who holds the seats, then the first of those who wait (10,000 at most), in the order of arrival."""
        state = await self.current()
        return (*state.holders, *state.waiting)

    async def run(self, work: Callable[[AsyncLead], Coroutine[Any, Any, Result]]) -> Result:
        """Wait for a leadership, do the work while it lasts, and step aside; what the work returns.

        Raises LeadershipLost if the work had to be cancelled.
        """
        async with self as lead:
            return await lead.run(lambda: work(lead))

    async def keep_running(
        self, work: Callable[[AsyncLead], Coroutine[Any, Any, Result]], *, backoff: Backoff | None = None
    ) -> Result:
        """`run` again and again, until the work has ended by itself; what it returns or raises.

        Again after LeadershipLost, and after each ClientError that says that a retry is safe.
        """
        backoff = backoff or Backoff()
        while True:
            try:
                return await self.run(work)
            except ClientError as error:
                if not (isinstance(error, LeadershipLost) or error.retry_is_safe):
                    raise
            await backoff.wait()

    async def _take(self, seat: Seat, timeout_seconds: float | None) -> AsyncLead:
        limit = asyncio.timeout(timeout_seconds)
        self._pending.add(limit)
        try:
            async with limit:
                while True:
                    lead = await self._stand(seat)
                    if lead is not None:
                        return lead
        except TimeoutError:
            raise Taken(f"{seat.election!r} had no free seat for as long as was waited") from None
        finally:
            self._pending.discard(limit)

    async def _stand(self, seat: Seat) -> AsyncLead | None:
        """Open a session and wait for a seat with it; None if its lease was lost before."""
        session = AsyncSession(self._client, self._ttl, release_on_disconnect=self._release_on_disconnect)
        await session.open()
        try:
            return AsyncLead(seat, await self._take_seat(seat, session), session)
        except (LeadershipLost, LeaseEnded, SessionExpired, OutcomeUnknown) as error:
            is_over = not session.remaining_seconds  # And with the session the candidate, if there was one.
            await session.close()
            if isinstance(error, OutcomeUnknown) and not is_over:
                raise
            return None
        except BaseException:
            await session.close()
            raise

    async def current(self) -> ElectionState:
        """Who leads and who waits."""
        return await self._client.ask(GetElection(self._seat.election))

    async def observe(self) -> AsyncIterator[Led | Left]:
        """Who leads now, then every change, for ever; after a gap in the events, the difference."""
        async for event in self._client.changes(ElectionObserver(self._seat.election)):
            assert isinstance(event, Led | Left), event
            yield event

    async def _take_seat(self, seat: Seat, session: AsyncSession) -> int:
        standing = await session.during(
            session.call(Campaign(seat.election, session.lease, seat.value, seat.seats, seat.wait))
        )
        if not standing.token:
            raise Taken(f"{seat.election!r} has no free seat: {standing.ahead} came before")
        if not standing.seated:
            await session.during(self._wait_for(standing.token))
        return standing.token

    async def _wait_for(self, token: int) -> None:
        revision, election = token + 1, self._seat.election
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
                    raise LeadershipLost(f"the candidate {token} of {election!r} is gone") from None
                revision = state.revision + 1

    def __call__(
        self, work: Callable[[AsyncLead], Coroutine[Any, Any, Result]]
    ) -> Callable[[], Coroutine[Any, Any, Result]]:
        """As a decorator: each call waits for a leadership, works while it lasts, and steps aside."""

        @wraps(work)
        async def led() -> Result:
            return await self.run(work)

        return led
