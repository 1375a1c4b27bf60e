"""The connections that a process keeps open to its peers: a DEALER to each, and whether it stands.

Owns when one is opened, closed, and tried again: after a refusal, which libzmq takes for final, and after
there was no descriptor for it. Follows the list of allowed keys. A peer's name is looked up while it is not
connected, and libzmq is given addresses only; the last one stays in use until there is an answer. Knows
nothing of who connects to us.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import zmq

from actors.transport import sockets
from actors.transport.curve import Keys, identify
from actors.transport.endpoints import EndpointError, split_tcp
from actors.transport.log import Log
from actors.transport.peer_users import Users
from actors.transport.peers import Origin, PeerTracker
from actors.transport.resolver import LookUp, Resolver, at_address, by_address, name_in
from actors.transport.sockets import OpenSockets, Order, Socket, Tuning

_DONTWAIT: Final = int(zmq.DONTWAIT)  # As a plain number, which is quicker.
REFUSED_THERE: Final = "refused there (is our key on its list?)"
UNPROVEN: Final = "it has not shown the key that it should have"
OTHER_KEY_SECONDS: Final = 0.05
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)


class Link:
    """A DEALER to one process, and the monitor that tells whether it is connected."""

    def __init__(self, process: str, endpoint: str, given: bytes | None) -> None:
        self.process = process
        self.endpoint = endpoint
        self.given = given
        """The key that the peer must have, if it was given with the connection, and is in no list."""
        self.public_key = given
        """The key that it is, or was last, expected to have; None if it has none (any more)."""
        self.proves = False
        """Is there a connection by which the peer has not proven yet that it has that key?"""
        self.name = name_in(endpoint)
        """The host's, if it has to be looked up."""
        self.address = "" if self.name else by_address(endpoint)
        """Where it is tried: the endpoint with an address in place of the name; "" before that is known."""
        self.outdated = False
        """Does that address come from another endpoint, which was given before this one?"""
        self.trouble = ""
        """Why it is not connected, as far as that is known; to be tried again later."""
        self.connected = False
        self.sent_bytes = 0
        self.is_open_to_all = False
        self.unproven = -1
        """The descriptor of a connection of which it is not known yet to whom it is; -1 if it is known."""
        self.dealer: Socket | None = None  # None while the system has no descriptor for it.
        self.monitor: Socket | None = None


class Links:
    """All of a process's links: `by_process` has them, `retry_at` when those that failed are tried again.

    `heard` is called with each frame that comes back by one, `greet` with each process that is connected now,
    `keys_wanted` when one of both ends does not know the other's key.
    """

    def __init__(
        self,
        opened: OpenSockets,
        tracker: PeerTracker,
        tuning: Tuning,
        keys: Keys | None,
        look_up: LookUp,
        heard: Callable[[bytes, Origin], object],
        greet: Callable[[str], object],
        keys_wanted: Callable[[], object],
        log: Log,
    ) -> None:
        self.by_process: dict[str, Link] = {}
        self.retry_at: dict[str, float] = {}
        self._log = log
        self._opened = opened
        self._tracker = tracker
        self._tuning = tuning
        self._heard = heard
        self._greet = greet
        self._keys_wanted = keys_wanted
        self._users: Users | None = None
        self._keys = keys
        self._addresses_of = look_up
        self._resolver: Resolver | None = None  # Not needed where only addresses are given.
        self._logged: dict[str, str] = {}

    def connect(self, process: str, endpoint: str, public_key: bytes | None) -> None:
        """Keep a connection open to `endpoint`; raises EndpointError.

        One to another endpoint of the same peer is kept until the new one's name has an address.
        """
        link = self.by_process.get(process)
        if link is not None:
            if (link.endpoint, link.given) == (endpoint, public_key):
                return
            name = name_in(endpoint)
            if name and link.address and link.given == public_key:
                link.endpoint, link.name, link.outdated = endpoint, name, True
                self._look_up(link)
                return
            self.disconnect(process)
        sent_bytes = 0 if link is None else link.sent_bytes
        link = self.by_process[process] = Link(process, endpoint, public_key)
        link.sent_bytes = sent_bytes
        link.public_key = self._first_key_of(link)
        link.is_open_to_all = link.public_key is None and endpoint.startswith("tcp://")
        if link.name:
            self._look_up(link)
        else:
            self._open(link)
        self._tracker.connection_changed(process, connected=False)

    def disconnect(self, process: str) -> None:
        """Forget a connection; a peer that was up is reported down."""
        link = self.by_process.pop(process, None)
        if link is not None:
            self.retry_at.pop(process, None)
            self._close(link)
            self._tracker.connection_forgotten(process)

    def close(self) -> None:
        """Forget all, whose sockets are closed elsewhere; nothing is looked up any more."""
        self.by_process.clear()
        self.retry_at.clear()
        if self._resolver is not None:
            self._resolver.close()

    def follow(self, keys: Keys) -> None:
        """Connect by the keys that peers have now; not at all to those that have none."""
        before, self._keys = self._keys, keys
        is_other_pair = before is None or before.secret != keys.secret
        for link in list(self.by_process.values()):
            if link.public_key in self._keys_of(link) and (link.connected or not is_other_pair):
                continue
            link.public_key = self._first_key_of(link)
            self.retry_at.pop(link.process, None)
            self._close(link)
            self._tracker.connection_changed(link.process, connected=False)
            self._open(link)

    def _keys_of(self, link: Link) -> tuple[bytes, ...]:
        """By which a peer may prove who it is: the one that was given, or those in the list."""
        if link.given is not None:
            return (link.given,)
        return () if self._keys is None else self._keys.keys_of(link.process)

    def _first_key_of(self, link: Link) -> bytes | None:
        return next(iter(self._keys_of(link)), None)

    def _try_next_key(self, link: Link) -> None:
        """The peer has not proven that it has the key: by which of its keys is it known now?"""
        self._keys_wanted()
        accepted = self._keys_of(link)
        if len(accepted) > 1 and link.trouble != UNPROVEN:  # libzmq tries the same one every 10 ms.
            at = accepted.index(link.public_key) if link.public_key in accepted else -1
            link.public_key = accepted[(at + 1) % len(accepted)]
            self.retry_at[link.process] = time.monotonic() + OTHER_KEY_SECONDS
            link.trouble = UNPROVEN

    def is_there(self, process: str) -> None:
        """It has spoken to us: if it is not connected yet, why wait for libzmq's next try?"""
        link = self.by_process.get(process)
        if link is None:
            return
        self._take_monitor(link)
        if not link.connected:
            self._close(link)
            self._open(link)

    def retry(self) -> None:
        """Try again those whose time has come."""
        now = time.monotonic()
        for process in [process for process, due in self.retry_at.items() if due <= now]:
            del self.retry_at[process]
            link = self.by_process[process]
            if link.connected and not link.outdated:
                continue
            has_keys_left = link.trouble == UNPROVEN and link.public_key != self._first_key_of(link)
            if link.trouble:
                self._close(link)
                self._open(link)
            if link.name:
                self._look_up(link, another=not has_keys_left)

    # -- names -----------------------------------------------------------------------------------------

    def _look_up(self, link: Link, *, another: bool = False) -> None:
        """Ask where a peer is, now and again while it is not connected; until then, what is known counts.

        `another` of its addresses is tried, if it has several: libzmq tries the same one all the time.
        """
        resolver = self._resolver
        if resolver is None:
            resolver = self._resolver = Resolver(self._addresses_of)
            self._opened.watch.add_reader(resolver.fileno(), self._take_answers)
        resolver.ask(link.name)
        self._complain(link, resolver)
        self._retry_later(link)
        self._move(link, resolver, another=another)

    def _take_answers(self) -> None:
        resolver = self._resolver
        if resolver is not None:
            for name in resolver.take():
                for link in [link for link in self.by_process.values() if link.name == name]:
                    self._complain(link, resolver)
                    self._move(link, resolver)

    def _move(self, link: Link, resolver: Resolver, *, another: bool = False) -> None:
        """Try a peer where its name leads now, unless it is connected there, or is tried there already."""
        places = [at_address(link.endpoint, each) for each in resolver.addresses.get(link.name, ())]
        if not places or (link.connected and not link.outdated):
            return
        # Answers may come in another order each time: that alone is no reason to go elsewhere.
        place = places[0]
        if link.address in places:
            place = places[(places.index(link.address) + another) % len(places)]
        link.outdated = False
        if place == link.address and link.dealer is not None:
            return
        if link.address and place != link.address:
            self._log("INFO", "moved", f"{link.process} is tried at {place} now", process=link.process)
        was_connected = link.connected
        self._close(link)
        link.address = place
        self._open(link)
        if was_connected:
            self._tracker.connection_changed(link.process, connected=False)

    def _complain(self, link: Link, resolver: Resolver) -> None:
        """Say once what is wrong with a name, and once that nothing is any more."""
        complaint = resolver.complaints.get(link.name, "")
        if complaint and not link.address:
            link.trouble = f"the name {link.name} cannot be resolved: {complaint}"
        if self._logged.get(link.name, "") == complaint:
            return
        self._logged[link.name] = complaint
        if complaint:
            self._tracker.dropped["name not resolved"] += 1
        else:
            self._log("INFO", "resolved", f"{link.name} is resolved again", process=link.process)
            return
        used = f"{link.address} stays in use" if link.address else "it is not connected"
        text = f"the name {link.name} of {link.process} cannot be resolved: {complaint}; {used}"
        self._log("WARNING", "unresolved", text, process=link.process)

    def _open(self, link: Link) -> None:
        link.trouble = ""
        if not link.address or (self._keys is not None and link.public_key is None):
            return
        try:
            self._connect(link)
        except zmq.ZMQError as error:
            if link.dealer is not None:
                link.dealer.close(0)
                link.dealer = None
            if error.errno in _NO_DESCRIPTORS:
                self._tracker.dropped["no descriptor for a connection"] += 1
                self._give_up_for_now(link, "no descriptor is left for it")
            elif link.name:  # Its address may be another one the next time.
                self._give_up_for_now(link, f"cannot connect to {link.address}: {error.strerror}")
            else:
                del self.by_process[link.process]
                raise EndpointError(f"cannot connect to {link.endpoint}: {error.strerror}") from error

    def _connect(self, link: Link) -> None:
        dealer = link.dealer = self._opened.socket(zmq.DEALER, link.address)
        if self._keys is not None and link.public_key:  # See NO_KEY.
            identify(dealer, self._keys, link.public_key)
        monitor = dealer.get_monitor_socket(sockets.LINK_EVENTS)
        dealer.connect(link.address)
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
            self._users = Users(self._log)
        return self._users.trusts(descriptor, split_tcp(endpoint)[1])

    def _turn_away(self, link: Link) -> None:
        """Another user's process listens there, and nothing proves that it is the one that is meant."""
        self._tracker.dropped["another user listens there"] += 1
        text = (
            f"{link.process} is not at {link.endpoint}: another user's process listens there. Without keys "
            "only processes of this user, or root's, are spoken to"
        )
        self._log("WARNING", "another-user", text, process=link.process)
        self._close(link)
        self._tracker.connection_changed(link.process, connected=False)
        self._give_up_for_now(link, "another user's process listens there")

    def _give_up_for_now(self, link: Link, trouble: str) -> None:
        link.trouble = trouble
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
                self._take_frame_of(link.dealer, link.process)
                # Cheaper than the exception with which a read would say so.
                if link.dealer is None or not sockets.has_input(link.dealer):
                    return
            if link.dealer is not None:
                self._opened.watch.suspect(link.dealer)

    def _take_frame_of(self, dealer: Socket, process: str) -> None:
        part = dealer.recv(_DONTWAIT, copy=False)
        raw = part.bytes
        if part.more:
            sockets.drop_rest(dealer)
            self._tracker.dropped["multipart"] += 1
        elif not self._tracker.hear_more(raw, process):
            self._heard(raw, Origin(process))

    def _take_monitor(self, link: Link) -> None:
        with suppress(zmq.Again):
            while self.by_process.get(link.process) is link and link.monitor is not None:
                event, value = sockets.MONITOR_EVENT.unpack(link.monitor.recv_multipart(_DONTWAIT)[0])
                if event == zmq.EVENT_CONNECTED:
                    link.proves = True
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
                proves, link.proves = link.proves, False
                link.connected = is_up
                self._tracker.connection_changed(link.process, link.connected)
                if link.connected:
                    link.trouble = ""
                    self._greet(link.process)
                elif event & sockets.REFUSED:
                    self._tracker.dropped["refused by peer"] += 1
                    # libzmq takes it for final; but keys are added and wrong processes replaced.
                    self._give_up_for_now(link, REFUSED_THERE)
                    self._keys_wanted()
                else:
                    if link.name:
                        self._look_up(link)
                    if proves:
                        self._try_next_key(link)
