"""How quickly a node is back, how little a snapshot disturbs, and how much memory a long run takes.

Owns the view from outside: real processes, a client that writes, another one that asks each node again
and again whether it is there. A node's longest silence bounds the longest stall of its loop. `--only NAME`
picks rows.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import psutil

from benchmarks._rows import Row, tell
from benchmarks.cluster import LAUNCHER, NAME, Running, is_start_of, running, wait_until
from raft.client.asyncio_client import AsyncClient
from raft.client.calls.store import get_request, value_of
from raft.client.connection import Connection
from raft.cluster.records.events import NodeStarted
from raft.cluster.spec import ClusterRecord
from raft.protocol.client import Consistency, Query, QueryResult, WhoLeads
from raft.protocol.registry import address_of

ENTRIES = 100_000
VALUE_BYTES = 256
STATE_BYTES = 100 * 1000 * 1000
STATE_VALUE_BYTES = 1000
WRITERS = 256
KEYS = 10_000
ASK_SECONDS_MAX = 10.0
PROBE_SECONDS_MAX = 90.0
ASK_AGAIN_SECONDS = 0.002
PARTS = ("recovery", "restarts", "stalls", "memory")
NO_SNAPSHOTS = ("--snapshot-entries", "0", "--snapshot-bytes", "0")


def endpoints(cluster: Running) -> dict[int, str]:
    """Where the nodes of now listen."""
    record = ClusterRecord.read(cluster.record_path)
    return {node.id: node.endpoint for node in record.nodes}


def write(
    cluster: Running,
    count: int,
    value_bytes: int,
    keys: int,
    seen: Callable[[int], None] = lambda _: None,
) -> float:
    """Commit so many writes, many at once; the seconds it took. `seen` is told how many, now and then."""

    async def all_of_it() -> None:
        numbers = iter(range(count))
        async with AsyncClient(
            endpoints(cluster), cluster=cluster.record.cluster, timeout_seconds=30.0
        ) as client:

            async def writer() -> None:
                for number in numbers:
                    value = f"{number}:".encode().ljust(value_bytes, b"x")
                    await client.put(f"key-{number % keys:08}", value)
                    if number % 50_000 == 0:
                        seen(number)

            await asyncio.gather(*(writer() for _ in range(WRITERS)))

    began = time.monotonic()
    asyncio.run(all_of_it())
    return time.monotonic() - began


class Prober:
    """Asks every node again as soon as it has answered."""

    def __init__(self, cluster: Running) -> None:
        self._connection = Connection(endpoints(cluster), cluster=cluster.record.cluster, keys=None)
        self.silence_seconds = dict.fromkeys(self._connection.endpoints, 0.0)
        self._asked: set[int] = set()
        self.own_seconds = 0.0  # The longest that this process was not running: the others are no better off.

    def run_until(self, done: Callable[[], bool]) -> None:
        """Ask until `done`, and until all answers are in."""
        deadline = time.monotonic() + PROBE_SECONDS_MAX
        turned = time.monotonic()
        while not done():
            self.own_seconds = max(self.own_seconds, time.monotonic() - turned)
            turned = time.monotonic()
            assert time.monotonic() < deadline, "what the measurement waits for did not happen"
            for node in self.silence_seconds:
                if node not in self._asked and self._connection.is_up(node):
                    self._ask(node)
            self._connection.runtime.run_turn(ASK_AGAIN_SECONDS)
        while self._asked:
            self._connection.runtime.run_turn(ASK_AGAIN_SECONDS)

    def holds(self, node: int, key: str, prefix: bytes) -> bool:
        """Does the node itself believe that the key's value begins like that?"""
        if not self._connection.is_up(node):
            # Asking would fail at once, and the connection would get no turn to be made in.
            self._connection.runtime.run_turn(ASK_AGAIN_SECONDS)
            return False
        request = Query(get_request(key), Consistency.STALE)
        answers: list[object] = []
        self._connection.runtime.ask(address_of(node), request, 1.0).then(answers.append, answers.append)
        self._connection.runtime.run_until(lambda: bool(answers), 1.1)
        answer = answers[0] if answers else None
        return isinstance(answer, QueryResult) and (value_of(answer.result) or b"").startswith(prefix)

    def close(self) -> None:
        """Give the connections back."""
        self._connection.close()

    def _ask(self, node: int) -> None:
        began = time.monotonic()
        self._asked.add(node)

        def answered(_answer: object) -> None:
            self._asked.discard(node)
            silence_seconds = time.monotonic() - began
            self.silence_seconds[node] = max(self.silence_seconds[node], silence_seconds)

        self._connection.runtime.ask(address_of(node), WhoLeads(), ASK_SECONDS_MAX).then(answered, answered)


def verb(*words: str) -> subprocess.Popen[bytes]:
    """A verb of the launcher, on its way."""
    command = [sys.executable, str(LAUNCHER), *words, "--cluster", NAME]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def recovery_rows() -> Iterator[Row]:
    """A log without a snapshot: read again by the node that has it, and sent to one that has nothing."""
    last = f"key-{(ENTRIES - 1) % KEYS:08}", f"{ENTRIES - 1}:".encode()
    with running(3, *NO_SNAPSHOTS) as cluster:
        took = write(cluster, ENTRIES, VALUE_BYTES, KEYS)
        yield Row("write the log", took, "s", 60.0)
        prober = Prober(cluster)
        wait_until(lambda: all(prober.holds(node, *last) for node in (1, 2, 3)))
        yield Row(f"recover {ENTRIES:,} entries", restarted(cluster, prober, last), "s", 1.5)
        prober.close()
        began = time.monotonic()
        joining = verb("member", "add")
        wait_until(lambda: 4 in endpoints(cluster))
        prober = Prober(cluster)
        wait_until(lambda: prober.holds(4, *last))
        yield Row(f"fresh node, {ENTRIES:,} entries", time.monotonic() - began, "s", 3.0)
        joining.wait()
        prober.close()


def restart_rows() -> Iterator[Row]:
    """The same run with snapshots as they come: the last one is read again, and the entries after it."""
    last = f"key-{(ENTRIES - 1) % KEYS:08}", f"{ENTRIES - 1}:".encode()
    with running(3) as cluster:
        write(cluster, ENTRIES, VALUE_BYTES, KEYS)
        prober = Prober(cluster)
        wait_until(lambda: all(prober.holds(node, *last) for node in (1, 2, 3)))
        took = statistics.median(restarted(cluster, prober, last) for _ in range(5))
        yield Row(f"restart after {ENTRIES:,} entries, with snapshots", took, "s", 0.4)
        prober.close()


def restarted(cluster: Running, prober: Prober, last: tuple[str, bytes]) -> float:
    """Kill a follower and start it: the seconds from its process's beginning until it has the last write."""
    follower = int(cluster.nodes()[-1]["id"])
    cluster.verb("kill", str(follower))
    cluster.pass_over()
    starting = verb("start", str(follower))
    wait_until(lambda: prober.holds(follower, *last))
    held_seconds = time.monotonic()
    starting.wait()
    up = cluster.await_event(is_start_of(follower))
    assert isinstance(up, NodeStarted)
    return held_seconds - (cluster.seconds_of(up) - up.took_ms / 1000)


def stall_rows() -> Iterator[Row]:
    """A state of 100 MB: taken, sent, restored. Half an election timeout is 125 ms."""
    count = STATE_BYTES // STATE_VALUE_BYTES
    last = f"key-{count - 1:08}", f"{count - 1}:".encode()
    with running(3, *NO_SNAPSHOTS) as cluster:
        write(cluster, count, STATE_VALUE_BYTES, count)
        prober = Prober(cluster)
        ends = time.monotonic() + 1.0
        prober.run_until(lambda: time.monotonic() > ends)
        yield Row("longest silence, idle", 1000 * max(prober.silence_seconds.values()), "ms", 125.0)
        prober.close()

        prober, began = Prober(cluster), time.monotonic()
        taking = verb("snapshot", "all")
        prober.run_until(lambda: taking.poll() is not None)
        yield Row("all snapshot 100 MB", time.monotonic() - began, "s", 30.0)
        yield Row("longest silence meanwhile", 1000 * max(prober.silence_seconds.values()), "ms", 125.0)
        prober.close()

        began = time.monotonic()
        joining = verb("member", "add")
        wait_until(lambda: 4 in endpoints(cluster))
        prober = Prober(cluster)
        prober.run_until(lambda: joining.poll() is not None)
        wait_until(lambda: prober.holds(4, *last))
        yield Row("fresh node has 100 MB", time.monotonic() - began, "s", 30.0)
        fresh = prober.silence_seconds.pop(4)
        yield Row("longest silence of the fresh node", 1000 * fresh, "ms", 125.0)
        yield Row("longest pause of the one who asks", 1000 * prober.own_seconds, "ms", 125.0)
        yield Row("longest silence of the others", 1000 * max(prober.silence_seconds.values()), "ms", 125.0)
        prober.close()


def memory_rows(writes: int) -> Iterator[Row]:
    """Many writes on few keys, with snapshots as they come; each process's share of the memory (PSS)."""
    with running(3) as cluster:
        processes = [psutil.Process(pid) for pid in cluster.pids()]
        sizes: list[tuple[int, float]] = []

        def look(number: int) -> None:
            sizes.append((number, max(process.memory_full_info().pss for process in processes) / 2**20))

        took = write(cluster, writes, VALUE_BYTES, KEYS, look)
        look(writes)
    yield Row(f"{writes:,} writes, per second", writes / took, "/s", float("inf"))
    half = [size for number, size in sizes if writes / 4 <= number <= writes / 2]
    end = [size for number, size in sizes if number > writes * 3 / 4]
    yield Row("memory, a quarter to half way", max(half), "MiB", 90.0)
    yield Row("memory, last quarter", max(end), "MiB", 90.0)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a row each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recovery", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--writes", type=int, default=1_000_000, help="for the memory (1,000,000)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)

    def rows() -> Iterator[Row]:
        wanted = options.only or PARTS
        if "recovery" in wanted:
            yield from recovery_rows()
        if "restarts" in wanted:
            yield from restart_rows()
        if "stalls" in wanted:
            yield from stall_rows()
        if "memory" in wanted:
            yield from memory_rows(options.writes)

    return tell(rows(), options.output)
