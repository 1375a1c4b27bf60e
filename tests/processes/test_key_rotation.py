"""Every key of a running cluster is replaced, while a client writes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.transport.curve import generate, load, read_list, retire, rotate
from raft.client import Client
from tests.processes.clusters import ROOT, wait_until

pytestmark = pytest.mark.processes

NODES = (1, 2, 3)


class Nodes:
    """Three nodes that read their keys from one directory."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o700)
        self.directory = directory
        self.keys = directory / "keys"
        generate(self.keys, [*(f"n{node}" for node in NODES), "writer", "reader"])
        self.endpoints = {node: f"ipc://{directory}/n{node}" for node in NODES}
        self.processes = {node: self.start(node) for node in NODES}
        wait_until(lambda: all(self.told(node, "node-started") for node in NODES))

    def start(self, node: int, *more: str) -> subprocess.Popen[bytes]:
        peers = [f"--peer={other}={self.endpoints[other]}" for other in NODES if other != node]
        return subprocess.Popen(
            [
                sys.executable,
                *("-m", "raft.node", "--id", str(node), "--listen", self.endpoints[node], *peers, *more),
                *(
                    "--data-dir",
                    f"{self.directory}/data{node}",
                    "--log-file",
                    f"{self.directory}/n{node}.log",
                ),
                *("--keys", f"{self.keys}/n{node}.toml"),
            ],
            cwd=ROOT,
        )

    def restart(self, node: int) -> None:
        self.processes[node].terminate()
        assert self.processes[node].wait(timeout=60) == 0
        self.processes[node] = self.start(node, "--existing")
        wait_until(lambda: self.told(node, "node-started") == 2)

    def read_lists(self) -> None:
        """All read the list again, and have done so when this returns."""
        before = {node: self.told(node, "keys-read") for node in NODES}
        for process in self.processes.values():
            process.send_signal(signal.SIGHUP)
        wait_until(lambda: all(self.told(node, "keys-read") > before[node] for node in NODES))

    def told(self, node: int, event: str) -> int:
        log = self.directory / f"n{node}.log"
        return log.read_text().count(f'"{event}"') if log.exists() else 0

    def client(self, name: str) -> Client:
        return Client(self.endpoints, keys=self.keys / f"{name}.toml", timeout_seconds=20.0)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


class Writer:
    """Writes in a session without a pause; what fails is kept, and ends it."""

    def __init__(self, nodes: Nodes) -> None:
        self.count = 0
        self.failure: Exception | None = None
        self._nodes = nodes
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.count > 0 or self.failure is not None)

    def end(self) -> None:
        self._end.set()
        self._thread.join()
        assert self.failure is None

    def _run(self) -> None:
        try:
            with self._nodes.client("writer") as client, client.session(ttl="20s") as session:
                while not self._end.is_set():
                    session.put("written", str(self.count))
                    self.count += 1
        except Exception as failure:  # noqa: BLE001
            self.failure = failure


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    yield made
    made.close()


def caught_up(client: Client) -> bool:
    members = client.members()
    return min(members.match.values()) >= members.commit - 100 and len(members.match) == len(NODES)


def test_all_keys_of_a_running_cluster_are_replaced_and_no_write_fails(nodes: Nodes) -> None:
    first = {name: entry.keys for name, entry in read_list(nodes.keys).items()}
    writer = Writer(nodes)
    with nodes.client("reader") as reader:
        for node in NODES:
            rotate(nodes.keys, f"n{node}")
            nodes.read_lists()
            nodes.restart(node)
            wait_until(lambda: caught_up(reader))
            retire(nodes.keys, f"n{node}")
        rotate(nodes.keys, "writer")
        nodes.read_lists()
        retire(nodes.keys, "writer")
        nodes.read_lists()  # Which cuts the writer off: it reads its key file again.
        count = writer.count
        wait_until(lambda: writer.count > count + 10 or writer.failure is not None)
    writer.end()
    now = {name: entry.keys for name, entry in read_list(nodes.keys).items()}
    assert {name for name in now if now[name] == first[name]} == {"reader"}
    assert load(nodes.keys / "writer.toml").public == now["writer"][0]
