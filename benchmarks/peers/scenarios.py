"""What is measured of a peer: one function a scenario, which yields figures.

Owns what is done and what counts as a figure. Every scenario starts a cluster of its own and does the same
with every peer; what a peer has no way to do is left out. Knows nothing of rounds, tables or files.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from benchmarks.cluster import percentile
from benchmarks.cluster import running as launched
from benchmarks.load import Load
from benchmarks.peers.loading import load_members
from benchmarks.peers.members import Asked, Members, places, running
from benchmarks.peers.peer import Peer
from benchmarks.peers.record import Figure
from benchmarks.peers.task import Latencies, Took
from raft.client import Client
from raft.cluster.spec import ClusterRecord

SETTLE_SECONDS = 1.0  # From a fault's end to the next one, and from a start to what is measured at rest.
HEALTHY_SECONDS = 6.0  # etcd takes no member in before all have been connected for five seconds.
MILLISECONDS = 1000.0
WATCHERS = 100


class Extent(Struct, frozen=True, kw_only=True):
    """How much of everything, which decides how long it takes."""

    load_seconds: float = 1.5
    loads: tuple[Load, ...]
    more_nodes: tuple[int, ...] = (5, 7)
    many_nodes: tuple[int, ...] = (25,)
    faults: int = 2
    fill: int = 30_000
    hand_overs: int = 20
    idle_seconds: float = 3.0


def load(callers: int, value_bytes: int = 16, reads: float = 0.0) -> Load:
    """A load, but for how long it takes."""
    return Load(callers=callers, value_bytes=value_bytes, reads=reads)


BASIC = (load(1), load(64), load(256), load(64, reads=1.0))
FULL = Extent(
    loads=(
        *(load(callers, value_bytes) for value_bytes in (16, 256) for callers in (1, 64, 256)),
        *(load(callers, reads=1.0) for callers in (1, 64, 256)),
        load(64, reads=0.9),
    )
)
QUICK = Extent(
    load_seconds=1.0,
    loads=BASIC,
    more_nodes=(),
    many_nodes=(),
    faults=1,
    fill=10_000,
    hand_overs=10,
    idle_seconds=2.0,
)


class Bench(Struct, frozen=True):
    """A peer, how much of everything, and where on the disk."""

    peer: Peer
    extent: Extent
    work: Path
    scenario: str

    def figure(self, nodes: int, what: str, value: float, unit: str, *, more: bool = False) -> Figure:
        """One figure."""
        return Figure(
            peer=self.peer.name,
            scenario=self.scenario,
            nodes=nodes,
            what=what,
            value=value,
            unit=unit,
            more_is_better=more,
        )


def named(one: Load) -> str:
    """A load for people."""
    kind = {0.0: "writes", 1.0: "reads"}.get(one.reads, f"{one.reads:.0%} reads")
    callers = f"{one.callers} caller{'s' if one.callers > 1 else ''}"
    return f"{kind}, {one.value_bytes} bytes, {callers}"


def loaded(bench: Bench, nodes: int, loads: tuple[Load, ...]) -> Iterator[Figure]:
    """Operations a second, how long one lasts, and what it costs."""
    with running(bench.peer, nodes, bench.work) as members:
        for one in loads:
            timed = Load(
                callers=one.callers,
                reads=one.reads,
                value_bytes=one.value_bytes,
                seconds=bench.extent.load_seconds,
            )
            found, what = load_members(members, timed), named(one)
            yield bench.figure(nodes, what, found.per_second, "/s", more=True)
            yield bench.figure(nodes, f"{what}: p50", found.p50_milliseconds, "ms")
            yield bench.figure(nodes, f"{what}: p99", found.p99_milliseconds, "ms")
            yield bench.figure(nodes, f"{what}: servers' CPU each", found.servers_microseconds, "us")
            yield bench.figure(nodes, f"{what}: client's CPU each", found.clients_microseconds, "us")
            if found.failed:
                yield bench.figure(nodes, f"{what}: failed", found.failed, "")
        used = max(info.rss for info in members.memory()) / 1e6
        yield bench.figure(nodes, "largest resident memory after the loads", used, "MB")


def throughput(bench: Bench) -> Iterator[Figure]:
    """All loads on three nodes."""
    yield from loaded(bench, 3, bench.extent.loads)


def more_nodes(bench: Bench) -> Iterator[Figure]:
    """Writes and reads of 64 callers on five and seven nodes."""
    for nodes in bench.extent.more_nodes:
        yield from loaded(bench, nodes, (load(64), load(64, reads=1.0)))


def start(bench: Bench) -> Iterator[Figure]:
    """From the first process's start until a write is acknowledged that began after it."""
    for nodes in (3, 5):
        with places(bench.peer, nodes, bench.work) as members:
            everyone = range(1, nodes + 1)
            asked = members.ready(members.task("probe", everyone))
            began = time.monotonic()
            members.start(everyone)
            asked.begin(began)
            took = asked.answer(Took).seconds
        yield bench.figure(nodes, "from nothing to the first write", took * MILLISECONDS, "ms")
        if bench.peer.name == "raft-actors":
            took = by_launcher(nodes, bench.work)
            yield bench.figure(nodes, "the same, by its launcher", took * MILLISECONDS, "ms")


def by_launcher(nodes: int, work: Path) -> float:
    """Seconds from the one command that starts them all until a write of this process is acknowledged."""
    with tempfile.TemporaryDirectory(dir=work) as data, launched(nodes, "--data-dir", data) as cluster:
        endpoints = {node.id: node.endpoint for node in ClusterRecord.read(cluster.record_path).nodes}
        with Client(endpoints, cluster=cluster.record.cluster) as client:
            client.put("first", "write")
            took = time.monotonic() - cluster.started
    return took


def failover(bench: Bench) -> Iterator[Figure]:
    """From what befalls the leader until a write is acknowledged that began after it, of five nodes."""
    nodes = 5
    with running(bench.peer, nodes, bench.work) as members:
        time.sleep(SETTLE_SECONDS)
        for what, number in (
            ("leader killed", signal.SIGKILL),
            ("leader paused", signal.SIGSTOP),
            ("leader stopped in good order", signal.SIGTERM),
        ):
            for _ in range(bench.extent.faults):
                took = without_leader(members, number)
                yield bench.figure(nodes, f"{what}: until a write succeeds", took * MILLISECONDS, "ms")


def without_leader(members: Members, number: signal.Signals) -> float:
    """Seconds until the others take a write again; then the one that led is back among them."""
    leader, asked = probed_leader(members)
    began = time.monotonic()
    members.send(leader, number)
    asked.begin(began)
    took = asked.answer(Took).seconds
    if number is signal.SIGSTOP:
        members.send(leader, signal.SIGCONT)
    else:
        members.await_exit(leader)
        members.start([leader])
    time.sleep(SETTLE_SECONDS)
    return took


def probed_leader(members: Members) -> tuple[int, Asked]:
    """Who leads, for certain, while a client keeps trying at the others."""
    leader = members.leader()
    while True:
        asked = members.ready(members.task("probe", [node for node in members.processes if node != leader]))
        time.sleep(SETTLE_SECONDS / 2)  # The tries are under way.
        found = members.leader()
        if found == leader:
            return leader, asked
        leader = found  # A busy machine cost it its leadership; what befalls it now would prove nothing.
        asked.end()


def watch(bench: Bench) -> Iterator[Figure]:
    """A hundred watchers of one key, one write after the other."""
    if "watch" not in bench.peer.can:
        return
    with running(bench.peer, 3, bench.work) as members:
        task = members.task("watch", callers=WATCHERS, seconds=bench.extent.load_seconds)
        seen = sorted(members.ask(task, Latencies).latencies)
    what = f"from a write until {WATCHERS} watchers have seen it"
    yield bench.figure(3, f"{what}: p50", percentile(seen, 0.5) * MILLISECONDS, "ms")
    yield bench.figure(3, f"{what}: p99", percentile(seen, 0.99) * MILLISECONDS, "ms")
    told = WATCHERS * len(seen) / sum(seen)
    yield bench.figure(3, f"events told to {WATCHERS} watchers", told, "/s", more=True)


def hand_over(bench: Bench) -> Iterator[Figure]:
    """An election among clients: one steps aside, the next one knows that it leads."""
    if "hand-over" not in bench.peer.can:
        return
    with running(bench.peer, 3, bench.work) as members:
        told = members.ask(members.task("hand-over", count=bench.extent.hand_overs), Latencies)
    seen = sorted(told.latencies)
    what = "from one client's stepping aside until the next leads"
    yield bench.figure(3, f"{what}: p50", percentile(seen, 0.5) * MILLISECONDS, "ms")
    yield bench.figure(3, f"{what}: p99", percentile(seen, 0.99) * MILLISECONDS, "ms")


def catch_up(bench: Bench) -> Iterator[Figure]:
    """A fourth member joins three that hold much: from asking for it until it has the last write."""
    if "add" not in bench.peer.can:
        return
    count = bench.extent.fill
    with running(bench.peer, 3, bench.work) as members:
        fill = members.task("fill", count=count, callers=64, value_bytes=256)
        members.ask(fill, Took)
        time.sleep(HEALTHY_SECONDS)
        address = members.peer.peer_endpoint(members.plan, 4)
        adding = members.ready(members.task("add", node=4, new_endpoint=address))
        holding = members.ready(members.task("holds", (1, 2, 3, 4), node=4, count=count))
        began = time.monotonic()
        adding.begin(began)
        adding.answer(Took)
        members.start([4])
        holding.begin(began)
        took = holding.answer(Took).seconds
    yield bench.figure(3, f"a new node has {count:,} writes of 256 bytes", took * MILLISECONDS, "ms")


def at_rest(bench: Bench, nodes: int) -> Iterator[Figure]:
    """What a node costs while nothing happens."""
    with running(bench.peer, nodes, bench.work) as members:
        time.sleep(SETTLE_SECONDS + nodes / 25)
        before, began = members.busy_seconds(), time.monotonic()
        time.sleep(bench.extent.idle_seconds)
        busy = (members.busy_seconds() - before) / (time.monotonic() - began)
        memory = members.memory()
    yield bench.figure(nodes, "idle: CPU of a node, mean", 100 * busy / nodes, "%")
    yield bench.figure(
        nodes, "idle: resident memory of a node", statistics.median(m.rss for m in memory) / 1e6, "MB"
    )
    yield bench.figure(
        nodes, "idle: its share of memory (PSS)", statistics.median(m.pss for m in memory) / 1e6, "MB"
    )


def idle(bench: Bench) -> Iterator[Figure]:
    """Three nodes at rest."""
    yield from at_rest(bench, 3)


def many(bench: Bench) -> Iterator[Figure]:
    """Many nodes at rest."""
    for nodes in bench.extent.many_nodes:
        yield from at_rest(bench, nodes)


SCENARIOS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "throughput": throughput,
    "more-nodes": more_nodes,
    "start": start,
    "failover": failover,
    "watch": watch,
    "hand-over": hand_over,
    "catch-up": catch_up,
    "idle": idle,
    "many-nodes": many,
}
# What the tight timings change; all else would be the same work once more.
OF_TIMINGS = frozenset({"start", "failover", "idle"})
# What a node's heartbeat changes.
OF_HEARTBEATS = frozenset({"idle"})
# What leases of reads change.
OF_LEASES = frozenset({"throughput", "failover"})
# What compares this project with a server of its own kind only.
OF_SERVERS = frozenset({"more-nodes", "many-nodes"})
