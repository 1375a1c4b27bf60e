"""A cluster on hosts of its own: nodes with keys in network namespaces, and a name server to be silenced."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.transport.curve import generate
from raft.client import Client
from raft.cluster.namespaces import NamespaceHosts

ROOT = Path(__file__).resolve().parent.parent.parent
PORT = 7000
TIMEOUT_SECONDS = 60.0
_TYPE_A = 1


class NameServer:
    """Answers questions for IPv4 addresses, over UDP, while it is not `silent`."""

    def __init__(self, address: str) -> None:
        self.addresses: dict[str, str] = {}
        self.silent = False
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop()
        self._thread.join()
        self._socket.close()

    def _stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(512)
            if not question:
                return
            self.asked += 1
            if not self.silent:
                self._socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        (kind,) = struct.unpack_from("!H", question, at + 1)
        address = self.addresses.get(".".join(labels)) if kind == _TYPE_A else None
        record = b""
        if address is not None:
            record = struct.pack("!HHHIH", 0xC00C, _TYPE_A, 1, 1, 4) + socket.inet_aton(address)
        flags = 0x8180  # An answer, and recursion as it was asked for.
        header = question[:2] + struct.pack("!HHHHH", flags, 1, int(bool(record)), 0, 0)
        return header + question[12 : at + 5] + record


class HostCluster:
    """Nodes 1 to `size`, one on each host; they know each other by name, and clients know their addresses."""

    def __init__(self, hosts: NamespaceHosts, directory: Path, size: int) -> None:
        self.hosts = hosts
        self.directory = directory
        self.nodes = range(1, size + 1)
        self.names = NameServer(hosts.own_address)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        generate(directory / "keys", [*(f"n{node}" for node in self.nodes), "client"])
        for node in self.nodes:
            self.names.addresses[self.name(node)] = hosts.add(node)
            hosts.ask_names_at(node, hosts.own_address, "timeout:5 attempts:2")
        for node in self.nodes:
            self.start(node)

    def name(self, node: int) -> str:
        return f"n{node}.raft.test"

    def endpoint(self, node: int) -> str:
        return f"tcp://{self.hosts.address(node)}:{PORT}"

    def log(self, node: int) -> Path:
        return self.directory / f"n{node}.log"

    def start(self, node: int, *more: str, advertise: str = "") -> None:
        options = {
            "--id": str(node),
            "--listen": f"tcp://{self.hosts.address(node)}:{PORT}",
            "--advertise": advertise or f"tcp://{self.name(node)}:{PORT}",
            "--data-dir": str(self.directory / f"data{node}"),
            "--keys": str(self.directory / "keys" / f"n{node}.toml"),
            "--log-file": str(self.log(node)),
        }
        peers = [f"--peer={other}=tcp://{self.name(other)}:{PORT}" for other in self.nodes if other != node]
        words = [word for pair in options.items() for word in pair]
        command = [sys.executable, "-m", "raft.node", *words, *peers, *more]
        self.processes[node] = subprocess.Popen(self.hosts.on_host(node, command), cwd=ROOT)

    def kill(self, node: int) -> None:
        process = self.processes.pop(node)
        process.kill()
        process.wait()

    def client(self) -> Client:
        endpoints = {node: self.endpoint(node) for node in self.nodes}
        return Client(
            endpoints, keys=self.directory / "keys" / "client.toml", timeout_seconds=TIMEOUT_SECONDS
        )

    def close(self) -> None:
        for node in list(self.processes):
            self.kill(node)
        self.names.close()


@contextmanager
def cluster_on_hosts(directory: Path, size: int = 3) -> Iterator[HostCluster]:
    directory.chmod(0o700)
    with NamespaceHosts() as hosts:
        cluster = HostCluster(hosts, directory, size)
        try:
            yield cluster
        finally:
            cluster.close()
