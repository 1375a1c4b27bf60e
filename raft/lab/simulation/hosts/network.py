"""The network between simulated processes: connections, and frames that are delayed or lost.

Owns which processes can hear each other, and every delay, loss, duplicate and cut. Between nodes it does more
than a connection would: frames may be duplicated and overtake each other. On a client's link they may only be
late or lost, since a repeated command would be carried out twice. Knows nothing of the frames' contents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random

from msgspec import Struct

from actors.transport.base import PeerDown, PeerUp, Received, TransportEvent
from actors.transport.faults import Fault
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.run_log import RunLog

SILENCE_SECONDS = 2.5  # A connection that is silent for so long is given up.
LATE_SHARE = 0.01  # Of all frames, without any fault.
LATE_FACTOR = 20.0

Tap = Callable[[str, str, bytes], None]


class Trouble(Struct, frozen=True):
    """A fault on the links from some processes to others."""

    sources: Collection[str]
    targets: Collection[str]
    fault: Fault


class SimulatedTransport:
    """One incarnation's end of the network; see Transport for the methods."""

    frame_bytes_max = 64 * 1024 * 1024

    def __init__(
        self, network: SimulatedNetwork, name: str, incarnation: int, stir: Callable[[], None]
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self.wanted: dict[str, None] = {}
        self.peers: dict[str, int] = {}
        self._network = network
        self._stir = stir
        self._inbox: deque[TransportEvent] = deque()

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Connect both ends as soon as both exist and hear each other; the endpoint is ignored."""
        del endpoint, public_key
        self.wanted[process] = None
        self._network.introduce(self.name, process)

    def disconnect(self, process: str) -> None:
        """Disconnect from a process that does not want the connection itself."""
        self.wanted.pop(process, None)
        self._network.part(self, process)

    def send(self, process: str, payload: bytes) -> str | None:
        """Pass a frame to the network."""
        if process not in self.peers:
            return "down" if process in self.wanted else "unknown"
        self._network.carry(self, process, payload)
        return None

    def poll(self, timeout_seconds: float | None) -> None:
        """Never waits."""

    def receive(self) -> list[TransportEvent]:
        """Everything that has arrived."""
        events = list(self._inbox)
        self._inbox.clear()
        return events

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """There is no descriptor in a simulated world."""
        raise NotImplementedError

    def remove_reader(self, fd: int) -> None:
        """Nothing to do."""

    def wake(self) -> None:
        """Give the process a turn."""
        self._stir()

    def close(self) -> None:
        """Leave, like a process that ends; its peers notice."""
        self._network.leave(self.name, told=True)

    @property
    def counters(self) -> Mapping[str, int]:
        """None: nothing is refused here."""
        return {}

    @property
    def has_events(self) -> bool:
        """Is there something to receive?"""
        return bool(self._inbox)

    def accept(self, event: TransportEvent) -> None:
        """Receive an event."""
        self._inbox.append(event)
        self._stir()


class SimulatedNetwork:
    """All connections. `tap` sees each frame as it is sent, whatever happens to it."""

    def __init__(
        self, event_queue: EventQueue, dice: Random, run_log: RunLog, *, latency_seconds: float
    ) -> None:
        self.tap: Tap | None = None
        self._event_queue = event_queue
        self._dice = dice
        self._run_log = run_log
        self._latency_seconds = latency_seconds
        self._ends: dict[str, SimulatedTransport] = {}
        self._nodes: set[str] = set()
        self._troubles: dict[int, Trouble] = {}
        self._troubles_seen = 0
        self._effective: dict[tuple[str, str], Fault | None] = {}
        self._busy_until: dict[tuple[str, str], float] = {}
        self._ways: dict[tuple[str, str], bytes] = {}

    def attach(
        self, name: str, incarnation: int, stir: Callable[[], None], *, is_node: bool
    ) -> SimulatedTransport:
        """A new incarnation's end; `stir` is called whenever something has arrived for it."""
        assert name not in self._ends, f"{name} is there already"
        if is_node:
            self._nodes.add(name)
        end = self._ends[name] = SimulatedTransport(self, name, incarnation, stir)
        for other in list(self._ends.values()):
            if name in other.wanted:
                self.introduce(other.name, name)
        return end

    def leave(self, name: str, *, told: bool) -> None:
        """An incarnation ends. `told`: its operating system closes the connections."""
        end = self._ends.pop(name, None)
        if end is None:
            return
        for other in self._ends.values():
            if other.peers.get(name) == end.incarnation:
                now = self._event_queue.now()
                if told and not self.is_cut(name, other.name):
                    moment = self._in_order((name, other.name), now + self._travel_seconds())
                else:
                    moment = now + SILENCE_SECONDS
                lose = partial(self._lose, other.name, other.incarnation, name, end.incarnation, "gone")
                self._event_queue.at(moment, lose)

    def introduce(self, one: str, other: str) -> None:
        """Connect two processes if at least one of them does not know the other's present incarnation."""
        a, b = self._ends.get(one), self._ends.get(other)
        if a is None or b is None or not self._apart(a, b):
            return
        incarnations = (a.incarnation, b.incarnation)
        self._event_queue.after(2 * self._travel_seconds(), partial(self._join, one, other, incarnations))

    def close_connections(self, name: str, others: Collection[str]) -> None:
        """The connections of a process that lives on are closed: both ends are told at once."""
        for other in others:
            for one, two in ((name, other), (other, name)):
                end = self._ends.get(one)
                if end is not None and two in end.peers:
                    self._lose(one, end.incarnation, two, end.peers[two], "closed")

    def part(self, end: SimulatedTransport, process: str) -> None:
        """One end no longer wants the connection."""
        other = self._ends.get(process)
        if other is not None and end.name not in other.wanted and process in end.peers:
            self._lose(end.name, end.incarnation, process, other.incarnation, "disconnected")
            self._lose(process, other.incarnation, end.name, end.incarnation, "disconnected")

    def carry(self, source: SimulatedTransport, to: str, payload: bytes) -> None:
        """Send a frame."""
        if self.tap is not None:
            self.tap(source.name, to, payload)
        way = (source.name, to)
        fault = self._fault_on(way)
        if fault is None:
            self._dispatch(source, way, payload, self._travel_seconds(), in_order=True)
            return
        dice, count = self._dice, self._run_log.count
        if fault.cut or dice.random() < fault.drop:
            count("frames lost")
            return
        between_nodes = to in self._nodes and source.name in self._nodes
        doubled = between_nodes and dice.random() < fault.duplicate
        for copy in range(1 + doubled):
            seconds = self._travel_seconds() + fault.delay_seconds + fault.jitter_seconds * dice.random()
            in_order = not (copy or (between_nodes and dice.random() < fault.reorder))
            if not in_order:
                seconds += fault.reorder_seconds * dice.random()
                count("frames reordered")
            self._dispatch(source, way, payload, seconds, in_order=in_order)
        count("frames doubled", doubled)

    def add(self, trouble: Trouble) -> int:
        """Let a fault take effect; returns a number for `clear`."""
        self._troubles_seen += 1
        number = self._troubles_seen
        self._troubles[number] = trouble
        self._effective.clear()
        if trouble.fault.cut:
            self._event_queue.after(SILENCE_SECONDS, partial(self._notice_silence, number))
        return number

    def clear(self, number: int | None = None) -> None:
        """End one fault, or all."""
        if number is None:
            self._troubles.clear()
        else:
            self._troubles.pop(number, None)
        self._effective.clear()
        for end in list(self._ends.values()):
            for wanted in end.wanted:
                self.introduce(end.name, wanted)

    def is_cut(self, source: str, target: str) -> bool:
        """Is this link cut?"""
        fault = self._fault_on((source, target))
        return fault is not None and fault.cut

    def _fault_on(self, way: tuple[str, str]) -> Fault | None:
        if way not in self._effective:
            total: Fault | None = None
            for trouble in self._troubles.values():
                if way[0] in trouble.sources and way[1] in trouble.targets:
                    total = trouble.fault if total is None else total.plus(trouble.fault)
            self._effective[way] = total
        return self._effective[way]

    def _travel_seconds(self) -> float:
        random = self._dice.random
        factor = LATE_FACTOR if random() < LATE_SHARE else 1.0
        return self._latency_seconds * (0.5 + random()) * factor

    def _in_order(self, way: tuple[str, str], moment: float) -> float:
        moment = self._busy_until[way] = max(moment, self._busy_until.get(way, 0.0))
        return moment

    def _dispatch(
        self,
        source: SimulatedTransport,
        way: tuple[str, str],
        payload: bytes,
        seconds: float,
        *,
        in_order: bool,
    ) -> None:
        moment = self._event_queue.now() + seconds
        if in_order:
            moment = self._in_order(way, moment)
        frame = Received(source.name, source.incarnation, payload)
        self._event_queue.at(moment, partial(self._deliver, way, source.peers[way[1]], frame))

    def _deliver(self, way: tuple[str, str], incarnation: int, frame: Received) -> None:
        end = self._ends.get(way[1])
        if end is None or end.incarnation != incarnation or end.peers.get(frame.process) != frame.incarnation:
            self._run_log.count("frames for the dead")
            return
        label = self._ways.get(way)
        if label is None:
            label = self._ways[way] = f"{way[0]}>{way[1]}".encode()
        self._run_log.carried(label, frame.payload)
        self._run_log.count("frames")
        end.accept(frame)

    def _apart(self, a: SimulatedTransport, b: SimulatedTransport) -> bool:
        return a.peers.get(b.name) != b.incarnation or b.peers.get(a.name) != a.incarnation

    def _join(self, one: str, other: str, incarnations: tuple[int, int]) -> None:
        a, b = self._ends.get(one), self._ends.get(other)
        if a is None or b is None or (a.incarnation, b.incarnation) != incarnations or not self._apart(a, b):
            return
        if self.is_cut(one, other) or self.is_cut(other, one):
            return  # They are connected again when a fault ends.
        for end, peer in ((a, b), (b, a)):
            known = end.peers.get(peer.name)
            if known == peer.incarnation:
                continue
            if known is not None:
                end.accept(PeerDown(peer.name, "replaced"))
            end.peers[peer.name] = peer.incarnation
            end.accept(PeerUp(peer.name, peer.incarnation))

    def _lose(self, name: str, incarnation: int, peer: str, peer_incarnation: int, reason: str) -> None:
        end = self._ends.get(name)
        if end is not None and end.incarnation == incarnation and end.peers.get(peer) == peer_incarnation:
            del end.peers[peer]
            end.accept(PeerDown(peer, reason))

    def _notice_silence(self, number: int) -> None:
        trouble = self._troubles.get(number)
        if trouble is None:
            return
        for source in trouble.sources:
            for target in trouble.targets:
                end = self._ends.get(target)
                if end is not None and source in end.peers:
                    self._lose(target, end.incarnation, source, end.peers[source], "silent")
