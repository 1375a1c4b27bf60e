"""A sorted table with snapshots that can be read while the table changes.

Owns the sharing between the table and its frozen views: before a value changes, views that may still read it
get the old one. Freezing costs the same however large the table is. Knows nothing of the values.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from raft.machines.keys import K, SortedKeys

V = TypeVar("V")


class _Missing:
    """The absence of a value, which None may be."""


_MISSING: Final = _Missing()


class _View(Generic[K, V]):
    """What was frozen: the keys of that moment, and the values that have changed since."""

    def __init__(self, live: dict[K, V], keys: Iterator[K]) -> None:
        self._live = live
        self._keys = keys
        self.before: dict[K, V] = {}

    def __iter__(self) -> Iterator[tuple[K, V]]:
        for key in self._keys:
            # In this order: the table notes the old value first and changes the new one then.
            value = self._live.get(key, _MISSING)
            old = self.before.get(key, _MISSING)
            if not isinstance(old, _Missing):
                value = old
            assert not isinstance(value, _Missing), f"{key!r} is gone, and nothing was noted of it"
            yield key, value


class Table(Generic[K, V]):
    """Values by key. `live` is for reading; it changes through the methods here, but see `views`.

    What is inside a value may be changed after `own` only, as frozen views have the value, too.
    """

    def __init__(self) -> None:
        self.live: dict[K, V] = {}
        self._keys: SortedKeys[K] = SortedKeys()
        self.views: list[weakref.ref[_View[K, V]]] = []
        """The unread views. While there are none, existing keys may be rebound directly in `live`."""

    def __len__(self) -> int:
        return len(self.live)

    def put(self, key: K, value: V) -> None:
        """Bind a key, or rebind it."""
        if key not in self.live:
            self._keys.add(key)
        elif self.views:
            self._note(key)
        self.live[key] = value

    def pop(self, key: K) -> V:
        """Unbind a key that is there."""
        if self.views:
            self._note(key)
        self._keys.remove(key)
        return self.live.pop(key)

    def own(self, key: K, copy: Callable[[V], V]) -> V:
        """The value of an existing key, which the caller may change: a copy, if a view may still read it."""
        if self.views:
            self._note(key)
            if self.views:
                self.live[key] = copy(self.live[key])
        return self.live[key]

    def between(self, start: K, end: K | None) -> Iterator[K]:
        """The keys from `start` on and before `end` (None: to the last); must not change while it is read."""
        return self._keys.between(start, end)

    def count(self, start: K, end: K | None) -> int:
        """How many keys there are from `start` on and before `end`."""
        return self._keys.count(start, end)

    def items(self) -> Iterator[tuple[K, V]]:
        """Everything in the order of the keys; must not change while it is read."""
        return ((key, self.live[key]) for key in self._keys)

    def frozen(self) -> Iterator[tuple[K, V]]:
        """The contents of this moment in the order of their keys, to be drawn later, from any thread."""
        view: _View[K, V] = _View(self.live, self._keys.frozen())
        self.views = [*self._living(), weakref.ref(view)]
        return iter(view)

    def fill(self, ordered: Iterable[tuple[K, V]]) -> None:
        """Have these and no others, given in the order of their keys."""
        self.live = dict(ordered)
        self._keys = SortedKeys.in_order(list(self.live))
        self.views = []

    def _note(self, key: K) -> None:
        self.views = self._living()
        for reference in self.views:
            view = reference()
            if view is not None and key not in view.before:
                view.before[key] = self.live[key]

    def _living(self) -> list[weakref.ref[_View[K, V]]]:
        return [reference for reference in self.views if reference() is not None]
