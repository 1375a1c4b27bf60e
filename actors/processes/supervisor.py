"""The parent's side of process-actors: starts them, hears of their ends, starts them again.

Owns which processes there should be, and how each has ended. The decisions are supervision's, forking and
killing are the fork server's; what runs in a child is hosting's. All processes that a decision names have
ended before the first of them is started again.

Supervisors form a tree, as in OTP: each has a policy of its own for the processes and supervisors under
it. One that gives up has failed as a whole: the one above it restarts all that is under it, leaves it ended,
or gives up too. When the root gives up, this actor fails.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import msgspec

from actors.actor import Actor, Handlers
from actors.address import Address, check_process_name
from actors.envelope import Inspect
from actors.errors import ActorsError, AskFailed, GaveUp, NameTaken, UnknownActor
from actors.failures.crash_reports import CrashReport
from actors.failures.supervision import (
    ForgetChild,
    GiveUp,
    Restart,
    RestartChildren,
    RestartPolicy,
    Supervisor,
)
from actors.mailbox import MailboxPolicy
from actors.patterns.directory import DIRECTORY
from actors.processes.child import ChildProcess, ForkServer, ForkServerGone, describe_exit
from actors.processes.child_main import MAIN, Hosting
from actors.timers import Timer
from actors.transport.endpoints import check_endpoint

STOP_SECONDS_MAX: Final = 5.0
"""How long a process may take to stop before it is killed."""
ENDINGS_KEPT_MAX: Final = 1000
LAST_WORDS_BYTES_MAX: Final = 2000


class ProcessPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A process that there should be: for which actor, with which arguments, connected to whom."""

    name: str
    actor: str
    arguments: dict[str, Any]
    connect: tuple[str, ...]
    supervisor: str = ""
    restart: Restart | None = None
    mailbox: MailboxPolicy | None = None
    supervision: RestartPolicy | None = None
    frame_bytes_max: int | None = None
    groups: tuple[str, ...] = ()


class Places(Protocol):
    """Where processes listen, and what they have to know to find each other."""

    cluster: str
    keys: str | None
    first_incarnation: int
    directory: Address

    def check(self, process: str) -> None:
        """Raise ActorsError for a process that can't have a place."""

    def endpoint(self, process: str) -> str:
        """Where a process listens."""

    def started(self, process: str) -> None:
        """An incarnation of a process has been asked for."""

    def forgotten(self, process: str) -> None:
        """A process has ended for good."""


class LocalPlaces:
    """Sockets in a private directory. See Places."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self.cluster = directory.name
        self.keys: str | None = None
        self.first_incarnation = 0
        self.directory = Address(name, DIRECTORY)

    def check(self, process: str) -> None:
        """Raise EndpointError for a name that is too long for a socket."""
        check_endpoint(self.endpoint(process), has_keys=False)

    def endpoint(self, process: str) -> str:
        """Where a process listens."""
        return f"ipc://{self._directory / process}"

    def started(self, process: str) -> None:
        """Nothing."""

    def forgotten(self, process: str) -> None:
        """Nothing."""


class _Branch:
    """A supervisor in the tree: what is under it, processes and other branches, it supervises together."""

    def __init__(self, name: str, parent: _Branch | None, policy: RestartPolicy) -> None:
        self.name = name
        self.key = f"{name}/"  # No process can have such a name.
        self.parent = parent
        self.supervisor = Supervisor(policy, random.Random())

    def within(self, other: _Branch) -> bool:
        return self is other or (self.parent is not None and self.parent.within(other))


class _Kept:
    """A process that there should be, through all of its incarnations."""

    def __init__(self, plan: ProcessPlan, branch: _Branch) -> None:
        self.plan = plan
        self.branch = branch
        self.child: ChildProcess | None = None
        self.wanted = True
        self.log_bytes = 0  # how long its log was when this incarnation began
        self.ending = ""  # how its last incarnation ended
        self.heard_at = 0.0
        self.checking = False
        self.unresponsive = False  # and was killed for that


class _Round:
    """Processes that are started together, once all of them have ended and their wait is over."""

    def __init__(self, start: tuple[str, ...], ending: set[str], moment: float) -> None:
        self.start = start
        self.ending = ending
        self.moment = moment
        self.timer: Timer | None = None

    @property
    def names(self) -> set[str]:
        return self.ending.union(self.start)


class ProcessSupervisor(Actor):
    """An actor whose children are processes. Call its methods from its own runtime's thread only.

    It gives up by failing itself, and takes all its processes along when it ends: each gets SIGTERM, and
    SIGKILL STOP_SECONDS_MAX later, from the fork server, whatever this process is busy with. Restarts are
    made by this actor, so that none is made while its runtime does not turn.
    """

    def __init__(
        self,
        fork_server: ForkServer,
        places: Places,
        log_directory: Path,
        tags: Mapping[int, str],
        policy: RestartPolicy,
        on_crash: Callable[[CrashReport], None],
        unresponsive_seconds: float | None = None,
    ) -> None:
        self._fork_server = fork_server
        self._places = places
        self._log_directory = log_directory
        self._tags = dict(tags)
        self._policy = policy
        self._on_crash = on_crash
        self._unresponsive_seconds = unresponsive_seconds
        self._checked_at = 0.0
        self._processes: dict[str, _Kept] = {}
        # Never forgotten: what a former incarnation of a name has sent must not pass for the new one's.
        self._incarnations: dict[str, int] = {}
        self._endings: dict[str, str] = {}
        self._rounds: list[_Round] = []
        self._root = _Branch("", None, policy)
        self._branches = {"": self._root}

    def on_start(self) -> None:
        """Listen to the fork server."""
        self.context.add_reader(self._fork_server.fileno(), self._hear)
        if self._unresponsive_seconds is not None:
            period_seconds = self._unresponsive_seconds / 4
            self._checked_at = self.context.now()
            self.context.every(period_seconds, partial(self._check_all, period_seconds))

    def on_stop(self) -> None:
        """Let no process outlive this actor for long."""
        if not self._fork_server.gone:
            self.stop_all()

    @property
    def processes(self) -> tuple[str, ...]:
        """Their names: of those that run, and of those that wait to be started again."""
        return tuple(self._processes)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of those that have been started and have not ended."""
        return tuple(name for name, kept in self._processes.items() if kept.child is not None)

    def add_supervisor(
        self, name: str, policy: RestartPolicy, *, under: str = "", restart: Restart | None = None
    ) -> None:
        """Grow a branch; raises NameTaken. `restart` says what becomes of it as a whole when it gives up."""
        if check_process_name(name) in self._branches:
            raise NameTaken(f"there is a supervisor named {name} already")
        parent = self._branch(under)
        self._branches[name] = branch = _Branch(name, parent, policy)
        parent.supervisor.started(branch.key, self.context.now(), restart)

    def add(self, plan: ProcessPlan) -> Address:
        """Start a process, and keep it running; nothing is left of one that is refused. Raises NameTaken."""
        name = check_process_name(plan.name)
        if name in self._processes or name == self.context.address.process:
            raise NameTaken(f"there is a process named {name} already")
        for process in (name, *plan.connect):
            if process != self.context.address.process:
                self._places.check(process)
        try:
            msgspec.msgpack.encode(plan)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ActorsError(f"the arguments of {name} cannot be sent to its process: {error}") from error
        kept = _Kept(plan, self._branch(plan.supervisor))
        self._start(kept)
        self._processes[name] = kept
        return Address(name, MAIN)

    def remove(self, name: str) -> None:
        """Stop a process for good: by SIGTERM, and by SIGKILL after STOP_SECONDS_MAX."""
        kept = self._kept(name)
        kept.wanted = False
        kept.branch.supervisor.forget(name)
        self._end(kept)

    def stop_all(self) -> None:
        """Stop every process for good, as `remove` does."""
        for name in reversed(list(self._processes)):
            self.remove(name)

    def kill(self, name: str) -> None:
        """Send SIGKILL to a process, as if something outside of the program had."""
        child = self._kept(name).child
        if child is not None:
            child.wait_started(STOP_SECONDS_MAX)
            child.kill(signal.SIGKILL)

    def explain(self, name: str) -> str:
        """Why a process cannot be told anything, as far as it is known."""
        kept = self._processes.get(name)
        if kept is None:
            ending = self._endings.get(name)
            return (
                f"it {ending}, and is not started again" if ending else "no process of that name was started"
            )
        times = self._incarnations[name]
        return f"it {kept.ending}; it was started {times} times" if kept.ending else "it is still starting"

    def on_crash_report(self, report: CrashReport) -> None:
        """Pass on what a process tells of its actors."""
        self._on_crash(report)

    handlers: ClassVar[Handlers] = {CrashReport: on_crash_report}

    def _branch(self, name: str) -> _Branch:
        if name not in self._branches:
            raise UnknownActor(f"there is no supervisor named {name}: add it first, by spawn_supervisor")
        return self._branches[name]

    def _kept(self, name: str) -> _Kept:
        if name not in self._processes:
            raise UnknownActor(f"there is no process named {name}: {self.explain(name)}")
        return self._processes[name]

    def _start(self, kept: _Kept) -> None:
        plan = kept.plan
        incarnations = self._incarnations.get(plan.name, 0) + 1
        known = (self.context.address.process, *plan.connect)
        hosting = Hosting(
            cluster=self._places.cluster,
            process=plan.name,
            incarnation=self._places.first_incarnation + incarnations,
            endpoint=self._places.endpoint(plan.name),
            connect={process: self._places.endpoint(process) for process in known},
            keys=self._places.keys,
            supervisor=self.context.address,
            actor=plan.actor,
            arguments=plan.arguments,
            tags=self._tags,
            mailbox=plan.mailbox,
            supervision=plan.supervision,
            frame_bytes_max=plan.frame_bytes_max,
            directory=self._places.directory,
            groups=plan.groups,
        )
        argument = msgspec.msgpack.encode(hosting)
        kept.log_bytes = _size(self._log_path(plan.name))
        kept.child = self._fork_server.spawn(
            "actors.processes.child_main:host", argument, log_path=self._log_path(plan.name)
        )
        self._incarnations[plan.name] = incarnations
        kept.heard_at = self.context.now()
        kept.unresponsive = False
        kept.branch.supervisor.started(plan.name, self.context.now(), plan.restart)
        self.context.connect(plan.name, self._places.endpoint(plan.name))
        self._places.started(plan.name)

    def _hear(self) -> None:
        changed = self._fork_server.receive()
        for kept in list(self._processes.values()):
            child = kept.child
            if child is None or child not in changed:
                continue
            if child.error is not None or child.returncode is not None:
                kept.ending = self._describe_end(kept, child)
                child.close()
                kept.child = None
                self._ended(kept, failed=child.returncode != 0)
        if self._fork_server.gone:
            raise ForkServerGone("the fork server has ended, and every process with it")

    def _ended(self, kept: _Kept, *, failed: bool) -> None:
        name = kept.plan.name
        if not kept.wanted:
            self._forget(kept)
        if any(name in waiting.names for waiting in self._rounds):
            self._note_end(name)
        elif kept.wanted:
            self._decide(kept.branch, name, failed, kept.ending)

    def _decide(self, branch: _Branch, child: str, failed: bool, ending: str) -> None:
        """Do about a process, or a branch, that has ended what the supervisor above it says."""
        decision = branch.supervisor.ended(child, self.context.now(), failed=failed)
        if isinstance(decision, GiveUp):
            reason = f"{decision.reason}; the last time it {ending}"
            if branch.parent is None:
                raise GaveUp(reason)
            branch.supervisor.forgive()
            self._report(branch, reason)
            self._decide(branch.parent, branch.key, True, f"gave up: {reason}")
        elif isinstance(decision, ForgetChild):
            for name in reversed(self._under(child)):
                self.remove(name)
        else:
            self._restart(child, decision)

    def _under(self, child: str) -> list[str]:
        """The processes that a name stands for in a decision: one, or all of a branch."""
        if not child.endswith("/"):
            return [child]
        branch = self._branches[child[:-1]]
        return [name for name, kept in self._processes.items() if kept.branch.within(branch)]

    def _report(self, branch: _Branch, reason: str) -> None:
        address = Address(self.context.address.process, f"{self.context.address.actor}/{branch.name}")
        consequence = "the supervisor above it decides"
        self._on_crash(CrashReport(address, "supervision", f"GaveUp: {reason}", "", consequence))

    def _restart(self, child: str, decision: RestartChildren) -> None:
        ending = set()
        start = {name for key in decision.start for name in self._under(key)}
        # A branch that is started again ends first, with all that still runs in it.
        whole = [child] if child.endswith("/") else []
        for name in [name for key in (*decision.stop, *whole) for name in reversed(self._under(key))]:
            kept = self._processes[name]
            kept.wanted = name in start
            if kept.child is not None:
                ending.add(name)
            self._end(kept)
        moment = self.context.now() + decision.after_seconds
        new = _Round(self._in_order(start), ending, moment)
        for other in [waiting for waiting in self._rounds if waiting.names & new.names]:
            # A process has one place to be started from, and waits for all who have to end before it.
            self._drop(other)
            start = {*other.start, *new.start}
            new = _Round(self._in_order(start), other.ending | new.ending, max(other.moment, new.moment))
        self._rounds.append(new)
        self._start_when_due(new)

    def _in_order(self, names: set[str]) -> tuple[str, ...]:
        return tuple(name for name in self._processes if name in names)

    def _note_end(self, name: str) -> None:
        for waiting in list(self._rounds):
            if name in waiting.ending:
                waiting.ending.discard(name)
                self._start_when_due(waiting)

    def _start_when_due(self, waiting: _Round) -> None:
        if not waiting.ending and waiting.timer is None:
            left_seconds = max(waiting.moment - self.context.now(), 0.0)
            waiting.timer = self.context.after(left_seconds, partial(self._start_all, waiting))

    def _start_all(self, waiting: _Round) -> None:
        self._drop(waiting)
        for name in waiting.start:
            kept = self._processes.get(name)
            if kept is not None and kept.wanted and kept.child is None:
                self._start(kept)

    def _drop(self, waiting: _Round) -> None:
        self._rounds.remove(waiting)
        if waiting.timer is not None:
            waiting.timer.cancel()

    def _end(self, kept: _Kept) -> None:
        if kept.child is not None:
            kept.child.stop(STOP_SECONDS_MAX)
        elif not kept.wanted:
            self._forget(kept)

    def _forget(self, kept: _Kept) -> None:
        name = kept.plan.name
        del self._processes[name]
        self._endings.pop(name, None)
        self._endings[name] = kept.ending or "was stopped before it had started"
        if len(self._endings) > ENDINGS_KEPT_MAX:
            del self._endings[next(iter(self._endings))]
        self.context.disconnect(name)
        self._places.forgotten(name)

    def _check_all(self, period_seconds: float) -> None:
        """Ask each process whether it still answers, and kill one that does not."""
        now = self.context.now()
        for kept in self._processes.values():
            if now - self._checked_at > 2 * period_seconds:
                kept.heard_at = now  # It is this process that stood still.
            if kept.child is not None and kept.wanted and not kept.checking:
                kept.checking = True
                self._check(kept, kept.child)
        self._checked_at = now

    def _check(self, kept: _Kept, child: ChildProcess) -> None:
        seconds = self._unresponsive_seconds
        assert seconds is not None, "nothing is checked without a limit"

        def on_reply(_reply: object) -> None:
            kept.checking = False
            kept.heard_at = self.context.now()

        def on_failure(_failure: AskFailed) -> None:
            kept.checking = False
            if kept.child is child and self.context.now() - kept.heard_at >= seconds:
                kept.unresponsive = True
                child.kill(signal.SIGKILL)

        asked = self.context.ask(Address(kept.plan.name, MAIN), Inspect(), seconds)
        asked.then(on_reply, on_failure)

    def _describe_end(self, kept: _Kept, child: ChildProcess) -> str:
        if child.error is not None:
            return f"could not be started: {str(child.error).strip()[:LAST_WORDS_BYTES_MAX]}"
        assert child.returncode is not None, "only what has ended is described"
        how = describe_exit(child.returncode)
        if how.startswith("killed"):
            how = f"was {how}"
        if kept.unresponsive:
            how += f", as it did not answer for {self._unresponsive_seconds:g} seconds"
        words = _last_words(self._log_path(kept.plan.name), kept.log_bytes)
        return f"{how}, after saying: {words}" if words and child.returncode != 0 else how

    def _log_path(self, name: str) -> Path:
        return self._log_directory / f"{name}.log"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _last_words(path: Path, start: int) -> str:
    """What was written at the end of a log, behind `start`."""
    try:
        with path.open("rb") as log:
            log.seek(max(start, os.fstat(log.fileno()).st_size - LAST_WORDS_BYTES_MAX))
            return log.read(LAST_WORDS_BYTES_MAX).decode(errors="replace").strip()
    except OSError:
        return ""
