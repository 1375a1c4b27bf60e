"""A node run by a blocking program: an AsyncNode whose loop runs in a thread.

Owns that thread, which lives from entering the context to leaving it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from raft.client.asyncio_calls import TIMEOUT_SECONDS
from raft.client.client import Client
from raft.durations import Duration, seconds_of
from raft.embedding.asyncio_node import SNAPSHOT_SECONDS_MAX, AsyncNode
from raft.embedding.errors import NodeError, NodeFailed
from raft.embedding.node_supervisor import Leader
from raft.embedding.settings import Settings, plan_of
from raft.protocol.admin import NodeStatus

Result = TypeVar("Result")


class Node:
    """One member of a cluster, as a context manager; see AsyncNode.

    A blocking body cannot be interrupted: if the node fails, `check` raises from then on, `failed` is
    set, and the context is left with the node's error. `on_leader` is called in the supervising thread.
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
        self.failed = threading.Event()
        self._plan = plan_of(id, listen, data_dir, settings)

        def make() -> AsyncNode:
            return AsyncNode(id, listen=listen, data_dir=data_dir, on_leader=on_leader, **settings)

        self._make = make
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._leave: asyncio.Event
        self._node: AsyncNode

    def __enter__(self) -> Self:
        """Start the node, and wait until it is running. Raises NodeRefused or NodeFailed."""
        assert self._thread is None, "this node is entered already; make another one"
        self.error = None
        self.failed.clear()
        entered: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, args=(entered,), name="raft-node")
        self._thread.start()
        try:
            entered.result()
        except BaseException:
            self._end(entered)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(None)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise the node's error, if it has ended without being stopped."""
        if self.error is not None:
            raise self.error

    @property
    def leader(self) -> Leader | None:
        """The leader that this node follows, or itself; see AsyncNode."""
        return None if self.failed.is_set() else self._node.leader

    @property
    def leads(self) -> bool:
        """Is this node the leader, as far as it knows?"""
        leader = self.leader
        return leader is not None and leader.node == self.id

    @property
    def pid(self) -> int | None:
        """The node's process id; None while it is being restarted."""
        return None if self.failed.is_set() else self._node.pid

    def wait_for_leader(self, timeout_seconds: Duration | None = None) -> Leader:
        """Wait until this node knows of a leader. Raises TimeoutError, or what the node has ended with."""
        return self._call(self._node.wait_for_leader(), timeout_seconds)

    def observe(self) -> Iterator[Leader | None]:
        """The current leader, then each new one, without a time limit; see `AsyncNode.observe`."""
        leaders = self._node.observe()

        async def step() -> tuple[Leader | None] | None:
            async for leader in leaders:
                return (leader,)
            return None

        while (seen := self._call(step(), None)) is not None:
            yield seen[0]

    def status(self) -> NodeStatus:
        """The node's own view: role, term, log, members. NodeError if it cannot be asked now."""
        return self._call(self._node.status(), None)

    def metrics(self) -> str:
        """What the node counts, in Prometheus's text format; see `AsyncNode.metrics`."""
        return self._call(self._node.metrics(), None)

    def snapshot(self, *, timeout_seconds: Duration = SNAPSHOT_SECONDS_MAX) -> int:
        """Take a snapshot now, and return its index. See `AsyncNode.snapshot`."""
        return self._call(self._node.snapshot(timeout_seconds=timeout_seconds), None)

    def client(self, *, timeout_seconds: Duration = TIMEOUT_SECONDS) -> Client:
        """A client of the cluster, for one thread; a context manager."""
        config = self._plan.config
        return Client(
            self._plan.endpoints,
            cluster=config.cluster,
            keys=config.keys or None,
            timeout_seconds=timeout_seconds,
        )

    def _live(self, entered: Future[None]) -> None:
        """The body of the thread. However it ends, waiting callers are woken."""
        try:
            asyncio.run(self._running(entered))
        except BaseException as error:  # noqa: BLE001 - such as `on_leader` exits with
            failure = NodeFailed(f"the thread of the node has ended: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure, entered)

    async def _running(self, entered: Future[None]) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._make() as self._node:
                entered.set_result(None)
                await self._leave.wait()
        except NodeError as error:
            self._fail(error, entered)

    def _fail(self, error: NodeError, entered: Future[None]) -> None:
        self.error = error
        self.failed.set()
        if not entered.done():
            entered.set_exception(error)

    def _call(self, coroutine: Coroutine[Any, Any, Result], timeout_seconds: Duration | None) -> Result:
        if self.failed.is_set():
            coroutine.close()
            self.check()
        seconds = None if timeout_seconds is None else seconds_of(timeout_seconds)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def _end(self, entered: Future[None] | None) -> None:
        thread, self._thread = self._thread, None
        assert thread is not None, "left without having been entered"
        if entered is not None and not entered.done():
            # Interrupted at the start: the node starts, and is stopped at once.
            entered.add_done_callback(lambda _: self._leave.set())
        else:
            with suppress(RuntimeError):  # The node has ended already, and the loop with it.
                self._loop.call_soon_threadsafe(self._leave.set)
        thread.join()
