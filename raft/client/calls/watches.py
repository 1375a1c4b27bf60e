"""Following changes as steps, across gaps in the events: see calls.routing.

Owns what an observer has been given so far, and so the difference that it is owed when events that it has
not seen are forgotten: it then reads the current state, and reports keys that have gone as removed. Knows
nothing of sockets or event loops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence

import msgspec

from raft.client.calls import routing, sessions
from raft.client.calls.application import decode_or_raise, question_bytes
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Outcome, RetryBudget, Step
from raft.client.calls.store import items_in, query
from raft.client.errors import EventsForgotten
from raft.machines.commands import GetElection, Question, Range, Watch, WatchElection, WatchKeys
from raft.machines.results import ElectionState, Event, Item, Led, Left, Removed
from raft.protocol.client import QueryResult

Steps = Generator[Step, Outcome, Sequence[Event]]


class Observer(ABC):
    """Yields every change once and in order; after a gap, the difference to the current state.

    Changes that were undone within the gap are not reported.
    """

    def __init__(self, watch: Watch | None = None) -> None:
        """With a watch, begin there; otherwise with the current state."""
        self.watch_from = watch
        self.cancelled = False
        """Set to end the iteration; checked whenever a waiting iterator is woken."""

    def more(self, view: ClusterView, budget: RetryBudget) -> Steps:
        """The next changes; empty if there were none for a while."""
        if self.watch_from is None:
            return (yield from self._read(view, budget))
        try:
            told = yield from sessions.next_events(view, self.watch_from, budget, lambda: self.cancelled)
        except EventsForgotten:
            if not self._can_tell_difference(self.watch_from.revision):
                raise
            self.watch_from = None
            return ()
        self.watch_from = msgspec.structs.replace(self.watch_from, revision=told.next, skip=told.skip)
        return [event for event in told.events if self._is_new(event)]

    @abstractmethod
    def _read(self, view: ClusterView, budget: RetryBudget) -> Steps:
        """Read the state, or its next page; after the last page, set the watch and return the difference."""

    @abstractmethod
    def _is_new(self, event: Event) -> bool:
        """Note an event; False for one that was reported by reading the state."""

    def _can_tell_difference(self, revision: int) -> bool:  # noqa: ARG002
        """Is the state before `revision`, from which on events are kept, known?"""
        return True


class KeysObserver(Observer):
    """Observes a range of keys; remembers the existing keys, and the last reported revision of each."""

    def __init__(
        self, start: bytes, end: bytes | None, *, revision: int = 0, tell_present: bool = False
    ) -> None:
        """From `revision` on, or with 0 from now on; with `tell_present`, the current items come first."""
        super().__init__()
        self._start = start
        self._end = end
        self._revision = revision
        self._silent = not tell_present
        self._known: dict[bytes, int] = {}
        self._pages: list[Item] = []
        self._pages_revision = 0  # Of the first page: later changes arrive as events.
        self._read_to = 0  # Later events are in no page that was read.
        self._silent_to = 0  # Of the state up to here, nothing was reported.
        self._by_reading: dict[bytes, int] = {}  # Reported by reading the state up to there.

    def _read(self, view: ClusterView, budget: RetryBudget) -> Steps:
        start = self._pages[-1].key + b"\0" if self._pages else self._start
        answer = yield from _ask(view, Range(start, self._end), budget)
        page = items_in(answer.result)
        if not self._pages:
            self._pages_revision = page.revision
        self._pages += page.items
        if page.more:
            return ()
        items, self._pages = self._pages, []
        difference = self._difference(items)
        self.watch_from = WatchKeys(self._revision or self._pages_revision + 1, self._start, self._end)
        silent, self._silent, self._revision = self._silent, False, 0
        self._read_to = page.revision
        self._silent_to = page.revision if silent else 0
        self._by_reading = {} if silent else dict(self._known)
        return () if silent else difference

    def _difference(self, items: Sequence[Item]) -> list[Event]:
        known, self._known = self._known, {item.key: item.revision for item in items}
        gone = [Removed(key, self._pages_revision) for key in sorted(known.keys() - self._known.keys())]
        changed = [item for item in items if item.revision > known.get(item.key, 0)]
        return [*gone, *sorted(changed, key=lambda item: item.revision)]

    def _is_new(self, event: Event) -> bool:
        assert isinstance(event, Item | Removed), event
        if event.revision > self._read_to:
            self._by_reading.clear()
        elif event.revision <= self._by_reading.get(event.key, 0):
            return False
        known = self._known.get(event.key, 0)
        if isinstance(event, Item):
            self._known[event.key] = max(known, event.revision)
            return True
        if known <= event.revision:
            self._known.pop(event.key, None)
        return known > 0 or event.revision <= self._silent_to

    def _can_tell_difference(self, revision: int) -> bool:
        return revision > self._silent_to


class ElectionObserver(Observer):
    """Observes an election: its leader now, then every change; remembers who holds its seats."""

    def __init__(self, election: str) -> None:
        super().__init__()
        self._election = election
        self._known: dict[int, bytes] = {}

    def _read(self, view: ClusterView, budget: RetryBudget) -> Steps:
        answer = yield from _ask(view, GetElection(self._election), budget)
        state = decode_or_raise(answer.result)
        assert isinstance(state, ElectionState), state
        known, self._known = self._known, {holder.token: holder.value for holder in state.holders}
        self.watch_from = WatchElection(state.revision + 1, self._election)
        gone = [
            Left(self._election, token, state.revision) for token in sorted(known.keys() - self._known.keys())
        ]
        return [
            *gone,
            *(
                Led(self._election, holder.token, holder.value, state.revision)
                for holder in state.holders
                if known.get(holder.token) != holder.value
            ),
        ]

    def _is_new(self, event: Event) -> bool:
        if isinstance(event, Led):
            self._known[event.token] = event.value
        elif isinstance(event, Left):
            self._known.pop(event.token, None)
        return True


def _ask(view: ClusterView, question: Question, budget: RetryBudget) -> Generator[Step, Outcome, QueryResult]:
    return routing.query(view, query(question_bytes(question), stale=False), budget)
