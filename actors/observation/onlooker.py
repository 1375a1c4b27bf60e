"""A guest in a running system that only looks: asks its processes what they do, and for one actor's messages.

Owns where a system is found, and the guest's connections. It is trusted as any other process of the system
is, and by the same rule: sockets in a private directory are this user's, and over TCP a key is needed that
the system allows. Knows nothing of how what it hears is shown.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from actors.address import Address
from actors.asks import Pending
from actors.codec import Registry
from actors.envelope import ListNeighbours, Observe, ProcessLoad, Trace, Traced
from actors.errors import ActorsError, AskFailed
from actors.processes.hosts import HOSTS
from actors.runtime import Runtime
from actors.transport.curve import load
from actors.transport.zeromq import ZeroMqTransport

ANSWER_SECONDS_MAX: Final = 1.0
"""A process that takes longer is shown as silent."""
LEASES_OF_INTERVALS: Final = 3
SYSTEM_DIRECTORY: Final = "actors-"
_SOCKET_SUFFIX: Final = ".sock"

Endpoints = Callable[[], Mapping[str, str]]
"""The processes that there are now, with where each listens."""


class NoSystem(ActorsError):
    """There is no such system here, or more than one; the message says what to do."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """A system that may be looked at: its processes, the name that keeps systems apart, and a key for it."""

    endpoints: Endpoints
    cluster: str
    keys: Path | None = None


def running_systems() -> list[Path]:
    """The directories of this user's systems on this machine, the oldest first."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{SYSTEM_DIRECTORY}*"):
        with suppress(OSError):
            seen = path.lstat()
            if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and sockets_in(path):
                found.append((seen.st_mtime, path))
    return [path for _, path in sorted(found)]


def sockets_in(directory: Path) -> dict[str, str]:
    """The processes that listen in a system's directory. Raises OSError."""
    return {
        path.name.removesuffix(_SOCKET_SUFFIX): f"ipc://{path}"
        for path in sorted(directory.iterdir())
        if path.is_socket()
    }


def system_in(directory: Path, cluster: str = "") -> System:
    """The system whose processes listen in that directory. Raises NoSystem."""
    directory = directory.absolute()
    try:
        found = sockets_in(directory)
    except OSError as error:
        raise NoSystem(f"{directory} is not the directory of a system: {error.strerror}") from error
    if not found:
        raise NoSystem(f"no process listens in {directory}: has its system ended?")

    def endpoints() -> Mapping[str, str]:
        try:
            return sockets_in(directory)
        except OSError as error:
            raise NoSystem(f"the system in {directory} has ended") from error

    return System(endpoints=endpoints, cluster=cluster or directory.name)


def only_system() -> System:
    """The one system that this user runs on this machine. Raises NoSystem if there is none, or several."""
    found = running_systems()
    if len(found) == 1:
        return system_in(found[0])
    if not found:
        raise NoSystem(
            f"no system of this user is running below {tempfile.gettempdir()}: start one, or say where its"
            " processes listen (NAME=ENDPOINT)"
        )
    listed = "\n".join(f"  {path}  {' '.join(sockets_in(path))}" for path in found)
    raise NoSystem(f"several systems are running; name the directory of one:\n{listed}")


class Onlooker:
    """Asks the processes of one system, while its own thread waits in a method; close it."""

    def __init__(self, system: System) -> None:
        """Raises TransportError for a key or an endpoint that cannot be used."""
        keys = None if system.keys is None else load(system.keys)
        name = f"onlooker-{secrets.token_hex(8)}"
        name = name if keys is None else f"{keys.name}.{name}"
        self._system = system
        self._known: dict[str, str] = {}
        self._transport = ZeroMqTransport(name, 1, cluster=system.cluster, keys=keys, waits_for_welcome=True)
        try:
            self._runtime = Runtime(name, transport=self._transport, registry=Registry({}))
            self._connect(system.endpoints())
        except BaseException:
            self._transport.close()
            raise

    def __enter__(self) -> Onlooker:
        return self

    def __exit__(self, *_: object) -> None:
        self._runtime.stop()
        self._runtime.run_turn()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._runtime.clock.now()

    def wait(self, seconds: float) -> None:
        """Let so much time pass."""
        self._runtime.run_until(lambda: False, seconds)

    def loads(self, interval_seconds: float) -> dict[str, ProcessLoad | str]:
        """What each process is doing; why not, for one that does not say.

        They measure until three such intervals have passed without another call.
        """
        self._learn()
        lease_seconds = LEASES_OF_INTERVALS * interval_seconds + ANSWER_SECONDS_MAX
        asked = {
            process: self._runtime.ask(Address(process, ""), Observe(lease_seconds), ANSWER_SECONDS_MAX)
            for process in self._present()
        }
        self._runtime.run_until(lambda: all(pending.done for pending in asked.values()), ANSWER_SECONDS_MAX)
        self._runtime.run_turn()
        return {process: self._said(asked.get(process)) for process in sorted(self._known)}

    def trace(self, actor: Address, after: int, lease_seconds: float) -> Traced:
        """What an actor has handled behind the record of that number. Raises AskFailed."""
        self._learn()
        if actor.process not in self._known:
            there = ", ".join(sorted(self._known)) or "none"
            raise NoSystem(f"there is no process {actor.process} in this system: it has {there}")
        self._present()
        request = Trace(actor.actor, after, lease_seconds)
        pending = self._runtime.ask(Address(actor.process, ""), request, ANSWER_SECONDS_MAX)
        self._runtime.run_until(pending, ANSWER_SECONDS_MAX + 1.0)
        return pending.result()

    def _said(self, pending: Pending[ProcessLoad] | None) -> ProcessLoad | str:
        if pending is None or not pending.done:
            return "it does not answer"
        try:
            return pending.result()
        except AskFailed as failure:
            return str(failure)

    def _present(self) -> list[str]:
        """The processes that are heard, once those that are not have had their time."""
        up = self._runtime.peers
        self._runtime.run_until(lambda: up.keys() >= self._known.keys(), ANSWER_SECONDS_MAX)
        return [process for process in self._known if process in up]

    def _learn(self) -> None:
        """Connect to the processes that have come since, and to those of other hosts."""
        self._connect(self._system.endpoints())
        if self._system.keys is None:
            return
        asked = [
            self._runtime.ask(Address(process, HOSTS), ListNeighbours(), ANSWER_SECONDS_MAX)
            for process in self._present()
            if "." not in process
        ]
        self._runtime.run_until(lambda: all(pending.done for pending in asked), ANSWER_SECONDS_MAX)
        for pending in asked:
            with suppress(AskFailed):
                self._connect(pending.result().endpoints)

    def _connect(self, endpoints: Mapping[str, str]) -> None:
        for process, endpoint in endpoints.items():
            if self._known.get(process) != endpoint:
                self._known[process] = endpoint
                self._transport.connect(process, endpoint)
        if self._system.keys is None:
            for process in [process for process in self._known if process not in endpoints]:
                del self._known[process]
                self._transport.disconnect(process)
