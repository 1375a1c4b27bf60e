"""The key-value calls for asyncio, of a client or, exactly once, of a session.

Owns these calls, built on three methods: `call` for any command, `ask` for any question, `await_events` for
events. Knows nothing of how those three are carried out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from operator import index
from typing import Literal, SupportsIndex, TypeVar, overload

from raft.client.calls import store
from raft.client.calls.store import Questions, Replaced, Swapped, Text, maybe_bytes, range_of, to_bytes
from raft.client.calls.transactions import transaction_of
from raft.durations import Duration
from raft.machines.commands import (
    Answered,
    Compare,
    CompareAndSwap,
    Count,
    Delete,
    DeleteRange,
    Fence,
    Get,
    Put,
    Range,
    TransactionPart,
    Watch,
)
from raft.machines.results import Events, Item, Items, TransactionDone

A = TypeVar("A")


class AsyncKeys(ABC):
    """The calls of the key-value store. Each takes a time-out of its own; the default is the client's.

    Keys and values are bytes, or str as UTF-8. With `fence`, a command is carried out only while its token
    holds a seat; otherwise FenceRejected is raised.
    """

    @abstractmethod
    async def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Commit any operation."""

    @abstractmethod
    async def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Answer any question, linearizably; with `stale`, from one node's own state."""

    @abstractmethod
    async def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait up to `timeout_seconds` for events from `watch.revision` on; the result may hold none.

        Raises EventsForgotten.
        """

    # -- reading --------------------------------------------------------------------------------

    async def get(
        self, key: Text, *, revision: int = 0, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> bytes | None:
        """The value of a key, None if it does not exist; with `revision`, its value then: see `get_item`."""
        if not revision:  # The common case, in fewer steps.
            get = Get(to_bytes(key))
            item = (await self.ask(get, stale=stale, timeout_seconds=timeout_seconds)).item
        else:
            item = await self.get_item(key, revision=revision, stale=stale, timeout_seconds=timeout_seconds)
        return None if item is None else item.value

    async def get_item(
        self, key: Text, *, revision: int = 0, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> Item | None:
        """The value of a key with its revisions, version and lease; None if it does not exist.

        With `revision`, as of that revision. Raises EventsForgotten if that is no longer known.
        """
        if not revision:  # The common case.
            get = Get(to_bytes(key))
            return (await self.ask(get, stale=stale, timeout_seconds=timeout_seconds)).item
        questions = store.item_at(key, revision)
        return await self._answer(questions, stale=stale, timeout_seconds=timeout_seconds)

    async def range(
        self,
        start: Text = b"",
        end: Text | None = None,
        *,
        limit: int = store.PAGE_KEYS,
        keys_only: bool = False,
        stale: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> Items:
        """One page of the items with `start` <= key < `end`; `more` says whether there are further ones."""
        question = Range(to_bytes(start), maybe_bytes(end), limit, keys_only)
        return await self.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    async def get_prefix(
        self,
        prefix: Text,
        *,
        after: Text | None = None,
        limit: int = store.PAGE_KEYS,
        keys_only: bool = False,
        stale: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> Items:
        """One page of the items with a prefix.

        For the next page, pass the last key of this one as `after`.
        """
        question = store.page(prefix, after, limit, keys_only=keys_only)
        return await self.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    async def items(
        self, prefix: Text = b"", *, keys_only: bool = False, stale: bool = False
    ) -> AsyncIterator[Item]:
        """All items with a prefix, in key order. Many items are read in several pages."""
        after: bytes | None = None
        more = True
        while more:
            page = await self.get_prefix(prefix, after=after, keys_only=keys_only, stale=stale)
            for item in page.items:
                after = item.key
                yield item
            more = page.more

    async def count(
        self, prefix: Text = b"", *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> int:
        """The number of keys with a prefix."""
        question = Count(*range_of(prefix, prefix=True))
        return (await self.ask(question, stale=stale, timeout_seconds=timeout_seconds)).count

    async def _answer(
        self, questions: Questions, *, stale: bool, timeout_seconds: Duration | None
    ) -> Item | None:
        answer = None
        while True:
            try:
                question = questions.send(answer)
            except StopIteration as end:
                found: Item | None = end.value
                return found
            answer = await self.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    # -- writing --------------------------------------------------------------------------------

    @overload
    async def put(
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
    async def put(
        self,
        key: Text,
        value: Text,
        *,
        lease: SupportsIndex = 0,
        fence: Fence | None = None,
        prev_value: Literal[True],
        timeout_seconds: Duration | None = None,
    ) -> Replaced: ...

    async def put(
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
        if not prev_value:
            put = Put(to_bytes(key), to_bytes(value), index(lease) if lease else 0, fence)
            return (await self.call(put, timeout_seconds=timeout_seconds)).revision
        replacing = store.replacing(key, value, index(lease), fence)
        done = await self.call(replacing, timeout_seconds=timeout_seconds)
        return Replaced(done.revision, store.before(done))

    @overload
    async def delete(
        self,
        key: Text,
        *,
        fence: Fence | None = None,
        prev_value: Literal[False] = False,
        timeout_seconds: Duration | None = None,
    ) -> bool: ...

    @overload
    async def delete(
        self,
        key: Text,
        *,
        fence: Fence | None = None,
        prev_value: Literal[True],
        timeout_seconds: Duration | None = None,
    ) -> Item | None: ...

    async def delete(
        self,
        key: Text,
        *,
        fence: Fence | None = None,
        prev_value: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> bool | Item | None:
        """Delete a key. Returns whether it existed; with `prev_value`, its item, None if there was none."""
        if not prev_value:
            delete = Delete(to_bytes(key), fence)
            return bool((await self.call(delete, timeout_seconds=timeout_seconds)).count)
        removing = store.removing(key, fence)
        return store.before(await self.call(removing, timeout_seconds=timeout_seconds))

    async def delete_range(
        self,
        start: Text,
        end: Text | None,
        *,
        fence: Fence | None = None,
        timeout_seconds: Duration | None = None,
    ) -> int:
        """Delete the keys with `start` <= key < `end`, at most 100,000. Returns their number."""
        deletion = DeleteRange(to_bytes(start), maybe_bytes(end), fence)
        return (await self.call(deletion, timeout_seconds=timeout_seconds)).count

    async def delete_prefix(
        self, prefix: Text, *, fence: Fence | None = None, timeout_seconds: Duration | None = None
    ) -> int:
        """Delete the keys with a prefix, at most 100,000. Returns their number."""
        deletion = DeleteRange(*range_of(prefix, prefix=True), fence)
        return (await self.call(deletion, timeout_seconds=timeout_seconds)).count

    async def cas(
        self,
        key: Text,
        old: Text | None,
        new: Text | None,
        *,
        lease: SupportsIndex = 0,
        fence: Fence | None = None,
        timeout_seconds: Duration | None = None,
    ) -> Swapped:
        """Set a key to `new` if its value is `old`. None stands for a key that does not exist."""
        swap = CompareAndSwap(to_bytes(key), maybe_bytes(old), maybe_bytes(new), index(lease), fence)
        done = await self.call(swap, timeout_seconds=timeout_seconds)
        return Swapped(done.swapped, None if done.item is None else done.item.value)

    async def transaction(
        self,
        *,
        compare: Sequence[Compare] = (),
        then: Sequence[TransactionPart] = (),
        otherwise: Sequence[TransactionPart] = (),
        fence: Fence | None = None,
        timeout_seconds: Duration | None = None,
    ) -> TransactionDone:
        """Do all of `then` if all of `compare` hold, otherwise all of `otherwise`, in one revision.

        See `Key`.
        """
        transaction = transaction_of(compare, then, otherwise, fence)
        return await self.call(transaction, timeout_seconds=timeout_seconds)
