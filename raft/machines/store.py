"""The key-value store: items with revisions, fences, leases, ranges and transactions.

Owns what every key holds, and tells the history of each change. Knows nothing of sessions: whoever calls
sees to it that a command is carried out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from raft.machines.answers import (
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
from raft.machines.elections import Elections
from raft.machines.history import EVENT_BYTES, History
from raft.machines.keys import SortedKeys
from raft.machines.leases import Leases
from raft.machines.operations import (
    ANSWER_BYTES_MAX,
    Compare,
    CompareAndSwap,
    CompareNumber,
    CompareValue,
    Delete,
    DeleteRange,
    Fence,
    Field,
    Get,
    Put,
    Range,
    Relation,
    Transaction,
    TransactionPart,
)

Turned = FenceRejected | LeaseGone


class Store:
    """The items by key. Each command is carried out whole, at the revision it is given, or not at all."""

    def __init__(self, leases: Leases, elections: Elections, history: History) -> None:
        self._leases = leases
        self._elections = elections
        self._history = history
        self._items: dict[bytes, Item] = {}
        self._keys = SortedKeys()
        self._by_lease: dict[int, set[bytes]] = {}

    # -- commands -------------------------------------------------------------------------------

    def put(self, revision: int, request: Put) -> Stored | Turned:
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
        if request.key not in self._items:
            return Deleted(0)
        self._unbind(revision, request.key)
        return Deleted(1)

    def delete_range(self, revision: int, request: DeleteRange) -> Deleted | FenceRejected:
        """Unbind keys in their order."""
        turned = self._fenced(request.fence)
        if turned is not None:
            return turned
        keys = list(self._keys.between(request.start, request.end))
        for key in keys:
            self._unbind(revision, key)
        return Deleted(len(keys))

    def swap(self, revision: int, request: CompareAndSwap) -> Swapped | Turned:
        """Bind or unbind a key if it holds what is expected."""
        turned = self._turned(request)
        if turned is not None:
            return turned
        item = self._items.get(request.key)
        if (item.value if item is not None else None) != request.old:
            return Swapped(False, item)
        if request.new is not None:
            return Swapped(True, self._bind(revision, request.key, request.new, request.lease))
        if item is not None:
            self._unbind(revision, request.key)
        return Swapped(True, None)

    def transact(self, revision: int, request: Transaction) -> TransactionDone | Turned | Refused:
        """Do one branch or the other; all that might turn a part down is asked before the first is done."""
        succeeded = all(self._holds(compare) for compare in request.compares)
        parts = request.then if succeeded else request.otherwise
        turned: Turned | None = self._fenced(request.fence)
        for part in parts:
            if turned is None and not isinstance(part, Get):
                turned = self._turned(part)
        if turned is not None:
            return turned
        if self._bytes_read(parts) > ANSWER_BYTES_MAX:
            return Refused(f"a transaction reads at most {ANSWER_BYTES_MAX} bytes of values")
        answers = tuple(self._do(revision, part) for part in parts)
        return TransactionDone(succeeded, answers, self._history.revision)

    def drop(self, revision: int, leases: Iterable[int]) -> None:
        """Unbind all keys whose leases have ended, in their order."""
        keys: list[bytes] = []
        for lease in leases:
            keys.extend(self._by_lease.get(lease, ()))
        # A set's order is its own affair, and differs between replicas.
        for key in sorted(keys):
            self._unbind(revision, key)

    # -- questions ------------------------------------------------------------------------------

    def get(self, key: bytes) -> Value:
        """What a key holds."""
        return Value(self._items.get(key), self._history.revision)

    def range(self, request: Range) -> Items:
        """Items in the order of their keys, as many as are asked for and as an answer can hold."""
        found: list[Item] = []
        size, more = 0, False
        for key in self._keys.between(request.start, request.end):
            if len(found) >= request.limit or size >= ANSWER_BYTES_MAX:
                more = True
                break
            item = self._items[key]
            size += EVENT_BYTES + len(key) + len(item.value)
            found.append(item)
        return Items(tuple(found), more, self._history.revision)

    def keys_of(self, lease: int) -> tuple[bytes, ...]:
        """The keys that hang on a lease, in order."""
        return tuple(sorted(self._by_lease.get(lease, ())))

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> list[Item]:
        """All items in the order of their keys."""
        return [self._items[key] for key in self._keys]

    def frozen(self) -> Iterator[Item]:
        """The items of this moment in the order of their keys, to be drawn later; the call is quick."""
        items = self._items.copy()
        return (items[key] for key in self._keys.frozen())

    def restore(self, items: Sequence[Item]) -> None:
        """Become what `snapshot` gave."""
        self._items = {item.key: item for item in items}
        self._keys = SortedKeys.in_order([item.key for item in items])
        self._by_lease.clear()
        for item in items:
            if item.lease:
                self._by_lease.setdefault(item.lease, set()).add(item.key)

    # -------------------------------------------------------------------------------------------

    def _bind(self, revision: int, key: bytes, value: bytes, lease: int) -> Item:
        old = self._items.get(key)
        if old is None:
            item = Item(key, value, revision, revision, 1, lease)
            self._keys.add(key)
        else:
            item = Item(key, value, revision, old.created, old.version + 1, lease)
            if old.lease:
                self._detach(key, old.lease)
        if lease:
            self._by_lease.setdefault(lease, set()).add(key)
        self._items[key] = item
        self._history.add(item)
        return item

    def _unbind(self, revision: int, key: bytes) -> None:
        item = self._items.pop(key)
        self._keys.remove(key)
        if item.lease:
            self._detach(key, item.lease)
        self._history.add(Removed(key, revision))

    def _detach(self, key: bytes, lease: int) -> None:
        keys = self._by_lease[lease]
        keys.discard(key)
        if not keys:
            del self._by_lease[lease]

    def _do(self, revision: int, part: TransactionPart) -> PartDone:
        answer: PartDone | Turned
        if isinstance(part, Put):
            answer = self.put(revision, part)
        elif isinstance(part, Get):
            answer = self.get(part.key)
        elif isinstance(part, Delete):
            answer = self.delete(revision, part)
        else:
            answer = self.delete_range(revision, part)
        assert not isinstance(answer, FenceRejected | LeaseGone), "a part was turned down in mid-transaction"
        return answer

    def _bytes_read(self, parts: Iterable[TransactionPart]) -> int:
        """How long the values will be that are read, or a little more: what is deleted before counts too."""
        written: dict[bytes, int] = {}
        size = 0
        for part in parts:
            if isinstance(part, Put):
                written[part.key] = len(part.value)
            elif isinstance(part, Get):
                item = self._items.get(part.key)
                size += written.get(part.key, len(item.value) if item is not None else 0)
        return size

    def _turned(self, request: Put | CompareAndSwap | Delete | DeleteRange) -> Turned | None:
        if isinstance(request, Put | CompareAndSwap) and request.lease and request.lease not in self._leases:
            return LeaseGone(request.lease)
        return self._fenced(request.fence)

    def _fenced(self, fence: Fence | None) -> FenceRejected | None:
        return None if fence is None else self._elections.rejection(fence)

    def _holds(self, compare: Compare) -> bool:
        item = self._items.get(compare.key)
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
