"""Who has been heard: which frames are fresh, whose they are, and who is up.

Owns the books on every process from which a frame has come. A frame counts at most once, in the
order in which it was sent, and never after a later incarnation of its sender has spoken. A process that
greets with a number that was used before is told so: it is not heard, and must not go on unaware of it. Knows
nothing of sockets: it is told of frames and of connections, and says what to report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from actors.address import check_process_name
from actors.errors import BadAddress
from actors.transport.base import IncarnationUsed, PeerDown, PeerUp, Received, TransportEvent
from actors.transport.frames import (
    Frame,
    FrameKind,
    cluster_digest,
    introduction_in,
    prefix_of,
    read_after,
    read_frame,
    read_incarnation,
    write_incarnation,
)

HELD_FRAMES_MAX: Final = 64
"""For each process whose connection we do not have yet,"""
HELD_BYTES_MAX: Final = 64 * 1024 * 1024
"""and for all of them together."""
FOREIGN_FRAMES_MAX: Final = 16
_KINDS: Final = frozenset(FrameKind)


class Origin(msgspec.Struct, gc=False):
    """What is known of a frame apart from what it says itself."""

    process: str | None = None
    """Whom we connected to, when it came from there."""
    owner: str | None = None
    """Whose key its sender has shown."""
    route: bytes | None = None
    """Which connection of our inbox leads back to its sender."""


class _Peer(msgspec.Struct):
    """What is known of the latest incarnation of a process."""

    process: str
    sender: bytes
    incarnation: int
    sequence: int = 0
    up: bool = False
    reported: bool = False  # Up now, or at some time.
    route: bytes | None = None
    held: list[Received] = []
    received_bytes: int = 0  # In payloads, with those of its earlier incarnations.


_Regular = tuple[_Peer, bytes, int]
"""Whose payload a connection has brought, and what its next one begins with; see `prefix_of`."""


class PeerTracker:
    """The books; see the module. `dropped` counts frames by reason.

    An incarnation is forgotten only when its connection has gone, or has brought another process. So there
    are no more incarnations than connections, but for `incarnations_max` of those whose end was not noticed
    yet.
    """

    def __init__(self, cluster: str, incarnations_max: int, incarnation: int = 0) -> None:
        self.sequence = 0
        """That of the last frame of our own, in this incarnation of ours."""
        self._incarnation = incarnation
        self._cluster = cluster_digest(cluster)
        self._incarnations_max = incarnations_max
        self._crowded_at = incarnations_max
        self._routes: dict[bytes, str] = {}
        self._regulars: dict[bytes | str, _Regular] = {}  # By route, or by whom we are connected to.
        self._incarnations: dict[str, _Peer] = {}
        self._names: dict[bytes, str] = {}
        self._held_bytes = 0
        self._connected: dict[str, bool] = {}
        self._instead: dict[str, str] = {}
        self.events: list[TransportEvent] = []
        self.foreign: list[
            tuple[bytes, bytes]
        ] = []  # Frames of other clusters, by connection: to be told so.
        self.used: list[
            tuple[bytes, bytes]
        ] = []  # What to tell of incarnations with used numbers, by connection.
        self.dropped: Counter[str] = Counter()

    def take_events(self) -> list[TransportEvent]:
        """What there is to report, in order."""
        events, self.events = self.events, []
        return events

    @property
    def remembered(self) -> tuple[int, int]:
        """How many incarnations, and how many connections of theirs."""
        return len(self._incarnations), len(self._routes)

    @property
    def crowded(self) -> bool:
        """So many incarnations are remembered that those whose connections have gone should be looked for."""
        return len(self._incarnations) > self._crowded_at

    def forget_gone(self, stands: Callable[[bytes], bool]) -> None:
        """Report down and forget all whose connection does not stand any more; never our own peers."""
        for peer in list(self._incarnations.values()):
            if peer.process not in self._connected and (peer.route is None or not stands(peer.route)):
                self._forget(peer, "connection closed")
        # Looking costs something for each of them, and so is done the less often the more there are.
        self._crowded_at = max(self._incarnations_max, 2 * len(self._incarnations))

    def hear_more(self, raw: bytes, source: bytes | str) -> bool:
        """Enter the next payload of whom that connection has brought one before; False: `hear` decides.

        The connection is a route of our inbox, or ours to a process of that name. What was checked then
        holds still: who may speak there, which incarnation it is, and that it is up.
        """
        regular = self._regulars.get(source)
        if regular is None:
            return False
        peer, prefix, prefix_check = regular
        read = read_after(raw, prefix, prefix_check)
        if read is None or not peer.up:
            return False
        sequence, kind, payload = read
        if kind != FrameKind.PAYLOAD or sequence <= peer.sequence:
            return False
        peer.sequence = sequence
        peer.received_bytes += len(payload)
        self.events.append(Received(peer.process, peer.incarnation, payload))
        return True

    def hear(self, raw: bytes, origin: Origin) -> str | None:
        """Enter a frame, or drop and count it; returns a process that has said hello."""
        frame = read_frame(raw, self._cluster)
        entered = frame if isinstance(frame, str) else self._enter(frame, origin)
        if not isinstance(frame, str) and frame.kind == FrameKind.HELLO and entered != "misnamed":
            self._look_for_later(frame, origin.route)
        if isinstance(entered, str):
            self.dropped[entered] += 1
            if origin.process is not None and entered in ("foreign", "misnamed"):
                self._note_who_is_there(origin.process, raw)
            elif origin.route is not None and entered == "foreign" and len(self.foreign) < FOREIGN_FRAMES_MAX:
                self.foreign.append((origin.route, raw))
            return None
        assert not isinstance(frame, str)
        if origin.process is not None and self._instead:
            self._instead.pop(origin.process, None)
        if not entered.up and self._connected.get(entered.process, True):
            entered.up = entered.reported = True
            self.events += (PeerUp(entered.process, frame.incarnation), *entered.held)
            self._let_go_of_held(entered)
        if frame.kind == FrameKind.USED and origin.process is not None:
            self._compare(origin.process, frame.payload)
        if frame.kind == FrameKind.PAYLOAD:
            self._receive(entered, Received(entered.process, frame.incarnation, frame.payload))
            source = origin.process if origin.route is None else origin.route
            if source is not None and entered.up and origin.route in (None, entered.route):
                self._regulars[source] = (entered, *prefix_of(raw))
        return entered.process if frame.kind == FrameKind.HELLO else None

    def is_up(self, process: str) -> bool:
        """Has that process said who it is, on a connection that stands?"""
        peer = self._incarnations.get(process)
        return peer is not None and peer.up

    def instead_of(self, process: str) -> str | None:
        """Who answers where that process was expected, if another one does."""
        return self._instead.get(process)

    def _note_who_is_there(self, expected: str, raw: bytes) -> None:
        self._regulars.pop(expected, None)
        introduction = introduction_in(raw)
        if introduction is not None:
            _, sender, cluster = introduction
            self._instead[expected] = f"{sender} of cluster {cluster!r}" if cluster else sender

    def received_bytes(self, process: str) -> int:
        """How much that process has said, in payloads of all its incarnations that are remembered."""
        peer = self._incarnations.get(process)
        return 0 if peer is None else peer.received_bytes

    def route_to(self, process: str) -> bytes | None:
        """The connection of our inbox through which `process` spoke last."""
        peer = self._incarnations.get(process)
        return peer.route if peer is not None else None

    def connection_changed(self, process: str, connected: bool) -> None:
        """We keep a connection to `process`: it stands now, or it does not, and then none is up there."""
        self._connected[process] = connected
        if not connected:
            self._instead.pop(process, None)
            self.lost(process, "connection closed")

    def connection_forgotten(self, process: str) -> None:
        """We have no connection to `process` of our own any more."""
        self._connected.pop(process, None)
        self._regulars.pop(process, None)
        self.lost(process, "disconnected")

    def lost(self, process: str, reason: str) -> None:
        """Report `process` down if it was up."""
        peer = self._incarnations.get(process)
        if peer is not None and peer.up:
            peer.up = False
            self.events.append(PeerDown(process, reason))

    def _look_for_later(self, greeting: Frame, route: bytes | None) -> None:
        """Was more heard of who greets us than it can have said, if its numbers are its own?"""
        peer = self._incarnations.get(self._names.get(greeting.sender, ""))
        if peer is None or (greeting.incarnation, greeting.sequence) >= (peer.incarnation, peer.sequence):
            return
        if route is not None and len(self.used) < FOREIGN_FRAMES_MAX:
            self.used.append((route, write_incarnation(peer.incarnation, peer.sequence)))

    def _compare(self, process: str, payload: bytes) -> None:
        """Report it if a peer has heard what this incarnation has not said; a greeting may just come late."""
        heard = read_incarnation(payload)
        if heard is not None and heard > (self._incarnation, self.sequence):
            self.events.append(IncarnationUsed(process, heard[0]))

    def _enter(self, frame: Frame, origin: Origin) -> _Peer | str:
        """The incarnation that has sent a frame, if that is to count; else the reason."""
        process = self._names.get(frame.sender) or self._new_name(frame.sender)
        if process is None or frame.kind not in _KINDS:
            return "garbage"
        is_bound = origin.process is not None or origin.owner is not None
        if is_bound and not _may_speak(process, origin):
            return "misnamed"
        peer = self._incarnations.get(process)
        if peer is None or frame.incarnation > peer.incarnation:
            peer = self._begin_incarnation(process, frame, peer)
        elif frame.incarnation < peer.incarnation:
            return "older incarnation"
        if frame.kind == FrameKind.PAYLOAD:
            # Greetings don't count: one on a new connection may overtake payloads on the one before.
            if frame.sequence <= peer.sequence:
                return "repeated"
            peer.sequence = frame.sequence
        if origin.route is not None and origin.route != peer.route:
            self._led_by(peer, origin.route)
        return peer

    def _led_by(self, peer: _Peer, route: bytes) -> None:
        """From now on the connection is of that incarnation only: else one could bring any number of them."""
        if peer.route is not None:
            self._leave_route(peer.route)
        before = self._incarnations.get(self._routes.get(route, ""))
        if before is not None and before.process not in self._connected:
            self._forget(before, "its connection speaks for another process now")
        peer.route = route
        self._routes[route] = peer.process

    def _begin_incarnation(self, process: str, frame: Frame, earlier: _Peer | None) -> _Peer:
        if earlier is not None:
            self.lost(process, "restarted")
            self._let_go_of_held(earlier)
            if earlier.route is not None:
                self._leave_route(earlier.route)
        peer = self._incarnations[process] = _Peer(process, frame.sender, frame.incarnation)
        if earlier is not None:
            peer.received_bytes = earlier.received_bytes
        self._names[frame.sender] = process
        return peer

    def _receive(self, peer: _Peer, event: Received) -> None:
        peer.received_bytes += len(event.payload)
        # An incarnation that was up and lost its connection to us may still speak, but that does not make it
        # up. One that was never up waits for our own connection: without it, its death would not be told.
        if peer.reported:
            self.events.append(event)
            return
        size = len(event.payload)
        if len(peer.held) < HELD_FRAMES_MAX and self._held_bytes + size <= HELD_BYTES_MAX:
            peer.held.append(event)
            self._held_bytes += size
        else:
            self.dropped["early"] += 1

    def _let_go_of_held(self, peer: _Peer) -> None:
        self._held_bytes -= sum(len(event.payload) for event in peer.held)
        peer.held.clear()

    def _new_name(self, sender: bytes) -> str | None:
        try:
            return check_process_name(sender.decode())
        except (UnicodeDecodeError, BadAddress):
            return None

    def _forget(self, peer: _Peer, reason: str) -> None:
        self.lost(peer.process, reason)
        self._let_go_of_held(peer)
        del self._incarnations[peer.process]
        del self._names[peer.sender]
        if peer.route is not None:
            self._leave_route(peer.route)

    def _leave_route(self, route: bytes) -> None:
        self._routes.pop(route, None)
        self._regulars.pop(route, None)


def may_speak_as(owner: str, name: str) -> bool:
    """Whether the owner of a key may call itself `name`: its own name, or one under it."""
    return name == owner or name.startswith(owner + ".")


def _may_speak(process: str, origin: Origin) -> bool:
    """A process that connects to n2 hears n2 alone, and a key speaks for its owner alone."""
    if origin.process is not None and origin.process != process:
        return False
    return origin.owner is None or may_speak_as(origin.owner, process)
