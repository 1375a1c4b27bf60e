"""Asking the nodes of a cluster what they have counted, over connections that stay.

Owns the connections, the time-out of a scrape, and that scrapes at the same time are one. Knows nothing of
what the numbers mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic

from actors.asyncio_driver import AsyncioDriver
from actors.errors import ActorsError
from raft.client.asyncio_client import AsyncClient
from raft.client.connection import Connection
from raft.exporter.pages import Answers
from raft.protocol.admin import GetMetrics, NodeMetrics
from raft.protocol.registry import address_of

TIMEOUT_SECONDS = 1.0


class Scraper:
    """A `Source` of all nodes at `endpoints`, which are read before each scrape; made inside a running loop.

    A node that does not answer within `timeout_seconds` is down. One to which there was no connection for
    that long is not waited for. Raises an ActorsError for keys that cannot be used.
    """

    def __init__(
        self,
        endpoints: Callable[[], Mapping[int, str]],
        *,
        cluster: str,
        label: str = "",
        keys: str | Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._endpoints = endpoints
        self._cluster, self._keys = cluster, keys
        self._label = label or cluster
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._connection = Connection({}, cluster=cluster, keys=keys)
        self._connected: dict[int, tuple[str, float]] = {}
        self._turned = asyncio.Event()
        self._driver = AsyncioDriver(self._connection.runtime, self._connection.transport, self._turned.set)
        self._client: AsyncClient | None = None
        self._asking: asyncio.Task[Answers] | None = None

    @property
    def cluster(self) -> str:
        """See `Source`."""
        return self._label

    def close(self) -> None:
        """Give the connections back."""
        if self._asking is not None:
            self._asking.cancel()
        if self._client is not None:
            self._client.close()
        self._driver.end()

    async def ask(self) -> Answers:
        """See `Source`. However many ask at the same time, each node is asked once."""
        if self._asking is None or self._asking.done():
            self._asking = self._loop.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def read(self) -> None:
        """See `Source`."""
        if self._client is None:
            self._client = AsyncClient(self._endpoints(), cluster=self._cluster, keys=self._keys)
        await self._client.get(b"", timeout_seconds=self._timeout_seconds)

    async def _ask_all(self) -> Answers:
        endpoints = dict(self._endpoints())
        self._connect(endpoints)
        until = monotonic() + self._timeout_seconds
        answers = await asyncio.gather(*(self._ask(node, until) for node in endpoints))
        return dict(zip(endpoints, answers, strict=True))

    async def _ask(self, node: int, until: float) -> NodeMetrics | None:
        since = self._connected[node][1] if node in self._connected else 0.0
        while not self._connection.is_up(node):
            left = min(until, since + self._timeout_seconds) - monotonic()
            if left <= 0:
                return None
            self._turned.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._turned.wait()
        answered: asyncio.Future[object] = self._loop.create_future()

        def end(answer: object) -> None:
            if not answered.done():
                answered.set_result(answer)

        left = max(until - monotonic(), 0.001)
        pending = self._connection.runtime.ask(address_of(node), GetMetrics(), left)
        pending.then(end, end)
        self._driver.soon()
        answer = await answered
        return answer if isinstance(answer, NodeMetrics) else None

    def _connect(self, endpoints: Mapping[int, str]) -> None:
        for node in self._connected.keys() - endpoints.keys():
            self._connection.forget(node)
            del self._connected[node]
        for node, endpoint in endpoints.items():
            if self._connected.get(node, ("", 0.0))[0] != endpoint:
                with suppress(ActorsError):  # Such a node counts as down, and is tried at the next scrape.
                    self._connection.connect(node, endpoint)
                    self._connected[node] = endpoint, monotonic()
        self._driver.soon()
