"""Iterators over changes of keys, which may be cancelled from elsewhere.

Owns the events that were fetched and not yet taken, and the value before a change. Knows nothing of how
events are fetched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from raft.client.blocking import run
from raft.client.calls.watches import KeysObserver
from raft.client.errors import EventsForgotten, Rejected
from raft.machines.results import Event, Item, Removed

KeyEvent: TypeAlias = Item | Removed


class Changed(Struct, frozen=True):
    """A change, and the value before it: None if there was none, or if it is forgotten."""

    event: KeyEvent
    previous: bytes | None


Seen = TypeVar("Seen")


class AsyncWatching(AsyncIterator[Seen], Generic[Seen]):
    """Changes, each once and in order."""

    def __init__(
        self,
        observer: KeysObserver,
        more: Callable[[], Awaitable[Sequence[Event]]],
        tell: Callable[[KeyEvent], Awaitable[Seen]],
        wake: Callable[[], None],
    ) -> None:
        self._observer = observer
        self._more = more
        self._tell = tell
        self._wake = wake
        self._events: deque[Event] = deque()

    def __aiter__(self) -> AsyncWatching[Seen]:
        return self

    async def __anext__(self) -> Seen:
        while not self._observer.cancelled:
            if self._events:
                return await self._tell(_of_key(self._events.popleft()))
            with suppress(Rejected):
                self._events.extend(await self._more())
        raise StopAsyncIteration

    def cancel(self) -> None:
        """End the iteration, in whichever task it waits. Idempotent."""
        self._observer.cancelled = True
        self._wake()

    async def aclose(self) -> None:
        """As `cancel`; for `contextlib.aclosing`."""
        self.cancel()


class Watching(Iterator[Seen], Generic[Seen]):
    """Changes, each once and in order; `next` blocks until there is one."""

    def __init__(self, unsuspended: AsyncWatching[Seen]) -> None:
        self._unsuspended = unsuspended

    def __iter__(self) -> Watching[Seen]:
        return self

    def __next__(self) -> Seen:
        try:
            return run(self._unsuspended.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def cancel(self) -> None:
        """End the iteration, in whichever thread it waits. Idempotent."""
        self._unsuspended.cancel()


async def previous_of(event: KeyEvent, get: Callable[[bytes, int], Awaitable[bytes | None]]) -> Changed:
    """The change with the value before it; `get` reads a key at a revision."""
    if not _had_previous(event):
        return Changed(event, None)
    try:
        return Changed(event, await get(event.key, event.revision - 1))
    except EventsForgotten:
        return Changed(event, None)


def _had_previous(event: KeyEvent) -> bool:
    """Did the key exist before, and is there an earlier revision to ask for?"""
    return event.revision > 1 and (isinstance(event, Removed) or event.version > 1)


def _of_key(event: Event) -> KeyEvent:
    assert isinstance(event, Item | Removed), event
    return event
