"""The connection under both clients: a runtime without an inbox that asks nodes.

Owns the client process's name, its transport and its runtime. Knows nothing of the requests.
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
from raft.client.calls.cluster_view import ClusterView
from raft.client.errors import ClientClosed
from raft.client.watches.listener import WakeWaiters, listen
from raft.protocol.registry import CLIENT_ACTOR, REGISTRY, process_of

LOGGER = logging.getLogger("raft.client")
OTHER_ADDRESS_SECONDS = 1.0

Endpoints = Mapping[int, str] | Sequence[str]


class Connection:
    """The runtime of a client, connected to all nodes that it knows."""

    def __init__(self, endpoints: Endpoints, *, cluster: str, keys: str | Path | None) -> None:
        """Raises TransportError for unusable endpoints or keys."""
        loaded = curve.load(Path(keys)) if keys is not None else None
        token = secrets.token_hex(8)
        name = f"{loaded.name}.{token}" if loaded is not None else f"client-{token}"
        self._process = os.getpid()
        self.endpoints = endpoints_by_node(endpoints)
        self.present: dict[int, str] = {}
        """Where each node is connected to now."""
        self.tried_at: dict[int, float] = {}
        """When that connection was made or tried, in seconds on the runtime's clock."""
        self.unusable: dict[int, set[str]] = {}
        """Endpoints that other nodes report and that cannot be connected to from here."""
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
        """Keep a connection to a node. Raises an ActorsError if that is impossible."""
        self.transport.connect(process_of(node), endpoint)
        self.present[node] = endpoint
        self.tried_at.setdefault(node, self.runtime.clock.now())

    def learn_endpoint(self, node: int, endpoint: str) -> bool:
        """Another node reports that this node listens there. Returns whether it can be connected to.

        An existing connection and the configured endpoint are not given up for it: members may know each
        other by names that mean nothing here. While the node does not answer at one endpoint, the other is
        tried in turn.
        """
        now, present = self.runtime.clock.now(), self.present.get(node)
        if endpoint in self.unusable.get(node, ()):
            return present is not None
        if present is None:
            return self._try(node, endpoint, now)
        if self.is_up(node) or now - self.tried_at[node] < OTHER_ADDRESS_SECONDS:
            return True
        configured = self.endpoints.get(node)
        other = endpoint if endpoint != present else configured
        if other is not None and other != present and not self._try(node, other, now):
            self._try(node, present, now)
        return True

    def view(self) -> ClusterView:
        """An empty view of the cluster."""
        return ClusterView(self.endpoints, self.is_up, self.learn_endpoint, self.forget, self.channels)

    def wake_watchers(self) -> None:
        """Wake all waiting iterators so that they check whether they are cancelled; from any thread."""
        self.runtime.post(Address(self.runtime.name, CLIENT_ACTOR), WakeWaiters())

    def forget(self, node: int) -> None:
        """A learned node has left the cluster."""
        self.present.pop(node, None)
        self.transport.disconnect(process_of(node))

    def _try(self, node: int, endpoint: str, now: float) -> bool:
        try:
            self.connect(node, endpoint)
        except ActorsError as error:
            # What other nodes report must not turn an answer into an error: the member is left out.
            self.unusable.setdefault(node, set()).add(endpoint)
            LOGGER.warning("cannot connect to member %d at %s; it is left out: %s", node, endpoint, error)
            return False
        self.tried_at[node] = now
        return True

    def is_up(self, node: int) -> bool:
        """Is the node connected?"""
        return process_of(node) in self.runtime.peers

    def check_process(self) -> None:
        """Raise ClientClosed in a process that was forked from the one that made this."""
        if os.getpid() != self._process:
            raise ClientClosed(
                f"this client belongs to process {self._process}, from which this process was forked: "
                "create another client after the fork"
            )

    def close(self) -> None:
        """Close everything now; open requests fail."""
        self.runtime.stop()
        while not self.runtime.stopped:
            self.runtime.run_turn(0.0)

    def abandon(self) -> None:
        """Release everything at once, from whichever thread drops the client last. Never waits."""
        if not self.runtime.stopped and os.getpid() == self._process:
            self.runtime.stopped = True
            self.transport.close(linger_milliseconds=0)


def closed_when_dropped(
    client: object, connection: Connection
) -> weakref.finalize[[Connection, str], object]:
    """Close a client that is dropped without `close`, with a ResourceWarning.

    Otherwise libzmq would wait for its sockets in the middle of a garbage collection. Not at the
    interpreter's exit: other threads may still use the client, and open sockets end with the process.
    """
    finalizer = weakref.finalize(client, _abandon, connection, type(client).__name__)
    finalizer.atexit = False
    return finalizer


def _abandon(connection: Connection, kind: str) -> None:
    if not connection.runtime.stopped:
        warnings.warn(f"a raft {kind} was dropped without close()", ResourceWarning, stacklevel=2)
    connection.abandon()


def endpoints_by_node(endpoints: Endpoints) -> dict[int, str]:
    """Endpoints by node id; a list holds those of nodes 1, 2, 3 and so on."""
    if isinstance(endpoints, Mapping):
        return dict(endpoints)
    return dict(enumerate(endpoints, 1))
