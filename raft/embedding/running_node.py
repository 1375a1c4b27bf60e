"""One run of a node in a program's event loop: its resources, and their release in order.

Owns directory, fork server, runtime and supervisor, and the tasks that wait for changes. Knows nothing of
what the program does with it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.asyncio_driver import AsyncioDriver
from actors.errors import ActorsError, AskFailed, TransportError
from actors.failures.supervision import RestartPolicy
from actors.processes.child import ForkServer
from actors.processes.private_files import make_private
from actors.runtime import Runtime
from actors.transport import curve
from actors.transport.zeromq import ZeroMqTransport
from raft.embedding.errors import NodeError, NodeFailed, NodeRefused
from raft.embedding.node_supervisor import Leader, NodeSupervisor, Stop
from raft.embedding.settings import Plan
from raft.protocol.admin import GetMetrics, GetStatus, NodeMetrics, NodeStatus, SnapshotTaken, TakeSnapshot
from raft.protocol.registry import REGISTRY, address_of, supervisor_of

STATUS_SECONDS_MAX = 5.0


class RunningNode:
    """Used from creation to `stop`; `body` is the task that is cancelled if the node fails."""

    def __init__(self, plan: Plan, on_leader: Callable[[Leader | None], None] | None) -> None:
        self.error: NodeError | None = None
        self.body: asyncio.Task[object] | None = None
        self._loop = asyncio.get_running_loop()
        self._on_leader = on_leader
        self._is_up = asyncio.Event()
        self._end = asyncio.Event()
        self._changed = asyncio.Event()
        self._cancelled = False
        self._driver: AsyncioDriver | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="raft-node-"))
        self._fork_server = ForkServer.start(["raft.node.process.main"], [self._directory])
        endpoint = f"ipc://{self._directory}/supervisor"
        config = msgspec.structs.replace(plan.config, supervisor=endpoint)
        self._plan = msgspec.structs.replace(plan, config=config)
        self.supervisor = NodeSupervisor(self._plan, self._fork_server, self)

    async def start(self) -> None:
        """Start the supervisor, and wait until the node is running or has failed. Raises a NodeError."""
        config = self._plan.config
        self._address = supervisor_of(config.node, has_keys=bool(config.keys))
        try:
            make_private(self._plan.output_path.parent)
            transport = ZeroMqTransport(
                self._address.process,
                1,
                cluster=config.cluster,
                endpoint=config.supervisor,
                keys=curve.load(Path(config.keys)) if config.keys else None,
            )
        except (TransportError, OSError) as error:
            raise NodeRefused(str(error)) from None
        self._runtime = Runtime(
            self._address.process,
            transport=transport,
            registry=REGISTRY,
            supervision=RestartPolicy(max_restarts=0),
        )
        self._runtime.spawn(lambda: self.supervisor, self._address.actor)
        self._driver = AsyncioDriver(self._runtime, transport, self._look_up)
        await self._is_up.wait()
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        """Stop the node, and release its resources. Idempotent."""
        try:
            if self._driver is not None:
                self._runtime.post(self._address, Stop())
                self._driver.soon()
                await self._end.wait()
        finally:
            if self._driver is not None:
                self._driver.end()
            self._fork_server.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    async def uncancel(self, kind: type[BaseException] | None) -> bool:
        """Whether the body was cancelled only because the node ended."""
        body, self.body = self.body, None
        if not self._cancelled or body is None:
            return False
        others = body.uncancel()
        if kind is not asyncio.CancelledError:
            # It has been asked for, and is delivered at the next wait.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return False
        return not others and kind is asyncio.CancelledError

    @property
    def has_ended(self) -> bool:
        """Whether the node has ended for good."""
        return self._end.is_set()

    async def next_change(self) -> None:
        """Wait until there is another leader, or the end."""
        await self._changed.wait()

    async def status(self) -> NodeStatus:
        """Ask the node. Raises NodeError."""
        answer = await self._ask(GetStatus(), STATUS_SECONDS_MAX)
        assert isinstance(answer, NodeStatus), f"a node's status is not {answer}"
        return answer

    async def metrics(self) -> NodeMetrics:
        """Ask the node what it has counted. Raises NodeError."""
        answer = await self._ask(GetMetrics(), STATUS_SECONDS_MAX)
        assert isinstance(answer, NodeMetrics), f"a node does not tell its metrics by {answer}"
        return answer

    async def snapshot(self, timeout_seconds: float) -> int:
        """Let the node take a snapshot, and return its index. Raises NodeError."""
        answer = await self._ask(TakeSnapshot(), timeout_seconds)
        if not isinstance(answer, SnapshotTaken):
            raise NodeError(f"the node took no snapshot: {getattr(answer, 'reason', answer)}")
        return answer.index

    async def _ask(self, request: object, timeout_seconds: float) -> object:
        answered: asyncio.Future[object] = self._loop.create_future()

        def end(answer: object) -> None:
            if not answered.done():
                answered.set_result(answer)

        try:
            pending = self._runtime.ask(address_of(self._plan.config.node), request, timeout_seconds)
        except ActorsError as error:
            raise NodeError(str(error)) from None
        pending.then(end, end)
        assert self._driver is not None, "requests come only after the start"
        self._driver.soon()
        answer = await answered
        if isinstance(answer, AskFailed):
            raise NodeError(f"the node cannot be asked: {answer}")
        return answer

    # -- the supervisor's listener -----------------------------------------------------------------------

    def up(self) -> None:
        """See Listener."""
        self._is_up.set()

    def leader_changed(self, leader: Leader | None) -> None:
        """See Listener."""
        self._tell_observers()
        self._loop.call_soon(self._tell_program, leader)

    def ended(self, error: NodeError | None) -> None:
        """See Listener."""
        self.error = self.error or error
        self._is_up.set()
        self._end.set()
        self._tell_observers()
        if error is not None and self.body is not None and not self.body.done():
            self._cancelled = True
            self.body.cancel(str(error))

    def _tell_program(self, leader: Leader | None) -> None:
        if self._on_leader is None:
            return
        try:
            self._on_leader(leader)
        except (SystemExit, KeyboardInterrupt):
            self._on_leader = None  # Once more would end the loop before the node has been stopped.
            raise

    def _look_up(self) -> None:
        """Has the runtime failed? That is an error of ours, and the node must not be left unwatched."""
        if self._runtime.stopped:
            self.ended(NodeFailed(f"the supervision of the node has failed: {self._runtime.failure}"))

    def _tell_observers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
