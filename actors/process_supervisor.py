"""The parent's side of process-actors: starts them, hears of their ends, starts them again.

Owns which processes there should be. The decisions are supervision's, the forking is the fork
server's; what runs in a child is hosting's.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from actors.actor import Actor, Handlers
from actors.address import Address, check_process_name
from actors.crashes import CrashReport
from actors.errors import ActorsError, GaveUp, NameTaken, UnknownActor
from actors.hosting import MAIN, Hosting
from actors.process import ChildProcess, ForkServer, ForkServerGone
from actors.supervision import ForgetChild, GiveUp, RestartChildren, RestartPolicy, Supervisor
from actors.timers import Timer

STOP_SECONDS_MAX: Final = 5.0
"""How long a process may take to stop before it is killed."""


class ProcessPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A process that there should be: for which actor, with which arguments, connected to whom."""

    name: str
    actor: str
    arguments: dict[str, Any]
    connect: tuple[str, ...]


class _Kept:
    def __init__(self, plan: ProcessPlan) -> None:
        self.plan = plan
        self.child: ChildProcess | None = None
        self.lives = 0
        self.timer: Timer | None = None
        self.wanted = True
        self.start_at: float | None = None  # set while its end, or its start, is this supervisor's own doing


class ProcessSupervisor(Actor):
    """An actor whose children are processes. Call its methods from its own runtime's thread only.

    It gives up by failing itself, and takes all its processes along when it ends.
    """

    def __init__(
        self,
        fork_server: ForkServer,
        directory: Path,
        log_directory: Path,
        tags: Mapping[int, str],
        policy: RestartPolicy,
        on_crash: Callable[[CrashReport], None],
    ) -> None:
        self._fork_server = fork_server
        self._directory = directory
        self._log_directory = log_directory
        self._tags = dict(tags)
        self._policy = policy
        self._on_crash = on_crash
        self._processes: dict[str, _Kept] = {}
        self._supervisor = Supervisor(policy, random.Random())

    def on_start(self) -> None:
        """Listen to the fork server."""
        self.context.add_reader(self._fork_server.fileno(), self._hear)

    def on_stop(self) -> None:
        """Let no process outlive this actor."""
        for kept in self._processes.values():
            if kept.child is not None:
                kept.child.kill(signal.SIGKILL)

    @property
    def processes(self) -> tuple[str, ...]:
        """Their names: of those that run, and of those that wait to be started again."""
        return tuple(self._processes)

    def add(self, plan: ProcessPlan) -> Address:
        """Start a process, and keep it running; raises NameTaken."""
        name = check_process_name(plan.name)
        if name in self._processes or name == self.context.address.process:
            raise NameTaken(f"there is a process named {name} already")
        self._processes[name] = _Kept(plan)
        self._start(self._processes[name])
        return Address(name, MAIN)

    def remove(self, name: str) -> None:
        """Stop a process for good: kindly first, and by force after STOP_SECONDS_MAX."""
        kept = self._kept(name)
        kept.wanted = False
        self._supervisor.forget(name)
        self._end(kept)

    def kill(self, name: str) -> None:
        """Send SIGKILL to a process, as if somebody else had."""
        child = self._kept(name).child
        if child is not None:
            child.wait_started(STOP_SECONDS_MAX)
            child.kill(signal.SIGKILL)

    def endpoint(self, process: str) -> str:
        """Where a process of this system listens."""
        return f"ipc://{self._directory / process}"

    def on_crash_report(self, report: CrashReport) -> None:
        """Pass on what a process tells of its actors."""
        self._on_crash(report)

    handlers: ClassVar[Handlers] = {CrashReport: on_crash_report}

    def _kept(self, name: str) -> _Kept:
        if name not in self._processes:
            raise UnknownActor(f"there is no process named {name}")
        return self._processes[name]

    def _start(self, kept: _Kept) -> None:
        plan = kept.plan
        kept.timer = kept.start_at = None
        kept.lives += 1
        known = (self.context.address.process, *plan.connect)
        hosting = Hosting(
            cluster=self._directory.name,
            process=plan.name,
            incarnation=kept.lives,
            endpoint=self.endpoint(plan.name),
            connect={process: self.endpoint(process) for process in known},
            supervisor=self.context.address,
            actor=plan.actor,
            arguments=plan.arguments,
            tags=self._tags,
        )
        log_path = self._log_directory / f"{plan.name}.log"
        argument = msgspec.msgpack.encode(hosting)
        kept.child = self._fork_server.spawn("actors.hosting:host", argument, log_path=log_path)
        self._supervisor.started(plan.name, self.context.now())
        self.context.connect(plan.name, self.endpoint(plan.name))

    def _hear(self) -> None:
        changed = self._fork_server.receive()
        for kept in list(self._processes.values()):
            child = kept.child
            if child is None or child not in changed:
                continue
            if child.error is not None or child.returncode is not None:
                failed = child.returncode != 0
                child.close()
                kept.child = None
                self._ended(kept, failed, child.error)
        if self._fork_server.gone:
            raise ForkServerGone("the fork server has ended, and every process with it")

    def _ended(self, kept: _Kept, failed: bool, error: Exception | None) -> None:
        name = kept.plan.name
        if not kept.wanted:
            self._forget(kept)
        elif kept.start_at is not None:
            self._start_at(kept, kept.start_at)
        elif error is not None:
            raise ActorsError(f"{name} cannot be started") from error
        else:
            decision = self._supervisor.ended(name, self.context.now(), failed=failed)
            if isinstance(decision, GiveUp):
                raise GaveUp(decision.reason)
            if isinstance(decision, ForgetChild):
                self._forget(kept)
            else:
                self._restart(decision)

    def _restart(self, decision: RestartChildren) -> None:
        moment = self.context.now() + decision.after_seconds
        for name in decision.stop:
            kept = self._processes[name]
            kept.wanted = name in decision.start
            self._end(kept)
        for name in decision.start:
            self._start_at(self._processes[name], moment)

    def _start_at(self, kept: _Kept, moment: float) -> None:
        kept.start_at = moment
        if kept.child is None:
            if kept.timer is not None:
                kept.timer.cancel()
            wait_seconds = max(moment - self.context.now(), 0.0)
            kept.timer = self.context.after(wait_seconds, partial(self._start, kept))

    def _end(self, kept: _Kept) -> None:
        child = kept.child
        if child is not None:
            # One that has not started yet hears SIGTERM too early; it is killed when its time is up.
            child.kill(signal.SIGTERM)
            self.context.after(STOP_SECONDS_MAX, partial(child.kill, signal.SIGKILL))
        elif not kept.wanted:
            self._forget(kept)

    def _forget(self, kept: _Kept) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
        del self._processes[kept.plan.name]
        self.context.disconnect(kept.plan.name)
