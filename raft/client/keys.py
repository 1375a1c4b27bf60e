"""What is done with keys in a blocking program: by a client, or exactly once by a session.

Owns the calls, written once for both, on top of three: `call` for any command, `ask` for any question, `news`
for events. Knows nothing of how those are carried out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
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


class Keys(ABC):
    """The key-value store's calls. Each takes a time-out of its own, else the client's.

    Keys and values are bytes, or text as UTF-8; `fence` has a command carried out only while its token holds
    a seat, else FenceRejected is raised.
    """

    @abstractmethod
    def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Have any operation committed."""

    @abstractmethod
    def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Have any question answered, linearizably; if it may be stale, by some node alone."""

    @abstractmethod
    def news(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait for events from `watch.revision` on, so long at most: then there are none in the answer.

        Raises EventsForgotten.
        """

    # -- reading --------------------------------------------------------------------------------

    def get(
        self, key: Text, *, revision: int = 0, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> bytes | None:
        """What a key holds, None if nothing; with `revision`, what it held then: see `get_item`."""
        item = self.get_item(key, revision=revision, stale=stale, timeout_seconds=timeout_seconds)
        return None if item is None else item.value

    def get_item(
        self, key: Text, *, revision: int = 0, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> Item | None:
        """What a key holds, with its revisions, its version and its lease; None if nothing.

        With `revision`, what it held then. Raises EventsForgotten if that is not known any more.
        """
        if not revision:  # Nearly always.
            get = Get(to_bytes(key))
            return (self.ask(get, stale=stale, timeout_seconds=timeout_seconds)).item
        questions = store.item_at(key, revision)
        return self._answer(questions, stale=stale, timeout_seconds=timeout_seconds)

    def range(
        self,
        start: Text = b"",
        end: Text | None = None,
        *,
        limit: int = store.PAGE_KEYS,
        keys_only: bool = False,
        stale: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> Items:
        """One page of the items from `start` on and before `end`; `more` says whether some are left."""
        question = Range(to_bytes(start), maybe_bytes(end), limit, keys_only)
        return self.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    def get_prefix(
        self,
        prefix: Text,
        *,
        after: Text | None = None,
        limit: int = store.PAGE_KEYS,
        keys_only: bool = False,
        stale: bool = False,
        timeout_seconds: Duration | None = None,
    ) -> Items:
        """One page of the items that begin so; the next page is that `after` the last key of this one."""
        question = store.page(prefix, after, limit, keys_only=keys_only)
        return self.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    def items(self, prefix: Text = b"", *, keys_only: bool = False, stale: bool = False) -> Iterator[Item]:
        """All keys that begin so, in order, with what they hold; of very many, not all of one moment."""
        after: bytes | None = None
        more = True
        while more:
            page = self.get_prefix(prefix, after=after, keys_only=keys_only, stale=stale)
            for item in page.items:
                after = item.key
                yield item
            more = page.more

    def count(
        self, prefix: Text = b"", *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> int:
        """How many keys begin so."""
        question = Count(*range_of(prefix, prefix=True))
        return (self.ask(question, stale=stale, timeout_seconds=timeout_seconds)).count

    def _answer(self, questions: Questions, *, stale: bool, timeout_seconds: Duration | None) -> Item | None:
        answer = None
        while True:
            try:
                question = questions.send(answer)
            except StopIteration as end:
                found: Item | None = end.value
                return found
            answer = self.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    # -- writing --------------------------------------------------------------------------------

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
        """Bind a key to a value, until `lease` ends unless it is 0; the revision.

        With `prev_value`, also what it held before.
        """
        if not prev_value:
            put = Put(to_bytes(key), to_bytes(value), index(lease) if lease else 0, fence)
            return (self.call(put, timeout_seconds=timeout_seconds)).revision
        replacing = store.replacing(key, value, index(lease), fence)
        done = self.call(replacing, timeout_seconds=timeout_seconds)
        return Replaced(done.revision, store.before(done))

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
        """Unbind a key; whether it was bound. With `prev_value`, what it held, None if nothing."""
        if not prev_value:
            delete = Delete(to_bytes(key), fence)
            return bool((self.call(delete, timeout_seconds=timeout_seconds)).count)
        removing = store.removing(key, fence)
        return store.before(self.call(removing, timeout_seconds=timeout_seconds))

    def delete_range(
        self,
        start: Text,
        end: Text | None,
        *,
        fence: Fence | None = None,
        timeout_seconds: Duration | None = None,
    ) -> int:
        """Unbind all keys from `start` on and before `end`, 100,000 at most; how many."""
        deletion = DeleteRange(to_bytes(start), maybe_bytes(end), fence)
        return (self.call(deletion, timeout_seconds=timeout_seconds)).count

    def delete_prefix(
        self, prefix: Text, *, fence: Fence | None = None, timeout_seconds: Duration | None = None
    ) -> int:
        """Unbind all keys that begin so, 100,000 at most; how many."""
        deletion = DeleteRange(*range_of(prefix, prefix=True), fence)
        return (self.call(deletion, timeout_seconds=timeout_seconds)).count

    def cas(
        self,
        key: Text,
        old: Text | None,
        new: Text | None,
        *,
        lease: SupportsIndex = 0,
        fence: Fence | None = None,
        timeout_seconds: Duration | None = None,
    ) -> Swapped:
        """Bind a key to `new` if it holds `old`, where None is an unbound key."""
        swap = CompareAndSwap(to_bytes(key), maybe_bytes(old), maybe_bytes(new), index(lease), fence)
        done = self.call(swap, timeout_seconds=timeout_seconds)
        return Swapped(done.swapped, None if done.item is None else done.item.value)

    def transaction(
        self,
        *,
        compare: Sequence[Compare] = (),
        then: Sequence[TransactionPart] = (),
        otherwise: Sequence[TransactionPart] = (),
        fence: Fence | None = None,
        timeout_seconds: Duration | None = None,
    ) -> TransactionDone:
        """Do all of `then` if all of `compare` hold, else all of `otherwise`, as one revision; see `Key`."""
        transaction = transaction_of(compare, then, otherwise, fence)
        return self.call(transaction, timeout_seconds=timeout_seconds)
