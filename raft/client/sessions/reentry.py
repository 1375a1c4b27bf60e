"""Which entry of a context manager is exited, if the same object was entered more than once.

Owns the open entries by thread or task: each exits what it entered last. Knows nothing of the context.
of what is entered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Entries(Generic[Entry]):
    """The open entries of one context manager; `who` identifies the current thread or task."""

    def __init__(self, who: Callable[[], Hashable]) -> None:
        self._who = who
        self._open: dict[Hashable, list[Entry]] = {}

    def add(self, entry: Entry) -> None:
        """The current thread or task has entered."""
        self._open.setdefault(self._who(), []).append(entry)

    def take(self) -> Entry:
        """The last entry of the current thread or task; or the only entry, if another one exits it."""
        who = self._entered()
        entries = self._open[who]
        entry = entries.pop()
        if not entries:
            del self._open[who]
        return entry

    def last(self) -> Entry:
        """The entry that `take` would return."""
        return self._open[self._entered()][-1]

    def all(self) -> list[Entry]:
        """All open entries."""
        return [entry for entries in self._open.values() for entry in entries]

    def _entered(self) -> Hashable:
        """Which thread's or task's entry is meant; RuntimeError if that is ambiguous."""
        who = self._who()
        if who in self._open:
            return who
        (who, entries), *others = self._open.items() or [(None, [])]
        if others or len(entries) != 1:
            raise RuntimeError("exited by a thread or task that has not entered; which entry is meant?")
        return who
