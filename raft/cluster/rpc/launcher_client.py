"""The connection of a short-lived process to a running launcher.

Owns a client that connects, asks one thing or a few, and disconnects. The requests are in `messages`; output
belongs to the command line.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TypeVar

from actors.address import Address
from actors.codec import Registry
from actors.errors import AskFailed, AskTimeout
from actors.runtime import Runtime
from actors.transport.sockets import Tuning
from actors.transport.zeromq import ZeroMqTransport
from raft.cluster.failures import ExitCode, Unreachable, VerbFailed
from raft.cluster.rpc.messages import SUPERVISOR_ACTOR, SUPERVISOR_PROCESS, VERB_TAGS, Failed
from raft.cluster.rundir import RunDirectory
from raft.cluster.spec import ClusterRecord

CONNECT_SECONDS_MAX = 3.0
ASK_SECONDS_MAX = 30.0
_SUPERVISOR = Address(SUPERVISOR_PROCESS, SUPERVISOR_ACTOR)

# The kernel reports a launcher's death. A silent one was stopped, perhaps with the whole machine, and
# still knows what it was asked.
_TUNING = Tuning(heartbeat_timeout_milliseconds=30_000)

A = TypeVar("A")


def connect_to_launcher(
    record: ClusterRecord, run_directory: RunDirectory
) -> tuple[Runtime, ZeroMqTransport]:
    """A runtime that connects to the launcher of a cluster."""
    name = f"verb-{os.getpid()}-{os.urandom(4).hex()}"
    transport = ZeroMqTransport(name, 1, cluster=record.cluster, tuning=_TUNING)
    transport.connect(SUPERVISOR_PROCESS, run_directory.launcher_endpoint)
    return Runtime(name, transport=transport, registry=Registry(VERB_TAGS)), transport


class Launcher:
    """The running launcher of one cluster, for the duration of a `with` block."""

    def __init__(self, run_directory: RunDirectory) -> None:
        self.record = ClusterRecord.read(run_directory.record)
        self._runtime, _ = connect_to_launcher(self.record, run_directory)
        if not self._runtime.run_until(self._is_connected, CONNECT_SECONDS_MAX):
            raise Unreachable(f"the launcher of cluster {self.record.name!r} does not answer")

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runtime.stop()
        self._runtime.run()

    def _is_connected(self) -> bool:
        return SUPERVISOR_PROCESS in self._runtime.peers

    def ask(self, verb: object, expected: type[A], timeout_seconds: float = ASK_SECONDS_MAX) -> A:
        """The launcher's answer. Raises its refusal, or Unreachable if it does not answer."""
        pending = self._runtime.ask(_SUPERVISOR, verb, timeout_seconds)
        self._runtime.run_until(pending, timeout_seconds + 1.0)
        try:
            answer = pending.result()
        except AskTimeout:
            raise VerbFailed("the launcher did not answer in time", ExitCode.TIMED_OUT) from None
        except AskFailed as failure:
            raise Unreachable(f"cluster {self.record.name!r} cannot be reached: {failure}") from failure
        if isinstance(answer, Failed):
            raise VerbFailed(answer.reason, ExitCode(answer.exit_code))
        assert isinstance(answer, expected), f"{type(verb).__name__} was answered by {type(answer).__name__}"
        return answer
