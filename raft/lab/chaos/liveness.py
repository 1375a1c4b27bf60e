"""How soon a write is acknowledged when the cluster is able to acknowledge one.

Owns the question of when it is able: while a majority of the voters runs undisturbed, and all of them hear
each other, according to the run's events. A voter that is paused, or has a disk or clock fault, does not
count; neither does a link that is cut or faulty, even in one direction. Knows nothing of why a write was
late.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from msgspec import Struct

from raft.cluster.records.events import (
    ClusterReady,
    Event,
    FaultCleared,
    FaultInjected,
    MembersChanged,
    NodeExited,
    NodeStarted,
)
from raft.lab.reports.lanes import is_set_up

LINKS = frozenset({"partition", "isolate", "link"})
ARROWS = re.compile(r"\||<->|->")
NODE = re.compile(r"\bn([0-9]+)\b")

Core = frozenset[int]
Pair = tuple[int, int]


class Recoveries(Struct, frozen=True, kw_only=True):
    """How long it took until a write was acknowledged.

    Measured from each moment at which one became possible, or at which something changed meanwhile.
    """

    count: int = 0
    p50_seconds: float = 0.0
    p99_seconds: float = 0.0
    max_seconds: float = 0.0
    max_at: float = 0.0  # When the longest of them began, on the run's clock.
    able_seconds: float = 0.0  # The total time in which writes could be acknowledged.


class Spell(Struct):
    """A period with a healthy majority, and the moments at which something changed in it."""

    start: float
    end: float
    moments: list[float]


def recoveries(events: Sequence[Event], writes: Sequence[float], begin: float, end: float) -> Recoveries:
    """Measure from `begin` to `end`, while clients wrote; `writes` are the times of acknowledgements."""
    moments = sorted(writes)
    waits: list[tuple[float, float]] = []
    unanswered: list[tuple[float, float]] = []  # Waits without a write: they are lower bounds.
    spells = [spell for spell in spells_of(events, end) if spell.end > begin]
    for spell in spells:
        stop = min(spell.end, end)
        for moment in sorted({max(moment, begin) for moment in spell.moments if moment < stop}):
            place = bisect_left(moments, moment)
            if place < len(moments) and moments[place] <= stop:
                waits.append((moments[place] - moment, moment))
            else:
                unanswered.append((stop - moment, moment))
    longest, at = max([*waits, *unanswered], default=(0.0, 0.0))
    took = sorted(wait for wait, _ in waits)
    return Recoveries(
        count=len(took),
        p50_seconds=round(took[int(0.5 * (len(took) - 1))], 6) if took else 0.0,
        p99_seconds=round(took[int(0.99 * (len(took) - 1))], 6) if took else 0.0,
        max_seconds=round(longest, 6),
        max_at=round(at, 6),
        able_seconds=round(sum(min(s.end, end) - max(s.start, begin) for s in spells), 3),
    )


def spells_of(events: Iterable[Event], end: float) -> list[Spell]:
    """All periods with a healthy majority."""
    in_order = sorted(events, key=lambda event: event.t)
    state = _State(_first_voters(in_order))
    spells: list[Spell] = []
    whole: set[Core] = set()
    for event in in_order:
        if event.t >= end:
            break
        if not state.tell(event):
            continue
        now = state.whole_majorities()
        if whole & now:
            spells[-1].moments.append(event.t)
        else:
            if whole:
                spells[-1].end = event.t
            if now:
                spells.append(Spell(event.t, end, [event.t]))
        whole = now
    return [spell for spell in spells if spell.end > spell.start]


def _first_voters(events: Sequence[Event]) -> set[int]:
    """The initial voters: all nodes that started before the cluster was ready, or before its first change."""
    voters: set[int] = set()
    for event in events:
        if isinstance(event, ClusterReady | MembersChanged):
            break
        if isinstance(event, NodeStarted):
            voters.add(event.node)
    return voters


class _State:
    """Which nodes run, which are voters, and which faults are in force."""

    def __init__(self, voters: set[int]) -> None:
        self._up: set[int] = set()
        self._voters = voters
        self._faults: dict[int, FaultInjected] = {}

    def tell(self, event: Event) -> bool:
        """Add an event; returns whether it changes which nodes run or hear each other."""
        match event:
            case NodeStarted():
                self._up.add(event.node)
            case NodeExited():
                self._up.discard(event.node)
            case FaultInjected():
                self._faults[event.id] = event
            case FaultCleared():
                self._faults.pop(event.id, None)
            case MembersChanged():
                self._voters = set(event.voters)
            case _:
                return False
        return True

    def whole_majorities(self) -> set[Core]:
        """Every smallest majority of the voters whose nodes run, are healthy and hear each other."""
        broken: set[int] = set()
        cut: set[Pair] = set()
        for fault in self._faults.values():
            if fault.kind in LINKS:
                cut |= _cut_by(fault, self._up | self._voters)
            elif not is_set_up(fault):
                broken |= set(fault.nodes)
        able = sorted((self._voters & self._up) - broken)
        size = len(self._voters) // 2 + 1
        return {
            frozenset(core)
            for core in itertools.combinations(able, size)
            if not any(pair in cut for pair in itertools.combinations(core, 2))
        }


def _cut_by(fault: FaultInjected, nodes: Iterable[int]) -> set[Pair]:
    """The pairs, smaller id first, whose link is affected."""
    groups = [[int(found) for found in NODE.findall(part)] for part in ARROWS.split(fault.text)]
    if fault.kind == "isolate":
        groups = [groups[0], list(nodes)]
    pairs = set()
    for one, other in itertools.combinations(groups, 2):
        pairs |= {(min(a, b), max(a, b)) for a in one for b in other if a != b}
    return pairs
