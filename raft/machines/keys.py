"""Keys in order: a set of byte strings that can be walked from any point.

Owns the order and nothing else: what hangs on a key is the caller's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice

CHUNK_KEYS = 512
REBUILD_RATIO = 16
RUN_KEYS = 4096  # Sorted in about a millisecond.


class SortedKeys:
    """A sorted set in chunks of at most twice `CHUNK_KEYS`, so that adding a key moves a few of them only.

    Keys are put in their places when somebody looks: who only adds, at a bulk load say, never waits.
    """

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._fresh: set[bytes] = set()  # Not in their places yet.
        self._fill(sorted(set(keys)))

    @classmethod
    def in_order(cls, keys: Sequence[bytes]) -> SortedKeys:
        """The set of keys that are sorted already, and each there once."""
        made = cls()
        made._fill(keys)
        return made

    def frozen(self) -> Iterator[bytes]:
        """The keys of this moment, in order. The call is quick; they may be drawn later, a few at a time."""
        placed, fresh = [chunk.copy() for chunk in self._chunks], list(self._fresh)

        def in_order() -> Iterator[bytes]:
            runs = [sorted(fresh[begin : begin + RUN_KEYS]) for begin in range(0, len(fresh), RUN_KEYS)]
            yield from merge(chain.from_iterable(placed), *runs)

        return in_order()

    def __len__(self) -> int:
        return sum(map(len, self._chunks)) + len(self._fresh)

    def __iter__(self) -> Iterator[bytes]:
        self._settle()
        return chain.from_iterable(self._chunks)

    def add(self, key: bytes) -> None:
        """Add a key; it must not be there yet."""
        self._fresh.add(key)

    def remove(self, key: bytes) -> None:
        """Take a key out; it must be there."""
        if key in self._fresh:
            self._fresh.remove(key)
            return
        at = bisect_left(self._lasts, key)
        chunk = self._chunks[at]
        place = bisect_left(chunk, key)
        assert chunk[place] == key, f"{key!r} is not among the keys"
        del chunk[place]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at], self._lasts[at]

    def between(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """The keys from `start` on and before `end` (None: to the last); not to be changed meanwhile."""
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

    def _settle(self) -> None:
        fresh = sorted(self._fresh)
        self._fresh.clear()
        if len(fresh) * REBUILD_RATIO > len(self._chunks) * CHUNK_KEYS:
            # Two runs in order are merged faster than so many keys are placed one by one.
            self._fill(sorted(chain(chain.from_iterable(self._chunks), fresh)))
            return
        for key in fresh:
            self._place(key)

    def _fill(self, ordered: Sequence[bytes]) -> None:
        self._chunks: list[list[bytes]] = []
        self._lasts: list[bytes] = []  # The last key of each chunk; no chunk is empty.
        for begin in range(0, len(ordered), CHUNK_KEYS):
            chunk = list(ordered[begin : begin + CHUNK_KEYS])
            self._chunks.append(chunk)
            self._lasts.append(chunk[-1])

    def _place(self, key: bytes) -> None:
        at = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, key)
        self._lasts[at] = chunk[-1]
        if len(chunk) > 2 * CHUNK_KEYS:
            self._chunks[at : at + 1] = [chunk[:CHUNK_KEYS], chunk[CHUNK_KEYS:]]
            self._lasts[at : at + 1] = [chunk[CHUNK_KEYS - 1], chunk[-1]]


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after all that begin with `prefix`; None if there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
