"""Barriers: all wait until one opens, or until so many have come and, afterwards, until all have gone.

Owns, for a barrier, the key of its name; for a double barrier NAME/members/*, which go with their sessions,
and NAME/ready, which is there from the moment in which enough had come until all have left.
"""

from __future__ import annotations

from raft.client.asyncio_keys import AsyncKeys
from raft.client.calls.store import range_of
from raft.client.calls.transactions import Key
from raft.client.keys import Keys
from raft.client.recipes.steps import (
    INTERRUPTS,
    Steps,
    TimeUp,
    carry_out,
    carry_out_async,
    change,
    in_time,
    unique,
)
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session
from raft.durations import Duration
from raft.machines.commands import Count, Delete, Get, Put, Transaction
from raft.machines.results import Counted, TransactionDone, Value


def wait_gone(key: bytes) -> Steps[None]:
    """Wait until a key is unbound."""
    while True:
        found: Value = yield Get(key)
        if found.item is None:
            return
        yield change(key, found.revision)


class Places:
    """The keys of a double barrier, as one of those sees them who meet there."""

    def __init__(self, name: str, lease: int, count: int) -> None:
        self.all = f"{name}/".encode()
        self.members = range_of(f"{name}/members/", prefix=True)
        self.ready = f"{name}/ready".encode()
        self.me = f"{name}/members/{unique()}".encode()
        self.lease = lease
        self.count = count


def enter(at: Places) -> Steps[bool]:
    """Come in, and wait until enough have; False, and out again, if that takes too long.

    While the last ones of a round have not left, those of the next one wait outside.
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
        return is_in and not done.succeeded  # If it was ready at that very moment, then all go through.
    return True


def _come_in(at: Places) -> Steps[bool]:
    ready: Value = yield Get(at.ready)
    if ready.item is None:
        yield Put(at.me, b"", at.lease)
        return True
    yield from _clear(at, ready.item.revision)
    yield change(at.all, ready.revision)
    return False


def _wait_ready(at: Places) -> Steps[None]:
    while True:
        ready: Value = yield Get(at.ready)
        if ready.item is not None:
            return
        come: Counted = yield Count(*at.members)
        if come.count >= at.count:
            yield Transaction((Key(at.ready).version == 0,), (Put(at.ready, b""),))
            return
        yield change(at.all, ready.revision)


def _clear(at: Places, revision: int) -> Steps[bool]:
    """End a round if all have left it, by whichever way; whether they have."""
    left: Counted = yield Count(*at.members)
    if not left.count:
        yield Transaction((Key(at.ready).revision == revision,), (Delete(at.ready),))
    return not left.count


def leave(at: Places) -> Steps[None]:
    """Go, and wait until all have gone."""
    yield Delete(at.me)
    while True:
        ready: Value = yield Get(at.ready)
        if ready.item is None or (yield from _clear(at, ready.item.revision)):
            return
        yield change(at.all, ready.revision)


class Barrier:
    """While it is closed all wait at it."""

    def __init__(self, keys: Keys, name: str) -> None:
        self._keys = keys
        self._key = name.encode()

    def create(self) -> bool:
        """Close it; False if it was closed already."""
        return self._keys.cas(self._key, None, b"").swapped

    def remove(self) -> bool:
        """Open it, and let all go on; False if it was open already."""
        return self._keys.delete(self._key)

    def wait(self, *, timeout: Duration | None = None) -> bool:
        """Wait until it is open; False if it was closed for all that time."""
        return carry_out(self._keys, in_time(wait_gone(self._key)), timeout)


class AsyncBarrier:
    """`Barrier` in an event loop."""

    def __init__(self, keys: AsyncKeys, name: str) -> None:
        self._keys = keys
        self._key = name.encode()

    async def create(self) -> bool:
        """Close it; False if it was closed already."""
        return (await self._keys.cas(self._key, None, b"")).swapped

    async def remove(self) -> bool:
        """Open it, and let all go on; False if it was open already."""
        return await self._keys.delete(self._key)

    async def wait(self, *, timeout: Duration | None = None) -> bool:
        """Wait until it is open; False if it was closed for all that time."""
        return await carry_out_async(self._keys, in_time(wait_gone(self._key)), timeout)


class DoubleBarrier:
    """All that `count` sessions do between `enter` and `leave` is done by all of them at the same time.

    One whose session ends within has left.
    """

    def __init__(self, session: Session, name: str, count: int) -> None:
        self._session = session
        self._at = Places(name, session.lease, count)

    def enter(self, *, timeout: Duration | None = None) -> bool:
        """Wait until `count` have come; False if they have not in that time: then this one is out again."""
        return carry_out(self._session, enter(self._at), timeout)

    def leave(self, *, timeout: Duration | None = None) -> bool:
        """Wait until all have left; False if some are there still."""
        return carry_out(self._session, in_time(leave(self._at)), timeout)


class AsyncDoubleBarrier:
    """`DoubleBarrier` in an event loop."""

    def __init__(self, session: AsyncSession, name: str, count: int) -> None:
        self._session = session
        self._at = Places(name, session.lease, count)

    async def enter(self, *, timeout: Duration | None = None) -> bool:
        """Wait until `count` have come; False if they have not in that time: then this one is out again."""
        return await carry_out_async(self._session, enter(self._at), timeout)

    async def leave(self, *, timeout: Duration | None = None) -> bool:
        """Wait until all have left; False if some are there still."""
        return await carry_out_async(self._session, in_time(leave(self._at)), timeout)
