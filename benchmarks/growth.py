"""Where each curve bends: writes, failover and memory by how much a cluster of real processes holds.

Owns what is made (nodes, leases, sessions, watches, keys), in which sizes, and what is measured beside it: a
lone write, many at once, the death of the leader, the largest node's share of memory. Each size has a cluster
of its own, which syncs each write. `python -m benchmarks scale` counts messages in a simulated world instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from msgspec import Struct, structs

from benchmarks.cluster import Running, running
from raft.client import AsyncClient
from raft.client.errors import ClientError, OutcomeUnknown
from raft.cluster.spec import ClusterRecord
from raft.machines.commands import Grant, OpenSession, WatchKeys

SIZES = {
    "nodes": (3, 5, 7, 15, 25, 51),
    "leases": (1, 10, 100, 1_000, 10_000),
    "sessions": (1, 10, 100, 1_000, 10_000),
    "watches": (1, 10, 100, 1_000, 10_000),
    "keys": (1_000, 10_000, 100_000, 1_000_000),
}
QUICK = {
    "nodes": (3, 5),
    "leases": (1, 100),
    "sessions": (1, 100),
    "watches": (1, 100),
    "keys": (1_000, 10_000),
}
CALLERS = 64
LONE = 100
TOLD = 20
SECONDS = 2.0
TTL_MS = 3_600_000  # None of them ends while this runs.
VALUE = b"x" * 64
WATCHED = "watched"
TRY_SECONDS = 60.0


class Point(Struct, frozen=True):
    """What was measured at one size; `told_ms` is from a write until all watchers have its event."""

    what: str
    count: int
    made_seconds: float
    lone_ms: float
    per_second: float
    failover_ms: float
    memory_mb: float
    told_ms: float | None = None


def client_of(cluster: Running) -> AsyncClient:
    """A client of all nodes."""
    endpoints = {node.id: node.endpoint for node in ClusterRecord.read(cluster.record_path).nodes}
    return AsyncClient(endpoints, cluster=cluster.record.cluster, timeout_seconds=TRY_SECONDS)


async def all_of(count: int, one: Callable[[int], Awaitable[object]], callers: int = CALLERS) -> None:
    """Call `one` with each number below `count`, many at once."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(caller() for _ in range(min(callers, count))))


async def make(client: AsyncClient, what: str, count: int) -> None:
    """So many leases, sessions or keys; of nodes and watches there is nothing to write."""
    if what == "leases":
        await all_of(count, lambda _: client.call(Grant(TTL_MS)))
    elif what == "sessions":
        await all_of(count, lambda _: client.call(OpenSession(TTL_MS)))
    elif what == "keys":
        await all_of(count, lambda number: put(client, f"k{number:08}"), 4 * CALLERS)


async def put(client: AsyncClient, key: str) -> None:
    """Write, again if the outcome is unknown: on a busy machine a cluster of this size changes its leader."""
    while True:
        try:
            await client.put(key, VALUE)
        except OutcomeUnknown:
            continue
        return


async def told(client: AsyncClient, count: int) -> float:
    """Milliseconds from a write until so many watchers of its key have the event: the median."""
    seen = asyncio.Semaphore(0)
    await client.put(WATCHED, "0")

    async def look() -> None:
        async for _ in client.events(WatchKeys(1, WATCHED.encode(), WATCHED.encode() + b"\0")):
            seen.release()

    async def all_have_seen() -> None:
        for _ in range(count):
            await seen.acquire()

    watchers = [asyncio.ensure_future(look()) for _ in range(count)]
    await all_have_seen()
    took = []
    for _ in range(TOLD):
        began = time.monotonic()
        await put(client, WATCHED)
        await all_have_seen()
        took.append(time.monotonic() - began)
    for watcher in watchers:
        watcher.cancel()
    return 1000 * statistics.median(took)


async def lone(client: AsyncClient) -> float:
    """Milliseconds that a write takes which is alone: the median."""
    took = []
    for _ in range(LONE):
        began = time.monotonic()
        await put(client, "lone")
        took.append(time.monotonic() - began)
    return 1000 * statistics.median(took)


async def many(client: AsyncClient) -> float:
    """Writes a second of callers that each wait for their answer."""
    ends, done = time.monotonic() + SECONDS, 0

    async def caller(number: int) -> None:
        nonlocal done
        while time.monotonic() < ends:
            await put(client, f"many{number}")
            done += 1

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return done / SECONDS


async def failover(cluster: Running, client: AsyncClient) -> float:
    """Milliseconds from the leader's death until a write is acknowledged that began after it."""
    leader = (await client.leader()).leader
    pids = {node.id: node.pid for node in ClusterRecord.read(cluster.record_path).nodes}
    os.kill(pids[leader], signal.SIGKILL)
    died = time.monotonic()
    while True:
        try:
            await client.put("after", VALUE)
        except ClientError:
            continue  # It may or may not have been written: the next one tells.
        return 1000 * (time.monotonic() - died)


async def measured(cluster: Running, what: str, count: int) -> Point:
    """All figures of one size."""
    async with client_of(cluster) as client:
        began = time.monotonic()
        await make(client, what, count)
        made_seconds = time.monotonic() - began
        told_ms = await told(client, count) if what == "watches" else None
        lone_ms, per_second = await lone(client), await many(client)
        memory = max(psutil.Process(pid).memory_full_info().pss for pid in cluster.pids()) / 1e6
        failover_ms = await failover(cluster, client)
    return Point(what, count, made_seconds, lone_ms, per_second, failover_ms, memory, told_ms)


def points(sizes: Mapping[str, Sequence[int]], work: Path) -> Iterator[Point]:
    """Every size of every kind."""
    for what, counts in sizes.items():
        for count in counts:
            print(f"{count:,} {what}", file=sys.stderr)
            nodes = count if what == "nodes" else 3
            with tempfile.TemporaryDirectory(dir=work) as data, running(nodes, "--data-dir", data) as cluster:
                yield asyncio.run(measured(cluster, what, count))


def table(found: Iterable[Point]) -> Iterator[str]:
    """As markdown, line by line as it is measured."""
    titles = (
        "made in",
        "a lone write",
        f"{CALLERS} callers",
        "leader killed, until a write",
        "told",
        "memory (PSS)",
    )
    yield f"| of which | how many | {' | '.join(titles)} |"
    yield "| --- |" + " ---: |" * 7
    for point in found:
        told_ms = "" if point.told_ms is None else f"{point.told_ms:,.1f} ms"
        memory = f"{point.memory_mb:,.1f} MB"
        yield (
            f"| {point.what} | {point.count:,} | {point.made_seconds:,.1f} s | {point.lone_ms:,.2f} ms "
            f"| {point.per_second:,.0f}/s | {point.failover_ms:,.0f} ms | {told_ms} | {memory} |"
        )


def main(arguments: Sequence[str] = ()) -> int:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    parser.add_argument("--only", choices=SIZES, action="append", help="of these only")
    parser.add_argument("--quick", action="store_true", help="two small sizes of each")
    parser.add_argument("--most", type=int, default=10**9, help="no size above that")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()), help="where the nodes write"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    chosen = QUICK if options.quick else SIZES
    sizes = {
        what: [count for count in counts if count <= options.most]
        for what, counts in chosen.items()
        if not options.only or what in options.only
    }
    found = points(sizes, options.work)
    if options.output == "json":
        print(json.dumps({"v": 1, "points": [structs.asdict(point) for point in found]}, indent=1))
    else:
        for line in table(found):
            print(line, flush=True)
    return 0
