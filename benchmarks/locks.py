"""Locks as a Python program takes them: this project's beside redis-py's and kazoo's, in one run.

Owns the servers of each, started by hand on the loopback interface (one Redis that syncs each write; three
of ZooKeeper; three nodes of this project by the launcher), and what is timed: to take and give back a lock
that is free, to get one that is given back, one whose holder was killed, and one while the servers' leader is
killed. What is not installed is left out and named: redis-server, zookeeperd (Debian); redis, kazoo (the
extra `bench`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from benchmarks.cluster import Running, running, wait_until
from benchmarks.peers.peer import free_ports
from raft.client import Client
from raft.cluster.spec import ClusterRecord

TTL_SECONDS = 2.0  # Of a lock's lease or of the session that holds it.
TICK_MILLISECONDS = 500  # ZooKeeper's sessions last two at least.
NAME = "bench"
MILLISECONDS = 1000.0
START_SECONDS_MAX = 30.0
ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")


class Locks(Protocol):
    """One kind of lock, whose servers run."""

    name: str
    at: str
    """Where a client finds them, in a form of the peer's own."""

    def kill_leader(self) -> bool:
        """Kill the server that leads with SIGKILL; False if there is but one."""
        ...


class Ours:
    """This project."""

    name = "raft-actors"

    def __init__(self, cluster: Running) -> None:
        self._cluster = cluster
        record = ClusterRecord.read(cluster.record_path)
        self.at = json.dumps([{node.id: node.endpoint for node in record.nodes}, cluster.record.cluster])

    def kill_leader(self) -> bool:
        """See `Locks`."""
        self._cluster.verb("kill", "leader")
        return True


class Served:
    """Servers that were started here, by pid; of ZooKeeper's the one that leads says so when it is asked."""

    def __init__(self, name: str, ports: Sequence[int], servers: Sequence[subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.at = ",".join(f"127.0.0.1:{port}" for port in ports)
        self._by_port = dict(zip(ports, servers, strict=True))

    def kill_leader(self) -> bool:
        """See `Locks`."""
        leaders = [port for port in self._by_port if b"Mode: leader" in asked(port, b"srvr")]
        for port in leaders:
            self._by_port[port].kill()
        return bool(leaders)


@contextmanager
def ours(work: Path) -> Iterator[Locks]:
    """Three nodes of this project, which sync each write."""
    with tempfile.TemporaryDirectory(dir=work) as data, running(3, "--data-dir", data) as cluster:
        yield Ours(cluster)


@contextmanager
def redis(work: Path) -> Iterator[Locks]:
    """One server of Redis, which syncs each write: its lock is one key, and it has no quorum."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(dir=work) as data:
        command = ["redis-server", "--port", str(port), "--dir", data, "--appendonly", "yes"]
        with started([[*command, "--appendfsync", "always", "--bind", "127.0.0.1"]]) as servers:
            wait_until(lambda: b"PONG" in asked(port, b"PING\r\n"))
            yield Served("redis-py", [port], servers)


@contextmanager
def zookeeper(work: Path) -> Iterator[Locks]:
    """Three servers of ZooKeeper, which sync each write."""
    clients, peers, votes = (free_ports(9)[at::3] for at in range(3))
    ensemble = [
        f"server.{number}=127.0.0.1:{peer}:{vote}"
        for number, (peer, vote) in enumerate(zip(peers, votes, strict=True), 1)
    ]
    with tempfile.TemporaryDirectory(dir=work) as data:
        commands = []
        for number, port in enumerate(clients, 1):
            home = Path(data) / str(number)
            home.mkdir()
            (home / "myid").write_text(str(number))
            settings = [
                f"tickTime={TICK_MILLISECONDS}", "initLimit=20", "syncLimit=10", f"dataDir={home}",
                f"clientPort={port}", "clientPortAddress=127.0.0.1", "admin.enableServer=false",
                "4lw.commands.whitelist=srvr", *ensemble,
            ]  # fmt: skip
            (home / "zoo.cfg").write_text("\n".join(settings) + "\n")
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            commands.append(["java", "-cp", str(ZOOKEEPER), main, str(home / "zoo.cfg")])
        with started(commands) as servers:
            wait_until(lambda: any(b"Mode: leader" in asked(port, b"srvr") for port in clients))
            wait_until(lambda: all(b"Mode: " in asked(port, b"srvr") for port in clients))
            yield Served("kazoo", clients, servers)


def missing() -> dict[str, str]:
    """What would have to be installed, by peer."""
    found = {}
    if not shutil.which("redis-server") or importlib.util.find_spec("redis") is None:
        found["redis-py"] = "redis-server (Debian), redis (pip install 'raft-actors[bench]')"
    if not ZOOKEEPER.exists() or not shutil.which("java") or importlib.util.find_spec("kazoo") is None:
        found["kazoo"] = "zookeeperd (Debian), kazoo (pip install 'raft-actors[bench]')"
    return found


PEERS = {"raft-actors": ours, "redis-py": redis, "kazoo": zookeeper}


@contextmanager
def started(commands: Sequence[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes, which are killed in the end."""
    with ExitStack() as stack:
        servers = []
        for command in commands:
            server = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(server.kill)
            servers.append(server)
        yield servers


def asked(port: int, question: bytes) -> bytes:
    """What a server answers; nothing while it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(question)
            return connection.recv(4096)
    except OSError:
        return b""


# -- clients --------------------------------------------------------------------------------------------


class Connected:
    """A client of a peer."""

    def __init__(self, peer: str, at: str) -> None:
        self._peer = peer
        self._client: Any
        if peer == "raft-actors":
            endpoints, cluster = json.loads(at)
            self._client = Client({int(node): each for node, each in endpoints.items()}, cluster=cluster)
        elif peer == "redis-py":
            from redis import Redis

            host, _, port = at.partition(":")
            self._client = Redis(host, int(port))
        else:
            from kazoo.client import KazooClient

            logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # It tells of each try to connect.
            self._client = KazooClient(at, timeout=TTL_SECONDS)
            self._client.start(START_SECONDS_MAX)

    def lock(self) -> AbstractContextManager[object]:
        """The lock, as the peer's own documents take it, with a lease of the same length."""
        lock: AbstractContextManager[object]
        if self._peer == "raft-actors":
            lock = self._client.lock(NAME, ttl=TTL_SECONDS)
        elif self._peer == "redis-py":
            lock = self._client.lock(NAME, timeout=TTL_SECONDS)
        else:
            lock = self._client.Lock(f"/{NAME}")
        return lock

    def close(self) -> None:
        """Give the connection back."""
        if self._peer == "kazoo":
            self._client.stop()
        self._client.close()


def hold(peer: str, at: str) -> None:
    """In a process of its own: take the lock, say so, and be killed."""
    with Connected(peer, at).lock():
        print("held", flush=True)
        threading.Event().wait()


# -- what is timed --------------------------------------------------------------------------------------


def free(client: Connected, count: int) -> list[float]:
    """To take and give back a lock that is free, one after the other."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        with client.lock():
            pass
        took.append(time.monotonic() - began)
    return took


def given_back(one: Connected, other: Connected, count: int) -> list[float]:
    """From giving a lock back until the one who waits for it has it."""
    took = []
    for _ in range(count):
        had: list[float] = []

        def take(had: list[float] = had) -> None:
            with other.lock():
                had.append(time.monotonic())

        waiting = threading.Thread(target=take)
        with one.lock():
            waiting.start()
            time.sleep(0.25)  # It waits, by whatever means.
            left = time.monotonic()
        waiting.join()
        took.append(had[0] - left)
    return took


def holder_killed(locks: Locks, client: Connected) -> float:
    """From the killing of the holder's process until the one who waits has the lock."""
    command = [sys.executable, "-m", "benchmarks", "locks", "--hold", locks.name, "--at", locks.at]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        died = time.monotonic()
        holder.kill()
        with client.lock():
            return time.monotonic() - died


def leader_killed(locks: Locks, client: Connected) -> float | None:
    """From the leading server's death until a lock is taken and given back; None if it is alone."""
    if not locks.kill_leader():
        return None
    began = time.monotonic()
    while True:
        try:
            with client.lock():
                pass
        except Exception as error:  # Each peer has errors of its own for this.
            if time.monotonic() - began > START_SECONDS_MAX:
                raise RuntimeError(f"{locks.name} did not recover") from error
            continue
        return time.monotonic() - began


def measure(locks: Locks, rounds: int) -> Iterator[tuple[str, float]]:
    """All figures of one kind of lock, in milliseconds."""
    with ExitStack() as stack:
        one, other = (Connected(locks.name, locks.at) for _ in range(2))
        stack.callback(one.close)
        stack.callback(other.close)
        free(one, 3)
        yield "take and give back, free: p50", MILLISECONDS * statistics.median(free(one, 20 * rounds))
        yield (
            "given back until taken: p50",
            MILLISECONDS * statistics.median(given_back(one, other, 2 * rounds)),
        )
        lost = statistics.median(holder_killed(locks, one) for _ in range(rounds))
        yield f"holder killed, lease of {TTL_SECONDS:g} s, until taken", MILLISECONDS * lost
        took = leader_killed(locks, one)
        if took is not None:
            yield "servers' leader killed until taken and given back", MILLISECONDS * took


def table(figures: dict[str, dict[str, float]]) -> Iterator[str]:
    """As markdown: a row a figure, a column a peer."""
    yield f"| milliseconds | {' | '.join(figures)} |"
    yield "| --- |" + " ---: |" * len(figures)
    for what in dict.fromkeys(what for each in figures.values() for what in each):
        cells = (f"{each[what]:,.2f}" if what in each else "" for each in figures.values())
        yield f"| {what} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] = ()) -> int:
    """Measure all that is installed, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks locks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--peer", choices=PEERS, action="append", help="only that one")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()), help="where the servers write"
    )
    parser.add_argument("--hold", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--at", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.hold:
        hold(given.hold, given.at)
        return 0
    figures: dict[str, dict[str, float]] = {}
    absent = missing()
    for name in given.peer or PEERS:
        if name in absent:
            print(f"left out: {name}: install {absent[name]}", file=sys.stderr)
            continue
        print(name, file=sys.stderr)
        with PEERS[name](given.work) as locks:
            figures[name] = dict(measure(locks, 1 if given.quick else given.rounds))
    print("\n".join(table(figures)))
    return 0
