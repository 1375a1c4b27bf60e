"""The recent past of this node, in memory: its events, and the lines of its log.

Owns the two rings, and the answer to `GetRecords`. To keep something costs an append; nothing is encoded
before it is asked for. Knows nothing of what is worth keeping, or of files.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import msgspec

from raft.core.raft import Raft
from raft.core.types import NodeId
from raft.protocol.records import GetRecords, NodeEvent, Records

EVENTS_KEPT: Final = 1_000
LINES_KEPT: Final = 1_000
LEADERS_KEPT: Final = 200
LASTING: Final = frozenset({"leader-elected", "leader-lost", "leader-seen", "leader-gone"})
"""Kept for longer than the rest: a node that is cut off asks for pre-votes for hours, and why the last
leader ended is what is then looked for."""
PAGE_MAX: Final = 500
TEXT_CHARACTERS_MAX: Final = 4_096  # Of a message that is kept, and of the end of a traceback.

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


class Ring(Generic[T]):
    """The last `kept` of what was added, numbered from 1."""

    def __init__(self, kept: int) -> None:
        self.newest = 0
        """The number of what was added last; 0 if nothing was."""
        self._items: deque[T] = deque(maxlen=kept)

    def add(self, item: T) -> None:
        """Keep this; the oldest is forgotten."""
        self._items.append(item)
        self.newest += 1

    def after(self, number: int, limit: int) -> tuple[int, list[T]]:
        """What follows that number, at most `limit`; and how many of what follows it are forgotten."""
        # A snapshot of the deque's length: another thread may add meanwhile.
        items = list(self._items)
        first = self.newest - len(items)
        skipped = max(number - first, 0)
        return max(first - number, 0), list(islice(items, skipped, skipped + limit))


Kept = tuple[float, str, int, str, str, Mapping[str, Any]]
"""An event: when, in which role and term, its kind, text and values."""


class EventRing(Ring[Kept]):
    """The last events; of leaderships also some older ones."""

    def __init__(self, kept: int = EVENTS_KEPT) -> None:
        super().__init__(kept)
        self._lasting: deque[tuple[int, Kept]] = deque(maxlen=LEADERS_KEPT)

    def add(self, item: Kept) -> None:
        """Keep this; the oldest is forgotten, unless it is of a leadership."""
        items = self._items
        if len(items) == items.maxlen and items[0][3] in LASTING:
            self._lasting.append((self.newest - len(items) + 1, items[0]))
        super().add(item)

    def numbered(self, number: int, limit: int) -> tuple[int, list[tuple[int, Kept]]]:
        """As `after`, each with its number; forgotten are those that are missing before the last of these."""
        older = [pair for pair in self._lasting if pair[0] > number]
        skipped, found = self.after(number, limit)
        told = [*older, *enumerate(found, number + skipped + 1)][:limit]
        return (told[-1][0] - number - len(told) if told else 0), told


LogLines = Ring[Mapping[str, Any]]
"""The fields of each line."""


def keep_line(lines: LogLines, line: Mapping[str, Any]) -> None:
    """Keep a line of the log; long texts are cut."""
    cut = {
        name: text[-TEXT_CHARACTERS_MAX:] if name == "traceback" else text[:TEXT_CHARACTERS_MAX]
        for name, text in line.items()
        if isinstance(text, str) and len(text) > TEXT_CHARACTERS_MAX
    }
    lines.add({**line, **cut} if cut else line)


def wall_seconds() -> float:
    """Unix time."""
    return datetime.datetime.now(datetime.UTC).timestamp()


class Recent:
    """Keeps this node's events beside the lines of its process's log, and tells both."""

    def __init__(
        self, raft: Raft, *, incarnation: int, lines: LogLines, wall: Callable[[], float] = wall_seconds
    ) -> None:
        self._raft = raft
        self._incarnation = incarnation
        self._wall = wall
        self._lines = lines
        self._events = EventRing()

    def note(self, kind: str, text: str, values: Mapping[str, Any]) -> None:
        """Keep an event; `kind` is one of `raft.protocol.records.EVENT_KINDS`."""
        raft = self._raft
        self._events.add((self._wall(), raft.role.value, raft.term, kind, text, values))

    def peer_up(self, peer: NodeId) -> None:
        """A member is connected, and is of this cluster."""
        self.note("peer-up", f"n{peer} is connected", {"peer": peer})

    def peer_down(self, peer: NodeId) -> None:
        """A member is no longer connected."""
        self.note("peer-down", f"n{peer} is no longer connected", {"peer": peer})

    def answer(self, request: GetRecords) -> Records:
        """A page of what is asked for."""
        newest = self._lines.newest if request.log else self._events.newest
        after = min(request.after if request.incarnation == self._incarnation else 0, newest)
        limit = min(request.limit, PAGE_MAX)
        events: list[tuple[int, Kept]] = []
        lines: list[Mapping[str, Any]] = []
        if request.log:
            forgotten, lines = self._lines.after(after, limit)
            upto = after + forgotten + len(lines) if lines else after
        else:
            forgotten, events = self._events.numbered(after, limit)
            upto = events[-1][0] if events else after
        return Records(
            node=self._raft.id,
            incarnation=self._incarnation,
            upto=upto,
            newest=newest,
            forgotten=forgotten,
            events=[_event(number, kept) for number, kept in events],
            lines=[_encode(line).decode() for line in lines],
            leader=self._raft.leader,
            term=self._raft.term,
        )


def _event(number: int, kept: Kept) -> NodeEvent:
    at_seconds, role, term, kind, text, values = kept
    return NodeEvent(number, at_seconds, role, term, kind, text[:TEXT_CHARACTERS_MAX], dict(values))
