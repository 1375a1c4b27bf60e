"""A queue whose items are done exactly when those who took them say so.

Owns the keys NAME/items/*, in the order in which they are taken, and NAME/taken/*: one for each item that has
been taken, which goes with its taker's session, and then the item is there for others again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from raft.client.calls.store import Text, page, to_bytes
from raft.client.calls.transactions import Key
from raft.client.errors import ClientError
from raft.client.recipes.steps import Steps, TimeUp, carry_out, carry_out_async, change, unique
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session
from raft.durations import Duration
from raft.machines.commands import Get, Put, Transaction, TransactionPart
from raft.machines.results import Item, Items, TransactionDone, Value

PRIORITY_MAX = 999
PAGE_ITEMS = 100  # Looked through at a time for one that is free.


class ItemLost(ClientError):
    """The item is this taker's no longer: its session had ended, and another one may have taken it."""


class Places:
    """The keys of a queue."""

    def __init__(self, name: str) -> None:
        self.items = f"{name}/items/".encode()
        self.taken = f"{name}/taken/".encode()
        self.all = f"{name}/".encode()

    def mark(self, item: bytes) -> bytes:
        """The key that says that an item is taken."""
        return self.taken + item.removeprefix(self.items)


def put(at: Places, value: bytes, priority: int) -> Steps[bytes]:
    """Add an item, behind all that were there before this began and are as urgent; its key."""
    if not 0 <= priority <= PRIORITY_MAX:
        raise ValueError(f"a priority is from 0, the most urgent, to {PRIORITY_MAX}, not {priority}")
    now: Value = yield Get(at.all)
    key = at.items + f"{priority:03d}-{now.revision:019d}-{unique()}".encode()
    yield Put(key, value)
    return key


def take(at: Places, lease: int) -> Steps[tuple[Item, int] | None]:
    """Take the first item that is free, and the revision at which it was taken; None if none came in time."""
    try:
        while True:
            free = yield from _free(at)
            if isinstance(free, int):
                yield change(at.all, free)
                continue
            mark = at.mark(free)
            done: TransactionDone = yield Transaction(
                (Key(mark).version == 0, Key(free).version > 0), (Put(mark, b"", lease), Get(free))
            )
            if done.succeeded:
                found = done.answers[1]
                assert isinstance(found, Value) and found.item is not None, found
                return found.item, done.revision
    except TimeUp:
        return None


def _free(at: Places) -> Steps[bytes | int]:
    """The key of the first item that is not taken; if there is none, the revision of which that is so."""
    taken: set[bytes] = set()
    revision = 0
    after: bytes | None = None
    while True:
        marks: Items = yield page(at.taken, after, keys_only=True)
        taken.update(item.key for item in marks.items)
        revision = revision or marks.revision
        if not marks.more:
            break
        after = marks.items[-1].key
    after = None
    while True:
        items: Items = yield page(at.items, after, PAGE_ITEMS, keys_only=True)
        for item in items.items:
            if at.mark(item.key) not in taken:
                return item.key
        if not items.more:
            return revision
        after = items.items[-1].key


def finish(
    at: Places, item: Item, revision: int, *, put_back: bool, results: Sequence[TransactionPart] = ()
) -> Steps[None]:
    """Remove an item that was taken at that revision, with what came of it, or let others take it."""
    mark = Key(at.mark(item.key))
    then = (mark.delete(),) if put_back else (mark.delete(), Key(item.key).delete(), *results)
    done: TransactionDone = yield Transaction((mark.revision == revision,), then)
    if not done.succeeded:
        raise ItemLost(f"{item.key.decode()} was taken at revision {revision}, and is not held any more")


class QueueItem:
    """An item that was taken; at the end of a block it is done, or put back if the block has failed.

    `token` grows each time that the item is taken: a fencing token, for whatever the work writes to.
    """

    def __init__(self, session: Session, at: Places, item: Item, revision: int) -> None:
        self.value = item.value
        self.token = revision
        self._session = session
        self._at = at
        self._item = item

    def done(self, *results: TransactionPart) -> None:
        """Remove it for good, and, as one revision with that, do these to the store. Raises ItemLost.

        So a result that is `Key(...).put(...)` is written exactly once, however often the item was taken.
        """
        steps = finish(self._at, self._item, self.token, put_back=False, results=results)
        carry_out(self._session, steps)

    def put_back(self) -> None:
        """Let others take it, in its old place. Raises ItemLost."""
        carry_out(self._session, finish(self._at, self._item, self.token, put_back=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.done()
            return
        with suppress(ClientError):  # Else it is free when the session ends.
            self.put_back()


class Queue:
    """Items by urgency, then first come, first served. What is taken returns if its taker's session ends."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._at = Places(name)

    def put(self, value: Text, *, priority: int = 100) -> None:
        """Add an item; 0 is the most urgent, 999 the least."""
        carry_out(self._session, put(self._at, to_bytes(value), priority))

    def take(self, *, timeout: Duration | None = None) -> QueueItem | None:
        """Wait for an item, and take it; None if there was none in time, at once with 0."""
        found = carry_out(self._session, take(self._at, self._session.lease), timeout)
        return None if found is None else QueueItem(self._session, self._at, *found)

    def count(self) -> int:
        """How many items there are, those that are taken included."""
        return self._session.count(self._at.items)


class AsyncQueueItem:
    """`QueueItem` in an event loop."""

    def __init__(self, session: AsyncSession, at: Places, item: Item, revision: int) -> None:
        self.value = item.value
        self.token = revision
        self._session = session
        self._at = at
        self._item = item

    async def done(self, *results: TransactionPart) -> None:
        """Remove it for good, and, as one revision with that, do these to the store. Raises ItemLost.

        So a result that is `Key(...).put(...)` is written exactly once, however often the item was taken.
        """
        steps = finish(self._at, self._item, self.token, put_back=False, results=results)
        await carry_out_async(self._session, steps)

    async def put_back(self) -> None:
        """Let others take it, in its old place. Raises ItemLost."""
        await carry_out_async(self._session, finish(self._at, self._item, self.token, put_back=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.done()
            return
        with suppress(ClientError):  # Else it is free when the session ends.
            await self.put_back()


class AsyncQueue:
    """`Queue` in an event loop."""

    def __init__(self, session: AsyncSession, name: str) -> None:
        self._session = session
        self._at = Places(name)

    async def put(self, value: Text, *, priority: int = 100) -> None:
        """Add an item; 0 is the most urgent, 999 the least."""
        await carry_out_async(self._session, put(self._at, to_bytes(value), priority))

    async def take(self, *, timeout: Duration | None = None) -> AsyncQueueItem | None:
        """Wait for an item, and take it; None if there was none in time, at once with 0."""
        found = await carry_out_async(self._session, take(self._at, self._session.lease), timeout)
        return None if found is None else AsyncQueueItem(self._session, self._at, *found)

    async def count(self) -> int:
        """How many items there are, those that are taken included."""
        return await self._session.count(self._at.items)
