"""Read-write locks: many readers at once, or a single writer.

Owns the keys NAME/*, one for each holder and each waiter, which are deleted with their sessions. The order
of arrival counts: a reader waits for all earlier writers, a writer for all earlier waiters and holders.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)

from msgspec import Struct

from raft.client.blocking import run
from raft.client.calls.store import page
from raft.client.errors import ClientError, LeadershipLost, Taken
from raft.client.recipes.steps import INTERRUPTS, Steps, TimeUp, change, run_steps, unique
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session
from raft.durations import Duration
from raft.machines.commands import Delete, Put
from raft.machines.results import Item, Items, Stored


class Place(Struct, frozen=True):
    """The place of one waiter or holder in the queue."""

    prefix: bytes
    key: bytes
    lease: int

    @property
    def writes(self) -> bool:
        """Is it a writer's?"""
        return is_writer(self, self.key)


def place(name: str, lease: int, *, writes: bool) -> Place:
    """A new place."""
    prefix = f"{name}/".encode()
    return Place(prefix, prefix + f"{'w' if writes else 'r'}-{unique()}".encode(), lease)


def is_writer(at: Place, key: bytes) -> bool:
    """Is this the key of a writer?"""
    return key.removeprefix(at.prefix).startswith(b"w")


def take(at: Place) -> Steps[int]:
    """Queue, and wait for this place's turn; returns the fencing token. Raises Taken when the time is up."""
    try:
        stored: Stored = yield Put(at.key, b"", at.lease)
        token = stored.revision
        while True:
            waiting, revision = yield from _all(at)
            if all(item.key != at.key for item in waiting):
                raise LeadershipLost(f"the session {at.lease} has ended, and its place in the queue with it")
            ahead = [item for item in waiting if item.created < token]
            if not any(at.writes or is_writer(at, item.key) for item in ahead):
                return token
            yield change(at.prefix, revision)
    except INTERRUPTS as error:
        yield Delete(at.key)
        if isinstance(error, TimeUp):
            raise Taken(f"{at.prefix.decode()} was held by other clients until the time was up") from None
        raise


def _all(at: Place) -> Steps[tuple[list[Item], int]]:
    """All holders and waiters, and the revision at which the first page was read."""
    found: list[Item] = []
    revision, after = 0, None
    while True:
        items: Items = yield page(at.prefix, after, keys_only=True)
        found += items.items
        revision = revision or items.revision
        if not items.more:
            return found, revision
        after = items.items[-1].key


def give_back(at: Place) -> Steps[None]:
    """Release the lock, or leave the queue for it."""
    yield Delete(at.key)


class ReadWriteLock:
    """A lock of which this session may hold any number of shares: each block has its own place in the queue.

    A block gets its fencing token, which is greater than that of every earlier writer. The block continues
    when the session is lost: check the session's `state`, or work within `AsyncSession.during`.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def reading(self, *, timeout: Duration | None = None) -> AbstractContextManager[int]:
        """Hold it together with other readers. Raises Taken when the time is up."""
        return self._held(timeout, writes=False)

    def writing(self, *, timeout: Duration | None = None) -> AbstractContextManager[int]:
        """Hold it alone. Raises Taken when the time is up."""
        return self._held(timeout, writes=True)

    @contextmanager
    def _held(self, timeout: Duration | None, *, writes: bool) -> Iterator[int]:
        at = place(self._name, self._session.lease, writes=writes)
        token = run(run_steps(self._session.unsuspended, take(at), timeout))
        try:
            yield token
        finally:
            with suppress(ClientError):  # It ends with the session.
                run(run_steps(self._session.unsuspended, give_back(at)))


class AsyncReadWriteLock:
    """`ReadWriteLock` for asyncio."""

    def __init__(self, session: AsyncSession, name: str) -> None:
        self._session = session
        self._name = name

    def reading(self, *, timeout: Duration | None = None) -> AbstractAsyncContextManager[int]:
        """Hold it together with other readers. Raises Taken when the time is up."""
        return self._held(timeout, writes=False)

    def writing(self, *, timeout: Duration | None = None) -> AbstractAsyncContextManager[int]:
        """Hold it alone. Raises Taken when the time is up."""
        return self._held(timeout, writes=True)

    @asynccontextmanager
    async def _held(self, timeout: Duration | None, *, writes: bool) -> AsyncIterator[int]:
        at = place(self._name, self._session.lease, writes=writes)
        token = await run_steps(self._session, take(at), timeout)
        try:
            yield token
        finally:
            with suppress(ClientError):  # It ends with the session.
                await run_steps(self._session, give_back(at))
