"""What one more node costs: messages, bytes and CPU for each operation and at rest, by the number of nodes.

Owns a quiet simulated world (no faults, no checkers) and the straight lines through what is measured in
it. The nodes are the real code on a simulated network, disk and clock, so counts are exact and the same
anywhere; the CPU is real, that of all nodes together, the simulation's own included. Knows no real process.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from msgspec import Struct, structs

from raft.client.calls import routing
from raft.client.calls.steps import RetryBudget
from raft.client.calls.store import put_request
from raft.client.errors import ClientError
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.host import Host
from raft.lab.simulation.hosts.machines import Machines
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.hosts.network import SimulatedNetwork
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting
from raft.protocol.client import Committed

SIZES = (3, 5, 7, 9, 15, 25, 51, 101)
VALUE = b"x" * 16
KEYS = 1_000
ELECTION_SECONDS_MAX = 20.0
REST_SECONDS = 1.0
CALL_SECONDS_MAX = 10.0


class Line(Struct, frozen=True):
    """`fixed` + `each` x nodes, and how much of the variance it explains."""

    what: str
    fixed: float
    each: float
    explained: float


class Cost(Struct, frozen=True, kw_only=True):
    """One size of cluster. Frames and bytes are those between nodes; a frame holds any number of messages."""

    nodes: int
    idle_frames: float  # Of the whole cluster, a second.
    idle_bytes: float
    idle_cpu_ms: float
    lone_frames: float  # For each operation, one at a time.
    lone_bytes: float
    lone_cpu_us: float
    lone_ms: float  # Simulated: of network and disk only.
    batch_frames: float  # For each operation, 64 at a time.
    batch_bytes: float
    batch_cpu_us: float


class Quiet:
    """A cluster to which nothing happens, and what its nodes say to each other."""

    def __init__(self, nodes: int) -> None:
        self.setting = Setting(
            seed=nodes,
            nodes=nodes,
            heartbeat_seconds=0.05,
            election_seconds_min=0.25,
            election_seconds_max=0.5,
            latency_seconds=0.000_5,
            write_seconds=0.000_5,
            segment_bytes=16 * 1024 * 1024,
        )
        self.event_queue = EventQueue()
        self.frames = 0
        self.bytes = 0
        run_log = RunLog(self.event_queue.now)
        network = SimulatedNetwork(
            self.event_queue, self.setting.dice("network"), run_log, latency_seconds=0.000_5
        )
        network.tap = self._count
        machines = Machines(self.setting, self.event_queue)
        self.members = {
            node: Member(
                node,
                setting=self.setting,
                event_queue=self.event_queue,
                network=network,
                run_log=run_log,
                observer=self,
                machines=machines,
            )
            for node in self.setting.ids
        }
        self._names = {member.name for member in self.members.values()}
        host = Host(
            "client", 1, event_queue=self.event_queue, network=network, dice=self.setting.dice("client")
        )
        self._caller = Caller(host, setting=self.setting, event_queue=self.event_queue)
        for member in self.members.values():
            self.event_queue.after(0.001, member.start)
        assert self.event_queue.run_until(ELECTION_SECONDS_MAX, self._has_leader), "no leader is elected"
        self.event_queue.run_until(self.event_queue.now() + REST_SECONDS)

    def started(self, member: Member) -> None:
        """See `Observer`."""

    def forgotten(self, member: Member) -> None:
        """See `Observer`."""

    def looked(self, member: Member) -> None:
        """See `Observer`."""

    def rest(self, seconds: float) -> tuple[int, int, float]:
        """Let time pass: frames, bytes and seconds of CPU."""
        frames, size, spent = self.frames, self.bytes, time.process_time()
        self.event_queue.run_until(self.event_queue.now() + seconds)
        return self.frames - frames, self.bytes - size, time.process_time() - spent

    def write(self, count: int, callers: int) -> tuple[int, int, float, float]:
        """So many writes, so many at once: frames, bytes, seconds of CPU and simulated seconds."""
        numbers = iter(range(count))
        done = 0

        def ask() -> None:
            number = next(numbers, None)
            if number is not None:
                body = put_request(f"k{number % KEYS:06}", VALUE)
                budget = RetryBudget(self.event_queue.now, CALL_SECONDS_MAX)
                self._caller.run_call(routing.command(self._caller.view, body, budget), answered, failed)

        def answered(committed: Committed) -> None:
            nonlocal done
            del committed
            done += 1
            ask()

        def failed(error: ClientError) -> None:
            raise RuntimeError("nothing can fail here") from error

        frames, size, spent, began = self.frames, self.bytes, time.process_time(), self.event_queue.now()
        for _ in range(callers):
            ask()
        assert self.event_queue.run_until(began + count, lambda: done == count), "not everything was written"
        spent = time.process_time() - spent
        return self.frames - frames, self.bytes - size, spent, self.event_queue.now() - began

    def _count(self, source: str, target: str, payload: bytes) -> None:
        if source in self._names and target in self._names:
            self.frames += 1
            self.bytes += len(payload)

    def _has_leader(self) -> bool:
        rafts = [member.raft for member in self.members.values()]
        leaders = {raft.leader for raft in rafts if raft is not None}
        return None not in rafts and len(leaders) == 1 and 0 not in leaders


def measure(nodes: int, operations: int, idle_seconds: float) -> Cost:
    """All figures of one size."""
    cluster = Quiet(nodes)
    cluster.write(64, 64)
    cluster.rest(REST_SECONDS)
    gc.collect()
    frames, size, spent = cluster.rest(idle_seconds)
    lone_count = max(20, operations // 10)
    lone = cluster.write(lone_count, 1)
    batch = cluster.write(operations, 64)
    return Cost(
        nodes=nodes,
        idle_frames=frames / idle_seconds,
        idle_bytes=size / idle_seconds,
        idle_cpu_ms=1e3 * spent / idle_seconds,
        lone_frames=lone[0] / lone_count,
        lone_bytes=lone[1] / lone_count,
        lone_cpu_us=1e6 * lone[2] / lone_count,
        lone_ms=1e3 * lone[3] / lone_count,
        batch_frames=batch[0] / operations,
        batch_bytes=batch[1] / operations,
        batch_cpu_us=1e6 * batch[2] / operations,
    )


FITTED = (
    ("idle_frames", "frames a second, idle"),
    ("idle_bytes", "bytes a second, idle"),
    ("idle_cpu_ms", "ms of CPU a second, idle"),
    ("lone_frames", "frames a write, alone"),
    ("lone_bytes", "bytes a write, alone"),
    ("lone_cpu_us", "us of CPU a write, alone"),
    ("batch_frames", "frames a write, 64 callers"),
    ("batch_bytes", "bytes a write, 64 callers"),
    ("batch_cpu_us", "us of CPU a write, 64 callers"),
)


def fit(costs: Sequence[Cost]) -> Iterator[Line]:
    """A straight line through each figure, by least squares."""
    nodes = [float(cost.nodes) for cost in costs]
    for name, what in FITTED:
        values = [float(getattr(cost, name)) for cost in costs]
        slope, intercept = statistics.linear_regression(nodes, values)
        yield Line(what, intercept, slope, statistics.correlation(nodes, values) ** 2)


def table(costs: Sequence[Cost]) -> Iterator[str]:
    """As markdown."""
    yield "| nodes | idle: frames/s | bytes/s | CPU ms/s | alone: frames | bytes | CPU us | ms (simulated) | 64 callers: frames | bytes | CPU us |"  # noqa: E501
    yield "| ---: |" + " ---: |" * 10
    for c in costs:
        yield (
            f"| {c.nodes} | {c.idle_frames:,.0f} | {c.idle_bytes:,.0f} | {c.idle_cpu_ms:,.1f} "
            f"| {c.lone_frames:,.1f} | {c.lone_bytes:,.0f} | {c.lone_cpu_us:,.0f} | {c.lone_ms:.2f} "
            f"| {c.batch_frames:,.2f} | {c.batch_bytes:,.0f} | {c.batch_cpu_us:,.0f} |"
        )


def lines(fitted: Sequence[Line]) -> Iterator[str]:
    """As markdown."""
    yield "| figure | fixed | each node | explained |"
    yield "| --- | ---: | ---: | ---: |"
    for line in fitted:
        yield f"| {line.what} | {line.fixed:,.2f} | {line.each:,.2f} | {line.explained:.4f} |"


def main(arguments: Sequence[str]) -> int:
    """Measure every size, print the table and the lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--operations", type=int, default=2_000)
    parser.add_argument("--idle-seconds", type=float, default=5.0, help="simulated")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    costs = []
    for nodes in options.nodes:
        print(f"{nodes} nodes", file=sys.stderr)
        costs.append(measure(nodes, options.operations, options.idle_seconds))
    fitted = list(fit(costs)) if len(costs) > 1 else []
    if options.output == "json":
        told = {
            "v": 1,
            "costs": [structs.asdict(cost) for cost in costs],
            "lines": [structs.asdict(line) for line in fitted],
        }
        print(json.dumps(told, indent=1))
        return 0
    print("\n".join([*table(costs), "", *lines(fitted)]))
    return 0
