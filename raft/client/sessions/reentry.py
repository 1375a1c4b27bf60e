"""Which entry of a context manager is left, if the same object was entered more than once.

Owns the entries that are open, by who entered: a thread or a task leaves what it entered last. Knows nothing
of what is entered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Entries(Generic[Entry]):
    """The open entries of one context manager; `who` names the thread or task that runs."""

    def __init__(self, who: Callable[[], Hashable]) -> None:
        self._who = who
        self._open: dict[Hashable, list[Entry]] = {}

    def add(self, entry: Entry) -> None:
        """The one that runs has entered."""
        self._open.setdefault(self._who(), []).append(entry)

    def take(self) -> Entry:
        """The last entry of the one that runs; or the only one there is, if another one leaves for it."""
        who = self._entered()
        entries = self._open[who]
        entry = entries.pop()
        if not entries:
            del self._open[who]
        return entry

    def last(self) -> Entry:
        """The entry that `take` would take."""
        return self._open[self._entered()][-1]

    def all(self) -> list[Entry]:
        """All that are open."""
        return [entry for entries in self._open.values() for entry in entries]

    def _entered(self) -> Hashable:
        """Whose entry is meant; RuntimeError if that cannot be told."""
        who = self._who()
        if who in self._open:
            return who
        (who, entries), *others = self._open.items() or [(None, [])]
        if others or len(entries) != 1:
            raise RuntimeError("left by a thread or task that has not entered; which entry is meant?")
        return who
