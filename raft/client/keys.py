"""The key-value calls for blocking programs, of a client or, exactly once, of a session.

Owns their names and overloads. They are the blocking twins of AsyncKeys (see blocking), built on three
methods: `call` for any command, `ask` for any question, `await_events` for events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, SupportsIndex, TypeVar, overload

from raft.client.asyncio_keys import AsyncKeys
from raft.client.blocking import blocking, blocking_iterator, run
from raft.client.calls.store import Replaced, Text
from raft.durations import Duration
from raft.machines.commands import Answered, Fence, Watch
from raft.machines.results import Events, Item

A = TypeVar("A")


class Keys(ABC):
    """The calls of the key-value store. Each takes a time-out of its own; the default is the client's.

    Keys and values are bytes, or str as UTF-8. With `fence`, a command is carried out only while its token
    holds a seat; otherwise FenceRejected is raised.
    """

    @abstractmethod
    def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Commit any operation."""

    @abstractmethod
    def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Answer any question, linearizably; with `stale`, from one node's own state."""

    @abstractmethod
    def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait up to `timeout_seconds` for events from `watch.revision` on; the result may hold none.

        Raises EventsForgotten.
        """

    @property
    def unsuspended(self) -> AsyncKeys:
        """The same calls as coroutines that block instead of suspending."""
        return Unsuspended(self)

    get = blocking(AsyncKeys.get)
    get_item = blocking(AsyncKeys.get_item)
    range = blocking(AsyncKeys.range)
    get_prefix = blocking(AsyncKeys.get_prefix)
    items = blocking_iterator(AsyncKeys.items)
    count = blocking(AsyncKeys.count)
    delete_range = blocking(AsyncKeys.delete_range)
    delete_prefix = blocking(AsyncKeys.delete_prefix)
    cas = blocking(AsyncKeys.cas)
    transaction = blocking(AsyncKeys.transaction)

    @overload
    def put(
        self,
        key: Text,
        value: Text,
        *,
        lease: SupportsIndex = 0,
        fence: Fence | None = None,
        prev_value: Literal[False] = False,
        timeout_seconds: Duration | None = None,
    ) -> int: ...

    @overload
    def put(
        self,
        key: Text,
        value: Text,
        *,
        lease: SupportsIndex = 0,
        fence: Fence | None = None,
        prev_value: Literal[True],
        timeout_seconds: Duration | None = None,
    ) -> Replaced: ...

    def put(
        self,
        key: Text,
        value: Text,
        *,
        lease: SupportsIndex = 0,
        fence: Fence | None = None,
        prev_value: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> int | Replaced:
        """Set a key's value, until `lease` ends if one is given. Returns the revision.

        With `prev_value`, also the item that it replaced.
        """
        if prev_value:
            put = self.unsuspended.put(
                key, value, lease=lease, fence=fence, prev_value=True, timeout_seconds=timeout_seconds
            )
            return run(put)
        return run(
            self.unsuspended.put(key, value, lease=lease, fence=fence, timeout_seconds=timeout_seconds)
        )

    @overload
    def delete(
        self,
        key: Text,
        *,
        fence: Fence | None = None,
        prev_value: Literal[False] = False,
        timeout_seconds: Duration | None = None,
    ) -> bool: ...

    @overload
    def delete(
        self,
        key: Text,
        *,
        fence: Fence | None = None,
        prev_value: Literal[True],
        timeout_seconds: Duration | None = None,
    ) -> Item | None: ...

    def delete(
        self,
        key: Text,
        *,
        fence: Fence | None = None,
        prev_value: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> bool | Item | None:
        """Delete a key. Returns whether it existed; with `prev_value`, its item, None if there was none."""
        if prev_value:
            delete = self.unsuspended.delete(
                key, fence=fence, prev_value=True, timeout_seconds=timeout_seconds
            )
            return run(delete)
        return run(self.unsuspended.delete(key, fence=fence, timeout_seconds=timeout_seconds))


class Unsuspended(AsyncKeys):
    """AsyncKeys whose coroutines never suspend: they block in the calls of `keys`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Commit any operation."""
        return self._keys.call(operation, timeout_seconds=timeout_seconds)

    async def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Answer any question."""
        return self._keys.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    async def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait for events."""
        return self._keys.await_events(watch, timeout_seconds=timeout_seconds)
