"""Frames over ZeroMQ: one ROUTER that hears all peers, and a DEALER to each peer.

Owns the inbox of one process, and which way each frame leaves; see links for the DEALERs. libzmq is told to
keep nothing for a process that is not there, and tells at once when a connection closes. The ROUTER names
connections by itself: no peer can steal or inherit a routing id, because who speaks is in the frame's header
(see frames) or, with keys, in the key (see curve). Never shared between threads or across a fork.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import zmq

from actors.errors import TransportError
from actors.transport import sockets
from actors.transport.base import NO_KEY, TransportEvent
from actors.transport.connections import Connection, Connections
from actors.transport.curve import ALLOWED_FILE, KEY_PROPERTY, Authenticator, Keys, KeysError
from actors.transport.endpoints import EndpointError, check_endpoint, claim_ipc_path, split_tcp, to_listen_at
from actors.transport.frames import FrameKind, FrameWriter, introduction_in
from actors.transport.links import Link, Links
from actors.transport.log import Log, log_by_loguru
from actors.transport.peer_users import Users
from actors.transport.peers import Origin, PeerTracker, may_speak_as
from actors.transport.resolver import LookUp, look_up, name_in
from actors.transport.sockets import Order, Socket
from actors.transport.sockets import Tuning as Tuning

# As plain numbers: the library's flags take longer to combine than a frame takes to send.
_DONTWAIT: Final = int(zmq.DONTWAIT)
_MORE_DONTWAIT: Final = int(zmq.SNDMORE | zmq.DONTWAIT)
_STRANGERS_NAMED_MAX: Final = 1024
_NAMED_AGAIN_SECONDS: Final = 60.0
_KEYS_AGAIN_SECONDS: Final = 0.5


class ZeroMqTransport:
    """One process's end; see Transport for the methods. Without an endpoint of its own it is a guest.

    A guest connects to nodes and is answered through the same connections; no process can connect to it.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        *,
        cluster: str,
        endpoint: str | None = None,
        keys: Keys | None = None,
        tuning: Tuning | None = None,
        waits_for_welcome: bool = False,
        look_up: LookUp = look_up,
        read_keys: Callable[[], Keys] | None = None,
        log: Log = log_by_loguru,
    ) -> None:
        """Listen at `endpoint`, if there is one; a port of 0 or `*` is chosen by the system.

        A process with `keys` speaks to, and hears, only those whose public keys are allowed. A
        process that listens at an ipc endpoint holds a lock that keeps a second incarnation of itself out.
        With `waits_for_welcome` a process is sent nothing before it has said who it is: what is asked for is
        not done by another one in its place. `look_up` resolves the names of hosts, in a thread beside this
        one. `read_keys` is asked for newer ones when a peer has another key than is known, or does not know
        ours. `log` is told of strangers, peers that are cut off and unresolved names. Raises TransportError.
        """
        if keys is not None and not may_speak_as(keys.name, name):
            raise KeysError(
                f"with the key of {keys.name} a process is called {keys.name} or {keys.name}.…, not {name}"
            )
        self.name = name
        self.incarnation = incarnation
        self.endpoint: str | None = None
        self._cluster, self._log = cluster, log
        self._waits_for_welcome = waits_for_welcome
        self._writer = FrameWriter(cluster, name, incarnation)
        self._keys = keys
        self._tuning = tuning or Tuning()
        self.frame_bytes_max = self._tuning.frame_bytes_max
        self._tracker = PeerTracker(cluster, self._tuning.incarnations_max, incarnation)
        self._opened = sockets.OpenSockets(self._tuning, shared=endpoint is None)
        self._watch = self._opened.watch
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        opened = self._opened
        left = (name, os.getpid(), opened.context, opened.left, self._bell, opened.shared)
        self._closer = weakref.finalize(self, sockets.close_forgotten, *left)
        self._closer.atexit = False
        self.add_reader(self._bell, partial(os.eventfd_read, self._bell))
        calls = self._hear, self._greet, self._look_for_keys
        self._links = Links(opened, self._tracker, self._tuning, keys, look_up, *calls, log)
        self._link_to, self._retry_at = self._links.by_process, self._links.retry_at
        self._inbox: Socket | None = None
        self._inbox_monitor: Socket | None = None
        self._authenticator: Authenticator | None = None
        self._strangers_named: dict[str, float] = {}
        self._read_keys, self._read_keys_at = read_keys, 0.0
        self._connections = _connections(self._tuning, self._tracker, log)
        if endpoint is not None:
            try:
                self._open_inbox(endpoint)
            except TransportError:
                self.close()
                raise

    @property
    def counters(self) -> Mapping[str, int]:
        """How many frames, handshakes and strangers were turned away, by reason; and sends, "send: …"."""
        return MappingProxyType(self._tracker.dropped)

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Bytes of payloads sent to, and received from, each process that this one keeps a connection to."""
        return {
            process: (link.sent_bytes, self._tracker.received_bytes(process))
            for process, link in self._link_to.items()
        }

    def fileno(self) -> int:
        """For a foreign loop: when this is readable, take turns until `has_news` says no."""
        return self._watch.fileno()

    def has_news(self) -> bool:
        """Is there something to receive? If not, the descriptor will tell."""
        return bool(self._opened.ready or self._tracker.events) or self._watch.has_news()

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Keep a connection open; with keys the peer must have `public_key`, or else the one in the list.

        Raises TransportError for an endpoint or a peer that cannot be connected to.
        """
        check_endpoint(endpoint, has_keys=self._keys is not None)
        if self._keys is not None and public_key is None:
            self._keys.public_key_of(process)  # Or it is a stranger.
        if public_key == NO_KEY and not endpoint.startswith("ipc://"):
            raise EndpointError(f"{process} is reached without its key over ipc only, not at {endpoint}")
        self._links.connect(process, endpoint, public_key)

    def listen_again(self) -> bool:
        """Make the file of an ipc endpoint anew if it was removed; whether it was.

        Those who are connected stay so. Raises EndpointError.
        """
        if self._inbox is None or self.endpoint is None or not self.endpoint.startswith("ipc://"):
            return False
        path = Path(self.endpoint.removeprefix("ipc://"))
        if path.exists() or not path.parent.exists():
            return False
        claim_ipc_path(self.endpoint)
        # The old listener stays open: closing it would remove the new file.
        self._inbox.bind(self.endpoint)
        return True

    def allow(self, keys: Keys) -> frozenset[str]:
        """Hear those whose keys are allowed now, and cut off all others; the names whose keys have gone.

        Who listens keeps its own pair: libzmq would close all connections to listen by another one.
        """
        before = self._keys
        assert before is not None, "without keys all processes are heard"
        if self._inbox is not None or keys.name != before.name:
            own = {"name": before.name, "public": before.public, "secret": before.secret}
            keys = msgspec.structs.replace(keys, **own)
        gone = before.owners().keys() - keys.owners().keys()
        self._keys = keys
        if self._authenticator is not None:
            self._authenticator.allow(keys)
        for process in self._connections.cut_keys({key.decode() for key in gone}):
            self._tracker.lost(process, "its key was removed")
        self._links.follow(keys)
        kept = {name for key, name in before.owners().items() if key not in gone}
        return frozenset(before.allowed.keys() - kept)

    def _look_for_keys(self) -> None:
        now = time.monotonic()
        if self._read_keys is None or now < self._read_keys_at:
            return
        self._read_keys_at = now + _KEYS_AGAIN_SECONDS
        try:
            keys = self._read_keys()
        except KeysError as error:
            self._log("WARNING", "keys-refused", f"the keys stay as they were: {error}")
        else:
            if keys != self._keys:
                self.allow(keys)

    def disconnect(self, process: str) -> None:
        """Forget the connection; a peer that was up is reported down."""
        self._links.disconnect(process)

    def send(self, process: str, payload: bytes) -> str | None:
        """Hand over a payload: None, or why not; never waits."""
        refusal = self._send(process, FrameKind.PAYLOAD, payload)
        if refusal is not None:
            self._tracker.dropped[f"send: {refusal}"] += 1
        return refusal

    def poll(self, timeout_seconds: float | None) -> None:
        """Wait for a socket, a reader, `wake` or the time; calls the readers that are ready."""
        look_seconds = self._connections.due_seconds()
        if self._opened.ready or self._tracker.events:
            timeout_seconds = 0.0
        elif self._retry_at:
            due_seconds = max(0.0, min(self._retry_at.values()) - time.monotonic())
            timeout_seconds = due_seconds if timeout_seconds is None else min(timeout_seconds, due_seconds)
        if look_seconds is not None and (timeout_seconds is None or look_seconds < timeout_seconds):
            timeout_seconds = look_seconds
        self._opened.wait(timeout_seconds)
        if self._retry_at:
            self._links.retry()
        if look_seconds is not None:
            self._connections.look()

    def receive(self) -> list[TransportEvent]:
        """What the last `poll` found, without waiting: frames first, then who went up or down."""
        self._opened.take_ready()
        if (self._tracker.foreign or self._tracker.used) and self._inbox is not None:
            self._tell_strangers(self._inbox)
        if self._tracker.crowded:
            self._tracker.forget_gone(self._stands)
        return self._tracker.take_events()

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` from `poll` whenever `fd` is readable."""
        self._watch.add_reader(fd, callback)

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`."""
        self._watch.remove_reader(fd)

    def wake(self) -> None:
        """Make `poll` return; from any thread, and harmless after `close`."""
        with suppress(OSError, ValueError):  # Full: then it wakes anyway. Or closed.
            os.eventfd_write(self._bell, 1)

    def close(self, linger_milliseconds: int | None = None) -> None:
        """Release everything; what was accepted has `linger_milliseconds` to leave. Idempotent."""
        self._closer.detach()
        self._connections.close()
        self._opened.close(
            self._tuning.linger_milliseconds if linger_milliseconds is None else linger_milliseconds
        )
        self._links.close()
        self._inbox = self._inbox_monitor = None
        if self.endpoint is not None and self.endpoint.startswith("ipc://"):
            Path(self.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
            self.endpoint = None
        self._watch.close()
        if self._bell >= 0:
            bell, self._bell = self._bell, -1
            os.close(bell)

    def _send(self, process: str, kind: FrameKind, payload: bytes) -> str | None:
        if len(payload) > self._tuning.frame_bytes_max:
            return "too big"
        link = self._link_to.get(process)
        route = None
        if self._inbox is not None and (link is None or kind is FrameKind.WELCOME):
            route = self._tracker.route_to(process)
        if link is None and route is None:
            return "unknown"
        if self._waits_for_welcome and kind is FrameKind.PAYLOAD and not self._tracker.is_up(process):
            return self._not_up(process, link)
        frame = self._write(kind, payload)
        try:
            if route is not None and self._inbox is not None:
                if not self._connections.may_send(route, len(frame)):
                    return "not read there"
                self._send_by(self._inbox, route, frame)
            elif link is not None and link.dealer is not None:
                self._watch.suspect(link.dealer)
                link.dealer.send(frame, _DONTWAIT)
                link.sent_bytes += len(payload)
            else:
                return "down" if link is None else link.trouble or "down"
        except zmq.Again:
            return "full" if link is None or link.connected else link.trouble or "down"
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._tracker.lost(process, "connection closed")
            return "down"
        return None

    def _not_up(self, process: str, link: Link | None) -> str:
        """Why a process that has not said who it is gets nothing."""
        other = self._tracker.instead_of(process)
        if other is not None and link is not None:
            return f"{other} listens at {link.endpoint}, not {process} of cluster {self._cluster!r}"
        return "down" if link is None else link.trouble or "down"

    def _tell_strangers(self, inbox: Socket) -> None:
        """Tell who is of another cluster which one this is, and who has a used number that it was used."""
        used, self._tracker.used = self._tracker.used, []
        for route, packed in used:
            with suppress(zmq.ZMQError):
                self._send_by(inbox, route, self._write(FrameKind.USED, packed))
        foreign, self._tracker.foreign = self._tracker.foreign, []
        for route, raw in foreign:
            introduction = introduction_in(raw)
            if introduction is not None and introduction[0] == FrameKind.HELLO:
                frame = self._write(FrameKind.WELCOME, self._cluster.encode())
                with suppress(zmq.ZMQError):  # It need not be there any more.
                    self._send_by(inbox, route, frame)

    def _write(self, kind: FrameKind, payload: bytes) -> bytes:
        self._tracker.sequence += 1
        return self._writer.write(self._tracker.sequence, kind, payload)

    def _stands(self, route: bytes) -> bool:
        """Does that connection to our inbox stand? The only way to know is to send something."""
        if self._inbox is None:
            return False
        try:
            self._send_by(self._inbox, route, self._write(FrameKind.WELCOME, b""))
        except zmq.Again:
            return True  # It is slow to read.
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def _send_by(self, inbox: Socket, route: bytes, frame: bytes) -> None:
        self._watch.suspect(inbox)
        inbox.send(route, _MORE_DONTWAIT)
        inbox.send(frame, _DONTWAIT)

    def _take_inbox(self) -> None:
        inbox = self._inbox
        if inbox is None:
            return
        left_bytes = self._tuning.receive_bytes_max
        try:
            for _ in range(self._tuning.receive_frames_max):
                left_bytes -= self._take_frame_of(inbox, inbox.recv(_DONTWAIT))
                if not sockets.has_input(inbox):  # Cheaper than the exception with which a read would say so.
                    break
                if left_bytes < 0:
                    self._watch.suspect(inbox)
                    return
            else:
                self._watch.suspect(inbox)
                return
        except zmq.Again:
            pass
        if self._connections.some_have_gone:
            self._connections.nothing_is_unread()

    def _take_frame_of(self, inbox: Socket, route: bytes) -> int:
        """Read one frame from a connection and act on it; its size."""
        part = inbox.recv(_DONTWAIT, copy=False)  # As a frame, which knows whether another one follows.
        raw = part.bytes
        connection = self._connections.of(route)
        if connection is None:
            connection = self._meet(route, part)
        size = len(raw)
        self._connections.took(connection, size)
        if connection.cut:
            self._tracker.dropped["of one that was cut off"] += 1
            return size
        if part.more:
            sockets.drop_rest(inbox)
            self._tracker.dropped["multipart"] += 1
            return size
        if self._tracker.hear_more(raw, route):
            return size
        owner = None if self._keys is None else str(part.get("User-Id"))
        greeter = self._hear(raw, Origin(None, owner, route))
        if greeter is not None:
            self._connections.introduced(connection, greeter, member=greeter in self._link_to)
        return size

    def _meet(self, route: bytes, part: zmq.Frame) -> Connection:
        if self._inbox_monitor is not None:
            self._take_inbox_monitor(self._inbox_monitor)  # Where it is said that it was accepted.
        key = "" if self._keys is None else str(part.get(KEY_PROPERTY))
        fd = -1
        with suppress(zmq.ZMQError):  # An ancient version of the protocol does not say.
            fd = int(part.get("__fd"))
        return self._connections.meet(route, fd, key)

    def _turn_away(self, address: str, key: str) -> None:
        """A key that is on no list; named once a while, as it may try again every second."""
        self._tracker.dropped["stranger"] += 1
        now = time.monotonic()
        if now < self._strangers_named.get(key, 0.0):
            return
        if len(self._strangers_named) >= _STRANGERS_NAMED_MAX:
            self._strangers_named.clear()
        self._strangers_named[key] = now + _NAMED_AGAIN_SECONDS
        text = (
            f"turned away a stranger from {address or 'this machine'}: the public key {key or '(none)'} is "
            f"not in {ALLOWED_FILE}"
        )
        self._log("WARNING", "stranger", text, address=address, key=key)

    def _hear(self, raw: bytes, origin: Origin) -> str | None:
        if (greeter := self._tracker.hear(raw, origin)) is not None:
            self._welcome(greeter)
        return greeter

    def _greet(self, process: str) -> None:
        self._send(process, FrameKind.HELLO, b"")

    def _welcome(self, process: str) -> None:
        self._send(process, FrameKind.WELCOME, b"")
        self._links.is_there(process)

    def _take_inbox_monitor(self, monitor: Socket) -> None:
        with suppress(zmq.Again):
            while True:
                event, value = sockets.MONITOR_EVENT.unpack(monitor.recv_multipart(_DONTWAIT)[0])
                if event == zmq.EVENT_ACCEPTED:
                    self._connections.accepted(value)
                elif event == zmq.EVENT_DISCONNECTED:
                    self._connections.gone(value)
                else:
                    self._tracker.dropped["handshake"] += 1

    def _open_inbox(self, endpoint: str) -> None:
        check_endpoint(endpoint, has_keys=self._keys is not None)
        if endpoint.startswith("ipc://"):
            claim_ipc_path(endpoint)
        endpoint = to_listen_at(endpoint)
        inbox = self._opened.socket(zmq.ROUTER, endpoint)
        # Or it drops what it cannot send, and calls that success.
        inbox.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if self._keys is not None:
            authenticator = self._authenticator = Authenticator(
                self._opened.context, self._keys, self._turn_away
            )
            authenticator.guard(inbox)
            self._opened.listen_to(authenticator.socket, Order.MONITORS, authenticator.answer)
        monitor = self._inbox_monitor = inbox.get_monitor_socket(sockets.INBOX_EVENTS)
        try:
            inbox.bind(endpoint)
        except zmq.ZMQError as error:
            name = name_in(endpoint)
            why = f"{name} is a name, and not of this machine: listen at an address, or at 0.0.0.0 or [::]"
            if not name or error.errno == zmq.EADDRINUSE:
                why = error.strerror
            raise EndpointError(f"cannot listen at {endpoint}: {why}") from error
        self.endpoint = inbox.getsockopt_string(zmq.LAST_ENDPOINT)
        self._inbox = inbox
        if self._keys is None and endpoint.startswith("tcp://"):
            port = split_tcp(self.endpoint)[1]
            self._connections.is_stranger = partial(Users(self._log).is_stranger, port=port)
        self._opened.listen_to(inbox, Order.FRAMES, self._take_inbox)
        self._opened.listen_to(monitor, Order.MONITORS, partial(self._take_inbox_monitor, monitor))


def _connections(tuning: Tuning, tracker: PeerTracker, log: Log) -> Connections:
    return Connections(
        tracker.dropped,
        log,
        connections_max=tuning.connections_max,
        held_bytes_max=tuning.held_bytes_max,
        unread_bytes_max=tuning.unread_bytes_max,
        held_all_bytes_max=tuning.held_all_bytes_max,
        unread_all_bytes_max=tuning.unread_all_bytes_max,
    )
