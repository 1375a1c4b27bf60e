"""Real clusters for tests: started by the command line like a person's, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from raft.client.client import Client
from raft.cluster.records.events import ClusterReady, Event, EventReader
from raft.cluster.rpc.launcher_client import Launcher
from raft.cluster.rundir import RunDirectory, run_base
from raft.cluster.spec import ClusterRecord
from tests.processes.verbs import verb_host

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 60.0

LOOK_AGAIN_SECONDS = 0.003

E = TypeVar("E", bound=Event)


def wait_until(condition: Callable[[], bool], timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again; fails when it never comes true."""
    deadline = time.monotonic() + timeout_seconds
    never = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        never.wait(LOOK_AGAIN_SECONDS)


class Cluster:
    """One running cluster, its events so far, and ways to it."""

    def __init__(self, nodes: int, options: tuple[str, ...]) -> None:
        self.name = f"test-{os.getpid()}-{secrets.token_hex(3)}"
        self.process = subprocess.Popen(
            [sys.executable, "launcher.py", "--nodes", str(nodes), "--name", self.name, *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.directory = RunDirectory(run_base() / self.name)
        wait_until(lambda: self.directory.record.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        self.record = ClusterRecord.read(self.directory.record)
        wait_until(Path(self.record.events).exists)
        self.events: list[Event] = []
        self._reader = EventReader(Path(self.record.events))
        self.await_event(ClusterReady)

    def read_events(self) -> list[Event]:
        """All events so far."""
        self.events.extend(self._reader.new())
        return self.events

    def await_event(self, kind: type[E], wanted: Callable[[E], bool] = lambda _: True, after: int = 0) -> E:
        """The first event of a kind that is wanted, among those from number `after` on."""
        found: list[E] = []

        def look() -> bool:
            found.extend(
                event for event in self.read_events()[after:] if isinstance(event, kind) and wanted(event)
            )
            return bool(found)

        wait_until(look)
        return found[0]

    def launcher(self) -> Launcher:
        """A conversation with the launcher; a context manager."""
        return Launcher(self.directory)

    def client(self, timeout_seconds: float = 5.0) -> Client:
        """A client of the store; a context manager."""
        endpoints = {node.id: node.endpoint for node in self.record.nodes}
        return Client(endpoints, cluster=self.record.cluster, timeout_seconds=timeout_seconds)

    def verb(self, *words: str, code: int = 0) -> str:
        """What a verb prints; it has to end with `code`."""
        done = verb_host().run([*words, "--cluster", self.name])
        assert done.code == code, (words, done)
        return done.out

    def stop(self) -> tuple[str, str, int]:
        """End it gracefully: standard output, standard error, exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        self._reader.close()
        return out, err, self.process.returncode


@contextlib.contextmanager
def running(nodes: int = 3, *options: str) -> Iterator[Cluster]:
    """A cluster for the length of a block."""
    cluster = Cluster(nodes, options)
    try:
        yield cluster
    finally:
        try:
            cluster.stop()
        finally:
            if cluster.process.poll() is None:
                cluster.process.kill()
