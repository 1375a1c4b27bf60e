"""The leader report: who led in which term, for how long, and why it ended.

Owns the computation of the report from the stream of events, as a pure function; the events may come from a
running launcher or from a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from raft.cluster.records.events import (
    Event,
    FaultCleared,
    FaultInjected,
    LeaderElected,
    LeaderLost,
    Violation,
)

VERSION = 1
GUESSES = frozenset({"superseded", "unreachable", "stepped-down"})
"""Ends of which only others tell: what the leader itself says of its end, maybe much later, is the reason."""
SILENCING = frozenset({"kill", "crash", "pause", "partition", "isolate"})
"""Faults that may silence a leader; under others it continues, or reports why it does not."""


class Leadership(Struct):
    """One term's leader; `ended` is None while it leads."""

    term: int
    node: int
    elected_t: float
    lasted_s: float
    took_ms: float
    votes: int
    reason: str
    ended: str | None = None


class ViolationReport(Struct, frozen=True):
    """Two leaders in one term."""

    t: float
    term: int
    nodes: list[int]
    text: str


class LeaderReport(Struct, frozen=True, kw_only=True):
    """All leaders so far.

    `elections` counts the terms with an election since the first leader, won or not; those that no node won
    are `leaderless_terms`. `leaderless_s` is the time without a leader since the first one.
    """

    v: int = VERSION
    leaders: list[Leadership]
    unreachable: list[int] | UnsetType = UNSET  # Nodes that told nothing; only where nodes are asked.
    violations: list[ViolationReport]
    elections: int
    leaderless_s: float
    leaderless_terms: list[int]


def leader_report(events: Iterable[Event], now_t: float) -> LeaderReport:
    """The report at `now_t`, on the events' clock.

    Nodes report independently, so events are sorted by `t`.
    """
    story = _ReportBuilder()
    for event in sorted(events, key=lambda event: event.t):
        story.tell(event)
    leaders = story.leaderships
    if leaders and leaders[-1].ended is None:
        leaders[-1].lasted_s = round(max(now_t - leaders[-1].elected_t, 0.0), 6)
    led_terms = {leadership.term for leadership in leaders}
    every_term = range(min(led_terms, default=1), max(led_terms, default=0) + 1)
    return LeaderReport(
        leaders=leaders,
        violations=story.violations,
        elections=len(every_term),
        leaderless_s=_leaderless_seconds(leaders, now_t),
        leaderless_terms=[term for term in every_term if term not in led_terms],
    )


def final_report(events: Sequence[Event]) -> LeaderReport:
    """The report of a run that has ended, at its last event: its end is no time without a leader."""
    return leader_report(events, max((event.t for event in events), default=0.0))


def encode_report(report: LeaderReport) -> bytes:
    """The report as one JSON object."""
    return msgspec.json.encode(report)


class _ReportBuilder:
    """Turns events into leaderships."""

    def __init__(self) -> None:
        self.leaderships: list[Leadership] = []
        self.violations: list[ViolationReport] = []
        self._faults: dict[int, FaultInjected] = {}

    def tell(self, event: Event) -> None:
        match event:
            case LeaderElected():
                self._supersede(event)
                self.leaderships.append(
                    Leadership(event.term, event.node, event.t, 0.0, event.took_ms, event.votes, event.reason)
                )
            case LeaderLost():
                # A leader that resumes after a pause reports this long after its successor was elected.
                self._lose(event)
            case FaultInjected():
                self._faults[event.id] = event
            case FaultCleared():
                self._faults.pop(event.id, None)
            case Violation():
                self.violations.append(ViolationReport(event.t, event.term, event.nodes, event.text))
            case _:
                pass

    def _lose(self, event: LeaderLost) -> None:
        """The last leader ends; for one that has ended already, as others saw it, this is the reason."""
        mine = (one for one in reversed(self.leaderships) if (one.term, one.node) == (event.term, event.node))
        lost = next(mine, None)
        if lost is None:
            return
        if lost is self.leaderships[-1]:
            self._end_last(event.t, event.reason)
        if lost.ended in GUESSES and (lost.ended == "superseded" or event.reason not in GUESSES):
            lost.ended = event.reason

    def _end_last(self, t: float, reason: str) -> None:
        if self.leaderships and self.leaderships[-1].ended is None:
            last = self.leaderships[-1]
            last.ended, last.lasted_s = reason, round(max(t - last.elected_t, 0.0), 6)

    def _supersede(self, event: LeaderElected) -> None:
        """End a leadership that was not reported as lost; the reason comes from its successor or a fault."""
        if not self.leaderships:
            return
        last = self.leaderships[-1]
        kinds = [
            fault.kind
            for fault in self._faults.values()
            if last.node in fault.nodes and fault.kind in SILENCING
        ]
        known = {"leader-died": "died", "transfer": "transfer"}.get(event.reason)
        if last.ended is None:
            self._end_last(event.t, known or (kinds[-1] if kinds else "superseded"))
        elif known and (last.ended in GUESSES or (last.ended, known) == ("higher-term", "transfer")):
            last.ended = known


def _leaderless_seconds(leaders: Sequence[Leadership], now_t: float) -> float:
    nexts = [leadership.elected_t for leadership in leaders[1:]] + [now_t]
    gaps = (
        then - leadership.elected_t - leadership.lasted_s
        for leadership, then in zip(leaders, nexts, strict=False)
        if leadership.ended is not None
    )
    return round(sum(max(gap, 0.0) for gap in gaps), 6)
