"""What nodes tell beside their status: their recent events, and how quickly the leader commits.

Owns a connection to the nodes, and asking without ever waiting: answers are taken at the next call. Latencies
and rates are the leader's own: from a proposal's arrival until it is committed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from msgspec import Struct

from actors.errors import ActorsError
from raft.client.connection import Connection
from raft.live.feed import Load
from raft.protocol.admin import GetMetrics, HistogramCounts, NodeMetrics
from raft.protocol.records import GetRecords, NodeEvent, Records
from raft.protocol.registry import address_of

METRICS_SECONDS = 1.0
EVENTS_SECONDS_MIN, EVENTS_SECONDS_PER_NODE = 0.5, 0.05
ANSWER_SECONDS_MAX = 2.0


class _Read(Struct):
    """How far the events of one node have been read."""

    incarnation: int = 0
    after: int = 0
    due_at: float = 0.0
    asked: bool = False


class NodesConnection:
    """Asks the nodes, and gives what they have answered so far."""

    def __init__(self, cluster: str, keys: str | None) -> None:
        """Raises TransportError for unusable keys."""
        self._connection = Connection({}, cluster=cluster, keys=keys)
        self._known: dict[int, _Read] = {}
        self._metrics_at = 0.0
        self._before: NodeMetrics | None = None
        self._events: list[tuple[int, NodeEvent]] = []
        self.load: Load | None = None

    def know(self, nodes: set[int], endpoints_of: Callable[[], dict[int, str]]) -> None:
        """Connect to the nodes that have come since the last call; only then is it asked where they are."""
        new = nodes - self._known.keys()
        if not new:
            return
        endpoints = endpoints_of()
        for node in new:
            self._known[node] = _Read()
            with contextlib.suppress(ActorsError, KeyError):  # Then it can tell nothing.
                self._connection.connect(node, endpoints[node])

    def poll(self, leader: int | None) -> list[tuple[int, NodeEvent]]:
        """Ask what is due, and take what has arrived: the events, each with its node."""
        runtime = self._connection.runtime
        now = runtime.clock.now()
        if leader is None:
            self.load = None
        elif now - self._metrics_at >= METRICS_SECONDS and self._connection.is_up(leader):
            self._metrics_at = now
            runtime.ask(address_of(leader), GetMetrics(), ANSWER_SECONDS_MAX).then(self._told, lambda _: None)
        for node, read in self._known.items():
            if not read.asked and now >= read.due_at and self._connection.is_up(node):
                self._ask_events(node, read, now)
        runtime.flush()
        runtime.run_turn(0.0)
        events, self._events = self._events, []
        return events

    def hurry(self) -> None:
        """Ask all nodes for their events at the next call: something has happened of which they can tell."""
        for read in self._known.values():
            read.due_at = 0.0

    def _ask_events(self, node: int, read: _Read, now: float) -> None:
        read.asked = True
        read.due_at = now + max(EVENTS_SECONDS_MIN, EVENTS_SECONDS_PER_NODE * len(self._known))

        def told(records: Records) -> None:
            read.asked = False
            if records.newest > records.upto:
                read.due_at = 0.0
            read.incarnation, read.after = records.incarnation, records.upto
            self._events += [(node, event) for event in records.events]

        def failed(_failure: object) -> None:
            read.asked = False  # Nodes of earlier builds do not know the question.

        request = GetRecords(incarnation=read.incarnation, after=read.after)
        self._connection.runtime.ask(address_of(node), request, ANSWER_SECONDS_MAX).then(told, failed)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _told(self, metrics: NodeMetrics) -> None:
        before, self._before = self._before, metrics
        same = before is not None and before.status.incarnation == metrics.status.incarnation
        if before is not None and same and before.status.node == metrics.status.node:
            self.load = load_between(before, metrics)


def load_between(before: NodeMetrics, after: NodeMetrics) -> Load | None:
    """What one incarnation of a node has done between two answers; None without time between them."""
    seconds = after.at_seconds - before.at_seconds
    if seconds <= 0.0:
        return None
    commits = _since(before.histograms["commit"][""], after.histograms["commit"][""])
    reads = sum(_risen(before, after, "reads", kind) for kind in ("linearizable", "stale"))
    return Load(
        round(_risen(before, after, "proposals", "committed") / seconds, 1),
        round(reads / seconds, 1),
        round(1000 * quantile(commits, 0.5), 2),
        round(1000 * quantile(commits, 0.99), 2),
    )


def _risen(before: NodeMetrics, after: NodeMetrics, family: str, label: str) -> float:
    return after.counters[family].get(label, 0.0) - before.counters[family].get(label, 0.0)


def _since(before: HistogramCounts, after: HistogramCounts) -> HistogramCounts:
    counts = [new - old for old, new in zip(before.counts, after.counts, strict=True)]
    return HistogramCounts(after.bounds, counts, after.sum - before.sum)


def quantile(histogram: HistogramCounts, share: float) -> float:
    """An estimate, linear within a bucket as Prometheus makes it; 0.0 of nothing."""
    wanted, passed = share * sum(histogram.counts), 0
    if not wanted:
        return 0.0
    lows: Sequence[float] = (0.0, *histogram.bounds)
    for low, high, count in zip(lows, histogram.bounds, histogram.counts, strict=False):
        if count and passed + count >= wanted:
            return low + (high - low) * (wanted - passed) / count
        passed += count
    return histogram.bounds[-1]
