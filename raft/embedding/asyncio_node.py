"""A node beside an asyncio program: it runs while its context is open, and ends with it.

Owns the program's view of its node, and how the body of the context learns of the end. There is no thread:
the program's own loop supervises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from raft.client.asyncio_calls import TIMEOUT_SECONDS
from raft.client.asyncio_client import AsyncClient
from raft.durations import Duration, timeout_of
from raft.embedding.errors import NodeError
from raft.embedding.node_supervisor import Leader
from raft.embedding.running_node import RunningNode
from raft.embedding.settings import Settings, plan_of
from raft.exporter.pages import Answers, Pages
from raft.protocol.admin import NodeStatus

SNAPSHOT_SECONDS_MAX = 60.0
HEALTH_SECONDS_MAX = 1.0


class AsyncNode:
    """One member of a cluster, as an asynchronous context manager.

    Once entered, the node has recovered its log and is running; a leader may take longer, see
    `wait_for_leader`. On exit the node transfers leadership and stops, and if the program dies, it
    dies too. If it is given up the body is cancelled, and NodeFailed (or NodeRefused, NodeRemoved) raised
    instead, as a task group would. `on_leader` is called in the loop with each leader, and with None.
    """

    def __init__(
        self,
        id: int,  # noqa: A002 - what it is called everywhere
        *,
        listen: str,
        data_dir: str | Path,
        on_leader: Callable[[Leader | None], None] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Raises NodeRefused for settings that cannot work; see Settings for them."""
        self.id = id
        self.error: NodeError | None = None
        """Why the node has ended, if it was not stopped."""
        self._plan = plan_of(id, listen, data_dir, settings)
        self._on_leader = on_leader
        self._running: RunningNode | None = None

    async def __aenter__(self) -> Self:
        """Start the node, and wait until it is running. Raises NodeRefused or NodeFailed."""
        assert self._running is None, "this node is entered already; make another one"
        self.error = None
        running = RunningNode(self._plan, self._on_leader)
        try:
            await running.start()
        except BaseException:
            await running.stop()
            raise
        running.body = asyncio.current_task()
        self._running = running
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._running = self._running, None
        assert running is not None, "left without having been entered"
        cancelled = await running.uncancel(kind)
        await running.stop()
        self.error = running.error
        if running.error is not None and (error is None or cancelled):
            raise running.error from None

    @property
    def leader(self) -> Leader | None:
        """The leader that this node follows, or itself; None while it knows none.

        What it believes: a leader may have been replaced without its noticing. Work that only one may do
        belongs into an election of the cluster's client, which tells for certain.
        """
        return self._present.supervisor.leader

    @property
    def leads(self) -> bool:
        """Is this node the leader, as far as it knows?"""
        leader = self.leader
        return leader is not None and leader.node == self.id

    @property
    def pid(self) -> int | None:
        """The node's process id; None while it is being restarted."""
        return self._present.supervisor.pid

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self._present.supervisor.starts - 1

    async def wait_for_leader(self) -> Leader:
        """Wait until this node knows of a leader; raises what it has ended with, if it ends before."""
        async with aclosing(self.observe()) as leaders:
            async for leader in leaders:
                if leader is not None:
                    return leader
        raise NodeError("the node was stopped before there was a leader")

    async def observe(self) -> AsyncGenerator[Leader | None, None]:
        """The current leader, then each new one; a slow caller misses some in between, never the last.

        Ends when the node does; raises its error if it was not stopped.
        """
        running = self._present
        seen = running.supervisor.leader
        yield seen
        while not running.has_ended:
            if (leader := running.supervisor.leader) != seen:
                seen = leader
                yield leader
            else:
                await running.next_change()
        if running.error is not None:
            raise running.error

    async def status(self) -> NodeStatus:
        """The node's own view: role, term, log, members. NodeError if it cannot be asked now."""
        return await self._present.status()

    async def metrics(self) -> str:
        """What the node counts, in Prometheus's text format; `raft_node_up 0` if it cannot be asked now."""
        return await self.metrics_app().metrics()

    def metrics_app(self) -> Pages:
        """An ASGI app: `/metrics`, `/livez`, `/readyz`, and `/health`, which reads linearizably."""
        return Pages(_OneNode(self))

    async def snapshot(self, *, timeout_seconds: Duration = SNAPSHOT_SECONDS_MAX) -> int:
        """Take a snapshot now, and wait until it is durable; returns its index.

        All that this node had applied before the call is in it. NodeError if it cannot be taken.
        """
        return await self._present.snapshot(timeout_of(timeout_seconds))

    def client(self, *, timeout_seconds: Duration = TIMEOUT_SECONDS) -> AsyncClient:
        """A client of the cluster, including this node; a context manager."""
        config = self._plan.config
        return AsyncClient(
            self._plan.endpoints,
            cluster=config.cluster,
            keys=config.keys or None,
            timeout_seconds=timeout_seconds,
        )

    @property
    def _present(self) -> RunningNode:
        assert self._running is not None, "the node runs only inside its context"
        return self._running


class _OneNode:
    """A node as the exporter's `Source`."""

    def __init__(self, node: AsyncNode) -> None:
        self._node = node

    @property
    def cluster(self) -> str:
        return self._node._plan.config.cluster

    async def ask(self) -> Answers:
        try:
            return {self._node.id: await self._node._present.metrics()}
        except NodeError:
            return {self._node.id: None}

    async def read(self) -> None:
        async with self._node.client(timeout_seconds=HEALTH_SECONDS_MAX) as client:
            await client.get(b"")
