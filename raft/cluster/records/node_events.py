"""The events that nodes record themselves, in the forms in which a launcher's records are shown.

Owns their events as lines and as JSON, and the history of leaders: a node that has ended
tells nothing of its time as a leader, but those that followed it do. Times are the nodes' wall clocks, since
they have no other in common. Pure; knows nothing of how nodes are asked.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from raft.cluster.records.events import Event, LeaderElected, LeaderLost, Violation
from raft.cluster.records.logs import LogLine
from raft.cluster.records.report import LeaderReport, leader_report
from raft.protocol.records import NodeEvent

UNREACHABLE: Final = "unreachable"
ANSWERS: Final = "answers"
FORGOTTEN: Final = "records-lost"
LEADER_KINDS: Final = frozenset({"leader-elected", "leader-lost", "leader-seen", "leader-gone"})
"""The events of which the history of leaders is made."""
SEEN: Final = "seen"
"""The reason of an election of which only followers tell."""

Told = tuple[int, NodeEvent]
"""A node, and what it tells."""


def event_as_line(node: int, event: NodeEvent) -> LogLine:
    """An event as a line among those of logs; as JSON it has its values, too."""
    values = {name: value for name, value in event.values.items() if name != "led_term"}
    fields = {
        "event": event.kind,
        "wall": _wall(event.at_seconds),
        "node": node,
        "number": event.number,
        "role": event.role,
        "term": event.values.get("led_term", event.term),
        "text": event.text,
        **values,
    }
    return LogLine(
        moment=event.at_seconds,
        time=_wall(event.at_seconds),
        node=node,
        level="INFO",
        role=event.role,
        term=event.term,
        event=event.kind,
        message=event.text,
        raw=msgspec.json.encode(fields).decode(),
    )


def remark(node: int, event: str, text: str, at_seconds: float) -> LogLine:
    """A line about a node that is not the node's own."""
    wall = _wall(at_seconds)
    fields = {"event": event, "wall": wall, "node": node, "text": text}
    raw = msgspec.json.encode(fields).decode()
    return LogLine(at_seconds, wall, node, "WARNING", "", None, event, text, raw)


def leader_events(told: Sequence[Told], zero_seconds: float) -> list[Event]:
    """Elections, losses and violations as events, at seconds since `zero_seconds` by the wall clock."""
    events: list[Event] = []
    elected: dict[int, int] = {}  # By term, who told of its own election.
    seen: dict[int, tuple[float, int]] = {}  # By term, when the first follower saw which leader.
    for node, event in sorted(told, key=lambda pair: pair[1].at_seconds):
        t, values = round(event.at_seconds - zero_seconds, 6), event.values
        if event.kind == "leader-elected":
            events.extend(_violation(t, event.term, elected, node))
            elected[event.term] = node
            events.append(msgspec.convert({
                "event": "leader-elected", "t": t, "node": node, "term": event.term,
                **{name: values.get(name, 0) for name in ("previous", "votes", "voters", "took_ms")},
                "reason": values.get("reason", ""),
            }, LeaderElected))  # fmt: skip
        elif event.kind == "leader-lost":
            term, reason = values.get("led_term", event.term), values.get("reason", "")
            fields = {"event": "leader-lost", "t": t, "node": node, "term": term, "reason": reason}
            events.append(msgspec.convert(fields, LeaderLost))
        elif event.kind == "leader-seen" and isinstance(leader := values.get("leader"), int):
            seen.setdefault(event.term, (t, leader))
    events.extend(
        LeaderElected(t=t, node=leader, term=term, previous=0, votes=0, voters=0, took_ms=0.0, reason=SEEN)
        for term, (t, leader) in seen.items()
        if term not in elected
    )
    return events


def report_told(
    told: Sequence[Told], now_seconds: float, *, leader: int, unreachable: list[int]
) -> LeaderReport:
    """The leader report as far as nodes tell; `leader` is whom they follow now.

    A leader of which no node knows any more has ended when the last one that followed it noticed that.
    """
    zero = begins_at(told)
    found = leader_report(leader_events(told, zero), now_seconds - zero)
    last = found.leaders[-1] if found.leaders else None
    if last is not None and last.ended is None and last.node != leader:
        gone = [
            event.at_seconds - zero
            for _, event in told
            if event.kind == "leader-gone" and event.values.get("leader") == last.node
        ]
        until = max((t for t in gone if t > last.elected_t), default=last.elected_t + last.lasted_s)
        last.ended, last.lasted_s = UNREACHABLE, round(until - last.elected_t, 6)
    return msgspec.structs.replace(found, unreachable=unreachable)


def begins_at(told: Iterable[Told]) -> float:
    """When the oldest of these events happened; 0 if there is none."""
    return min((event.at_seconds for _, event in told), default=0.0)


def _violation(t: float, term: int, elected: dict[int, int], node: int) -> list[Event]:
    other = elected.get(term, node)
    if other == node:
        return []
    return [Violation(t=t, term=term, nodes=[other, node], text=f"n{other} and n{node} both led term {term}")]


def _wall(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
