"""Transports for the tests: made short, closed at the end, driven together without sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.transport.base import PeerDown, PeerUp, Received
from actors.transport.zeromq import ZeroMqTransport

WAIT_SECONDS = 60.0


class Net:
    """Some transports of one cluster, and everything that they have reported."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o700)
        self.directory = directory
        self.transports: list[ZeroMqTransport] = []
        self.events: dict[str, list[object]] = {}

    def endpoint(self, name: str) -> str:
        return f"ipc://{self.directory}/{name}"

    def node(
        self, name: str, incarnation: int = 1, *, endpoint: str | None = None, **more: Any
    ) -> ZeroMqTransport:
        return self._add(name, incarnation, endpoint=endpoint or self.endpoint(name), **more)

    def guest(self, name: str, **more: Any) -> ZeroMqTransport:
        return self._add(name, 1, **more)

    def pair(self, **more: Any) -> tuple[ZeroMqTransport, ZeroMqTransport]:
        """Two nodes that are up for each other."""
        one, two = self.node("n1", **more), self.node("n2", **more)
        one.connect("n2", str(two.endpoint))
        two.connect("n1", str(one.endpoint))
        assert self.run(lambda: self.is_up("n1", "n2") and self.is_up("n2", "n1"))
        return one, two

    def run(self, done: Callable[[], bool], timeout_seconds: float = WAIT_SECONDS) -> bool:
        """Drive all transports until `done`."""
        deadline = time.monotonic() + timeout_seconds
        while not done():
            if time.monotonic() > deadline:
                return False
            for transport in self.transports:
                transport.poll(0.001)
                self.events[transport.name] += transport.receive()
        return True

    def is_up(self, name: str, peer: str) -> bool:
        changes = [e for e in self.events[name] if isinstance(e, PeerUp | PeerDown) and e.process == peer]
        return bool(changes) and isinstance(changes[-1], PeerUp)

    def changes(self, name: str) -> list[object]:
        return [event for event in self.events[name] if not isinstance(event, Received)]

    def payloads(self, name: str) -> list[bytes]:
        return [event.payload for event in self.events[name] if isinstance(event, Received)]

    def close(self, transport: ZeroMqTransport) -> None:
        self.transports.remove(transport)
        transport.close()

    def _add(self, name: str, incarnation: int, **more: Any) -> ZeroMqTransport:
        transport = ZeroMqTransport(name, incarnation, **{"cluster": "test", **more})
        self.transports.append(transport)
        self.events.setdefault(name, [])
        return transport


@contextmanager
def a_net(directory: Path) -> Iterator[Net]:
    net = Net(directory)
    try:
        yield net
    finally:
        for transport in net.transports:
            transport.close()
