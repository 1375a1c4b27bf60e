"""Actors in processes of their own, with nothing to set up.

Owns the whole of a small system: a private directory for its sockets, a fork server, a runtime in
this process, and the supervision of all others. Whoever needs more takes the parts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from actors.actor import Actor
from actors.address import Address
from actors.codec import Registry
from actors.crashes import CrashReport, print_crash
from actors.errors import GaveUp, TransportError, Undeliverable
from actors.hosting import name_class, name_tags
from actors.process import ForkServer
from actors.process_supervisor import ProcessPlan, ProcessSupervisor
from actors.runtime import Runtime
from actors.supervision import Restart, RestartPolicy
from actors.zeromq import ZeroMqTransport

START_SECONDS_MAX: Final = 10.0
_SUPERVISOR: Final = "processes"


class ProcessSystem:
    """This process, and others of which each runs one actor; all are gone when it is closed.

        with ProcessSystem({1: Ping, 2: Pong}) as system:
            alice = system.spawn_process(Player, "alice")
            print(system.ask(alice, Ping()))

    `tags` are the messages that may travel between processes. A process that dies is started again
    as `supervision` says; when that gives up, whatever waits here raises GaveUp. What processes print goes
    to `log_directory`, or is dropped; their crash reports go to `on_crash`.
    """

    def __init__(
        self,
        tags: Mapping[int, type],
        *,
        name: str = "parent",
        supervision: RestartPolicy | None = None,
        log_directory: Path | None = None,
        on_crash: Callable[[CrashReport], None] = print_crash,
    ) -> None:
        self._on_crash = on_crash
        self._failure: GaveUp | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="actors-"))
        endpoint = f"ipc://{self.directory / name}"
        try:
            transport = ZeroMqTransport(name, 1, cluster=self.directory.name, endpoint=endpoint)
        except TransportError:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self._fork_server = ForkServer.start(["actors.hosting"], cleanup=[self.directory])
        self.runtime = Runtime(
            name,
            transport=transport,
            registry=Registry(tags),
            on_crash=self._note_crash,
        )
        self._supervisor = ProcessSupervisor(
            self._fork_server,
            self.directory,
            log_directory or self.directory,
            name_tags(tags),
            supervision or RestartPolicy(),
            on_crash,
        )
        self.runtime.spawn(lambda: self._supervisor, _SUPERVISOR, restart=Restart.TEMPORARY)
        self.runtime.run_turn()

    def spawn_process(
        self,
        actor: type[Actor],
        name: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        connect: tuple[str, ...] = (),
    ) -> Address:
        """Start a process for one actor; returns its address, which it keeps through all its lives.

        `actor` must be found by importing its module; it is called with `arguments`, made of what
        msgpack knows. The process is connected to this one, and to those that `connect` names.
        """
        plan = ProcessPlan(
            name=name, actor=name_class(actor), arguments=dict(arguments or {}), connect=connect
        )
        return self._supervisor.add(plan)

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that there are, or will be again."""
        return self._supervisor.processes

    def stop_process(self, name: str) -> None:
        """Stop a process for good; it may take a moment."""
        self._supervisor.remove(name)

    def kill_process(self, name: str) -> None:
        """Kill a process, and return when that is known; its supervision will start it again."""
        self.wait_for(name)
        self._supervisor.kill(name)
        self.run_until(lambda: name not in self.runtime.peers)

    def wait_for(self, name: str, timeout_seconds: float = START_SECONDS_MAX) -> None:
        """Return when that process can be told something; raises Undeliverable when the time is up."""
        if not self.run_until(lambda: name in self.runtime.peers, timeout_seconds):
            raise Undeliverable(f"{name} has not come up within {timeout_seconds:g} seconds")

    def tell(self, to: Address, message: object) -> None:
        """Send a message, once its process is up."""
        if to.process != self.runtime.name:
            self.wait_for(to.process)
        self.runtime.tell(to, message)
        self.runtime.run_turn()

    def ask(self, to: Address, message: object, timeout_seconds: float = START_SECONDS_MAX) -> Any:
        """Send a message, once its process is up, and return the reply; raises AskFailed."""
        if to.process != self.runtime.name:
            self.wait_for(to.process, timeout_seconds)
        pending = self.runtime.ask(to, message, timeout_seconds)
        self.run_until(lambda: pending.done, timeout_seconds + 1.0)
        return pending.result()

    def run_until(self, done: Callable[[], bool], timeout_seconds: float = START_SECONDS_MAX) -> bool:
        """Let this process's actors run until `done`; False when the time was up first."""
        reached = self.runtime.run_until(lambda: self._failure is not None or done(), timeout_seconds)
        failure = self._failure or self.runtime.failure
        if failure is not None:
            raise failure
        return reached

    def close(self) -> None:
        """End every process and remove what they shared; twice is once."""
        self.runtime.stop()
        self.runtime.run_turn()
        self._fork_server.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _note_crash(self, report: CrashReport) -> None:
        if report.address.actor == _SUPERVISOR:
            self._failure = GaveUp(report.error)
        self._on_crash(report)

    def __enter__(self) -> ProcessSystem:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
