"""Where the elements of a msgpack list begin and end, without reading them.

Owns a walk over the bytes that needs no recursion, so that no depth of nesting can end it. Used when
a frame can't be decoded as a whole. Knows nothing of what the elements are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

# The first byte of a value -> the bytes of the value beside it, or of its length.
_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8} | {
    0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
_LENGTH: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9})
_LISTS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}


class _End(Exception):
    """The bytes end too early, are not msgpack, or hold more values than are looked at."""


class Walk:
    """One pass over bytes that should be a list, up to so many values; `whole` says whether it saw all."""

    def __init__(self, raw: bytes, values_max: int) -> None:
        self._raw = raw
        self._values_left = values_max
        self.whole = False

    def elements(self) -> Iterator[bytes]:
        """The bytes of each element, up to the first that isn't all there."""
        try:
            at, count = self._head(0)
            for _ in range(count):
                end = self._skip(at)
                yield self._raw[at:end]
                at = end
        except _End:
            return
        self.whole = at == len(self._raw)

    def first_elements(self, count: int) -> bytes:
        """The first few elements, as a list of their own; empty when there are fewer."""
        try:
            start, found = self._head(0)
            at = start
            for _ in range(min(count, found)):
                at = self._skip(at)
        except _End:
            return b""
        return bytes((0x90 + count,)) + self._raw[start:at] if found >= count else b""

    def _head(self, at: int) -> tuple[int, int]:
        """Where a list's first element is, and how many there are."""
        kind = self._byte(at)
        if 0x90 <= kind < 0xA0:
            return at + 1, kind & 0x0F
        if kind in _LISTS:
            return at + 1 + _LISTS[kind], self._number(at + 1, _LISTS[kind])
        raise _End

    def _skip(self, at: int) -> int:
        """Where the value at `at` ends."""
        open_values = 1
        while open_values:
            open_values -= 1
            self._values_left -= 1
            if self._values_left < 0:
                raise _End
            kind = self._byte(at)
            at += 1
            if kind < 0x80 or kind >= 0xE0:
                continue
            if kind < 0x90:
                open_values += 2 * (kind & 0x0F)
            elif kind < 0xA0:
                open_values += kind & 0x0F
            elif kind < 0xC0:
                at += kind & 0x1F
            elif kind in _FIXED:
                at += _FIXED[kind]
            elif kind in _LENGTH:
                at += self._number(at, _LENGTH[kind]) + _LENGTH[kind] + (kind in _EXTENSIONS)
            elif kind in _LISTS:
                open_values += self._number(at, _LISTS[kind])
                at += _LISTS[kind]
            elif kind in _MAPS:
                open_values += 2 * self._number(at, _MAPS[kind])
                at += _MAPS[kind]
            else:
                raise _End
        if at > len(self._raw):
            raise _End
        return at

    def _byte(self, at: int) -> int:
        if at >= len(self._raw):
            raise _End
        return self._raw[at]

    def _number(self, at: int, size: int) -> int:
        if at + size > len(self._raw):
            raise _End
        return int.from_bytes(self._raw[at : at + size], "big")
