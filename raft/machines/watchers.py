"""Who watches what, and how far each has been told: the node's soft state beside the application.

Owns the watchers' places in the history. Knows nothing of how news travel; a watcher that is lost begins
anew, anywhere, from the revision that it was told last.
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
    """The watchers of one node, by whatever names them there."""

    def __init__(self) -> None:
        self._watches: dict[Watcher, Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watcher: Watcher, watch: Watch) -> None:
        """Tell that watcher the events from `watch.revision` on; instead of what it watched before."""
        self._watches[watcher] = watch

    def remove(self, watcher: Watcher) -> None:
        """Tell that watcher nothing any more."""
        self._watches.pop(watcher, None)

    def next_of(self, watcher: Watcher) -> int:
        """The revision from which on the watcher has yet to be told."""
        return self._watches[watcher].revision

    def news(self, history: History) -> Iterator[tuple[Watcher, Events | Compacted]]:
        """One answer for each watcher that there is something for; it counts as told.

        Ask again while `behind`: an answer has a limit. After `Compacted` the watcher is gone. To hold
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
        """Is there anybody who has not been told everything up to now?"""
        return any(watch.revision <= history.revision for watch in self._watches.values())
