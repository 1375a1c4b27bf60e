"""A network inside one process: transports for tests and simulations.

Owns the queues between them. With a manual clock nothing ever waits: its driver takes all
its runtimes through turns until none has anything to do, and only then moves the time.
"""

from __future__ import annotations

import select
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from actors.clock import ManualClock
from actors.errors import TransportError
from actors.transport.base import PeerDown, PeerUp, Received, TransportEvent
from actors.transport.faults import FaultyTransport

if TYPE_CHECKING:
    from actors.runtime import Runtime

RECEIVE_EVENTS_MAX: Final = 256
QUEUED_EVENTS_MAX: Final = 10_000
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
TURNS_MAX: Final = 100_000


class LoopbackTransport:
    """One process's end of a LoopbackNetwork; see Transport for the methods."""

    frame_bytes_max = FRAME_BYTES_MAX

    def __init__(self, network: LoopbackNetwork, name: str, incarnation: int) -> None:
        self._network = network
        self.inbox: deque[Received | PeerUp | PeerDown] = deque()
        self._rung = threading.Event()
        self.readers: dict[int, Callable[[], None]] = {}
        self._counters: Counter[str] = Counter()
        self.name = name
        self.incarnation = incarnation
        self.connected: set[str] = set()
        self.peers: dict[str, None] = {}

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Join the two ends, as soon as both are there; the endpoint means nothing."""
        del endpoint, public_key
        if process not in self.connected:
            self.connected.add(process)
            self._network.introduce(self.name, process)

    def disconnect(self, process: str) -> None:
        """Part the two ends, unless the other wants to stay connected."""
        if process in self.connected:
            self.connected.discard(process)
            self._network.part(self.name, process)

    def send(self, process: str, payload: bytes) -> str | None:
        """Put a frame into the other's inbox."""
        return self._network.carry(self.name, process, payload)

    def poll(self, timeout_seconds: float | None) -> None:
        """Look at the readers, and wait for a frame or `wake` if time flows by itself.

        A wait does not end because a reader is ready.
        """
        if not self.inbox and not self._network.manual and not self.readers:
            self._rung.wait(timeout_seconds)
        self._rung.clear()
        if self.readers:
            for fd in select.select(list(self.readers), [], [], 0)[0]:
                self.readers[fd]()

    def receive(self) -> list[TransportEvent]:
        """Take what is in the inbox."""
        inbox = self.inbox
        return [inbox.popleft() for _ in range(min(len(inbox), RECEIVE_EVENTS_MAX))]

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` from `poll` whenever `fd` is readable."""
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`."""
        self.readers.pop(fd, None)

    def wake(self) -> None:
        """Make `poll` return."""
        self._rung.set()

    def close(self) -> None:
        """Leave the network; what was sent arrives."""
        self._network.leave(self.name, "closed")

    @property
    def counters(self) -> Mapping[str, int]:
        """How many frames were refused, by reason."""
        return self._counters

    @property
    def has_events(self) -> bool:
        """Is there something to receive?"""
        return bool(self.inbox)

    def accept(self, event: Received | PeerUp | PeerDown) -> bool:
        """Take an event from the network; False when the inbox is full of frames."""
        if type(event) is Received and len(self.inbox) >= QUEUED_EVENTS_MAX:
            self._counters["full"] += 1
            return False
        self.inbox.append(event)
        self._rung.set()
        return True

    def find(self, peer: LoopbackTransport) -> None:
        """Learn that a peer is there."""
        self.peers[peer.name] = None
        self.accept(PeerUp(peer.name, peer.incarnation))

    def lose(self, peer: str, reason: str) -> None:
        """Learn that a peer is gone, if it was one."""
        if peer in self.peers:
            del self.peers[peer]
            self.accept(PeerDown(peer, reason))


class LoopbackNetwork:
    """Joins the runtimes of one process, and drives them when its clock is a manual one.

    Like the real thing it delivers at most once and in order, tells both ends of a connection
    when the other comes and goes, and lets a process answer one that has connected to it.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock
        self.manual = clock is not None
        self.ends: dict[str, LoopbackTransport] = {}
        self._incarnations: Counter[str] = Counter()
        self.runtimes: list[Runtime] = []

    def transport(self, name: str, incarnation: int | None = None) -> LoopbackTransport:
        """A new incarnation of the process `name`; the one before, if any, must have gone."""
        if name in self.ends:
            raise TransportError(f"{name} is there already; let it crash or close first")
        self._incarnations[name] = incarnation if incarnation is not None else self._incarnations[name] + 1
        end = self.ends[name] = LoopbackTransport(self, name, self._incarnations[name])
        for other in list(self.ends.values()):
            if name in other.connected:
                self.introduce(other.name, name)
        return end

    def join(self, runtime: Runtime) -> Runtime:
        """Drive `runtime` too; returns it."""
        self.runtimes.append(runtime)
        return runtime

    def crash(self, name: str) -> None:
        """End a process as SIGKILL would: no hook runs, what it has not sent is lost."""
        self.leave(name, "crashed")
        self.runtimes = [runtime for runtime in self.runtimes if runtime.name != name]

    def settle(self) -> None:
        """Let all runtimes take turns until none has anything to do at this moment."""
        for _ in range(TURNS_MAX):
            self.runtimes = [runtime for runtime in self.runtimes if not runtime.stopped]
            due = [runtime for runtime in self.runtimes if self._has_work(runtime)]
            if not due:
                return
            for runtime in due:
                runtime.run_turn(0.0)
        raise AssertionError(f"still busy after {TURNS_MAX} turns: two actors keep each other going")

    def advance(self, seconds: float) -> None:
        """Move the time forward by so much, from deadline to deadline, settling at each."""
        clock = self._manual_clock()
        end = clock.now() + seconds
        self.settle()
        while (moment := self._next_deadline()) is not None and moment <= end:
            clock.advance_to(moment)
            self.settle()
        clock.advance_to(end)

    def run_until(self, done: Callable[[], bool], timeout_seconds: float) -> bool:
        """Like `advance`, but only until `done`; False when the time was up first."""
        clock = self._manual_clock()
        end = clock.now() + timeout_seconds
        self.settle()
        while not done():
            moment = self._next_deadline()
            if moment is None or moment > end:
                clock.advance_to(end)
                return False
            clock.advance_to(moment)
            self.settle()
        return True

    def introduce(self, one: str, other: str) -> None:
        """Tell two processes of each other, if both are there and were not told."""
        a, b = self.ends.get(one), self.ends.get(other)
        if a is not None and b is not None and other not in a.peers:
            a.find(b)
            b.find(a)

    def part(self, one: str, other: str) -> None:
        """End the connection of two processes, unless the other one still wants it."""
        a, b = self.ends.get(one), self.ends.get(other)
        if a is not None and b is not None and one not in b.connected:
            a.lose(other, "disconnected")
            b.lose(one, "disconnected")

    def carry(self, sender: str, to: str, payload: bytes) -> str | None:
        """Put a frame into an inbox; else say why not."""
        source, target = self.ends.get(sender), self.ends.get(to)
        if source is None:
            return "closed"
        if target is None or to not in source.peers:
            return "down" if to in source.connected else "unknown"
        return None if target.accept(Received(sender, source.incarnation, payload)) else "full"

    def leave(self, name: str, reason: str) -> None:
        """Take a process out, and tell those who were connected to it."""
        if self.ends.pop(name, None) is not None:
            for end in self.ends.values():
                end.lose(name, reason)

    def _has_work(self, runtime: Runtime) -> bool:
        end = self.ends.get(runtime.name)
        if runtime.busy or (end is not None and end.has_events):
            return True
        deadline = _deadline(runtime)
        return deadline is not None and deadline <= self._manual_clock().now()

    def _next_deadline(self) -> float | None:
        deadlines = [_deadline(runtime) for runtime in self.runtimes]
        return min((moment for moment in deadlines if moment is not None), default=None)

    def _manual_clock(self) -> ManualClock:
        assert self.clock is not None, "only a network with a manual clock can be driven"
        return self.clock


def _deadline(runtime: Runtime) -> float | None:
    """When a runtime has something to do without being told anything."""
    deadlines = [runtime.next_deadline()]
    if isinstance(runtime.transport, FaultyTransport):
        deadlines.append(runtime.transport.next_deadline())
    return min((moment for moment in deadlines if moment is not None), default=None)
