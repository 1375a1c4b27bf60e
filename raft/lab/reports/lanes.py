"""The events of a run as spans of time, one lane for each node.

Owns the computation from events to spans; a pure function. Knows nothing of drawing.
A node is down, up, paused or leading. Events do not say more of a follower, and need not: a node that is up
and does not lead is a follower or a candidate.
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

# Faults that name all nodes but affect only the links between them.
LINKS = frozenset({"partition", "link", "isolate", "ring"})


class Span(Struct, kw_only=True):
    """A period in which something held; `term` is 0 if there is none."""

    kind: str  # up | leader | no-leader, or a kind of fault
    start: float
    end: float
    term: int = 0
    text: str = ""


class Election(Struct, kw_only=True):
    """An election that was won at `t`, and its reason."""

    t: float
    node: int
    term: int
    took_ms: float
    votes: int
    voters: int
    reason: str


class Fault(Struct, kw_only=True):
    """A fault: from when to when, and where."""

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


class Lane(Struct, kw_only=True):
    """One node's spans."""

    node: int
    up: list[Span] = []
    led: list[Span] = []
    exits: list[Crash] = []


class Picture(Struct, kw_only=True):
    """A run, ready to be drawn."""

    end: float
    lanes: list[Lane]
    elections: list[Election]
    faults: list[Fault]
    leaderless: list[Span]
    violations: list[Violation]


def is_set_up(event: FaultInjected) -> bool:
    """Is this not a fault yet, but a disk prepared for a power cut?"""
    return event.text.rpartition("  ")[2] == LOSES_UNSYNCED


def picture_of(events: Sequence[Event], end: float | None = None) -> Picture:
    """The picture up to `end`, or up to the last event. Nodes report independently, so order is by `t`."""
    ordered = sorted(events, key=lambda event: event.t)
    last = ordered[-1].t if ordered else 0.0
    story = _RunBuilder(max(end or 0.0, last))
    for event in ordered:
        story.tell(event)
    return story.picture()


class _RunBuilder:
    """The events so far."""

    def __init__(self, end: float) -> None:
        self._end = end
        self._lanes: dict[int, Lane] = {}
        self._faults: dict[int, Fault] = {}
        self._open_faults: dict[int, Fault] = {}
        self._elections: list[Election] = []
        self._violations: list[Violation] = []

    def tell(self, event: Event) -> None:
        """Add an event; others than these are not drawn."""
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
        """The result."""
        return Picture(
            end=self._end,
            lanes=[self._lanes[node] for node in sorted(self._lanes)],
            elections=self._elections,
            faults=list(self._faults.values()),
            leaderless=self._leaderless(),
            violations=self._violations,
        )

    def _lane(self, node: int) -> Lane:
        return self._lanes.setdefault(node, Lane(node=node))

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
        """Periods without a leader; a leader that was cut off and does not know it yet still counts."""
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
