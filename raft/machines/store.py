"""The key-value store: items with revisions, fences, leases, ranges and transactions.

Owns the value of every key, and records each change in the history. Knows nothing of sessions: the caller
sees to it that a command is carried out once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate, islice
from typing import TypeAlias, TypeVar

from raft.machines.commands import (
    ANSWER_BYTES_MAX,
    LEASE_KEYS_MAX,
    LIMIT_MAX,
    RANGE_KEYS_MAX,
    Compare,
    CompareAndSwap,
    CompareNumber,
    CompareValue,
    Count,
    Delete,
    DeleteRange,
    Fence,
    Field,
    Get,
    Operation,
    Put,
    Range,
    Relation,
    Transaction,
    TransactionPart,
)
from raft.machines.elections import Elections
from raft.machines.history import EVENT_BYTES, History
from raft.machines.keys import Table
from raft.machines.leases import Leases
from raft.machines.results import (
    Counted,
    Deleted,
    FenceRejected,
    Item,
    Items,
    LeaseGone,
    PartDone,
    Refused,
    Removed,
    Stored,
    Swapped,
    TransactionDone,
    Value,
)

Turned = FenceRejected | LeaseGone
Told = TypeVar("Told")
Steps: TypeAlias = Generator[None, None, Told]
"""A command that takes long, a few milliseconds at a time; it is carried out when it has returned."""

ITEM_BYTES = 500  # What an item takes in memory, more or less, besides its key and value.
STEP_KEYS = 500
RUN_KEYS = 4096  # Sorted in a millisecond or two.
TOO_MANY_KEYS = Refused(f"a command deletes at most {RANGE_KEYS_MAX} keys: delete a smaller range at a time")


class Store:
    """The items by key. Each command is carried out whole, at the revision it is given, or not at all."""

    def __init__(self, leases: Leases, elections: Elections, history: History) -> None:
        self._leases = leases
        self._elections = elections
        self._history = history
        self._table: Table[bytes, Item] = Table()
        self._by_lease: dict[int, set[bytes]] = {}
        self.size_bytes = 0
        """The total size of all items."""

    def __len__(self) -> int:
        return len(self._table)

    # -- commands -------------------------------------------------------------------------------

    def put(self, revision: int, request: Put) -> Stored | Turned | Refused:
        """Bind a key."""
        if request.lease or request.fence is not None:
            turned = self._turned(request)
            if turned is not None:
                return turned
        self._bind(revision, request.key, request.value, request.lease)
        return Stored(revision)

    def delete(self, revision: int, request: Delete) -> Deleted | FenceRejected:
        """Unbind a key."""
        turned = self._fenced(request.fence)
        if turned is not None:
            return turned
        if request.key not in self._table.live:
            return Deleted(0)
        self._unbind(revision, request.key)
        return Deleted(1)

    def delete_range(
        self, revision: int, request: DeleteRange
    ) -> Deleted | FenceRejected | Refused | Steps[Deleted]:
        """Unbind keys in their order."""
        turned = self._fenced(request.fence)
        if turned is not None:
            return turned
        if self._exceeds((request,)):
            return TOO_MANY_KEYS
        return at_once(self._delete_range(revision, request))

    def too_big(self, operation: Operation) -> bool:
        """Whether a command would unbind too many keys in the current state."""
        if isinstance(operation, Transaction):
            return self._exceeds(operation.then) or self._exceeds(operation.otherwise)
        return isinstance(operation, DeleteRange) and self._exceeds((operation,))

    def _exceeds(self, parts: Iterable[TransactionPart]) -> bool:
        ranges = [part for part in parts if isinstance(part, DeleteRange)]
        return sum(self._table.count(it.start, it.end) for it in ranges) > RANGE_KEYS_MAX

    def swap(self, revision: int, request: CompareAndSwap) -> Swapped | Turned | Refused:
        """Bind or unbind a key if it holds what is expected."""
        turned = self._turned(request)
        if turned is not None:
            return turned
        item = self._table.live.get(request.key)
        if (item.value if item is not None else None) != request.old:
            return Swapped(False, item)
        if request.new is not None:
            return Swapped(True, self._bind(revision, request.key, request.new, request.lease))
        if item is not None:
            self._unbind(revision, request.key)
        return Swapped(True, None)

    def transact(
        self, revision: int, request: Transaction
    ) -> TransactionDone | Turned | Refused | Steps[TransactionDone]:
        """Carry out one branch; everything that could refuse a part is checked before the first is done."""
        succeeded = all(self._holds(compare) for compare in request.compares)
        parts = request.then if succeeded else request.otherwise
        turned: Turned | Refused | None = self._fenced(request.fence)
        if self._exceeds(parts):
            return TOO_MANY_KEYS
        for part in parts:
            if turned is None and not isinstance(part, Get):
                turned = self._turned(part)
        if turned is not None:
            return turned
        if self._bytes_read(parts) > ANSWER_BYTES_MAX:
            return Refused(f"a transaction reads at most {ANSWER_BYTES_MAX} bytes of values")
        return at_once(self._transact(revision, parts, succeeded=succeeded))

    def drop(self, revision: int, leases: Iterable[int]) -> Steps[None]:
        """Unbind all keys whose leases have ended, in their order."""
        keys: list[bytes] = []
        for lease in leases:
            keys.extend(self._by_lease.get(lease, ()))
        # A set's order is its own affair, and differs between replicas.
        runs: list[list[bytes]] = []
        for begin in range(0, len(keys), RUN_KEYS):
            runs.append(sorted(keys[begin : begin + RUN_KEYS]))
            if begin:
                yield
        yield from self._unbind_all(revision, merge(*runs) if len(runs) > 1 else keys and runs[0])

    # -- questions ------------------------------------------------------------------------------

    def get(self, key: bytes) -> Value:
        """What a key holds."""
        return Value(self._table.live.get(key), self._history.revision)

    def range(self, request: Range) -> Items:
        """Items in the order of their keys, as many as are asked for and as an answer can hold."""
        found: list[Item] = []
        size, more = 0, False
        for key in self._table.between(request.start, request.end):
            if len(found) >= request.limit or size >= ANSWER_BYTES_MAX:
                more = True
                break
            item = self._table.live[key]
            if request.keys_only:
                item = Item(key, b"", item.revision, item.created, item.version, item.lease)
            size += EVENT_BYTES + len(key) + len(item.value)
            found.append(item)
        return Items(tuple(found), more, self._history.revision)

    def count(self, request: Count) -> Counted:
        """How many keys there are in a range."""
        return Counted(self._table.count(request.start, request.end), self._history.revision)

    def keys_of(self, lease: int, after: bytes) -> tuple[tuple[bytes, ...], bool]:
        """The keys on a lease after that one, in order: as many as an answer holds, and if there are more."""
        keys = sorted(self._by_lease.get(lease, ()))
        begin = bisect_right(keys, after) if after else 0  # The empty key is one, too.
        sizes = accumulate(len(key) for key in islice(keys, begin, begin + LIMIT_MAX))
        end = begin + sum(size <= ANSWER_BYTES_MAX for size in sizes)
        return tuple(keys[begin:end]), end < len(keys)

    def some_of(self, lease: int, limit: int) -> tuple[bytes, ...]:
        """At most `limit` of the keys on a lease, in no particular order."""
        return tuple(islice(self._by_lease.get(lease, ()), limit))

    def count_of(self, lease: int) -> int:
        """How many keys hang on a lease."""
        return len(self._by_lease.get(lease, ()))

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> list[Item]:
        """All items in the order of their keys."""
        return [item for _, item in self._table.items()]

    def frozen(self) -> Iterator[Item]:
        """The items of this moment in the order of their keys, to be drawn later; the call is quick."""
        return self._table.frozen_values()

    def restore(self, items: Sequence[Item]) -> None:
        """Restore the state of an earlier `snapshot`."""
        self._table.fill((item.key, item) for item in items)
        self._by_lease.clear()
        self.size_bytes = 0
        for item in items:
            self.size_bytes += ITEM_BYTES + len(item.key) + len(item.value)
            if item.lease:
                self._by_lease.setdefault(item.lease, set()).add(item.key)

    # -------------------------------------------------------------------------------------------

    def _bind(self, revision: int, key: bytes, value: bytes, lease: int) -> Item:
        old = self._table.live.get(key)
        key_bytes, value_bytes = len(key), len(value)
        if old is None:
            item = Item(key, value, revision, revision, 1, lease)
            self.size_bytes += ITEM_BYTES + key_bytes + value_bytes
        else:
            item = Item(key, value, revision, old.created, old.version + 1, lease)
            self.size_bytes += value_bytes - len(old.value)
            if old.lease:
                self._detach(key, old.lease)
        if lease:
            self._by_lease.setdefault(lease, set()).add(key)
        if old is None or self._table.views:
            self._table.put(key, item)
        else:
            self._table.live[key] = item
        self._history.add(item, EVENT_BYTES + key_bytes + value_bytes)
        return item

    def _unbind(self, revision: int, key: bytes) -> None:
        item = self._table.pop(key)
        self.size_bytes -= ITEM_BYTES + len(key) + len(item.value)
        if item.lease:
            self._detach(key, item.lease)
        self._history.add(Removed(key, revision))

    def _unbind_all(self, revision: int, keys: Iterable[bytes]) -> Steps[int]:
        count = 0
        for count, key in enumerate(keys, 1):
            if count % STEP_KEYS == 0:
                yield
            self._unbind(revision, key)
        return count

    def _delete_range(self, revision: int, request: DeleteRange) -> Steps[Deleted]:
        keys = list(self._table.between(request.start, request.end))
        return Deleted((yield from self._unbind_all(revision, keys)))

    def _transact(
        self, revision: int, parts: Sequence[TransactionPart], *, succeeded: bool
    ) -> Steps[TransactionDone]:
        answers: tuple[PartDone, ...] = ()
        for part in parts:
            answers = (*answers, (yield from self._do(revision, part)))
        return TransactionDone(succeeded, answers, self._history.revision)

    def _detach(self, key: bytes, lease: int) -> None:
        keys = self._by_lease[lease]
        keys.discard(key)
        if not keys:
            del self._by_lease[lease]

    def _do(self, revision: int, part: TransactionPart) -> Steps[PartDone]:
        answer: PartDone | Turned | Refused
        if isinstance(part, Put):
            answer = self.put(revision, part)
        elif isinstance(part, Get):
            answer = self.get(part.key)
        elif isinstance(part, Delete):
            answer = self.delete(revision, part)
        else:
            answer = yield from self._delete_range(revision, part)
        assert not isinstance(answer, FenceRejected | LeaseGone | Refused), (
            "a part was turned down in mid-transaction"
        )
        return answer

    def _bytes_read(self, parts: Iterable[TransactionPart]) -> int:
        """How long the values will be that are read, or a little more: what is deleted before counts too."""
        written: dict[bytes, int] = {}
        size = 0
        for part in parts:
            if isinstance(part, Put):
                written[part.key] = len(part.value)
            elif isinstance(part, Get):
                item = self._table.live.get(part.key)
                size += written.get(part.key, len(item.value) if item is not None else 0)
        return size

    def _turned(self, request: Put | CompareAndSwap | Delete | DeleteRange) -> Turned | Refused | None:
        if isinstance(request, Put | CompareAndSwap) and request.lease:
            if request.lease not in self._leases:
                return LeaseGone(request.lease)
            hanging = self._by_lease.get(request.lease, ())
            if len(hanging) >= LEASE_KEYS_MAX and request.key not in hanging:
                return Refused(
                    f"at most {LEASE_KEYS_MAX} keys hang on a lease, as on {request.lease} already"
                )
        return self._fenced(request.fence)

    def _fenced(self, fence: Fence | None) -> FenceRejected | None:
        return None if fence is None else self._elections.rejection(fence)

    def _holds(self, compare: Compare) -> bool:
        item = self._table.live.get(compare.key)
        if isinstance(compare, CompareValue):
            return _values_compare(item.value if item is not None else None, compare.relation, compare.value)
        return _numbers_compare(_number(item, compare.field), compare)


def _values_compare(left: bytes | None, relation: Relation, right: bytes | None) -> bool:
    if relation is Relation.EQUAL:
        return left == right
    if relation is Relation.NOT_EQUAL:
        return left != right
    if left is None or right is None:
        return False
    return left < right if relation is Relation.LESS else left > right


def _numbers_compare(left: int, compare: CompareNumber) -> bool:
    relation, right = compare.relation, compare.number
    if relation is Relation.EQUAL:
        return left == right
    if relation is Relation.NOT_EQUAL:
        return left != right
    return left < right if relation is Relation.LESS else left > right


def _number(item: Item | None, field: Field) -> int:
    if item is None:
        return 0
    if field is Field.VERSION:
        return item.version
    if field is Field.CREATED:
        return item.created
    return item.revision if field is Field.REVISION else item.lease


def at_once(steps: Steps[Told]) -> Told | Steps[Told]:
    """What steps lead to if the first is the last, else the steps that are left."""
    try:
        next(steps)
    except StopIteration as end:
        result: Told = end.value
        return result
    return steps
