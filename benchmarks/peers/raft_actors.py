"""This project as a peer: nodes on their own, `python -m raft.node`, on one machine.

Owns their command lines: at the default timings, at tight ones and at etcd's, over TCP and ipc, with leases
and without. No launcher and no fork server: every peer's processes are started in the same way.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.load import ROOT, python_in
from benchmarks.peers.peer import Plan

DEFAULT: tuple[str, ...] = ()
RELAXED = ("--heartbeat", "100ms", "--election-timeout", "1s-2s")
TIGHT = ("--heartbeat", "10ms", "--election-timeout", "50ms-100ms")


class RaftActors:
    """This project; `note` says at which timings."""

    durable = True
    can = frozenset({"watch", "hand-over", "fill", "holds", "leader", "add"})

    def __init__(
        self,
        name: str,
        options: tuple[str, ...],
        note: str,
        tree: Path = ROOT,
        commit: str = "this checkout",
        *,
        ipc: bool = False,
    ) -> None:
        self.name = name
        self._ipc = ipc
        self.note = note
        self.tree = tree
        self._options = options
        self._commit = commit

    def missing(self) -> str:
        """It is here."""
        return ""

    def version(self) -> str:
        """The package's."""
        return f"{self._commit}, Python {sys.version.split()[0]}, pyzmq {version('pyzmq')}"

    def prepare(self, home: Path) -> None:
        """There is nothing to make."""

    def member_command(self, plan: Plan, node: int, *, again: bool) -> list[str]:
        """A node; one beyond the first members waits to be added."""
        command = [*python_in(self.tree), "-m", "raft.node", "--id", str(node), "--cluster", "bench"]
        command += ["--listen", self.endpoint(plan, node), "--data-dir", str(plan.directory(node))]
        command += ["--log-level", "WARNING", *self._options]
        if again:
            command.append("--existing")
        if node > plan.first:
            return command if again else [*command, "--join"]
        others = [other for other in range(1, plan.first + 1) if other != node]
        for other in others:
            command += ["--peer", f"{other}={self.endpoint(plan, other)}"]
        return command

    def endpoint(self, plan: Plan, node: int) -> str:
        """One port, or socket, serves clients and members."""
        if self._ipc:
            return f"ipc://{plan.home}/n{node}.socket"
        return f"tcp://127.0.0.1:{plan.client_port(node)}"

    def peer_endpoint(self, plan: Plan, node: int) -> str:
        """The same."""
        return self.endpoint(plan, node)

    def client_command(self, do: str) -> list[str]:
        """The asyncio client."""
        module = "benchmarks.load" if do == "load" else "benchmarks.peers.raft_client"
        return [*python_in(self.tree), "-m", module]


def raft_actors() -> RaftActors:
    """With the defaults."""
    return RaftActors("raft-actors", DEFAULT, "heartbeat 50 ms, election timeout 250-500 ms")


def raft_actors_relaxed() -> RaftActors:
    """With etcd's default heartbeat and election timeout."""
    return RaftActors("raft-actors, 100 ms", RELAXED, "heartbeat 100 ms, election timeout 1-2 s")


def raft_actors_tight() -> RaftActors:
    """With the heartbeat and the election timeout of a tight etcd."""
    return RaftActors("raft-actors, tight", TIGHT, "heartbeat 10 ms, election timeout 50-100 ms")


def raft_actors_ipc() -> RaftActors:
    """Over ipc endpoints, where leases are the default."""
    return RaftActors("raft-actors, ipc", DEFAULT, "ipc endpoints: reads by lease", ipc=True)


def raft_actors_ipc_by_quorum() -> RaftActors:
    """The same without leases."""
    options = ("--no-lease-reads",)
    return RaftActors("raft-actors, ipc, no lease", options, "ipc endpoints: reads by quorum", ipc=True)
