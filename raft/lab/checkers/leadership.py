"""Checks on a cluster's own reports: two leaders in a term, or machines that differ after the same entries.

Owns these two rules. They need no client, and find errors that no client noticed.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from raft.cluster.records.events import Event, LeaderElected, Violation
from raft.lab.checkers.verdict import Anomaly


class StateHash(Struct, frozen=True, kw_only=True):
    """The hash of a node's machine after applying its log up to an index."""

    node: int
    applied: int
    digest: str


def judge_events(events: Iterable[Event]) -> tuple[Anomaly, ...]:
    """At most one node leads in a term (thesis section 3.2)."""
    leaders: dict[int, int] = {}
    anomalies = {}
    for event in events:
        if isinstance(event, LeaderElected):
            first = leaders.setdefault(event.term, event.node)
            if first != event.node:
                text = f"n{first} and n{event.node} both led term {event.term}"
                anomalies[event.term] = Anomaly(name="two-leaders", key=f"term {event.term}", text=text)
        elif isinstance(event, Violation):
            told = Anomaly(name="two-leaders", key=f"term {event.term}", text=event.text)
            anomalies.setdefault(event.term, told)
    return tuple(anomalies.values())


def judge_states(hashes: Iterable[StateHash]) -> tuple[Anomaly, ...]:
    """Machines that have applied the same entries are equal."""
    first: dict[int, StateHash] = {}
    anomalies = []
    for state in hashes:
        other = first.setdefault(state.applied, state)
        if other.digest != state.digest:
            text = (
                f"after entry {state.applied} the machine of n{other.node} is {other.digest}, "
                f"that of n{state.node} is {state.digest}"
            )
            anomalies.append(Anomaly(name="machines-differ", key=f"entry {state.applied}", text=text))
    return tuple(anomalies)
