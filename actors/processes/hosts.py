"""Several machines as one system: which hosts there are, their processes, and how those are reached.

States of a host, as its peers see it (Akka's words):

    up           its program is heard unreachable  it is not, by a cut or a death, which look the same;
    watches and asks have failed, nothing is decided down         it was unreachable for
    `down_after_seconds`: it is forgotten, with all of its processes

From unreachable it comes back by being heard. From down it comes back by joining: as a new incarnation, or as
one that has been cut off, and has told its own actors that all others are down. There is no vote: each
side of a cut decides for itself, so that both may go on. What must go on on one side only needs
agreement, which is not had here.

Owns the rule and the exchange: each host tells each other which hosts and processes it knows, and tells
its own processes, which connect to all of them. Knows nothing of who starts processes.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from actors.actor import Actor
from actors.address import Address
from actors.envelope import (
    HostChanged,
    Hosts,
    HostState,
    ListNeighbours,
    MonitorHosts,
    Neighbours,
    ProcessDown,
    ProcessUp,
)
from actors.errors import BadAddress, TransportError
from actors.handlers import answers, handles
from actors.processes.private_files import replace_file
from actors.transport.base import IncarnationUsed
from actors.transport.endpoints import split_tcp

HOSTS: Final = "hosts"
"""The name of the actor that knows them, in each process of a host; the program's decides."""
INCARNATIONS_OF_PROCESSES: Final = 1_000_000
"""Incarnations of processes count on from the host's own times this: those under its next one are later."""
MEETING_SECONDS: Final = 0.05
UP, UNREACHABLE, DOWN = "up", "unreachable", "down"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a ProcessSystem one host of several: where it listens, and whose key it has.

    Its name is that of the key, and its processes are named `name.something`. `cluster` keeps systems apart
    that have nothing to do with each other. The file of keys is read by each of its processes; beside it is
    kept how many incarnations this host has had.
    """

    listen: str
    """tcp://address:port, by which the others reach it."""
    keys: str
    cluster: str = "actors"
    down_after_seconds: float = 10.0
    directory: str = ""
    """The host whose program has the directory of names and groups; its own, if not given."""

    def __post_init__(self) -> None:
        if not self.down_after_seconds > 0:
            raise ValueError(f"down_after_seconds is more than 0, not {self.down_after_seconds}")

    def next_incarnation(self) -> int:
        """Count one more incarnation of this host, and return its number. Raises TransportError."""
        path = Path(self.keys).with_suffix(".lives")
        try:
            incarnations = 1 + (int(path.read_text()) if path.exists() else 0)
            replace_file(path, f"{incarnations}\n".encode(), private=False)
        except (OSError, ValueError) as error:
            raise TransportError(
                f"{path} has to hold how many incarnations this host has had, and cannot be used: {error}"
            ) from error
        return incarnations

    def free_endpoint(self) -> str:
        """Where a process of this host may listen: at the same address, at a port that is free now."""
        address, _ = split_tcp(self.listen)
        family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((address.strip("[]"), 0))
            return f"tcp://{address}:{probe.getsockname()[1]}"


class HostKeeper(Actor):
    """The hosts as one of them sees them; its program's actor `hosts`."""

    def __init__(self, name: str, endpoint: str, down_after_seconds: float) -> None:
        self._name = name
        self._endpoint = endpoint
        self._down_after_seconds = down_after_seconds
        self._known: dict[str, HostState] = {}
        self._states: dict[str, str] = {}
        self._own: dict[str, str] = {}
        self._monitors: dict[Address, None] = {}
        self._connected: dict[str, str] = {}
        self._reached: set[str] = set()
        self._left = False

    def reaches(self, process: str) -> bool:
        """Is there a connection of our own to a process of another host, or one to come?"""
        return process in self._known or process in self._reached

    @property
    def states(self) -> Mapping[str, str]:
        """Each other host's state."""
        return self._states

    def join(self, host: str, endpoint: str) -> None:
        """Connect to another host, and to all that it knows."""
        if host != self._name and host not in self._states:
            self._meet(host, endpoint)

    def leave(self) -> None:
        """Tell the others to forget this host; one that does not get this finds it unreachable, then down."""
        self._left = True
        for host in self._states:
            self.context.tell(Address(host, HOSTS), HostState(self._name, "", {}, {}))

    def set_process(self, process: str, endpoint: str | None) -> None:
        """A process of this host listens there, or is one no more."""
        if self._own.get(process) == endpoint:
            return
        if endpoint is None:
            self._own.pop(process, None)
            self.context.unwatch_process(process)
        else:
            self._own[process] = endpoint
            self.context.watch_process(process)
        self._tell_hosts()
        self._tell_processes()

    @handles(ProcessUp)
    def on_process_up(self, up: ProcessUp) -> None:
        """A host is heard, or a process of our own, which has to know whom to connect to."""
        if up.process in self._known:
            self._change(up.process, UP)
            self._tell_hosts()
        elif up.process in self._own:
            self.context.tell(Address(up.process, HOSTS), self._neighbours())

    @handles(ProcessDown)
    def on_process_down(self, down: ProcessDown) -> None:
        """A host is not heard; it has so long to come back."""
        if self._states.get(down.process) == UP:
            self._change(down.process, UNREACHABLE)
            self.context.after(
                self._down_after_seconds, partial(self._give_up, down.process), key=down.process
            )

    @handles(HostState)
    def on_host_state(self, state: HostState) -> None:
        """A host tells what it knows."""
        sender = self.context.sender
        if sender is None or sender.process != state.host:
            return
        if not state.endpoint:
            self._forget(state.host)
            return
        if state.host not in self._known:
            self._meet(state.host, state.endpoint)
        self._known[state.host] = state
        for host, endpoint in state.hosts.items():
            if host != self._name and host not in self._states:
                self._meet(host, endpoint)
        self._tell_processes()

    @handles(MonitorHosts)
    def on_monitor(self, monitor: MonitorHosts) -> None:
        """Tell who asks of all hosts now, and of each change from now on."""
        sender = self.context.sender
        if sender is not None and monitor.watcher.process.partition(".")[0] != self._name:
            self.context.refuse(f"{monitor.watcher} is not of this host")
            return
        self._monitors[monitor.watcher] = None
        self.context.reply(Hosts(dict(self._states)))
        for host, state in self._states.items():
            self.context.tell(monitor.watcher, HostChanged(host, state))

    @answers(ListNeighbours)
    def list_neighbours(self, request: ListNeighbours) -> Neighbours:
        """Tell which processes there are."""
        del request
        return self._neighbours()

    @handles(IncarnationUsed)
    def on_incarnation_used(self, used: IncarnationUsed) -> None:
        """Another program has our name, or the count of our incarnations was lost."""
        raise TransportError(
            f"{used.process} has heard a later incarnation of {self._name} ({used.incarnation}): another"
            " program has the same key, or the file of its incarnations was lost"
        )

    def _meet(self, host: str, endpoint: str) -> None:
        self._known[host] = HostState(host, endpoint, {}, {})
        self._change(host, UNREACHABLE)
        self.context.connect(host, endpoint)
        # One that has connected to us is heard already, and is down for a moment until ours stands, too.
        self.context.after(MEETING_SECONDS, partial(self._watch, host))

    def _watch(self, host: str) -> None:
        if host in self._known:
            self.context.watch_process(host)

    def _give_up(self, host: str) -> None:
        if self._states.get(host) == UNREACHABLE:
            self._forget(host)

    def _forget(self, host: str) -> None:
        if host in self._known:
            del self._known[host]
            self.context.cancel_timer(host)
            self.context.unwatch_process(host)
            self.context.disconnect(host)
            self._change(host, DOWN)
            del self._states[host]
            self._tell_processes()

    def _change(self, host: str, state: str) -> None:
        if self._states.get(host) != state:
            self._states[host] = state
            for watcher in self._monitors:
                self.context.tell(watcher, HostChanged(host, state))

    def _state(self) -> HostState:
        hosts = {name: known.endpoint for name, known in self._known.items()}
        return HostState(self._name, self._endpoint, self._own, hosts)

    def _neighbours(self) -> Neighbours:
        endpoints = {self._name: self._endpoint, **self._own}
        for host, known in self._known.items():
            endpoints |= {host: known.endpoint, **known.processes}
        return Neighbours(endpoints)

    def _tell_hosts(self) -> None:
        if self._left:
            return
        for host, state in self._states.items():
            if state == UP:
                self.context.tell(Address(host, HOSTS), self._state())

    def _tell_processes(self) -> None:
        neighbours = self._neighbours()
        self._connect(neighbours)
        for process in self._own:
            self.context.tell(Address(process, HOSTS), neighbours)

    def _connect(self, neighbours: Neighbours) -> None:
        """The program itself, to the processes of the others; its own are its supervisor's."""
        connect_to_all(self, neighbours, self._connected, {self._name, *self._own, *self._known})
        self.context.after(MEETING_SECONDS, self._note_reached)

    def _note_reached(self) -> None:
        self._reached = set(self._connected)


class Neighbourhood(Actor):
    """Connects a process of a host to all others, of all hosts, as its program tells it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._connected: dict[str, str] = {}

    @handles(Neighbours)
    def on_neighbours(self, neighbours: Neighbours) -> None:
        """Connect to those that are new, and forget those that have gone."""
        sender = self.context.sender
        if sender is not None and sender.process == self._program:
            own = {self._program, self.context.address.process}
            connect_to_all(self, neighbours, self._connected, own)


def connect_to_all(actor: Actor, neighbours: Neighbours, connected: dict[str, str], others: set[str]) -> None:
    """Connect an actor's process to these neighbours, but for `others`, and to none that it was before."""
    wanted = {name: at for name, at in neighbours.endpoints.items() if name not in others}
    for process in [process for process in connected if process not in wanted]:
        del connected[process]
        actor.context.disconnect(process)
    for process, endpoint in wanted.items():
        if connected.get(process) != endpoint:
            connected[process] = endpoint
            actor.context.connect(process, endpoint)


class HostPlaces:
    """Where processes of a host listen: at its address, each at a port of its own. See Places."""

    def __init__(
        self, host: Host, name: str, incarnation: int, keeper: HostKeeper, directory: Address
    ) -> None:
        self._host = host
        self._name = name
        self._keeper = keeper
        self._endpoints = {name: host.listen}
        self.cluster = host.cluster
        self.keys: str | None = host.keys
        self.first_incarnation = incarnation * INCARNATIONS_OF_PROCESSES
        self.directory = directory

    def check(self, process: str) -> None:
        """Raise BadAddress for a process that this host's key cannot speak for."""
        if not process.startswith(f"{self._name}."):
            raise BadAddress(f"on this host a process is named {self._name}.something, not {process!r}")

    def endpoint(self, process: str) -> str:
        """Where a process listens; a port is chosen when it is first asked for."""
        if process not in self._endpoints:
            self._endpoints[process] = self._host.free_endpoint()
        return self._endpoints[process]

    def started(self, process: str) -> None:
        """An incarnation of a process has been asked for."""
        self._keeper.set_process(process, self.endpoint(process))

    def forgotten(self, process: str) -> None:
        """A process has ended for good."""
        self._endpoints.pop(process, None)
        self._keeper.set_process(process, None)
