"""PySyncObj as a peer: as shipped, and tuned, with its journal.

Owns the members' command lines. The library lives inside the program that uses it, so there is no client: the
callers are in the leader's process, nothing travels between them, and what they cost is in the members' CPU.
It never syncs a file: as shipped all is in memory, and its journal is a mapped file, so that an acknowledged
write survives a killed process but not a power cut.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers.peer import Plan


class PySyncObj:
    """PySyncObj, in one of its two ways."""

    durable = False
    can = frozenset({"leader"})

    def __init__(self, name: str, *, tuned: bool, note: str) -> None:
        self.name = name
        self.note = note
        self._tuned = tuned

    def missing(self) -> str:
        """What would have to be installed."""
        try:
            version("pysyncobj")
        except PackageNotFoundError:
            return "no pysyncobj (pip install pysyncobj)"
        return ""

    def version(self) -> str:
        """The package's."""
        return f"pysyncobj {version('pysyncobj')}, Python {sys.version.split()[0]}"

    def prepare(self, home: Path) -> None:
        """There is nothing to make."""

    def member_command(self, plan: Plan, node: int, *, again: bool) -> list[str]:
        """A program with the library in it."""
        del again
        command = [*self.client_command(""), "--serve", str(plan.client_port(node))]
        command += ["--own", self.peer_endpoint(plan, node)]
        for other in range(1, plan.first + 1):
            if other != node:
                command += ["--other", self.peer_endpoint(plan, other)]
        if self._tuned:
            command += ["--tuned", "--journal", str(plan.directory(node) / "journal")]
        return command

    def endpoint(self, plan: Plan, node: int) -> str:
        """Where the program takes tasks."""
        return f"127.0.0.1:{plan.client_port(node)}"

    def peer_endpoint(self, plan: Plan, node: int) -> str:
        """Where the library listens."""
        return f"127.0.0.1:{plan.peer_port(node)}"

    def client_command(self, do: str) -> list[str]:
        """Passes a task on to a member."""
        del do
        return [sys.executable, "-m", "benchmarks.peers.pysyncobj_node"]


def pysyncobj() -> PySyncObj:
    """As shipped."""
    return PySyncObj("pysyncobj", tuned=False, note="as shipped: all in memory, batches every 50 ms")


def pysyncobj_tuned() -> PySyncObj:
    """With its journal, without its waiting for batches, and with tight timings."""
    note = "journal without fsync, unbatched, election timeout 50-100 ms"
    return PySyncObj("pysyncobj, tuned", tuned=True, note=note)
