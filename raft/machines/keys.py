"""Keys in order: a set that can be walked from any point, and frozen at any moment.

Owns the order and nothing else: what hangs on a key is the caller's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)  # Anything that can be ordered and hashed.

CHUNK_KEYS = 512
REBUILD_RATIO = 16
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
