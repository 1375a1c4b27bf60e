"""A run that is over as the feed of a live cluster: a picture at each event, and what the clients did.

Owns what can be known of a cluster from its events alone, and the bounds of what one file holds. How it is
drawn is the live page's. Of nodes that do not lead, events tell only whether they run: all are followers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import msgspec

from raft.cluster.quorum import Quorum
from raft.cluster.records.event_words import event_words
from raft.cluster.records.events import (
    Event,
    FaultCleared,
    FaultInjected,
    LeaderElected,
    LeaderLost,
    MembersChanged,
    NodeExited,
    NodeGaveUp,
    NodeStarted,
    kind_of,
    nodes_of,
)
from raft.cluster.rpc.messages import ClusterStatus, FaultEntry, FaultList, NodeView
from raft.lab.checkers.records import Record
from raft.lab.reports.lanes import is_set_up
from raft.lab.reports.measures import WRITES, bins_of
from raft.lab.reports.run import Run
from raft.live.feed import Feed, as_json, merge_patch

PICTURES_MAX = 1_500
RECORDS_MAX = 3_000
OPERATIONS_MAX = 8_000
CUTS = frozenset({"partition", "isolate", "ring"})
_GROUPS = re.compile(r"((?:n\d+ ?)+)")


def feed_of(run: Run) -> dict[str, Any]:
    """What `page/run.js` reads: pictures and their changes, records, rates, and the clients' operations."""
    events = sorted(run.events, key=lambda event: event.t)
    events = [one for one in events if not (isinstance(one, FaultInjected) and is_set_up(one))]
    end = run.picture().end
    records = [] if run.history is None else run.history.records
    return {
        "news": [*_pictures(events, end), {"records": [_record(event) for event in events[-RECORDS_MAX:]]}],
        "measured": [
            {"t": part.end, "per_second": round(part.per_second, 1), "p99_ms": part.p99_ms}
            for part in (bins_of(records, 0.0, end) if records and end else [])
        ],
        "clients": None if run.history is None else _clients(run, records),
    }


def as_text(feed: dict[str, Any]) -> str:
    """The feed as JSON that may stand inside of a page: nothing in it can end the element that holds it."""
    return msgspec.json.encode(feed).decode().replace("<", "\\u003c")


def _pictures(events: Sequence[Event], end: float) -> list[dict[str, Any]]:
    """The first picture whole, then the changes; of very many events, some are seen only with the next."""
    cluster, feed = _Cluster(events), Feed(0.0, "run")
    told: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    every = len(events) // PICTURES_MAX + 1
    waiting: list[Event] = []
    for number, event in enumerate(events):
        cluster.tell(event)
        waiting.append(event)
        if number % every and number + 1 < len(events):
            continue
        feed.tell(waiting)
        waiting = []
        after = as_json(feed.picture(cluster.status(), FaultList([*cluster.faults.values()]), event.t))
        told.append({"patch": merge_patch(before, after)} if before else {"picture": after})
        before = after
    last = as_json(feed.picture(cluster.status(), FaultList([*cluster.faults.values()]), end))
    return [*told, {"patch": merge_patch(before, last)} if before else {"picture": last}]


class _Cluster:
    """What is known of a cluster after the events so far."""

    def __init__(self, events: Iterable[Event]) -> None:
        ids = {event.node for event in events if isinstance(event, NodeStarted | LeaderElected)}
        self.nodes = {node: NodeView(id=node, pid=None, state="starting") for node in sorted(ids)}
        self.faults: dict[int, FaultEntry] = {}
        self._leader, self._term = 0, 0

    def tell(self, event: Event) -> None:
        """One more event."""
        match event:
            case NodeStarted():
                self._change(event.node, state="running", role="follower", pid=event.pid, term=self._term)
            case NodeExited():
                self._change(event.node, state="down", role=None, pid=None)
            case NodeGaveUp():
                self._change(event.node, state="gave-up", role=None)
            case LeaderElected():
                self._leader, self._term = event.node, event.term
                self._change(event.node, role="leader", term=event.term)
            case LeaderLost():
                if self.nodes[event.node].role == "leader":
                    self._change(event.node, role="follower")
                self._leader = 0 if self._leader == event.node else self._leader
            case FaultInjected():
                self._broken(event)
            case FaultCleared():
                self.faults.pop(event.id, None)
                if event.kind == "pause":
                    self._paused(event.nodes, "paused", "running")
            case MembersChanged():
                for node in self.nodes:
                    self._change(node, votes=node in event.voters)
            case _:
                pass

    def status(self) -> ClusterStatus:
        """The cluster as its launcher would have told of it."""
        running = [view.id for view in self.nodes.values() if view.state == "running"]
        group = self._group(running)
        voters = [view.id for view in self.nodes.values() if view.votes]
        reachable, needed = sum(node in group for node in voters), len(voters) // 2 + 1
        views = [
            msgspec.structs.replace(view, in_quorum=view.id in group, leader=self._leader or None)
            for view in self.nodes.values()
        ]
        return ClusterStatus(
            cluster="",
            leader=self._leader or None,
            term=self._term,
            voters=len(voters),
            alive=len(running),
            can_lose=max(reachable - needed, 0),
            nodes=views,
            quorum=Quorum(needed, reachable),
        )

    def _change(self, node: int, **values: Any) -> None:
        if node in self.nodes:
            self.nodes[node] = msgspec.structs.replace(self.nodes[node], **values)

    def _paused(self, nodes: Iterable[int], before: str, after: str) -> None:
        for node in nodes:
            if self.nodes[node].state == before:
                self._change(node, state=after, role=None if after == "paused" else "follower")

    def _broken(self, event: FaultInjected) -> None:
        links = _links(event, [*self.nodes])
        entry = FaultEntry(event.id, event.kind, event.nodes, event.text, links, event.kind in CUTS)
        self.faults[event.id] = entry
        if event.kind == "pause":
            self._paused(event.nodes, "running", "paused")

    def _group(self, running: list[int]) -> set[int]:
        """Those that hear the leader, or else the largest group around one node."""
        cut = {
            frozenset({source, target})
            for fault in self.faults.values()
            if fault.cut
            for source, targets in fault.links.items()
            for target in targets
        }
        around = {
            node: {other for other in running if other == node or frozenset({node, other}) not in cut}
            for node in running
        }
        return around.get(self._leader) or max(around.values(), key=len, default=set())


def _links(event: FaultInjected, nodes: list[int]) -> dict[int, list[int]]:
    """Which ways a fault breaks, as its text says; none where it does not."""
    groups = [[int(word[1:]) for word in part.split()] for part in _GROUPS.findall(event.text)]
    one_way = " -> " in event.text
    match event.kind:
        case "isolate":
            pairs = [(node, other) for node in event.nodes for other in nodes if other != node]
        case "partition":
            pairs = [(a, b) for one, other in combinations(groups, 2) for a in one for b in other]
        case "link" if len(groups) >= 2:
            pairs = [(a, b) for a in groups[0] for b in groups[1] if a != b]
        case _:
            return {}
    links: dict[int, list[int]] = {}
    for a, b in pairs:
        links.setdefault(a, []).append(b)
        if not one_way:
            links.setdefault(b, []).append(a)
    return links


def _record(event: Event) -> dict[str, Any]:
    text = event_words(event)
    return {
        "t": event.t,
        "source": "event",
        "kind": kind_of(event),
        "nodes": sorted(nodes_of(event)),
        "text": text,
    }


def _clients(run: Run, records: Sequence[Record]) -> dict[str, Any]:
    """The operations: those that prove an anomaly, and others on their keys, come before the rest."""
    anomalies = run.summary.judgement.anomalies if run.summary.judgement is not None else ()
    proofs = {_name(one) for anomaly in anomalies for one in anomaly.operations}
    keys = {anomaly.key for anomaly in anomalies} | {one.key for a in anomalies for one in a.operations}
    if len(records) > OPERATIONS_MAX:
        first = [record for record in records if record.key in keys][:OPERATIONS_MAX]
        rest = [record for record in records if record.key not in keys]
        every = len(rest) // max(OPERATIONS_MAX - len(first), 1) + 1
        kept = sorted([*first, *rest[::every]], key=lambda record: record.call)
    else:
        kept = list(records)
    return {
        "total": len(records),
        "operations": [_operation(record, _name(record) in proofs) for record in kept],
        "anomalies": [
            {
                "name": anomaly.name.replace("-", " "),
                "key": anomaly.key,
                "from": min(one.call for one in anomaly.operations),
                "to": max(one.call if one.returned is None else one.returned for one in anomaly.operations),
            }
            for anomaly in anomalies
            if anomaly.operations
        ],
    }


def _name(record: Record) -> tuple[str, str, float]:
    return record.client, record.op, record.call


def _operation(record: Record, proof: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "client": record.client,
        "key": record.key,
        "call": record.call,
        "end": record.returned if record.outcome != "unknown" else None,
        "outcome": record.outcome,
        "text": f"{record.asked()} → {record.answered()}",
    }
    if record.op not in WRITES:
        told["reads"] = True
    if proof:
        told["proof"] = True
    return told
