"""Who was what, when: the events of a run as spans of time, a lane for each node.

Owns the arithmetic from events to spans; a pure function. Knows nothing of drawing.

A node is down, up, paused or leading. What a node was while it merely followed, events do not tell, and
need not: whoever is up and does not lead follows, or is about to find out whom.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from raft.cluster.faults.storage import LOSES_UNSYNCED
from raft.cluster.records.events import (
    Event,
    FaultCleared,
    FaultInjected,
    LeaderElected,
    LeaderLost,
    NodeExited,
    NodeGaveUp,
    NodeStarted,
    Violation,
)

# What a fault is made of that names all nodes but hurts only the way between them.
LINKS = frozenset({"partition", "link", "isolate", "ring"})


class Span(Struct, kw_only=True):
    """Some time in which something held; `term` is 0 where there is none."""

    kind: str  # up | leader | no-leader, or a kind of fault
    start: float
    end: float
    term: int = 0
    text: str = ""


class Election(Struct, kw_only=True):
    """An election that was won at `t`, and why it was held."""

    t: float
    node: int
    term: int
    took_ms: float
    votes: int
    voters: int
    reason: str


class Fault(Struct, kw_only=True):
    """Something that was broken, from when to when, and where."""

    id: int
    kind: str
    start: float
    end: float
    nodes: list[int]
    text: str


class Crash(Struct, kw_only=True):
    """A process that ended."""

    t: float
    cause: str
    text: str


class OwnMachineWorker(Struct, kw_only=True):
    """One node's story."""

    node: int
    up: list[Span] = []
    led: list[Span] = []
    exits: list[Crash] = []


class Picture(Struct, kw_only=True):
    """A run, ready to be drawn."""

    end: float
    lanes: list[OwnMachineWorker]
    elections: list[Election]
    faults: list[Fault]
    leaderless: list[Span]
    violations: list[Violation]


def is_set_up(event: FaultInjected) -> bool:
    """Is this no fault yet, but a disk made ready for a power cut?"""
    return event.text.rpartition("  ")[2] == LOSES_UNSYNCED


def picture_of(events: Sequence[Event], end: float | None = None) -> Picture:
    """The picture up to `end`, or up to the last event. Nodes report on their own, so order is by `t`."""
    ordered = sorted(events, key=lambda event: event.t)
    last = ordered[-1].t if ordered else 0.0
    story = _Story(max(end or 0.0, last))
    for event in ordered:
        story.tell(event)
    return story.picture()


class _Story:
    """The events told so far."""

    def __init__(self, end: float) -> None:
        self._end = end
        self._lanes: dict[int, OwnMachineWorker] = {}
        self._faults: dict[int, Fault] = {}
        self._open_faults: dict[int, Fault] = {}
        self._elections: list[Election] = []
        self._violations: list[Violation] = []

    def tell(self, event: Event) -> None:
        """One more event; what is not told of here is no part of a picture."""
        match event:
            case NodeStarted():
                self._lane(event.node).up.append(Span(kind="up", start=event.t, end=self._end))
            case NodeExited():
                words = [event.cause]
                words += [event.signal] if isinstance(event.signal, str) else []
                words += [f"code {event.code}"] if isinstance(event.code, int) else []
                self._down(event.node, event.t, Crash(t=event.t, cause=event.cause, text=", ".join(words)))
            case NodeGaveUp():
                given_up = f"given up after {event.restarts} restarts"
                self._lane(event.node).exits.append(Crash(t=event.t, cause="gave-up", text=given_up))
            case LeaderElected():
                self._elected(event)
            case LeaderLost():
                for span in self._lane(event.node).led:
                    if span.term == event.term and span.end > event.t:
                        span.end, span.text = event.t, f"{span.text}, until {event.reason}"
            case FaultInjected() if not is_set_up(event):
                fault = Fault(
                    id=event.id,
                    kind=event.kind,
                    start=event.t,
                    end=self._end,
                    nodes=event.nodes,
                    text=event.text,
                )
                self._faults[event.id] = self._open_faults[event.id] = fault
            case FaultCleared():
                cleared = self._open_faults.pop(event.id, None)
                if cleared is not None:
                    cleared.end = event.t
            case Violation():
                self._violations.append(event)
            case _:
                pass

    def picture(self) -> Picture:
        """All of it."""
        return Picture(
            end=self._end,
            lanes=[self._lanes[node] for node in sorted(self._lanes)],
            elections=self._elections,
            faults=list(self._faults.values()),
            leaderless=self._leaderless(),
            violations=self._violations,
        )

    def _lane(self, node: int) -> OwnMachineWorker:
        return self._lanes.setdefault(node, OwnMachineWorker(node=node))

    def _down(self, node: int, t: float, crash: Crash) -> None:
        lane = self._lane(node)
        lane.exits.append(crash)
        for span in [*lane.up[-1:], *lane.led[-1:]]:
            span.end = min(span.end, t)

    def _elected(self, event: LeaderElected) -> None:
        self._elections.append(
            Election(
                t=event.t, node=event.node, term=event.term, took_ms=event.took_ms, votes=event.votes,
                voters=event.voters, reason=event.reason,
            )
        )  # fmt: skip
        text = f"leads term {event.term}, by {event.votes} of {event.voters} votes"
        self._lane(event.node).led.append(
            Span(kind="leader", start=event.t, end=self._end, term=event.term, text=text)
        )

    def _leaderless(self) -> list[Span]:
        """Where nobody led; a leader that had been cut off and did not know it yet still counts."""
        led = sorted((span.start, span.end) for lane in self._lanes.values() for span in lane.led)
        spans = []
        free_since = led[0][0] if led else self._end
        for start, end in led:
            if start > free_since:
                spans.append(Span(kind="no-leader", start=free_since, end=start))
            free_since = max(free_since, end)
        alive = any(span.end >= self._end for lane in self._lanes.values() for span in lane.up)
        if free_since < self._end and alive:
            spans.append(Span(kind="no-leader", start=free_since, end=self._end))
        return spans
