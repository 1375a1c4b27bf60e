"""How quickly a real cluster of processes starts, replaces its leader, mends and idles.

Owns the person's view: it types the launcher's commands, kills from outside with plain signals, and
reads the clocks that all processes of a machine share: the launcher's events, and for "who knows of
whom" the nodes' own logs. `--only NAME` picks rows, `--rounds N` repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks._rows import Row, tell
from raft.cluster.records.events import ClusterReady, Event, EventReader, NodeExited, NodeStarted
from raft.cluster.rundir import RunDirectory, run_base
from raft.cluster.spec import ClusterRecord

LAUNCHER = Path(__file__).resolve().parent.parent / "launcher.py"
TIMEOUT_SECONDS = 60.0  # Also on a busy machine.
POLL_SECONDS = 0.002
NAME = f"bench-{os.getpid()}"


class Running:
    """One cluster that was started for a measurement."""

    def __init__(self, nodes: int, *options: str) -> None:
        self.started = time.monotonic()
        self._complaints = Path(tempfile.gettempdir()) / f"{NAME}.err"
        with self._complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                [sys.executable, str(LAUNCHER), "--nodes", str(nodes), "--name", NAME, *options],
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._await_start(RunDirectory(run_base() / NAME))
        except BaseException:
            self.stop()
            raise

    def _await_start(self, directory: RunDirectory) -> None:
        wait_until(lambda: directory.record.exists() or self._has_ended())
        self.record = ClusterRecord.read(directory.record)
        self._directory = directory
        self.record_path = directory.record
        wait_until(Path(self.record.events).exists)
        self._reader = EventReader(Path(self.record.events))
        self.ready = self.await_event(lambda event: isinstance(event, ClusterReady))

    def _has_ended(self) -> bool:
        """Whether the launcher has ended by itself; raises RuntimeError with its last words if so."""
        if self._process.poll() is None:
            return False
        told = self._complaints.read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"the launcher ended with {self._process.returncode}: {' '.join(told[-3:])}")

    def seconds_of(self, event: Event) -> float:
        """When it happened, on the monotonic clock."""
        return self.record.started_seconds + event.t

    def await_event(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event of that sort; what comes before it is passed over."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            for event in self._reader.new():
                if wanted(event):
                    return event
            time.sleep(POLL_SECONDS)
        raise TimeoutError("the cluster did not do what the measurement waits for")

    def pass_over(self) -> None:
        """Forget the events so far."""
        for _ in self._reader.new():
            pass

    def verb(self, *arguments: str) -> str:
        """Run a verb of the launcher, and return what it prints."""
        command = [sys.executable, str(LAUNCHER), *arguments, "--cluster", NAME]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes as the status verb tells them, the leader first."""
        status = json.loads(self.verb("status", "-o", "json"))
        nodes: list[dict[str, Any]] = status["nodes"]
        return sorted(nodes, key=lambda node: node["id"] != status["leader"])

    def await_followed(self, node: int, since: datetime) -> datetime:
        """When, after `since`, a node first noted in its log whom it follows."""
        log = Path(next(record.log for record in self.record.nodes if record.id == node))
        found: list[datetime] = []

        def look() -> bool:
            for line in log.read_bytes().splitlines():
                entry = json.loads(line)
                if entry["event"] == "leader-seen" and entry["leader"]:
                    time_seen = datetime.fromisoformat(entry["time"])
                    if time_seen > since:
                        found.append(time_seen)
                        return True
            return False

        wait_until(look)
        return found[0]

    def pids(self) -> list[int]:
        """The nodes' pids."""
        return [node.pid for node in ClusterRecord.read(self._directory.record).nodes]

    def stop(self) -> None:
        """End it gracefully."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(TIMEOUT_SECONDS)
        self._complaints.unlink()


@contextlib.contextmanager
def running(nodes: int, *options: str) -> Iterator[Running]:
    """A cluster for the length of a block."""
    cluster = Running(nodes, *options)
    try:
        yield cluster
    finally:
        cluster.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again, for a bounded time."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(POLL_SECONDS)


def settle(seconds: float) -> None:
    """Let everything that was just disturbed come to rest."""
    time.sleep(seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def starts(nodes: int, rounds: int) -> float:
    """Exec of the launcher until all nodes know one leader: the median, in seconds."""
    took = []
    for _ in range(rounds):
        with running(nodes) as cluster:
            took.append(cluster.seconds_of(cluster.ready) - cluster.started)
    return statistics.median(took)


def start_rows(rounds: int) -> Iterator[Row]:
    """Cold starts."""
    for nodes, limit in ((5, 0.7), (3, 0.6), (25, 3.0)):
        took = starts(nodes, rounds if nodes < 10 else max(1, rounds // 2))
        yield Row(f"start, {nodes} nodes", took, "s", limit)


def replacements(cluster: Running, sent: signal.Signals, rounds: int) -> Iterator[float]:
    """Send the leader a signal; milliseconds until all survivors know the next."""
    for _ in range(rounds):
        leader, *survivors = cluster.nodes()
        cluster.pass_over()
        began = datetime.now(UTC)
        os.kill(leader["pid"], sent)
        known = max(cluster.await_followed(node["id"], began) for node in survivors)
        yield 1000 * (known - began).total_seconds()
        if sent is signal.SIGSTOP:
            os.kill(leader["pid"], signal.SIGCONT)
            cluster.await_followed(leader["id"], began)
        else:
            cluster.await_event(is_start_of(leader["id"]))
        settle(0.7)


def failover_rows(rounds: int) -> Iterator[Row]:
    """A leader killed, and a leader stopped, from outside."""
    with running(5) as cluster:
        killed = list(replacements(cluster, signal.SIGKILL, 4 * rounds))
    yield Row("leader killed, p50", percentile(killed, 0.50), "ms", 15.0)
    yield Row("leader killed, p95", percentile(killed, 0.95), "ms", 50.0)
    with running(5) as cluster:
        paused = list(replacements(cluster, signal.SIGSTOP, 2 * rounds))
    yield Row("leader paused, p50", percentile(paused, 0.50), "ms", 550.0)
    yield Row("leader paused, p95", percentile(paused, 0.95), "ms", 550.0)


def is_start_of(node: int) -> Callable[[Event], bool]:
    """Whether an event tells that `node` takes part again."""
    return lambda event: isinstance(event, NodeStarted) and event.node == node


def return_rows(rounds: int) -> Iterator[Row]:
    """A killed node, started again, until it follows the leader; nothing is left to fetch then."""
    took = []
    with running(5) as cluster:
        for number in range(2 * rounds):
            cluster.pass_over()
            cluster.verb("kill", "random")
            killed = cluster.await_event(lambda event: isinstance(event, NodeExited))
            assert isinstance(killed, NodeExited)
            cluster.verb("put", f"k{number}", "v")
            asked = datetime.now(UTC)
            cluster.verb("start", str(killed.node))
            started = cluster.await_event(is_start_of(killed.node))
            assert isinstance(started, NodeStarted)
            followed = cluster.await_followed(killed.node, asked) - datetime.fromisoformat(started.wall)
            took.append(started.took_ms + 1000 * followed.total_seconds())
            settle(0.3)
            assert {node["applied"] for node in cluster.nodes()} == {cluster.nodes()[0]["applied"]}
    yield Row("killed node back and caught up", statistics.median(took), "ms", 100.0)


def idle_rows(rounds: int) -> Iterator[Row]:
    """What a node costs while nothing happens."""
    yield from rest(5, rounds, cpu_percent=1.0)


def many_rows(rounds: int) -> Iterator[Row]:
    """The same, of many; the leader is the busiest, as it tells all others that it is there."""
    for nodes in (25, 51):
        yield from rest(nodes, rounds, cpu_percent=25.0)


def rest(nodes: int, rounds: int, *, cpu_percent: float) -> Iterator[Row]:
    """So many nodes at rest, none of which should take more CPU than that."""
    with running(nodes) as cluster:
        settle(1.0)
        processes = [psutil.Process(pid) for pid in cluster.pids()]
        before = [sum(process.cpu_times()[:2]) for process in processes]
        seconds = 2.0 * rounds
        settle(seconds)
        after = [sum(process.cpu_times()[:2]) for process in processes]
        memory = [process.memory_full_info() for process in processes]
    busy = [100 * (late - early) / seconds for early, late in zip(before, after, strict=True)]
    yield Row(f"idle CPU, mean of {nodes} nodes", statistics.mean(busy), "%", 1.0)
    yield Row("idle CPU, busiest node", max(busy), "%", cpu_percent)
    yield Row("resident memory", statistics.median(m.rss for m in memory) / 1e6, "MB", 40.0)
    yield Row("proportional share (PSS)", statistics.median(m.pss for m in memory) / 1e6, "MB", 20.0)


def verb_rows(rounds: int) -> Iterator[Row]:
    """Exec of a verb until its output."""
    with running(5) as cluster:
        cluster.verb("put", "k", "v")
        for words in (["status"], ["leader"], ["get", "k"]):
            took = []
            for _ in range(2 * rounds):
                began = time.monotonic()
                cluster.verb(*words)
                took.append(time.monotonic() - began)
            yield Row(f"verb {words[0]}", statistics.median(took), "s", 0.25)


GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    "start": start_rows,
    "failover": failover_rows,
    "return": return_rows,
    "idle": idle_rows,
    "many": many_rows,
    "verbs": verb_rows,
}


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a row each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=sorted(GROUPS), action="append")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    names = options.only or list(GROUPS)
    return tell((row for name in names for row in GROUPS[name](options.rounds)), options.output)
