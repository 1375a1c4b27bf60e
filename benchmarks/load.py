"""How many writes and linearizable reads a cluster of processes takes, how long each lasts, and at what cost.

Owns the load: callers that each wait for their answer before they ask again, in one or several client
processes, and the reading of what clients and nodes spend. `measure` loads any cluster; `python -m
benchmarks load` starts one for it. Knows nothing of what the figures should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from benchmarks.cluster import percentile, running
from raft.client import AsyncClient, Client, ClientError
from raft.cluster.spec import ClusterRecord

ROOT = Path(__file__).resolve().parent.parent
LEAD_SECONDS = 0.1  # From the word to begin until the callers do.
KEYS = 10_000
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Load(Struct, frozen=True, kw_only=True):
    """What is asked of a cluster. A caller has one call open at a time; `reads` is the share of gets."""

    callers: int = 64
    clients: int = 1
    reads: float = 0.0
    value_bytes: int = 16
    seconds: float = 3.0
    warm_up_seconds: float = 0.5
    blocking: bool = False
    """With the blocking client; each caller is a process of its own then."""

    @property
    def processes(self) -> int:
        """How many client processes there are."""
        return self.callers if self.blocking else self.clients


class Figures(Struct, frozen=True, kw_only=True):
    """What came of it. CPU is user and system time of whole processes, for each operation done."""

    operations: int
    failed: int
    per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    servers_microseconds: float
    clients_microseconds: float

    def line(self) -> str:
        """The figures for people."""
        return (
            f"{self.per_second:>9,.0f}/s"
            f"  p50 {self.p50_milliseconds:>7.3f} ms  p99 {self.p99_milliseconds:>7.3f} ms"
            f"  CPU per operation: servers {self.servers_microseconds:>6.1f} us, "
            f"clients {self.clients_microseconds:>6.1f} us  failed {self.failed}"
        )


class _Task(Struct, frozen=True, kw_only=True):
    """What one client process is to do."""

    endpoints: dict[int, str]
    cluster: str
    load: Load
    callers: int
    seed: int


class _Done(Struct, frozen=True):
    """What one client process did in the time that counts."""

    latencies: list[float]
    failed: int


def python_in(tree: Path) -> list[str]:
    """The interpreter that runs the modules of a checkout, this one or another."""
    return ["env", "-C", str(tree), f"PYTHONPATH={tree}", sys.executable]


def measure(
    endpoints: dict[int, str], cluster: str, pids: Sequence[int], load: Load, tree: Path = ROOT
) -> Figures:
    """Load a cluster, and read what the processes `pids`, its nodes, spend on it."""
    shares = [
        load.callers // load.processes + (n < load.callers % load.processes) for n in range(load.processes)
    ]
    tasks = [
        _Task(endpoints=endpoints, cluster=cluster, load=load, callers=callers, seed=seed)
        for seed, callers in enumerate(shares)
    ]
    processes = [
        subprocess.Popen(
            [*python_in(tree), "-m", "benchmarks.load", "--task", msgspec.json.encode(task).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for task in tasks
    ]
    return drive(processes, pids, load)


def drive(processes: Sequence[subprocess.Popen[bytes]], pids: Sequence[int], load: Load) -> Figures:
    """Let client programs begin together, and read what they and the processes `pids` spend on it.

    Any program that says "ready", reads the moment to begin, and tells what it has done as `_Done`.
    """
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("a client did not come up")
    begin = time.monotonic() + LEAD_SECONDS + load.warm_up_seconds
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{begin}\n".encode())
        process.stdin.flush()
    _sleep_until(begin)
    own = [process.pid for process in processes]
    before = _used(pids), _used(own)
    _sleep_until(begin + load.seconds)
    servers_seconds, clients_seconds = _used(pids) - before[0], _used(own) - before[1]
    done = [msgspec.json.decode(process.communicate()[0], type=_Done) for process in processes]
    latencies = sorted(latency for one in done for latency in one.latencies)
    if not latencies:
        raise RuntimeError("no operation succeeded")
    count = len(latencies)
    return Figures(
        operations=count,
        failed=sum(one.failed for one in done),
        per_second=count / load.seconds,
        p50_milliseconds=1e3 * percentile(latencies, 0.50),
        p99_milliseconds=1e3 * percentile(latencies, 0.99),
        servers_microseconds=1e6 * servers_seconds / count,
        clients_microseconds=1e6 * clients_seconds / count,
    )


def measure_record(record: ClusterRecord, load: Load) -> Figures:
    """Load a cluster of the launcher's."""
    endpoints = {node.id: node.endpoint for node in record.nodes}
    return measure(endpoints, record.cluster, [node.pid for node in record.nodes if node.pid], load)


def _used(pids: Sequence[int]) -> float:
    return sum(map(cpu_seconds, pids))


def cpu_seconds(pid: int) -> float:
    """The user and system time that a process, with all its threads, has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


# -- in a client process --------------------------------------------------------------------------


class _Tally:
    """The latencies of one process, of what begins and ends within the time that counts."""

    def __init__(self, task: _Task, begin: float) -> None:
        self.end = begin + task.load.seconds
        self.latencies: list[float] = []
        self.failed = 0
        self._begin = begin
        self._random = Random(task.seed)
        self._reads = task.load.reads

    def draw(self) -> tuple[str, bool]:
        """The next key, and whether it is to be read."""
        return f"k{self._random.randrange(KEYS):08d}", self._random.random() < self._reads

    def note(self, asked: float, *, ok: bool) -> bool:
        """A call has ended; whether to go on."""
        now = time.monotonic()
        if self._begin <= now < self.end:
            if ok:
                self.latencies.append(now - asked)
            else:
                self.failed += 1
        return now < self.end


async def _call_for_ever(client: AsyncClient, tally: _Tally, value: bytes) -> None:
    going = True
    while going:
        key, is_read = tally.draw()
        asked = time.monotonic()
        ok = True
        try:
            if is_read:
                await client.get(key)
            else:
                await client.put(key, value)
        except ClientError:
            ok = False
        going = tally.note(asked, ok=ok)


async def _drive_asyncio(task: _Task) -> _Done:
    async with AsyncClient(task.endpoints, cluster=task.cluster) as client:
        await client.leader()
        tally = _Tally(task, _await_the_word())
        value = b"x" * task.load.value_bytes
        await asyncio.gather(*(_call_for_ever(client, tally, value) for _ in range(task.callers)))
        return _Done(tally.latencies, tally.failed)


def _drive_blocking(task: _Task) -> _Done:
    with Client(task.endpoints, cluster=task.cluster) as client:
        client.leader()
        tally = _Tally(task, _await_the_word())
        value = b"x" * task.load.value_bytes
        going = True
        while going:
            key, is_read = tally.draw()
            asked = time.monotonic()
            ok = True
            try:
                if is_read:
                    client.get(key)
                else:
                    client.put(key, value)
            except ClientError:
                ok = False
            going = tally.note(asked, ok=ok)
        return _Done(tally.latencies, tally.failed)


def _await_the_word() -> float:
    print("ready", flush=True)
    return float(sys.stdin.readline())


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


# -- the command line -----------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Start a cluster, load it as often as asked, and print a line each time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description=__doc__)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--clients", type=int, default=1, help="client processes")
    parser.add_argument("--reads", type=float, default=0.0, help="the share of gets, 0 to 1")
    parser.add_argument("--value-bytes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--blocking", action="store_true", help="the blocking client, a process a caller")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--up", action="append", default=[], help="an option for the launcher, as --up=--seed=7"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    if options.task:
        return _serve(msgspec.json.decode(options.task, type=_Task))
    with running(options.nodes, *options.up) as cluster:
        for _ in range(options.rounds):
            for callers in options.callers:
                load = Load(
                    callers=callers,
                    clients=min(options.clients, callers),
                    reads=options.reads,
                    value_bytes=options.value_bytes,
                    seconds=options.seconds,
                    blocking=options.blocking,
                )
                figures = measure_record(ClusterRecord.read(cluster.record_path), load)
                if options.output == "json":
                    told = {"nodes": options.nodes, **msgspec.structs.asdict(load)}
                    print(json.dumps({**told, **msgspec.structs.asdict(figures)}), flush=True)
                else:
                    print(f"{callers:>4} callers {figures.line()}", flush=True)
    return 0


def _serve(task: _Task) -> int:
    done = _drive_blocking(task) if task.load.blocking else asyncio.run(_drive_asyncio(task))
    sys.stdout.buffer.write(msgspec.json.encode(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
