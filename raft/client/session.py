"""A session of a blocking program: the same as in an event loop, which runs in a thread of its own meanwhile.

Owns nothing but the way there and back.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from raft.client.asyncio_session import AsyncSession
from raft.client.background import Background
from raft.client.store import Text
from raft.machines.answers import Answer, Item, Swapped, TransactionDone
from raft.machines.operations import Fence, Operation, Transaction
from raft.machines.typed import TypedCommand

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")


class Session:
    """A session to be entered: commands carried out exactly once, and a lease to hang things on."""

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
            raise RuntimeError("this session is entered already; make another one by client.session()")
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
    def lease(self) -> int:
        """The session's number, and that of its lease; keys that are put with it go when the session ends."""
        return self._session.lease

    @property
    def remaining_seconds(self) -> float:
        """For how long work may go on without another keep-alive; 0 once the lease is lost."""
        return self._session.remaining_seconds

    def call(self, operation: Operation) -> Answer:
        """See `AsyncSession.call`."""
        return self._background.do(self._session.call(operation))

    def put(self, key: Text, value: Text, *, lease: int = 0, fence: Fence | None = None) -> int:
        """See `AsyncSession.put`."""
        return self._background.do(self._session.put(key, value, lease=lease, fence=fence))

    def get(self, key: Text, *, stale: bool = False) -> Item | None:
        """See `AsyncSession.get`."""
        return self._background.do(self._session.get(key, stale=stale))

    def delete(self, key: Text, *, fence: Fence | None = None) -> bool:
        """See `AsyncSession.delete`."""
        return self._background.do(self._session.delete(key, fence=fence))

    def delete_range(self, start: Text, end: Text | None, *, fence: Fence | None = None) -> int:
        """See `AsyncSession.delete_range`."""
        return self._background.do(self._session.delete_range(start, end, fence=fence))

    def cas(
        self, key: Text, old: Text | None, new: Text | None, *, lease: int = 0, fence: Fence | None = None
    ) -> Swapped:
        """See `AsyncSession.cas`."""
        return self._background.do(self._session.cas(key, old, new, lease=lease, fence=fence))

    def transact(self, transaction: Transaction) -> TransactionDone:
        """See `AsyncSession.transact`."""
        return self._background.do(self._session.transact(transaction))

    def own(self, body: bytes) -> bytes:
        """See `AsyncSession.own`."""
        return self._background.do(self._session.own(body))

    def execute(self, command: TypedCommand[Result]) -> Result:
        """See `AsyncSession.execute`."""
        return self._background.do(self._session.execute(command))

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[AsyncSession]:
        async with self._connect() as client, self._begin(client) as session:
            yield session
