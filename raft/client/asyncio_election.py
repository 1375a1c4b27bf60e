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

from msgspec import Struct

from raft.client.asyncio_session import AsyncSession
from raft.client.entries import Entries
from raft.client.errors import (
    EventsForgotten,
    LeadershipLost,
    LeaseEnded,
    OutcomeUnknown,
    SessionExpired,
    Taken,
)
from raft.client.observing import ElectionObserver
from raft.client.programs import Program, run_program
from raft.client.store import Text, to_bytes
from raft.durations import Duration
from raft.machines.answers import ElectionState, Led, Left, Standing
from raft.machines.operations import Campaign, Fence, GetElection, Proclaim, WatchElection

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")

GRACE_RATIO = 0.05  # Of a lease, for a program between SIGTERM and SIGKILL: half of the session's margin.


class Seat(Struct, frozen=True):
    """What a candidate wants: one of so many seats, to announce a value, and to wait or not."""

    election: str
    seats: int
    value: bytes
    wait: bool


class Lead:
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
            raise LeadershipLost(f"the leadership {self.token} of {self.fence.election!r} is over")

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

    async def proclaim(self, value: Text) -> None:
        """Change what is announced; FenceRejected if the seat is lost."""
        await self.session.call(Proclaim(self.fence.election, self.token, to_bytes(value)))


class AsyncElection:
    """An election, lock or semaphore by name; each `async with` waits for a leadership of its own.

    It may be entered again and again, by several tasks at once too: each entry has a candidate of its own.
    """

    def __init__(
        self, client: AsyncClient, seat: Seat, ttl: Duration, *, release_on_disconnect: bool = False
    ) -> None:
        self._client = client
        self._seat = seat
        self._ttl = ttl
        self._release_on_disconnect = release_on_disconnect
        self._entries: Entries[AsyncSession] = Entries(asyncio.current_task)

    async def __aenter__(self) -> Lead:
        """Wait for a seat, in the order of arrival. Raises Taken or a ClientError.

        Who could not keep its lease alive in the queue goes to its end, with a new one.
        """
        while True:
            lead = await self._stand()
            if lead is not None:
                self._entries.add(lead.session)
                return lead

    async def _stand(self) -> Lead | None:
        """Open a session and wait for a seat with it; None if its lease was lost before."""
        session = AsyncSession(self._client, self._ttl, release_on_disconnect=self._release_on_disconnect)
        await session.open()
        try:
            return Lead(self._seat, await self._take_seat(session), session)
        except (LeadershipLost, LeaseEnded, SessionExpired, OutcomeUnknown) as error:
            is_over = not session.remaining_seconds  # And with the session the candidate, if there was one.
            await session.close()
            if isinstance(error, OutcomeUnknown) and not is_over:
                raise
            return None
        except BaseException:
            await session.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._entries.take().close()

    async def current(self) -> ElectionState:
        """Who leads and who waits."""
        answer = await self._client.ask(GetElection(self._seat.election))
        assert isinstance(answer, ElectionState), answer
        return answer

    async def observe(self) -> AsyncIterator[Led | Left]:
        """Who leads now, then every change, for ever; after a gap in the events, the difference."""
        async for event in self._client.changes(ElectionObserver(self._seat.election)):
            assert isinstance(event, Led | Left), event
            yield event

    async def _take_seat(self, session: AsyncSession) -> int:
        seat = self._seat
        standing = await session.during(
            session.call(Campaign(seat.election, session.lease, seat.value, seat.seats, seat.wait))
        )
        assert isinstance(standing, Standing), standing
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
                if all(candidate.token != token for candidate in state.waiting):
                    raise LeadershipLost(f"the candidate {token} of {election!r} is gone") from None
                revision = state.revision + 1

    def __call__(
        self, work: Callable[[Lead], Coroutine[Any, Any, Result]]
    ) -> Callable[[], Coroutine[Any, Any, Result]]:
        """As a decorator: each call waits for a leadership, works while it lasts, and steps aside."""

        @wraps(work)
        async def led() -> Result:
            election = AsyncElection(
                self._client, self._seat, self._ttl, release_on_disconnect=self._release_on_disconnect
            )
            async with election as lead:
                return await lead.run(lambda: work(lead))

        return led
