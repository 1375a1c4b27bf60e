"""Nodes without a launcher, with keys between them, of which one has a damaged log."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.transport import curve
from raft.client.client import Client
from raft.client.errors import ClientError
from tests.processes.clusters import ROOT, wait_until

pytestmark = pytest.mark.processes

NODES = (1, 2, 3)


class Nodes:
    """Three processes that a person started, each in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys = directory / "keys"
        curve.generate(self.keys, [*(f"n{node}" for node in NODES), "app"])
        with ExitStack() as sockets:
            held = [sockets.enter_context(socket.socket()) for _ in NODES]
            for each in held:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in held]
        self.endpoints = {node: f"tcp://127.0.0.1:{port}" for node, port in zip(NODES, ports, strict=True)}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, node: int, *options: str) -> subprocess.Popen[bytes]:
        peers = [f"--peer={other}={at}" for other, at in self.endpoints.items() if other != node]
        command = [
            sys.executable, "-m", "raft.node", f"--id={node}", f"--listen={self.endpoints[node]}", *peers,
            f"--data-dir={self.data_of(node)}", f"--keys={self.keys / f'n{node}.toml'}", *options,
        ]  # fmt: skip
        self.processes[node] = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        return self.processes[node]

    def stop(self, node: int) -> None:
        process = self.processes.pop(node)
        process.kill()
        process.wait()

    def data_of(self, node: int) -> Path:
        return self.directory / f"n{node}"

    def client(self) -> Client:
        return Client(self.endpoints, keys=self.keys / "app.toml", timeout_seconds=2.0)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    tmp_path.chmod(0o700)
    nodes = Nodes(tmp_path)
    for node in NODES:
        nodes.start(node)
    try:
        yield nodes
    finally:
        for node in [*nodes.processes]:
            nodes.stop(node)


def put(nodes: Nodes, key: str) -> bool:
    with nodes.client() as client:
        try:
            client.put(key, key)
        except ClientError:
            return False
        return True


def test_a_node_with_keys_and_a_damaged_log_is_repaired_by_its_peers(nodes: Nodes) -> None:
    wait_until(lambda: put(nodes, "before"))
    wait_until(lambda: any(nodes.data_of(2).glob("*.wal")))
    nodes.stop(2)
    log = next(nodes.data_of(2).glob("*.wal"))
    raw = bytearray(log.read_bytes())
    raw[200] ^= 1
    log.write_bytes(raw)
    wait_until(lambda: put(nodes, "meanwhile"))
    nodes.start(2, "--existing", "--repair-from-peers")
    wait_until(lambda: (nodes.data_of(2) / ".damaged-1").exists())
    wait_until(lambda: not (nodes.data_of(2) / ".repair").exists())
    nodes.stop(1)
    wait_until(lambda: put(nodes, "after"))
    with nodes.client() as client:
        assert [client.get(key) for key in ("before", "meanwhile")] == [b"before", b"meanwhile"]
