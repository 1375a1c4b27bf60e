"""Keys in order: a set that can be walked from any point and frozen at any moment, and a table on top of it.

Owns the order, and the sharing between a table and its frozen views: before a value changes, views that may
still read it get the old one. Freezing costs the same however large the table is. Knows nothing of values.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Any)  # Anything that can be ordered and hashed.

CHUNK_KEYS = 512
REBUILD_RATIO = 16
RUN_KEYS = 512  # Read from a frozen view at once.
FRESH_KEYS_MAX = 1024  # Put in their places in a millisecond or two.


class SortedKeys(Generic[K]):
    """A sorted set in chunks of at most twice `CHUNK_KEYS`, so that adding a key moves a few of them only.

    Keys are put in their places a thousand at a time, or when they are looked at: a bulk load is cheap, and
    no step of it is long. A frozen chunk is copied when it is changed, so freezing costs next to nothing.
    """

    def __init__(self, keys: Iterable[K] = ()) -> None:
        self._fresh: set[K] = set()  # Not in their places yet.
        self._fill(sorted(set(keys)))

    @classmethod
    def in_order(cls, keys: Sequence[K]) -> SortedKeys[K]:
        """The set of keys that are sorted already, and each there once."""
        made: SortedKeys[K] = cls()
        made._fill(keys)
        return made

    def frozen(self) -> Iterator[K]:
        """The keys of this moment, in order, to be drawn later and on any thread; the call is quick."""
        self._settle()
        self._owned = [False] * len(self._chunks)
        return chain.from_iterable(self._chunks.copy())

    @property
    def chunk_sizes(self) -> list[int]:
        """How many keys each chunk holds."""
        return list(map(len, self._chunks))

    def __len__(self) -> int:
        return sum(map(len, self._chunks)) + len(self._fresh)

    def __iter__(self) -> Iterator[K]:
        self._settle()
        return chain.from_iterable(self._chunks)

    def add(self, key: K) -> None:
        """Add a key; it must not be there yet."""
        self._fresh.add(key)
        if len(self._fresh) >= FRESH_KEYS_MAX:
            self._settle()

    def remove(self, key: K) -> None:
        """Take a key out; it must be there."""
        if key in self._fresh:
            self._fresh.remove(key)
            return
        at = bisect_left(self._lasts, key)
        chunk = self._own_chunk(at)
        place = bisect_left(chunk, key)
        assert chunk[place] == key, f"{key!r} is not among the keys"
        del chunk[place]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at], self._lasts[at], self._owned[at]

    def between(self, start: K, end: K | None) -> Iterator[K]:
        """The keys from `start` on and before `end` (None: to the last); must not change while it is read."""
        self._settle()
        at = bisect_left(self._lasts, start)
        if at == len(self._chunks):
            return
        first = self._chunks[at]
        for chunk in chain([first[bisect_left(first, start) :]], islice(self._chunks, at + 1, None)):
            if end is not None and chunk and chunk[-1] >= end:
                yield from chunk[: bisect_left(chunk, end)]
                return
            yield from chunk

    def count(self, start: K, end: K | None) -> int:
        """How many keys there are from `start` on and before `end`; whole chunks are counted at once."""
        self._settle()
        return max(0, self._before(end) - self._before(start))

    def _before(self, key: K | None) -> int:
        at = len(self._chunks) if key is None else bisect_left(self._lasts, key)
        whole = sum(map(len, islice(self._chunks, at)))
        return whole if key is None or at == len(self._chunks) else whole + bisect_left(self._chunks[at], key)

    def _settle(self) -> None:
        if not self._fresh:
            return
        fresh = sorted(self._fresh)
        self._fresh.clear()
        if len(fresh) * REBUILD_RATIO > len(self._chunks) * CHUNK_KEYS:
            # Merging two sorted runs is faster than inserting many keys one by one.
            self._fill(sorted(chain(chain.from_iterable(self._chunks), fresh)))
            return
        for key in fresh:
            self._place(key)

    def _fill(self, ordered: Sequence[K]) -> None:
        self._chunks: list[list[K]] = []
        self._lasts: list[Any] = []  # The last key of each chunk; no chunk is empty.
        for begin in range(0, len(ordered), CHUNK_KEYS):
            chunk = list(ordered[begin : begin + CHUNK_KEYS])
            self._chunks.append(chunk)
            self._lasts.append(chunk[-1])
        self._owned = [True] * len(self._chunks)  # Those that nothing frozen shares.

    def _own_chunk(self, at: int) -> list[K]:
        """A chunk that may be changed."""
        if not self._owned[at]:
            self._chunks[at] = self._chunks[at].copy()
            self._owned[at] = True
        return self._chunks[at]

    def _place(self, key: K) -> None:
        at = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._own_chunk(at)
        insort(chunk, key)
        self._lasts[at] = chunk[-1]
        if len(chunk) > 2 * CHUNK_KEYS:
            self._chunks[at : at + 1] = [chunk[:CHUNK_KEYS], chunk[CHUNK_KEYS:]]
            self._lasts[at : at + 1] = [chunk[CHUNK_KEYS - 1], chunk[-1]]
            self._owned[at : at + 1] = [True, True]


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after all that begin with `prefix`; None if there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


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

    def runs(self) -> Iterator[tuple[list[K], list[V]]]:
        """Some keys at a time, and their values: reading each for itself takes twice as long."""
        while keys := list(islice(self._keys, RUN_KEYS)):
            # Of each key the value of now is read first: the table notes the old one and changes it then.
            now = map(self._live.get, keys, repeat(_MISSING))
            values: list[Any] = list(map(self.before.get, keys, now))
            assert _MISSING not in values, (
                f"{keys[values.index(_MISSING)]!r} is gone, and nothing was noted of it"
            )
            yield keys, values


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
        return chain.from_iterable(zip(keys, values, strict=True) for keys, values in self._freeze().runs())

    def frozen_values(self) -> Iterator[V]:
        """The values of this moment in the order of their keys, likewise."""
        return chain.from_iterable(values for _, values in self._freeze().runs())

    def fill(self, ordered: Iterable[tuple[K, V]]) -> None:
        """Have these and no others, given in the order of their keys."""
        self.live = dict(ordered)
        self._keys = SortedKeys.in_order(list(self.live))
        self.views = []

    def _freeze(self) -> _View[K, V]:
        view: _View[K, V] = _View(self.live, self._keys.frozen())
        self.views = [*self._living(), weakref.ref(view)]
        return view

    def _note(self, key: K) -> None:
        self.views = self._living()
        for reference in self.views:
            view = reference()
            if view is not None and key not in view.before:
                view.before[key] = self.live[key]

    def _living(self) -> list[weakref.ref[_View[K, V]]]:
        return [reference for reference in self.views if reference() is not None]
