"""One wait over many descriptors, some of which speak only once.

Owns the epoll behind a transport. A socket of a messaging library has a descriptor that tells of news,
and forgets it as soon as anything is done with the socket, sending included; so a socket that was
touched is a suspect, and looked at before the next wait. Asking only those that have news, and the
suspects, saves two system calls for each of the others in every turn.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

Source = TypeVar("Source")


class Watch(Generic[Source]):
    """Sources, which are returned when they have news, and plain descriptors, whose callback is called."""

    def __init__(self, has_input: Callable[[Source], bool]) -> None:
        self._has_input = has_input
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._sources: dict[int, Source] = {}
        self._suspects: dict[Source, None] = {}

    def fileno(self) -> int:
        """One descriptor for all, for a foreign loop: readable while any of them is."""
        return self._epoll.fileno()

    def add(self, source: Source, fd: int) -> None:
        """Watch a source by its descriptor."""
        self._sources[fd] = source
        self._epoll.register(fd, select.EPOLLIN)
        self.suspect(source)

    def remove(self, source: Source, fd: int) -> None:
        """Forget a source, before its descriptor is closed."""
        del self._sources[fd]
        self._suspects.pop(source, None)
        self._epoll.unregister(fd)

    def suspect(self, source: Source) -> None:
        """The source was touched, or not read to its end: it may have input that is not signalled again."""
        self._suspects[source] = None

    def has_news(self) -> bool:
        """Has any suspect input? If none has, the descriptors will tell of what is still to come."""
        suspects = self._suspects
        while suspects:
            source = next(iter(suspects))
            if self._has_input(source):
                return True
            del suspects[source]
        return False

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` from `wait` whenever `fd` is readable."""
        known = fd in self._readers
        self._readers[fd] = callback
        if not known:
            self._epoll.register(fd, select.EPOLLIN)

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`; does nothing when it is not known."""
        if self._readers.pop(fd, None) is not None:
            with suppress(OSError, ValueError):  # Closed already, and thereby out of the epoll.
                self._epoll.unregister(fd)

    def wait(self, timeout_seconds: float | None) -> list[Source]:
        """Wait for news or the time; None waits without end. Calls the callbacks of readable descriptors."""
        found: dict[Source, None] = {}
        if self._suspects:
            for suspect in self._suspects:
                if self._has_input(suspect):
                    found[suspect] = None
            self._suspects.clear()
        for fd, _ in self._epoll.poll(0.0 if found else timeout_seconds):
            source = self._sources.get(fd)
            if source is not None:
                found[source] = None
            elif (callback := self._readers.get(fd)) is not None:
                callback()
        return list(found)

    def close(self) -> None:
        """Forget everything."""
        self._epoll.close()
