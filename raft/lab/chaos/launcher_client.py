"""A connection to a cluster's launcher for asyncio: many verbs may be in progress at once.

Owns the connection, like `raft.cluster.rpc.launcher_client`, which runs one verb at a time only. Knows
nothing of the verbs.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from actors.address import Address
from actors.asyncio_driver import AsyncioDriver
from actors.errors import AskFailed
from raft.cluster.failures import ExitCode, Unreachable, VerbFailed
from raft.cluster.rpc.launcher_client import connect_to_launcher
from raft.cluster.rpc.messages import SUPERVISOR_ACTOR, SUPERVISOR_PROCESS, Failed
from raft.cluster.rundir import RunDirectory
from raft.cluster.spec import ClusterRecord

CONNECT_SECONDS_MAX = 5.0
VERB_SECONDS_MAX = 30.0
_SUPERVISOR = Address(SUPERVISOR_PROCESS, SUPERVISOR_ACTOR)

A = TypeVar("A")


class AsyncLauncherClient:
    """Asks the launcher of one running cluster; created and used inside a running event loop."""

    def __init__(self, run_directory: RunDirectory) -> None:
        """Raises Unreachable if the cluster is not running."""
        self.record = ClusterRecord.read(run_directory.record)
        self._runtime, transport = connect_to_launcher(self.record, run_directory)
        self._connected = asyncio.Event()
        self._turning = AsyncioDriver(self._runtime, transport, self._look_up)

    async def connect(self) -> None:
        """Wait until the launcher is connected; raises Unreachable."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):  # wait_for may lose a cancellation.
                await self._connected.wait()
        except TimeoutError:
            raise Unreachable(f"the launcher of cluster {self.record.name!r} does not answer") from None

    def close(self) -> None:
        """Close the connection."""
        self._turning.end()

    async def ask(self, verb: object, expected: type[A], timeout_seconds: float = VERB_SECONDS_MAX) -> A:
        """The launcher's answer. Raises VerbFailed with its refusal, or if it does not answer."""
        answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def end(answer: object) -> None:
            if not answered.done():
                answered.set_result(answer)

        pending = self._runtime.ask(_SUPERVISOR, verb, timeout_seconds)
        pending.then(end, end)
        self._turning.soon()
        answer = await answered
        if isinstance(answer, AskFailed):
            raise VerbFailed(f"the launcher did not answer: {answer}", ExitCode.UNREACHABLE)
        if isinstance(answer, Failed):
            raise VerbFailed(answer.reason, ExitCode(answer.exit_code))
        assert isinstance(answer, expected), f"{type(verb).__name__} was answered by {type(answer).__name__}"
        return answer

    def _look_up(self) -> None:
        if SUPERVISOR_PROCESS in self._runtime.peers:
            self._connected.set()
