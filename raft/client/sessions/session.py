"""A session for blocking programs, on the asyncio session in a thread of its own.

Owns only the calls across threads.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raft.client.background_loop import Background, in_background
from raft.client.keys import Keys, Unsuspended
from raft.client.sessions.asyncio_session import AsyncSession, SessionState

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient


class Session(Keys):
    """A session to be entered: exactly-once commands, and a lease to attach keys to."""

    def __init__(
        self, connect: Callable[[], AsyncClient], begin: Callable[[AsyncClient], AsyncSession]
    ) -> None:
        self._connect = connect
        self._begin = begin
        self.background = Background(self._hold)
        self.in_loop: AsyncSession
        self._entering = threading.Lock()

    def __enter__(self) -> Self:
        if not self._entering.acquire(blocking=False):
            raise RuntimeError("this session is already entered; create another one by client.session()")
        try:
            self.background = Background(self._hold)
            self.in_loop = self.background.enter()
        except BaseException:
            self._entering.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.background.leave()
        finally:
            self._entering.release()

    @property
    def unsuspended(self) -> UnsuspendedSession:
        """The same calls as coroutines that block instead of suspending."""
        return UnsuspendedSession(self)

    @property
    def lease(self) -> int:
        """The number of the session and of its lease; keys put with it are deleted when the session ends."""
        return self.in_loop.lease

    @property
    def remaining_seconds(self) -> float:
        """How long work may continue without another keep-alive; 0 once the lease is lost."""
        return self.in_loop.remaining_seconds

    @property
    def state(self) -> SessionState:
        """The session's state."""
        return self.in_loop.state

    def add_listener(self, listener: Callable[[SessionState], None]) -> None:
        """Call it with each new state, in the thread that keeps the session alive: it must not block."""
        self.in_loop.add_listener(listener)

    call = in_background(AsyncSession.call)
    ask = in_background(AsyncSession.ask)
    await_events = in_background(AsyncSession.await_events)
    transact = in_background(AsyncSession.transact)
    own = in_background(AsyncSession.own)
    execute = in_background(AsyncSession.execute)

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
