"""A session for blocking programs, on the asyncio session in a thread of its own.

Owns only the calls across threads.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from raft.client.background_loop import Background
from raft.client.keys import Keys, Unsuspended
from raft.client.sessions.asyncio_session import AsyncSession, SessionState
from raft.durations import Duration
from raft.machines.commands import Answered, Transaction, Watch
from raft.machines.results import Events, TransactionDone
from raft.machines.typed import TypedCommand

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")
A = TypeVar("A")


class Session(Keys):
    """A session to be entered: exactly-once commands, and a lease to attach keys to."""

    def __init__(
        self, connect: Callable[[], AsyncClient], begin: Callable[[AsyncClient], AsyncSession]
    ) -> None:
        self._connect = connect
        self._begin = begin
        self._background = Background(self._hold)
        self._session: AsyncSession
        self._entering = threading.Lock()

    def __enter__(self) -> Self:
        if not self._entering.acquire(blocking=False):
            raise RuntimeError("this session is already entered; create another one by client.session()")
        try:
            self._background = Background(self._hold)
            self._session = self._background.enter()
        except BaseException:
            self._entering.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._background.leave()
        finally:
            self._entering.release()

    @property
    def unsuspended(self) -> UnsuspendedSession:
        """The same calls as coroutines that block instead of suspending."""
        return UnsuspendedSession(self)

    @property
    def lease(self) -> int:
        """The number of the session and of its lease; keys put with it are deleted when the session ends."""
        return self._session.lease

    @property
    def remaining_seconds(self) -> float:
        """How long work may continue without another keep-alive; 0 once the lease is lost."""
        return self._session.remaining_seconds

    @property
    def state(self) -> SessionState:
        """The session's state."""
        return self._session.state

    def add_listener(self, listener: Callable[[SessionState], None]) -> None:
        """Call it with each new state, in the thread that keeps the session alive: it must not block."""
        self._session.add_listener(listener)

    def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """See `AsyncSession.call`."""
        return self._background.do(self._session.call(operation, timeout_seconds=timeout_seconds))

    def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """See `AsyncSession.ask`."""
        asking = self._session.ask(question, stale=stale, timeout_seconds=timeout_seconds)
        return self._background.do(asking)

    def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """See `AsyncSession.await_events`."""
        return self._background.do(self._session.await_events(watch, timeout_seconds=timeout_seconds))

    def transact(self, transaction: Transaction) -> TransactionDone:
        """See `AsyncSession.transact`."""
        return self.call(transaction)

    def own(self, body: bytes, *, since_version: int = 1, timeout_seconds: Duration | None = None) -> bytes:
        """See `AsyncSession.own`."""
        return self._background.do(
            self._session.own(body, since_version=since_version, timeout_seconds=timeout_seconds)
        )

    def execute(self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None) -> Result:
        """See `AsyncSession.execute`."""
        return self._background.do(self._session.execute(command, timeout_seconds=timeout_seconds))

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[AsyncSession]:
        async with self._connect() as client, self._begin(client) as session:
            yield session


class UnsuspendedSession(Unsuspended):
    """What recipes use of an AsyncSession, as coroutines that never suspend: they block in `session`."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session

    @property
    def lease(self) -> int:
        """The number of the session and of its lease."""
        return self._session.lease
