"""Barriers: wait until a barrier opens; and double barriers, where participants enter and leave together.

Owns, for a barrier, the key of its name; for a double barrier NAME/members/*, which are deleted with their
sessions, and NAME/ready, which exists from when enough have entered until all have left.
"""

from __future__ import annotations

from raft.client.asyncio_keys import AsyncKeys
from raft.client.blocking import blocking
from raft.client.calls.store import range_of
from raft.client.calls.transactions import Key
from raft.client.keys import Keys
from raft.client.recipes.steps import (
    INTERRUPTS,
    Steps,
    TimeUp,
    change,
    in_time,
    run_steps,
    unique,
)
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session, UnsuspendedSession
from raft.durations import Duration
from raft.machines.commands import Count, Delete, Get, Put, Transaction
from raft.machines.results import Counted, TransactionDone, Value


def wait_gone(key: bytes) -> Steps[None]:
    """Wait until a key is deleted."""
    while True:
        found: Value = yield Get(key)
        if found.item is None:
            return
        yield change(key, found.revision)


class Paths:
    """The keys of a double barrier, for one participant."""

    def __init__(self, name: str, lease: int, count: int) -> None:
        self.all = f"{name}/".encode()
        self.members = range_of(f"{name}/members/", prefix=True)
        self.ready = f"{name}/ready".encode()
        self.me = f"{name}/members/{unique()}".encode()
        self.lease = lease
        self.count = count


def enter(at: Paths) -> Steps[bool]:
    """Enter, and wait until enough participants have; False, after leaving again, when the time is up.

    While the last participants of a round have not left, those of the next one wait outside.
    """
    is_in = False
    try:
        while not is_in:
            is_in = yield from _come_in(at)
        yield from _wait_ready(at)
    except INTERRUPTS as error:
        done: TransactionDone = yield Transaction(
            (Key(at.ready).version == 0,), (Delete(at.me),), (Get(at.ready),)
        )
        if not isinstance(error, TimeUp):
            raise
        return is_in and not done.succeeded  # If it became ready at that moment, all of them enter.
    return True


def _come_in(at: Paths) -> Steps[bool]:
    ready: Value = yield Get(at.ready)
    if ready.item is None:
        yield Put(at.me, b"", at.lease)
        return True
    yield from _clear(at, ready.item.revision)
    yield change(at.all, ready.revision)
    return False


def _wait_ready(at: Paths) -> Steps[None]:
    while True:
        ready: Value = yield Get(at.ready)
        if ready.item is not None:
            return
        come: Counted = yield Count(*at.members)
        if come.count >= at.count:
            yield Transaction((Key(at.ready).version == 0,), (Put(at.ready, b""),))
            return
        yield change(at.all, ready.revision)


def _clear(at: Paths, revision: int) -> Steps[bool]:
    """End a round if all have left it or lost their session; returns whether they have."""
    left: Counted = yield Count(*at.members)
    if not left.count:
        yield Transaction((Key(at.ready).revision == revision,), (Delete(at.ready),))
    return not left.count


def leave(at: Paths) -> Steps[None]:
    """Leave, and wait until all have left."""
    yield Delete(at.me)
    while True:
        ready: Value = yield Get(at.ready)
        if ready.item is None or (yield from _clear(at, ready.item.revision)):
            return
        yield change(at.all, ready.revision)


class AsyncBarrier:
    """While it is closed, `wait` blocks."""

    def __init__(self, keys: AsyncKeys, name: str) -> None:
        self._keys = keys
        self._key = name.encode()

    async def create(self) -> bool:
        """Close it; False if it was closed already."""
        return (await self._keys.cas(self._key, None, b"")).swapped

    async def remove(self) -> bool:
        """Open it and release all waiters; False if it was open already."""
        return await self._keys.delete(self._key)

    async def wait(self, *, timeout: Duration | None = None) -> bool:
        """Wait until it is open; False if it was still closed when the time was up."""
        return await run_steps(self._keys, in_time(wait_gone(self._key)), timeout)


class AsyncDoubleBarrier:
    """What `count` sessions do between `enter` and `leave`, they do at the same time.

    A session that ends inside has left.
    """

    def __init__(self, session: AsyncSession | UnsuspendedSession, name: str, count: int) -> None:
        self._session = session
        self._at = Paths(name, session.lease, count)

    async def enter(self, *, timeout: Duration | None = None) -> bool:
        """Wait until `count` have entered; False when the time is up: then this one has left again."""
        return await run_steps(self._session, enter(self._at), timeout)

    async def leave(self, *, timeout: Duration | None = None) -> bool:
        """Wait until all have left; False if some are still inside when the time is up."""
        return await run_steps(self._session, in_time(leave(self._at)), timeout)


class Barrier:
    """`AsyncBarrier` for blocking programs."""

    def __init__(self, keys: Keys, name: str) -> None:
        self.unsuspended = AsyncBarrier(keys.unsuspended, name)

    create = blocking(AsyncBarrier.create)
    remove = blocking(AsyncBarrier.remove)
    wait = blocking(AsyncBarrier.wait)


class DoubleBarrier:
    """`AsyncDoubleBarrier` for blocking programs."""

    def __init__(self, session: Session, name: str, count: int) -> None:
        self.unsuspended = AsyncDoubleBarrier(session.unsuspended, name, count)

    enter = blocking(AsyncDoubleBarrier.enter)
    leave = blocking(AsyncDoubleBarrier.leave)
