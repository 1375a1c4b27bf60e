"""A queue whose items are removed only when their takers report them done.

Owns the keys NAME/items/*, in the order in which they are taken, and NAME/taken/*: one for each taken item,
deleted with its taker's session, which makes the item available again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from raft.client.blocking import blocking, run
from raft.client.calls.store import Text, page, to_bytes
from raft.client.calls.transactions import Key
from raft.client.errors import ClientError
from raft.client.recipes.steps import Steps, TimeUp, change, run_steps, unique
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session, UnsuspendedSession
from raft.durations import Duration
from raft.machines.commands import Get, Put, Transaction, TransactionPart
from raft.machines.results import Item, Items, TransactionDone, Value

PRIORITY_MAX = 999
PAGE_ITEMS = 100  # Searched at a time for an available one.


class ItemLost(ClientError):
    """The item no longer belongs to this taker: its session ended, and another taker may have the item."""


class Paths:
    """The keys of a queue."""

    def __init__(self, name: str) -> None:
        self.items = f"{name}/items/".encode()
        self.taken = f"{name}/taken/".encode()
        self.all = f"{name}/".encode()

    def mark(self, item: bytes) -> bytes:
        """The key that marks an item as taken."""
        return self.taken + item.removeprefix(self.items)


def put(at: Paths, value: bytes, priority: int) -> Steps[bytes]:
    """Add an item, behind all earlier ones of the same priority; returns its key."""
    if not 0 <= priority <= PRIORITY_MAX:
        raise ValueError(f"a priority is from 0, the most urgent, to {PRIORITY_MAX}, not {priority}")
    now: Value = yield Get(at.all)
    key = at.items + f"{priority:03d}-{now.revision:019d}-{unique()}".encode()
    yield Put(key, value)
    return key


def take(at: Paths, lease: int) -> Steps[tuple[Item, int] | None]:
    """Take the first available item; returns it with the revision of the taking, or None in time-out."""
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


def _free(at: Paths) -> Steps[bytes | int]:
    """The key of the first item that is not taken; if there is none, the revision at which that holds."""
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
    at: Paths, item: Item, revision: int, *, put_back: bool, results: Sequence[TransactionPart] = ()
) -> Steps[None]:
    """Remove an item taken at that revision and write its results, or make it available again."""
    mark = Key(at.mark(item.key))
    then = (mark.delete(),) if put_back else (mark.delete(), Key(item.key).delete(), *results)
    done: TransactionDone = yield Transaction((mark.revision == revision,), then)
    if not done.succeeded:
        raise ItemLost(f"{item.key.decode()} was taken at revision {revision}, and is no longer held")


class AsyncQueueItem:
    """A taken item. At the end of a `with` block it is done, or put back if the block has failed.

    `token` grows each time the item is taken: a fencing token for whatever the work writes to.
    """

    def __init__(
        self, session: AsyncSession | UnsuspendedSession, at: Paths, item: Item, revision: int
    ) -> None:
        self.value = item.value
        self.token = revision
        self._session = session
        self._at = at
        self._item = item

    async def done(self, *results: TransactionPart) -> None:
        """Remove it and apply `results` to the store, in one revision. Raises ItemLost.

        So a result such as `Key(...).put(...)` is written exactly once, however often the item was taken.
        """
        steps = finish(self._at, self._item, self.token, put_back=False, results=results)
        await run_steps(self._session, steps)

    async def put_back(self) -> None:
        """Make it available again, in its old position. Raises ItemLost."""
        await run_steps(self._session, finish(self._at, self._item, self.token, put_back=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.done()
            return
        with suppress(ClientError):  # It is available again when the session ends.
            await self.put_back()


class AsyncQueue:
    """Items by priority, then first in, first out. A taken item returns if its taker's session ends."""

    def __init__(self, session: AsyncSession | UnsuspendedSession, name: str) -> None:
        self._session = session
        self._at = Paths(name)

    async def put(self, value: Text, *, priority: int = 100) -> None:
        """Add an item; priority 0 is the most urgent, 999 the least."""
        await run_steps(self._session, put(self._at, to_bytes(value), priority))

    async def take(self, *, timeout: Duration | None = None) -> AsyncQueueItem | None:
        """Wait for an item and take it; None when the time is up. With 0, does not wait."""
        found = await run_steps(self._session, take(self._at, self._session.lease), timeout)
        return None if found is None else AsyncQueueItem(self._session, self._at, *found)

    async def count(self) -> int:
        """The number of items, including taken ones."""
        return await self._session.count(self._at.items)


class QueueItem:
    """`AsyncQueueItem` for blocking programs."""

    def __init__(self, item: AsyncQueueItem) -> None:
        self.value = item.value
        self.token = item.token
        self.unsuspended = item

    done = blocking(AsyncQueueItem.done)
    put_back = blocking(AsyncQueueItem.put_back)

    def __enter__(self) -> Self:
        return self

    __exit__ = blocking(AsyncQueueItem.__aexit__)


class Queue:
    """`AsyncQueue` for blocking programs."""

    def __init__(self, session: Session, name: str) -> None:
        self.unsuspended = AsyncQueue(session.unsuspended, name)

    put = blocking(AsyncQueue.put)
    count = blocking(AsyncQueue.count)

    def take(self, *, timeout: Duration | None = None) -> QueueItem | None:
        """Wait for an item and take it; None when the time is up. With 0, does not wait."""
        item = run(self.unsuspended.take(timeout=timeout))
        return None if item is None else QueueItem(item)
