"""What a comparison needs to know of a peer, and nothing else of it.

Owns the protocol that every peer fills and the plan of a cluster: who is where, on ports of the loopback
interface and in directories of one home. Processes are started and ended in members.py.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Plan(Struct):
    """Where the members of one cluster are; ids count from 1, and those beyond `first` join later."""

    home: Path
    ports: list[tuple[int, int]]
    first: int

    def directory(self, node: int) -> Path:
        """A member's data."""
        return self.home / f"n{node}"

    def client_port(self, node: int) -> int:
        """Where a member listens to clients."""
        return self.ports[node - 1][0]

    def peer_port(self, node: int) -> int:
        """Where a member listens to the others."""
        return self.ports[node - 1][1]


class Peer(Protocol):
    """Something that elects and replicates, started by hand, one process a member."""

    name: str
    durable: bool  # Is a write on the disk of a majority before it is acknowledged?
    can: frozenset[str]  # The tasks' kinds that it has a way to do, beside load and probe.
    note: str  # What a reader of its figures has to know.

    def missing(self) -> str:
        """Why it cannot be measured here; empty if it can."""
        ...

    def version(self) -> str:
        """What is measured."""
        ...

    def prepare(self, home: Path) -> None:
        """Make what all its clusters need, once, before anything is timed."""
        ...

    def member_command(self, plan: Plan, node: int, *, again: bool) -> list[str]:
        """Starts a member; `again` if it has run before. One beyond plan.first joins."""
        ...

    def endpoint(self, plan: Plan, node: int) -> str:
        """Where a client finds a member."""
        ...

    def peer_endpoint(self, plan: Plan, node: int) -> str:
        """Where the other members find it."""
        ...

    def client_command(self, do: str) -> list[str]:
        """Starts the program that does tasks of that kind; the task is appended."""
        ...


def plan_of(home: Path, nodes: int, later: int = 1) -> Plan:
    """Places for so many members from the start, and for some that may come later."""
    ports = free_ports(2 * (nodes + later))
    return Plan(home, list(zip(ports[::2], ports[1::2], strict=True)), nodes)


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback interface that no process listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
