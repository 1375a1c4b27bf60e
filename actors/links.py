"""The connections that a process keeps open to its peers: a DEALER to each, and whether it stands.

Owns when one is opened, closed, and tried again: after a refusal, which libzmq takes for final, and after
there was no descriptor for it. Follows the list of allowed keys. Knows nothing of who connects to us.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import zmq
from loguru import logger

from actors import sockets
from actors.curve import Keys, identify
from actors.endpoints import EndpointError, split_tcp
from actors.hearing import Hearing, Origin
from actors.sockets import OpenSockets, Order, Socket, Tuning
from actors.users import Users

_DONTWAIT: Final = int(zmq.DONTWAIT)  # As a plain number, which is quicker.
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)


class Link:
    """A DEALER to one process, and the monitor that tells whether it is connected."""

    def __init__(self, process: str, endpoint: str, public_key: bytes | None) -> None:
        self.process = process
        self.endpoint = endpoint
        self.public_key = public_key
        self.connected = False
        self.is_open_to_all = public_key is None and endpoint.startswith("tcp://")
        self.unproven = -1
        """The descriptor of a connection of which it is not known yet to whom it is; -1 if it is known."""
        self.dealer: Socket | None = None  # None while the system has no descriptor for it.
        self.monitor: Socket | None = None


class Links:
    """All of a process's links: `by_process` has them, `retry_at` when those that failed are tried again.

    `heard` is called with each frame that comes back by one, `greet` with each process that is connected now.
    """

    def __init__(
        self,
        opened: OpenSockets,
        hearing: Hearing,
        tuning: Tuning,
        *,
        heard: Callable[[bytes, Origin], object],
        greet: Callable[[str], object],
    ) -> None:
        self.by_process: dict[str, Link] = {}
        self.retry_at: dict[str, float] = {}
        self._opened = opened
        self._hearing = hearing
        self._tuning = tuning
        self._heard = heard
        self._greet = greet
        self._users: Users | None = None

    def connect(self, process: str, endpoint: str, public_key: bytes | None, keys: Keys | None) -> None:
        """Keep a connection open to `endpoint`; raises EndpointError."""
        link = self.by_process.get(process)
        if link is not None:
            if (link.endpoint, link.public_key) == (endpoint, public_key):
                return
            self.disconnect(process)
        link = self.by_process[process] = Link(process, endpoint, public_key)
        self._open(link, keys)
        self._hearing.connection_changed(process, connected=False)

    def disconnect(self, process: str) -> None:
        """Forget a connection; a peer that was up is reported down."""
        link = self.by_process.pop(process, None)
        if link is not None:
            self.retry_at.pop(process, None)
            self._close(link)
            self._hearing.connection_forgotten(process)

    def follow(self, keys: Keys, before: Mapping[str, bytes]) -> None:
        """Connect by the keys that peers have now; not at all to those that have none."""
        for link in self.by_process.values():
            if link.public_key is not None and link.public_key not in before.values():
                continue  # It was given with the connection, and is in no list.
            public_key = keys.find(link.process)
            if public_key != link.public_key:
                link.public_key = public_key
                self.retry_at.pop(link.process, None)
                self._close(link)
                self._hearing.connection_changed(link.process, connected=False)
                if public_key is not None:
                    self._open(link, keys)

    def is_there(self, process: str, keys: Keys | None) -> None:
        """It has spoken to us: if it is not connected yet, why wait for libzmq's next try?"""
        link = self.by_process.get(process)
        if link is None:
            return
        self._take_monitor(link)
        if not link.connected:
            self._close(link)
            self._open(link, keys)

    def retry(self, keys: Keys | None) -> None:
        """Try again those whose time has come."""
        now = time.monotonic()
        for process in [process for process, due in self.retry_at.items() if due <= now]:
            del self.retry_at[process]
            link = self.by_process[process]
            if not link.connected:
                self._close(link)
                self._open(link, keys)

    def _open(self, link: Link, keys: Keys | None) -> None:
        try:
            self._connect(link, keys)
        except zmq.ZMQError as error:
            if link.dealer is not None:
                link.dealer.close(0)
                link.dealer = None
            if error.errno not in _NO_DESCRIPTORS:
                del self.by_process[link.process]
                raise EndpointError(f"cannot connect to {link.endpoint}: {error.strerror}") from error
            self._hearing.dropped["no descriptor for a connection"] += 1
            self._retry_later(link)

    def _connect(self, link: Link, keys: Keys | None) -> None:
        dealer = link.dealer = self._opened.socket(zmq.DEALER, link.endpoint)
        if keys is not None and link.public_key is not None:
            identify(dealer, keys, link.public_key)
        monitor = dealer.get_monitor_socket(sockets.LINK_EVENTS)
        dealer.connect(link.endpoint)
        link.monitor = monitor
        self._opened.listen_to(dealer, Order.FRAMES, partial(self._take_frames, link))
        self._opened.listen_to(monitor, Order.MONITORS, partial(self._take_monitor, link))

    def _close(self, link: Link) -> None:
        dealer, monitor = link.dealer, link.monitor
        link.dealer = link.monitor = None
        link.connected = False
        if dealer is None or monitor is None:
            return
        for watched in (dealer, monitor):
            self._opened.ignore(watched)
        dealer.disable_monitor()
        monitor.close(0)
        dealer.close(self._tuning.linger_milliseconds)

    def _trusts(self, descriptor: int, endpoint: str) -> bool | None:
        if self._users is None:
            self._users = Users()
        return self._users.trusts(descriptor, split_tcp(endpoint)[1])

    def _turn_away(self, link: Link) -> None:
        """Another user's process listens there, and nothing proves that it is the one that is meant."""
        self._hearing.dropped["another user listens there"] += 1
        logger.bind(event="another-user", process=link.process).warning(
            f"{link.process} is not at {link.endpoint}: another user's process listens there. Without keys "
            "only processes of this user, or root's, are spoken to"
        )
        self._close(link)
        self._hearing.connection_changed(link.process, connected=False)
        self._retry_later(link)

    def _retry_later(self, link: Link) -> None:
        self.retry_at[link.process] = time.monotonic() + self._tuning.refused_retry_seconds

    def _take_frames(self, link: Link) -> None:
        if link.is_open_to_all and link.monitor is not None and sockets.has_input(link.monitor):
            self._take_monitor(link)  # It may be connected to another user's process by now.
        with suppress(zmq.Again):
            for _ in range(self._tuning.receive_frames_max):
                if self.by_process.get(link.process) is not link or link.dealer is None:
                    return
                part = link.dealer.recv(_DONTWAIT, copy=False)
                if part.more:
                    sockets.drop_rest(link.dealer)
                    self._hearing.dropped["multipart"] += 1
                else:
                    self._heard(part.bytes, Origin(link.process))
            if link.dealer is not None:
                self._opened.watch.suspect(link.dealer)

    def _take_monitor(self, link: Link) -> None:
        with suppress(zmq.Again):
            while self.by_process.get(link.process) is link and link.monitor is not None:
                event, value = sockets.MONITOR_EVENT.unpack(link.monitor.recv_multipart(_DONTWAIT)[0])
                if event == zmq.EVENT_CONNECTED:
                    if link.is_open_to_all:
                        trusted = self._trusts(value, link.endpoint)
                        # One that has closed its end may refuse us, which is told next; or hear us still.
                        link.unproven = -1 if trusted else value
                        if trusted is False:
                            self._turn_away(link)
                    continue
                is_up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                if is_up and link.unproven >= 0 and not self._trusts(link.unproven, link.endpoint):
                    self._turn_away(link)
                    continue
                link.connected = is_up
                self._hearing.connection_changed(link.process, link.connected)
                if link.connected:
                    self._greet(link.process)
                elif event & sockets.REFUSED:
                    self._hearing.dropped["refused by peer"] += 1
                    # libzmq takes it for final; but keys are added and wrong processes replaced.
                    self._retry_later(link)
