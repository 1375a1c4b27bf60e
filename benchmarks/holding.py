"""How quickly leadership among programs changes hands: given back, cut off, or lost with a killed holder.

Owns the candidates: one in this process, which waits, and one in a process of its own, which is killed.
`--rounds N` repeats; each row tells the median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from benchmarks._rows import Row, tell
from benchmarks.cluster import Running, running
from raft.client import AsyncClient

TTL_SECONDS = 1.0
ELECTION = "bench"
# What the holder does: take the seat, see to it that a keep-alive was answered, say so, and go on.
HOLDER = """
import asyncio, json, sys
from raft.client import AsyncClient
async def main():
    endpoints, cluster, name, ttl, release = json.loads(sys.argv[1])
    async with AsyncClient({int(node): at for node, at in endpoints.items()}, cluster=cluster) as client:
        async with client.election(name, ttl=ttl, release_on_disconnect=release) as lead:
            await asyncio.sleep(0.5)
            print(lead.token, flush=True)
            await asyncio.Event().wait()
asyncio.run(main())
"""


def main(arguments: Sequence[str] = ()) -> int:
    """Measure on a cluster of three nodes; 1 if any figure is over what it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks holding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", choices=["text", "json"], default="text")
    given = parser.parse_args(arguments)
    with running(3) as cluster:
        return tell(rows(cluster, given.rounds), given.output)


def rows(cluster: Running, rounds: int) -> Iterator[Row]:
    """One row for each way of losing a seat."""
    ways: list[tuple[str, Callable[[Running], Awaitable[float]], float]] = [
        ("hand-over, given back", given_back, 50.0),
        ("hand-over, connection closed", cut_off, 100.0),
        (f"hand-over, killed, beyond a TTL of {TTL_SECONDS:g} s", killed, 100.0),
    ]
    for what, way, at_most in ways:
        figures = [asyncio.run(measured(way(cluster))) for _ in range(rounds)]
        yield Row(what, statistics.median(figures), "ms", at_most)


async def measured(way: Awaitable[float]) -> float:
    """In milliseconds."""
    return await way * 1000


async def given_back(cluster: Running) -> float:
    """The holder leaves its context while another one waits."""
    async with client_of(cluster) as client:
        async with client.election(ELECTION):
            waiting = asyncio.ensure_future(take(client))
            await until_one_waits(client)
            left = time.monotonic()
        return await waiting - left


async def cut_off(cluster: Running) -> float:
    """The holder's process is killed, and its lease bound to its connection."""
    return await after_a_kill(cluster, ttl_seconds=30.0, release=True)


async def killed(cluster: Running) -> float:
    """The holder's process is killed, and its lease runs out."""
    return await after_a_kill(cluster, ttl_seconds=TTL_SECONDS, release=False) - TTL_SECONDS


async def after_a_kill(cluster: Running, *, ttl_seconds: float, release: bool) -> float:
    """The seconds from the holder's death to the next one's leadership."""
    endpoints = {node.id: node.endpoint for node in cluster.record.nodes}
    argument = json.dumps([endpoints, cluster.record.cluster, ELECTION, ttl_seconds, release])
    with subprocess.Popen([sys.executable, "-c", HOLDER, argument], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        async with client_of(cluster) as client:
            waiting = asyncio.ensure_future(take(client))
            await until_one_waits(client)
            died = time.monotonic()
            holder.kill()
            return await waiting - died


async def take(client: AsyncClient) -> float:
    """When the seat was taken; it is given back at once."""
    async with client.election(ELECTION):
        return time.monotonic()


async def until_one_waits(client: AsyncClient) -> None:
    """A candidate is in the queue."""
    while not (await client.election(ELECTION).current()).waiting:
        await asyncio.sleep(0.001)


def client_of(cluster: Running) -> AsyncClient:
    """A client of the cluster."""
    endpoints = {node.id: node.endpoint for node in cluster.record.nodes}
    return AsyncClient(endpoints, cluster=cluster.record.cluster)
