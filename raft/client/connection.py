"""A process without an inbox that asks nodes: the connection under both clients.

Owns the guest's name, its transport and its runtime. Knows nothing of what is asked.
"""

from __future__ import annotations

import logging
import os
import secrets
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from actors.address import Address
from actors.errors import ActorsError
from actors.runtime import Runtime
from actors.transport import curve
from actors.transport.zeromq import ZeroMqTransport
from raft.client.calls.routing import ClusterView
from raft.client.errors import ClientClosed
from raft.client.watches.listener import LookAgain, listen
from raft.protocol.registry import GUEST_ACTOR, REGISTRY, process_of

LOGGER = logging.getLogger("raft.client")
OTHER_ADDRESS_SECONDS = 1.0

Endpoints = Mapping[int, str] | Sequence[str]


class Connection:
    """The runtime of a client, connected to all nodes it knows of."""

    def __init__(self, endpoints: Endpoints, *, cluster: str, keys: str | Path | None) -> None:
        """Raises TransportError for endpoints or keys that cannot be used."""
        loaded = curve.load(Path(keys)) if keys is not None else None
        token = secrets.token_hex(8)
        name = f"{loaded.name}.{token}" if loaded is not None else f"client-{token}"
        self._process = os.getpid()
        self.endpoints = by_node(endpoints)
        self._present: dict[int, str] = {}
        self._tried_at: dict[int, float] = {}
        self._unusable: dict[int, set[str]] = {}
        self.transport = ZeroMqTransport(
            name,
            1,
            cluster=cluster,
            keys=loaded,
            waits_for_welcome=True,
            read_keys=None if keys is None else partial(curve.load, Path(keys)),
        )
        self.runtime = Runtime(name, transport=self.transport, registry=REGISTRY)
        self.channels = listen(self.runtime)
        for node, endpoint in self.endpoints.items():
            self.connect(node, endpoint)

    def connect(self, node: int, endpoint: str) -> None:
        """Keep a connection to a node. Raises an ActorsError for what cannot be connected to."""
        self.transport.connect(process_of(node), endpoint)
        self._present[node] = endpoint
        self._tried_at.setdefault(node, self.runtime.clock.now())

    def meet(self, node: int, endpoint: str) -> bool:
        """Another node says that this one listens there; whether it can be spoken to, if it is there.

        Where we are connected to it already, and where it was configured to be, is not given up for that: the
        members may know each other by names that mean nothing here. While it does not answer at one
        address, the other one is tried in turn.
        """
        now, present = self.runtime.clock.now(), self._present.get(node)
        if endpoint in self._unusable.get(node, ()):
            return present is not None
        if present is None:
            return self._try(node, endpoint, now)
        if self.is_up(node) or now - self._tried_at[node] < OTHER_ADDRESS_SECONDS:
            return True
        configured = self.endpoints.get(node)
        other = endpoint if endpoint != present else configured
        if other is not None and other != present and not self._try(node, other, now):
            self._try(node, present, now)
        return True

    def view(self) -> ClusterView:
        """What is known of the cluster, before anybody was asked."""
        return ClusterView(self.endpoints, self.is_up, self.meet, self.forget, self.channels)

    def wake_watchers(self) -> None:
        """Let all who wait for events look whether they still want to; from any thread."""
        self.runtime.post(Address(self.runtime.name, GUEST_ACTOR), LookAgain())

    def forget(self, node: int) -> None:
        """A node that was met has left the cluster."""
        self._present.pop(node, None)
        self.transport.disconnect(process_of(node))

    def _try(self, node: int, endpoint: str, now: float) -> bool:
        try:
            self.connect(node, endpoint)
        except ActorsError as error:
            # What others say must not turn an answer into an error: the member is left out.
            self._unusable.setdefault(node, set()).add(endpoint)
            LOGGER.warning("member %d cannot be spoken to at %s and is left out: %s", node, endpoint, error)
            return False
        self._tried_at[node] = now
        return True

    def is_up(self, node: int) -> bool:
        """Can that node be heard?"""
        return process_of(node) in self.runtime.peers

    def check_process(self) -> None:
        """Raise ClientClosed in a process that was forked from the one that made this."""
        if os.getpid() != self._process:
            raise ClientClosed(
                f"this client belongs to process {self._process}, from which this one was forked: "
                "make another client after the fork"
            )

    def close(self) -> None:
        """End everything now; what is open fails."""
        self.runtime.stop()
        while not self.runtime.stopped:
            self.runtime.run_turn(0.0)

    def abandon(self) -> None:
        """Give everything back at once, from whichever thread drops the client last; never waits."""
        if not self.runtime.stopped and os.getpid() == self._process:
            self.runtime.stopped = True
            self.transport.close(linger_milliseconds=0)


def closed_when_dropped(
    client: object, connection: Connection
) -> weakref.finalize[[Connection, str], object]:
    """See to it that a client that is dropped without `close` is closed all the same, with a ResourceWarning.

    Else libzmq would wait for its sockets in the middle of a garbage collection. Not at the interpreter's
    exit: other threads may still be using it, and what is open ends with the process.
    """
    finalizer = weakref.finalize(client, _abandon, connection, type(client).__name__)
    finalizer.atexit = False
    return finalizer


def _abandon(connection: Connection, kind: str) -> None:
    if not connection.runtime.stopped:
        warnings.warn(f"a raft {kind} was dropped without close()", ResourceWarning, stacklevel=2)
    connection.abandon()


def by_node(endpoints: Endpoints) -> dict[int, str]:
    """Endpoints by node id; a plain list is that of nodes 1, 2, 3 and so on."""
    if isinstance(endpoints, Mapping):
        return dict(endpoints)
    return dict(enumerate(endpoints, 1))
