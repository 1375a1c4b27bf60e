"""Keys in order: a set of byte strings that can be walked from any point.

Owns the order and nothing else: what hangs on a key is the caller's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain, islice

CHUNK_KEYS = 512


class SortedKeys:
    """A sorted set in chunks of at most twice `CHUNK_KEYS`, so that adding a key moves a few of them only."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._chunks: list[list[bytes]] = []
        self._lasts: list[bytes] = []  # The last key of each chunk; no chunk is empty.
        ordered = sorted(set(keys))
        for begin in range(0, len(ordered), CHUNK_KEYS):
            chunk = ordered[begin : begin + CHUNK_KEYS]
            self._chunks.append(chunk)
            self._lasts.append(chunk[-1])

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._chunks)

    def add(self, key: bytes) -> None:
        """Put a key in its place; it must not be there yet."""
        if not self._chunks:
            self._chunks.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, key)
        self._lasts[at] = chunk[-1]
        if len(chunk) > 2 * CHUNK_KEYS:
            self._chunks[at : at + 1] = [chunk[:CHUNK_KEYS], chunk[CHUNK_KEYS:]]
            self._lasts[at : at + 1] = [chunk[CHUNK_KEYS - 1], chunk[-1]]

    def remove(self, key: bytes) -> None:
        """Take a key out; it must be there."""
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
        at = bisect_left(self._lasts, start)
        if at == len(self._chunks):
            return
        first = self._chunks[at]
        for chunk in chain([first[bisect_left(first, start) :]], islice(self._chunks, at + 1, None)):
            if end is not None and chunk and chunk[-1] >= end:
                yield from chunk[: bisect_left(chunk, end)]
                return
            yield from chunk


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after all that begin with `prefix`; None if there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
