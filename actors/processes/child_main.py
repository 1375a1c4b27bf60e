"""A process that exists for one actor: what its parent tells it, and what it does with that.

Owns the child's side of a process-actor; the parent's is process_supervisor. The process ends
with its actor: well when that has stopped itself, badly when it has failed too often.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, get_type_hints

import msgspec

from actors.actor import Actor, Handlers
from actors.address import Address
from actors.codec import Registry
from actors.envelope import Join, Terminated
from actors.errors import ActorsError, AskFailed, AskRefused, GaveUp
from actors.failures.crash_reports import CrashReport, print_crash
from actors.failures.supervision import RestartPolicy
from actors.handlers import is_coroutine_function
from actors.mailbox import MailboxPolicy
from actors.processes.hosts import HOSTS, Neighbourhood
from actors.retry import Attempts
from actors.runtime import Runtime
from actors.transport.curve import load
from actors.transport.sockets import Tuning
from actors.transport.zeromq import ZeroMqTransport

MAIN: Final = "main"
"""The name of a process's own actor: that of the process `n1` is `n1/main`."""


JOIN_SECONDS_MAX: Final = 10.0
JOIN_AGAIN_SECONDS: Final = 1.0


class Hosting(msgspec.Struct, frozen=True, kw_only=True):
    """All that a new process has to know; classes are named, as in `package.module:Class`."""

    cluster: str
    process: str
    incarnation: int
    endpoint: str
    connect: dict[str, str]
    supervisor: Address
    actor: str
    arguments: dict[str, Any]
    tags: dict[int, str]
    mailbox: MailboxPolicy | None = None
    supervision: RestartPolicy | None = None
    frame_bytes_max: int | None = None
    directory: Address | None = None
    groups: tuple[str, ...] = ()
    keys: str | None = None


def host(argument: bytes, life_fd: int) -> int:
    """Run the actor that `argument`, an encoded Hosting, names; the fork server's target.

    Ends on SIGTERM, or when `life_fd` reads end of file, as it does once the parent is gone.
    """
    told = msgspec.msgpack.decode(argument, type=Hosting)
    transport = ZeroMqTransport(
        told.process,
        told.incarnation,
        cluster=told.cluster,
        endpoint=told.endpoint,
        tuning=tuning_of(told.frame_bytes_max),
        keys=None if told.keys is None else load(Path(told.keys)),
    )
    registry = Registry({tag: resolve_class(name) for tag, name in told.tags.items()})

    def report(crash: CrashReport) -> None:
        print_crash(crash)
        runtime.tell(told.supervisor, crash)

    runtime = Runtime(
        told.process,
        transport=transport,
        registry=registry,
        supervision=told.supervision,
        mailbox=told.mailbox,
        on_crash=report,
        exit_is_crash=True,
        directory=told.directory,
    )
    for process, endpoint in told.connect.items():
        transport.connect(process, endpoint)
    transport.add_reader(life_fd, runtime.stop)
    actor = resolve_class(told.actor)
    main = runtime.spawn(partial(actor, **convert_arguments(actor, told.arguments)), MAIN)
    runtime.spawn(partial(_ExitWatcher, main, runtime.stop), "mourner")
    if told.keys is not None:
        runtime.spawn(partial(Neighbourhood, told.supervisor.process), HOSTS)
    if told.groups and told.directory is not None:
        runtime.spawn(partial(_Joining, main, told.directory, told.groups), "joining")
    try:
        if has_coroutines(actor):
            _run_in_asyncio(runtime, transport)
        else:
            signal.signal(signal.SIGTERM, lambda _number, _frame: runtime.stop())
            runtime.run()
    except GaveUp:
        return 1
    return 0


def _run_in_asyncio(runtime: Runtime, transport: ZeroMqTransport) -> None:
    from actors.asyncio_driver import run_in_asyncio  # It imports asyncio, which other processes do without.

    run_in_asyncio(runtime, transport)


def has_coroutines(actor: type[Actor]) -> bool:
    """Has a class any `async def` method? Then its process gets an asyncio loop."""
    return any(is_coroutine_function(member) for base in actor.__mro__ for member in vars(base).values())


class _ExitWatcher(Actor):
    """Lets the process end with its actor."""

    def __init__(self, mourned: Address, stop: Callable[[], None]) -> None:
        self._mourned = mourned
        self._stop = stop

    def on_start(self) -> None:
        self.context.watch(self._mourned)

    def on_terminated(self, terminated: Terminated) -> None:
        del terminated
        self._stop()

    handlers: ClassVar[Handlers] = {Terminated: on_terminated}


class _Joining(Actor):
    """Makes the process's actor a member of the groups that its parent has put it in, and keeps it there.

    A directory that cannot be reached is asked again until it can be: it may be another one by then.
    """

    def __init__(self, member: Address, directory: Address, groups: tuple[str, ...]) -> None:
        self._member = member
        self._directory = directory
        self._groups = groups

    def on_start(self) -> None:
        self._join()

    def _join(self) -> None:
        self.context.watch(self._directory)
        for group in self._groups:
            join = Join(group, self._member)
            asked = Attempts(self.context.asker(), join, JOIN_SECONDS_MAX, choose=lambda: self._directory)
            asked.pending.then(lambda _members: None, self._failed)

    def _failed(self, failure: AskFailed) -> None:
        if isinstance(failure, AskRefused):
            raise failure
        self._join_later()

    def _join_later(self) -> None:
        self.context.after(JOIN_AGAIN_SECONDS, self._join, key="again")

    def on_terminated(self, terminated: Terminated) -> None:
        del terminated
        self._join_later()

    handlers: ClassVar[Handlers] = {Terminated: on_terminated}


def name_class(kind: Any) -> str:
    """How another process finds a class or a function: `package.module:Class`.

    One of the program itself is found under the name of its file, which must not run anything
    when it is imported.
    """
    module = kind.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        if main.__spec__ is not None:
            module = main.__spec__.name
        elif (file := getattr(main, "__file__", None)) is not None:  # A prompt has none.
            module = Path(file).stem
    if "<" in kind.__qualname__:
        raise ActorsError(f"{kind.__qualname__} is local to a function, where no other process finds it")
    return f"{module}:{kind.__qualname__}"


def resolve_class(name: str) -> Any:
    """The class of that name. Only for names from one's own parent."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def convert_arguments(actor: type[Actor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as they arrive in another process, made into what the actor's `__init__` declares.

    An Address, a struct, a tuple and a set all travel as a list; the annotation says which it was.
    """
    try:
        declared = get_type_hints(actor.__init__)
    except (NameError, TypeError):
        declared = {}  # It names what cannot be found when the program runs, or is not written in Python.
    return {name: _converted(value, declared.get(name, Any)) for name, value in arguments.items()}


def check_arguments(actor: type[Actor], arguments: Mapping[str, Any]) -> None:
    """Raise ActorsError unless the actor's process will be given equal arguments."""
    try:
        sent = msgspec.msgpack.encode(arguments)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ActorsError(f"the arguments cannot be sent to another process: {error}") from error
    arrived = convert_arguments(actor, msgspec.msgpack.decode(sent))
    for name, value in arguments.items():
        if arrived[name] != value:
            raise ActorsError(
                f"{name}={value!r} would arrive in its process as {arrived[name]!r}: annotate the parameter"
                f" in {actor.__qualname__}.__init__, as in `{name}: {type(value).__qualname__}`"
            )


def _converted(value: Any, declared: Any) -> Any:
    try:
        return msgspec.convert(value, declared)
    except (msgspec.ValidationError, TypeError):
        return value  # Declared as something that msgspec cannot make; the parent has let it pass.


def tuning_of(frame_bytes_max: int | None) -> Tuning | None:
    """The settings of a transport whose frames have another limit; None leaves it as it is."""
    return None if frame_bytes_max is None else Tuning(frame_bytes_max=frame_bytes_max)


def name_tags(tags: Mapping[int, type]) -> dict[int, str]:
    """A tag table, by names."""
    return {tag: name_class(kind) for tag, kind in tags.items()}
