"""The watchers of a node and their positions in the history: soft state beside the application.

Owns the positions. Knows nothing of how events are sent; a watcher that loses its node continues at another
one, from its last revision.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import msgspec

from raft.machines.commands import Watch
from raft.machines.history import History
from raft.machines.results import Compacted, Events

Watcher = TypeVar("Watcher", bound=Hashable)


class Watchers(Generic[Watcher]):
    """The watchers of one node, by any hashable key."""

    def __init__(self) -> None:
        self._watches: dict[Watcher, Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watcher: Watcher, watch: Watch) -> None:
        """Add a watcher from `watch.revision` on, replacing its earlier watch."""
        self._watches[watcher] = watch

    def remove(self, watcher: Watcher) -> None:
        """Remove a watcher."""
        self._watches.pop(watcher, None)

    def next_of(self, watcher: Watcher) -> int:
        """The next revision that the watcher has not received."""
        return self._watches[watcher].revision

    def news(self, history: History) -> Iterator[tuple[Watcher, Events | Compacted]]:
        """One answer for each watcher with new events, which count as sent.

        Call again while `behind`: an answer has a limit. After `Compacted` the watcher is removed. To hold
        back what a slow watcher can't take, remove it and add it again at `next_of`.
        """
        for watcher, watch in list(self._watches.items()):
            if watch.revision > history.revision:
                continue
            answer = history.since(watch)
            if isinstance(answer, Compacted):
                del self._watches[watcher]
                yield watcher, answer
                continue
            self._watches[watcher] = msgspec.structs.replace(watch, revision=answer.next, skip=answer.skip)
            if answer.events:
                yield watcher, answer

    def behind(self, history: History) -> bool:
        """Whether some watcher has not received all events."""
        return any(watch.revision <= history.revision for watch in self._watches.values())
