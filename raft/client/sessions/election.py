"""Elections for blocking programs, on the asyncio election in a thread of its own.

Owns what such a program sees of its leadership. A blocking function cannot be cancelled from outside: when
leadership is lost the body continues, and must check for that, by `check`, `lost` or a listener. Its writes
are rejected in any case by whatever checks its token.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from raft.client.background_loop import Background
from raft.client.calls.store import Text
from raft.client.calls.watches import ElectionObserver
from raft.client.errors import ClientError, LeadershipLost, Taken
from raft.client.retries import Backoff
from raft.client.sessions.asyncio_election import AsyncElection, AsyncLead
from raft.client.sessions.asyncio_session import SessionState
from raft.client.sessions.candidacy import Candidacy
from raft.client.sessions.reentry import Entries
from raft.durations import Duration
from raft.machines.commands import GetElection
from raft.machines.results import Candidate, ElectionState, Led, Left

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
        self._lead = lead
        self._background = background
        self.add_listener(lambda state: self.lost.set() if state is SessionState.LOST else None)

    @property
    def remaining(self) -> float:
        """How many seconds work may continue if no further keep-alive succeeds; 0 once leadership is lost."""
        return self._lead.remaining

    def check(self) -> None:
        """Raise LeadershipLost unless this client is certain to lead at this moment."""
        self._lead.check()

    def extend(self) -> float:
        """See `AsyncLead.extend`."""
        return self._background.do(self._lead.extend())

    def proclaim(self, value: Text) -> None:
        """Change the announced value; FenceRejected if the seat is lost."""
        self._background.do(self._lead.proclaim(value))

    def add_listener(self, listener: Callable[[SessionState], None]) -> None:
        """Call it with each new state, in the thread that keeps the lease alive: it must not block."""
        self._lead.session.add_listener(listener)


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

    def locked(self) -> bool:
        """Are all seats taken, by any client?"""
        state = self.current()
        return 0 < state.seats <= len(state.holders)

    def contenders(self) -> tuple[Candidate, ...]:
        """The holders, then the waiting candidates (10,000 at most), in the order of arrival."""
        state = self.current()
        return (*state.holders, *state.waiting)

    def current(self) -> ElectionState:
        """The holders and the waiting candidates."""
        return self._client.ask(GetElection(self._candidacy.election))

    def observe(self) -> Iterator[Led | Left]:
        """The leader now, then every change, without end; after a gap in the events, the difference."""
        for event in self._client.changes(ElectionObserver(self._candidacy.election)):
            assert isinstance(event, Led | Left), event
            yield event

    def run(self, work: Callable[[Lead], Result]) -> Result:
        """Wait for a leadership, do the work, and step down; returns the work's result.

        The work is not cancelled when leadership is lost; LeadershipLost is then raised once it has returned.
        """
        with self as lead:
            result = work(lead)
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
                if not (isinstance(error, LeadershipLost) or error.retry_is_safe):
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
