"""A process without an inbox that asks nodes: the connection under both clients.

Owns the guest's name, its transport and its runtime. Knows nothing of what is asked.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from actors import curve
from actors.actor import Actor, Handlers
from actors.runtime import Runtime
from actors.zeromq import ZeroMqTransport
from raft.requests import StillThere
from raft.wire import GUEST_ACTOR, REGISTRY, process_of

Endpoints = Mapping[int, str] | Sequence[str]


class Listener(Actor):
    """Hears what nodes say unasked, on which there is nothing to do."""

    def on_still_there(self, message: StillThere) -> None:
        """The node has seen that the connection stands: that was all."""

    handlers: ClassVar[Handlers] = {StillThere: on_still_there}


class Guest:
    """The runtime of a client, connected to all nodes it knows of."""

    def __init__(self, endpoints: Endpoints, *, cluster: str, keys: str | Path | None) -> None:
        """Raises TransportError for endpoints or keys that cannot be used."""
        loaded = curve.load(Path(keys)) if keys is not None else None
        token = secrets.token_hex(8)
        name = f"{loaded.name}.{token}" if loaded is not None else f"client-{token}"
        self.endpoints = by_node(endpoints)
        self.transport = ZeroMqTransport(name, 1, cluster=cluster, keys=loaded)
        self.runtime = Runtime(name, transport=self.transport, registry=REGISTRY)
        self.runtime.spawn(Listener, GUEST_ACTOR)
        for node, endpoint in self.endpoints.items():
            self.connect(node, endpoint)

    def connect(self, node: int, endpoint: str) -> None:
        """Keep a connection to a node."""
        self.transport.connect(process_of(node), endpoint)

    def is_up(self, node: int) -> bool:
        """Can that node be heard?"""
        return process_of(node) in self.runtime.peers

    def close(self) -> None:
        """End everything now; what is open fails."""
        self.runtime.stop()
        while not self.runtime.stopped:
            self.runtime.run_turn(0.0)


def by_node(endpoints: Endpoints) -> dict[int, str]:
    """Endpoints by node id; a plain list is that of nodes 1, 2, 3 and so on."""
    if isinstance(endpoints, Mapping):
        return dict(endpoints)
    return dict(enumerate(endpoints, 1))
