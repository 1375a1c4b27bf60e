"""Actors in processes of their own, with nothing to set up.

Owns the whole of a small system: a private directory for its sockets, a fork server, a runtime in
this process, and the supervision of all others. For more than that, use the parts.
"""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar, overload

from actors.actor import Actor
from actors.address import Address, check_process_name
from actors.codec import Registry
from actors.envelope import Inspect, Members, ProcessInfo, WhereIs
from actors.errors import ActorsError, GaveUp, RuntimeStopped, TransportError, Undeliverable
from actors.failures.crash_reports import CrashReport, print_crash
from actors.failures.supervision import Restart, RestartPolicy
from actors.handlers import Request, is_coroutine_function
from actors.mailbox import MailboxPolicy
from actors.patterns.directory import DIRECTORY, Directory
from actors.patterns.flow import WINDOW, AsyncStage, Pipeline, Stage, kinds_of
from actors.patterns.pool import Group, Pool
from actors.patterns.routing import Routing
from actors.processes.child import ForkServer
from actors.processes.child_main import check_arguments, name_class, name_tags
from actors.processes.hosts import HOSTS, Host, HostKeeper, HostPlaces
from actors.processes.supervisor import STOP_SECONDS_MAX, LocalPlaces, Places, ProcessPlan, ProcessSupervisor
from actors.runtime import Runtime
from actors.transport.curve import load
from actors.transport.zeromq import ZeroMqTransport

Answer = TypeVar("Answer")
START_SECONDS_MAX: Final = 10.0
DESCRIPTORS_NEEDED: Final = 48
"""For this process's end of a system; libzmq ends the program where it gets none."""
PRELOADED = ["actors.processes.child_main"]
_SUPERVISOR: Final = "processes"


class ProcessSystem:
    """This process, and others of which each runs one actor; all are gone when it is closed.

        with ProcessSystem([Ping, Pong]) as system:
            alice = system.spawn_process(Player, "alice")
            print(system.ask(alice, Ping()))

    `tags` are the messages that may travel between processes, or those by the numbers that they travel
    under. A process that dies is started again as `supervision` says; when that gives up, what waits here
    raises GaveUp. What processes print goes to `log_directory`, or is dropped; their crash reports go to
    `on_crash`. With `unresponsive_seconds` a process that does not answer its supervisor for so long is
    killed, and started again as one that died. With `host` this is one of several machines' systems (see
    processes.hosts), and its name is that of its key.

    For the thread that made it; in other threads use `runtime.post`. It does its work, restarts included,
    while this thread waits in one of its methods (`run_until` waits for anything): what dies meanwhile is
    started again by the next call. Stopped processes are killed in time all the same, and all of them
    are when this process ends, however it does.
    """

    def __init__(
        self,
        tags: Mapping[int, type] | Sequence[type],
        *,
        name: str = "parent",
        supervision: RestartPolicy | None = None,
        log_directory: Path | None = None,
        on_crash: Callable[[CrashReport], None] = print_crash,
        unresponsive_seconds: float | None = None,
        host: Host | None = None,
    ) -> None:
        self._closed = True
        self._pid = os.getpid()
        self._thread = threading.current_thread()
        self._on_crash = on_crash
        self._failure: GaveUp | None = None
        # Everything that can be refused, before anything is started that would have to be ended.
        if not isinstance(tags, Mapping):
            tags = dict(enumerate(tags, start=1))
        registry, tag_names, policy = Registry(tags), name_tags(tags), supervision or RestartPolicy()
        keys = None if host is None else load(Path(host.keys))
        name = name if keys is None else keys.name
        check_process_name(name)
        _check_settings(policy, on_crash, unresponsive_seconds, log_directory)
        _check_descriptors()
        self.directory = Path(tempfile.mkdtemp(prefix="actors-"))
        self._hosts = None if host is None else HostKeeper(name, host.listen, host.down_after_seconds)
        try:
            places, incarnation = self._places(name, host)
            endpoint = places.endpoint(name)
            transport = ZeroMqTransport(
                name, incarnation, cluster=places.cluster, endpoint=endpoint, keys=keys
            )
            try:
                self._fork_server = ForkServer.start(PRELOADED, cleanup=[self.directory])
            except BaseException:
                transport.close()
                raise
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self._closed = False
        self.runtime = Runtime(
            name,
            transport=transport,
            registry=registry,
            on_crash=self._note_crash,
            directory=places.directory,
        )
        self._supervisor = ProcessSupervisor(
            self._fork_server,
            places,
            log_directory or self.directory,
            tag_names,
            policy,
            on_crash,
            unresponsive_seconds,
        )
        self._spawn_own_actors(self._hosts)

    def _spawn_own_actors(self, hosts: HostKeeper | None) -> None:
        """Those of the system itself, in this process."""
        self.runtime.spawn(Directory, DIRECTORY)
        if hosts is not None:
            self.runtime.spawn(lambda: hosts, HOSTS, restart=Restart.TEMPORARY)
        self.runtime.spawn(lambda: self._supervisor, _SUPERVISOR, restart=Restart.TEMPORARY)
        self.runtime.run_turn()

    def _places(self, name: str, host: Host | None) -> tuple[Places, int]:
        """Where processes listen, and which incarnation of its name this one is."""
        if host is None or self._hosts is None:
            return LocalPlaces(self.directory, name), 1
        incarnation = host.next_incarnation()
        directory = Address(host.directory or name, DIRECTORY)
        return HostPlaces(host, name, incarnation, self._hosts, directory), incarnation

    def join(self, host: str, endpoint: str) -> None:
        """Join another host, at its `listen`, and all that it knows; it is tried for as long as it takes."""
        self._check_usable()
        self._keeper().join(host, endpoint)

    @property
    def hosts(self) -> Mapping[str, str]:
        """The other hosts, each "up" or "unreachable"; one that is down is not there any more."""
        return dict(self._keeper().states)

    def _keeper(self) -> HostKeeper:
        if self._hosts is None:
            raise ActorsError("this system has no other hosts: give it a Host, as in ProcessSystem(host=...)")
        return self._hosts

    def spawn_process(
        self,
        actor: type[Actor],
        name: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        connect: tuple[str, ...] = (),
        supervisor: str = "",
        restart: Restart | None = None,
        mailbox: MailboxPolicy | None = None,
        supervision: RestartPolicy | None = None,
        frame_bytes_max: int | None = None,
        groups: tuple[str, ...] = (),
    ) -> Address:
        """Start a process for one actor; returns its address, which it keeps through all its incarnations.

        `actor` must be found by importing its module; it is called with `arguments`, made of what
        msgpack knows: its `__init__` is given the types that it declares, such as Address. The process is
        connected to this one, and to those that `connect` names. `supervisor` is one of `spawn_supervisor`;
        `restart` deviates from its policy. Within the process, `mailbox` is the policy of all actors, and
        `supervision` says how often its actor may crash before the process ends. In each incarnation it is a
        member of `groups` (see Context.directory).
        """
        self._check_usable()
        called_with = dict(arguments or {})
        _check_signature(actor, called_with)
        check_arguments(actor, called_with)
        if isinstance(connect, str):
            raise TypeError(f"connect is a tuple of process names: connect=({connect!r},)")
        plan = ProcessPlan(
            name=name,
            actor=name_class(actor),
            arguments=called_with,
            connect=tuple(connect),
            supervisor=supervisor,
            restart=restart,
            mailbox=mailbox,
            supervision=supervision,
            frame_bytes_max=frame_bytes_max,
            groups=groups,
        )
        return self._supervisor.add(plan)

    def spawn_supervisor(
        self,
        name: str,
        policy: RestartPolicy | None = None,
        *,
        under: str = "",
        restart: Restart | None = None,
    ) -> str:
        """Grow a branch of the supervision tree, for processes that fail together and not with others.

        Returns its name, for `supervisor=` and `under=`. When it gives up, `on_crash` is told, and the
        supervisor above it restarts all its processes, or leaves them ended with `Restart.TEMPORARY`.
        """
        self._check_usable()
        self._supervisor.add_supervisor(name, policy or RestartPolicy(), under=under, restart=restart)
        return name

    def spawn_pool(
        self,
        actor: type[Actor],
        name: str,
        size: int,
        *,
        arguments: Mapping[str, Any] | None = None,
        connect: tuple[str, ...] = (),
        policy: RestartPolicy | None = None,
        routing: Routing = Routing.LEAST_LOADED,
        mailbox: MailboxPolicy | None = None,
        groups: tuple[str, ...] = (),
    ) -> Pool:
        """Start `size` processes of one actor, named `name-1` and so on, which a supervisor `name` restarts.

        They are members of the group `name`, by which actors elsewhere find them, and of `groups`.
        """
        kept, called_with = self.spawn_supervisor(name, policy), dict(arguments or {})

        def spawn(process: str) -> Address:
            return self.spawn_process(
                actor,
                process,
                arguments=called_with,
                connect=connect,
                supervisor=kept,
                mailbox=mailbox,
                groups=(name, *groups),
            )

        return Pool(self, name, spawn, size, routing)

    def group(self, name: str, routing: Routing = Routing.LEAST_LOADED) -> Group:
        """The members of a group as if they were one, on whichever hosts they are.

        Who they are is known a moment later, and followed from then on.
        """
        self._check_usable()
        return Group(self, name, routing)

    def spawn_pipeline(
        self, name: str, steps: Sequence[Callable[[Any], Any]], *, window: int = WINDOW
    ) -> Pipeline:
        """Start a process for each step, named `name-1` and so on, through which messages flow.

        A step is a function (or an `async def`) that other processes can import, whose first parameter is
        annotated with the messages that it takes. At most `window` messages are in the pipeline.
        """
        if not steps:
            raise ValueError("a pipeline has at least one step")
        for step in steps:
            kinds_of(step)
        stages: list[Address] = []
        for number in range(len(steps), 0, -1):
            arguments: dict[str, Any] = {"step": name_class(steps[number - 1])}
            after = stages[0] if stages else None
            if after is not None:
                arguments["to"] = after
            address = self.spawn_process(
                AsyncStage if is_coroutine_function(steps[number - 1]) else Stage,
                f"{name}-{number}",
                arguments=arguments,
                connect=() if after is None else (after.process,),
            )
            stages.insert(0, address)
        return Pipeline(self, tuple(stages), window)

    @property
    def directory_address(self) -> Address:
        """Where this system's names and groups are known: what `Context.directory` asks."""
        assert self.runtime.directory is not None, "a system has a directory"
        return self.runtime.directory

    def where_is(self, name: str) -> Address | None:
        """Who holds a name in this system's directory."""
        return self.ask(self.directory_address, WhereIs(name)).holder

    def members(self, group: str) -> tuple[Address, ...]:
        """Who is in a group of this system's directory."""
        return self.ask(self.directory_address, Members(group)).members

    def inspect_process(self, name: str, timeout_seconds: float = START_SECONDS_MAX) -> ProcessInfo:
        """A process seen from outside: its actors, and its unhandled messages."""
        if name == self.runtime.name:
            return self.runtime.inspect_process()
        info: ProcessInfo = self.ask(Address(name, ""), Inspect(), timeout_seconds)
        return info

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that there are, or will be again."""
        return self._supervisor.processes

    def stop_process(self, name: str) -> None:
        """Stop a process for good, gracefully at first; it may take a moment."""
        self._check_usable()
        self._supervisor.remove(name)

    def kill_process(self, name: str) -> None:
        """Kill a process, and return when that is known; its supervision will start it again."""
        self.wait_for(name)
        self._supervisor.kill(name)
        self.run_until(lambda: name not in self.runtime.peers)

    def wait_for(self, name: str, timeout_seconds: float = START_SECONDS_MAX) -> None:
        """Return when that process can be told something.

        Raises Undeliverable when the time is up, and at once when there is no such process or it has ended
        for good; the message says what is known of it.
        """
        self._check_usable()
        kept, ours = self._supervisor, self._is_ours(name)
        self.run_until(lambda: self.reaches(name) or (ours and name not in kept.processes), timeout_seconds)
        if name not in self.runtime.peers:
            if not ours:
                raise Undeliverable(
                    f"{name} is not heard of within {timeout_seconds:g} seconds: {self.hosts}"
                )
            waited = f" within {timeout_seconds:g} seconds" if name in kept.processes else ""
            raise Undeliverable(f"{name} has not come up{waited}: {kept.explain(name)}")

    def reaches(self, process: str) -> bool:
        """Can that process be told something now? It may be one of another host."""
        if process not in self.runtime.peers:
            return process == self.runtime.name
        return self._hosts is None or self._is_ours(process) or self._hosts.reaches(process)

    def _is_ours(self, process: str) -> bool:
        return self._hosts is None or process.partition(".")[0] == self.runtime.name

    def tell(self, to: Address, message: object) -> None:
        """Send a message, once its process is up.

        Raises Undeliverable when it is refused on the way, as when too much waits for the process already.
        """
        self._check_usable()
        if to.process != self.runtime.name:
            self.wait_for(to.process)
        self._raise_refusal(to, ", for what it was told before; this message was not sent")
        self.runtime.tell(to, message)
        self.runtime.run_turn()
        self._raise_refusal(to, "; tell it later")

    @overload
    def ask(
        self, to: Address, message: Request[Answer], timeout_seconds: float = START_SECONDS_MAX
    ) -> Answer: ...
    @overload
    def ask(self, to: Address, message: object, timeout_seconds: float = START_SECONDS_MAX) -> Any: ...
    def ask(self, to: Address, message: object, timeout_seconds: float = START_SECONDS_MAX) -> Any:
        """Send a message, once its process is up, and return the reply; raises AskFailed."""
        self._check_usable()
        if to.process != self.runtime.name:
            self.wait_for(to.process, timeout_seconds)
        pending = self.runtime.ask(to, message, timeout_seconds)
        self.run_until(lambda: pending.done, timeout_seconds + 1.0)
        return pending.result()

    def run_until(self, done: Callable[[], bool], timeout_seconds: float = START_SECONDS_MAX) -> bool:
        """Let this process's actors run until `done`; False when the time was up first."""
        self._check_usable()
        reached = self.runtime.run_until(lambda: self._failure is not None or done(), timeout_seconds)
        failure = self._failure or self.runtime.failure
        if failure is not None:
            raise failure
        return reached

    def close(self) -> None:
        """End every process, gracefully where it lets itself be, and remove what they shared; idempotent.

        Each gets SIGTERM, upon which its actor's `on_stop` runs, and is killed STOP_SECONDS_MAX later.
        """
        if self._closed:
            return
        if os.getpid() != self._pid:
            self._closed = True  # A fork of the program that made it, whose processes these are not.
            return
        self._check_usable()
        self._closed = True
        try:
            if not self.runtime.stopped:
                if self._hosts is not None:
                    self._hosts.leave()
                self._supervisor.stop_all()
                self.runtime.run_until(lambda: not self._supervisor.running, STOP_SECONDS_MAX + 1.0)
        finally:
            self._release()

    def _release(self) -> None:
        try:
            self.runtime.stop()
            self.runtime.run_turn()
        finally:
            self.runtime.transport.close()
            self._fork_server.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def _raise_refusal(self, to: Address, so: str) -> None:
        refusal = self.runtime.take_refusal(to)
        if refusal is not None:
            raise Undeliverable(f"{to}: {refusal}{so}")

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ActorsError(f"this ProcessSystem belongs to process {self._pid}, of which this is a fork")
        here = threading.current_thread()
        if here is not self._thread:
            raise ActorsError(
                f"this ProcessSystem belongs to the thread {self._thread.name}, which made it, and is called"
                f" in {here.name}: make one for each thread, or tell its actors something by `runtime.post`"
            )
        if self._closed:
            raise RuntimeStopped("this ProcessSystem is closed")

    def __del__(self) -> None:
        # Its parts know how to end when they are collected. What has failed to start has none.
        if not getattr(self, "_closed", True) and os.getpid() == self._pid:
            warnings.warn(
                f"a ProcessSystem was never closed: {self.directory}",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )

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


def _check_settings(
    policy: object, on_crash: object, unresponsive_seconds: float | None, log_directory: Path | None
) -> None:
    if not isinstance(policy, RestartPolicy):
        raise TypeError(f"supervision is a RestartPolicy, not {type(policy).__qualname__}")
    if not callable(on_crash):
        raise TypeError("on_crash is called with each crash report, and cannot be called")
    if unresponsive_seconds is not None and not unresponsive_seconds > 0:
        raise ValueError(f"unresponsive_seconds is more than 0, not {unresponsive_seconds}")
    if log_directory is not None and not os.access(log_directory, os.W_OK | os.X_OK):
        raise TransportError(f"nothing can be written to the log directory {log_directory}")


def _check_signature(actor: type[Actor], arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(actor)
    except ValueError:
        return  # It does not say what it takes; its process will.
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ActorsError(f"{actor.__qualname__} cannot be made with these arguments: {error}") from error


def _check_descriptors() -> None:
    """Raise TransportError unless there are enough descriptors left for one more system."""
    probes: list[int] = []
    try:
        while len(probes) < DESCRIPTORS_NEEDED:
            probes.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise TransportError(
            f"this process may open no more than {len(probes)} descriptors, and a system needs"
            f" {DESCRIPTORS_NEEDED}: close some, or raise the limit (ulimit -n): {error.strerror}"
        ) from error
    finally:
        for probe in probes:
            os.close(probe)
