"""The notation for transactions in programs: comparisons of keys, and what to do then.

Owns the notation. Knows nothing of how a transaction is carried out.

    alice = Key("accounts/alice")
    client.transaction(compare=[alice.value == "5"], then=[alice.put("4")], otherwise=[alice.get()])
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

from raft.client.calls.store import Text, maybe_bytes, range_of, to_bytes
from raft.machines.commands import (
    Compare,
    CompareNumber,
    CompareValue,
    Delete,
    DeleteRange,
    Fence,
    Field,
    Get,
    Put,
    Relation,
    Transaction,
    TransactionPart,
)


class Key:
    """A key in a transaction. While it does not exist, its numbers are 0 and its value is None."""

    def __init__(self, key: Text) -> None:
        self._key = to_bytes(key)

    @property
    def value(self) -> ComparedValue:
        """Its value, to be compared by ==, !=, < or >."""
        return ComparedValue(self._key)

    @property
    def version(self) -> ComparedNumber:
        """How many times it was written since it was created."""
        return ComparedNumber(self._key, Field.VERSION)

    @property
    def created(self) -> ComparedNumber:
        """The revision that created it."""
        return ComparedNumber(self._key, Field.CREATED)

    @property
    def revision(self) -> ComparedNumber:
        """The revision of its last write."""
        return ComparedNumber(self._key, Field.REVISION)

    @property
    def lease(self) -> ComparedNumber:
        """The lease that it is attached to, 0 if none."""
        return ComparedNumber(self._key, Field.LEASE)

    def put(self, value: Text, *, lease: SupportsIndex = 0) -> Put:
        """Set its value."""
        return Put(self._key, to_bytes(value), index(lease))

    def get(self) -> Get:
        """Read its value."""
        return Get(self._key)

    def delete(self, *, prefix: bool = False) -> Delete | DeleteRange:
        """Delete it; with `prefix`, all keys that begin with it."""
        return DeleteRange(*range_of(self._key, prefix=True)) if prefix else Delete(self._key)


class ComparedValue:
    """A key's value, in a comparison."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __eq__(self, value: Text | None) -> CompareValue:  # type: ignore[override]
        return CompareValue(self._key, Relation.EQUAL, maybe_bytes(value))

    def __ne__(self, value: Text | None) -> CompareValue:  # type: ignore[override]
        return CompareValue(self._key, Relation.NOT_EQUAL, maybe_bytes(value))

    def __lt__(self, value: Text) -> CompareValue:
        return CompareValue(self._key, Relation.LESS, to_bytes(value))

    def __gt__(self, value: Text) -> CompareValue:
        return CompareValue(self._key, Relation.GREATER, to_bytes(value))


class ComparedNumber:
    """One of a key's numbers, in a comparison."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: bytes, field: Field) -> None:
        self._key = key
        self._field = field

    def __eq__(self, number: int) -> CompareNumber:  # type: ignore[override]
        return CompareNumber(self._key, self._field, Relation.EQUAL, number)

    def __ne__(self, number: int) -> CompareNumber:  # type: ignore[override]
        return CompareNumber(self._key, self._field, Relation.NOT_EQUAL, number)

    def __lt__(self, number: int) -> CompareNumber:
        return CompareNumber(self._key, self._field, Relation.LESS, number)

    def __gt__(self, number: int) -> CompareNumber:
        return CompareNumber(self._key, self._field, Relation.GREATER, number)


def transaction_of(
    compare: Sequence[Compare],
    then: Sequence[TransactionPart],
    otherwise: Sequence[TransactionPart],
    fence: Fence | None,
) -> Transaction:
    """The command. Raises TypeError for an invalid part."""
    for what, parts, kinds in (
        ("compare", compare, Compare),
        ("then", then, TransactionPart),
        ("otherwise", otherwise, TransactionPart),
    ):
        for part in parts:
            if not isinstance(part, kinds):
                raise TypeError(
                    f'{what} is a list such as [Key("a").value == "1"] or [Key("a").put("2")], and '
                    f"{part!r:.80} cannot be part of one"
                )
    return Transaction(tuple(compare), tuple(then), tuple(otherwise), fence)
