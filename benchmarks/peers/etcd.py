"""etcd as a peer: its members started by hand on the loopback interface, loaded by its own Go client.

Owns the members' command lines, at etcd's default timings and at tight ones, and the building of the client
from etcd_client.go with Debian's Go packages (etcd-server, golang-go, golang-etcd-server-dev). A client in
another language would be the slower part of the pair.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.peers.peer import Plan

GO_SOURCES = Path("/usr/share/gocode")
CLIENT_SOURCE = Path(__file__).with_name("etcd_client.go")
# etcd wants five heartbeats in an election timeout.
TIGHT = ("--heartbeat-interval", "10", "--election-timeout", "50")


class Etcd:
    """etcd; `note` says at which timings."""

    durable = True
    can = frozenset({"watch", "hand-over", "fill", "holds", "leader", "add"})

    def __init__(self, name: str, timings: tuple[str, ...], note: str) -> None:
        self.name = name
        self.note = note
        self._timings = timings
        self._client = Path()

    def missing(self) -> str:
        """What would have to be installed."""
        if not shutil.which("etcd"):
            return "no etcd in the path (Debian: etcd-server)"
        if not shutil.which("go") or not (GO_SOURCES / "src/go.etcd.io/etcd/clientv3").is_dir():
            return "no Go client to load it with (Debian: golang-go golang-etcd-server-dev)"
        return ""

    def version(self) -> str:
        """As the program says it, and its client's compiler."""
        told = subprocess.run(["etcd", "--version"], check=True, capture_output=True, text=True).stdout
        go = subprocess.run(["go", "version"], check=True, capture_output=True, text=True).stdout
        return f"{told.splitlines()[0].replace(' Version:', '')}, Go client built with {go.split()[2]}"

    def prepare(self, home: Path) -> None:
        """Build the client; quick if it has been built before, as Go keeps a cache."""
        self._client = home / "etcd-client"
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_SOURCES), "GOFLAGS": ""}
        command = ["go", "build", "-o", str(self._client), str(CLIENT_SOURCE)]
        subprocess.run(command, check=True, env=environment)

    def member_command(self, plan: Plan, node: int, *, again: bool) -> list[str]:
        """A member; one beyond the first joins what exists."""
        members = range(1, max(plan.first, node) + 1)
        command = ["etcd", "--name", f"n{node}", "--data-dir", str(plan.directory(node) / "etcd")]
        command += ["--listen-client-urls", self._url(plan.client_port(node))]
        command += ["--advertise-client-urls", self._url(plan.client_port(node))]
        command += ["--listen-peer-urls", self.peer_endpoint(plan, node)]
        command += ["--initial-advertise-peer-urls", self.peer_endpoint(plan, node)]
        cluster = ",".join(f"n{other}={self.peer_endpoint(plan, other)}" for other in members)
        command += ["--initial-cluster", cluster, "--initial-cluster-token", plan.home.name]
        command += ["--initial-cluster-state", "existing" if again or node > plan.first else "new"]
        return [*command, "--log-level", "warn", "--logger", "zap", "--log-outputs", "stderr", *self._timings]

    def endpoint(self, plan: Plan, node: int) -> str:
        """As its client wants it."""
        return f"127.0.0.1:{plan.client_port(node)}"

    def peer_endpoint(self, plan: Plan, node: int) -> str:
        """A URL."""
        return self._url(plan.peer_port(node))

    def client_command(self, do: str) -> list[str]:
        """The program that `prepare` built."""
        del do
        return [str(self._client)]

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"


def etcd() -> Etcd:
    """With the defaults."""
    return Etcd("etcd", (), "heartbeat 100 ms, election timeout 1 s")


def etcd_tight() -> Etcd:
    """With a tenth of the default heartbeat, and the shortest election timeout that etcd takes with it."""
    return Etcd("etcd, tight", TIGHT, "heartbeat 10 ms, election timeout 50 ms")
