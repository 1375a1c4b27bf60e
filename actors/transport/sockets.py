"""The transport's sockets: how they are set up, and the one wait over all of them.

Owns what may be tuned, which option suits which kind of socket, and who reads which when. Knows nothing of
who is connected.
"""

from __future__ import annotations

import enum
import os
import struct
import warnings
from collections.abc import Callable
from operator import itemgetter
from typing import Final

import msgspec
import zmq
from zmq import zmq_poll

from actors.transport.poller import Watch

Socket = zmq.Socket[bytes]
_Take = tuple[int, Callable[[], None]]
_order = itemgetter(0)
_HEADER_BYTES_MAX: Final = 512
SHARED_SOCKETS_MAX: Final = 32_768  # Three for each connection.
# libzmq 4.3.5 aborts the process when a queue of input is full, the peer goes, and a heartbeat is sent or
# answered afterwards. So no such queue is ever full. A sender has few frames under way all the same: its own
# queue is short, the kernel's buffers are small, and who asks waits for answers.
_INPUT_UNLIMITED: Final = 0
REFUSED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
# As pyzmq's own parser reads it, whose module would load asyncio.
MONITOR_EVENT: Final = struct.Struct("=hi")
LINK_EVENTS = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | REFUSED
_INBOX_HANDSHAKES = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
INBOX_EVENTS = _INBOX_HANDSHAKES | zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_POLLIN: Final = int(zmq.POLLIN)  # As a plain number, which is quicker.
_KEEPALIVE: Final = (
    (zmq.TCP_KEEPALIVE, 1),
    (zmq.TCP_KEEPALIVE_IDLE, 10),
    (zmq.TCP_KEEPALIVE_INTVL, 5),
    (zmq.TCP_KEEPALIVE_CNT, 3),
)


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set; the defaults suit nodes on one machine and on a local network."""

    frames_queued_max: int = 64
    """Waiting to leave, per connection; kept small, for what a paused process finds is stale."""
    frame_bytes_max: int = 64 * 1024 * 1024
    receive_frames_max: int = 256
    receive_bytes_max: int = 32 * 1024 * 1024
    """In one turn; what is left waits for the next."""
    connections_max: int = 4096
    """That others keep to this process; fewer where the system allows few descriptors."""
    held_bytes_max: int = 160 * 1024 * 1024
    """From one connection, that have arrived and are no whole frame yet or were not taken."""
    unread_bytes_max: int = 128 * 1024 * 1024
    """For one connection, whose other end does not read."""
    held_all_bytes_max: int = 512 * 1024 * 1024
    unread_all_bytes_max: int = 512 * 1024 * 1024
    """The same for all connections together: those that hold the most are cut off until it is less."""
    incarnations_max: int = 4096
    """How many processes are remembered before those whose connections have gone are looked for."""
    reconnect_milliseconds: int = 10
    heartbeat_milliseconds: int = 500
    heartbeat_timeout_milliseconds: int = 1500
    handshake_milliseconds: int = 1000
    refused_retry_seconds: float = 1.0
    linger_milliseconds: int = 100
    """On close only: how long what was accepted may take to leave."""


class Order(enum.IntEnum):
    """In which order sockets are read: the last words of the dead before their death."""

    FRAMES = 0
    MONITORS = 1


class SharedContext(zmq.Context[Socket]):
    """The context of all transports of a process that only connect: one thread of libzmq's serves them all.

    pyzmq keeps the one instance, and makes another one after a fork. It is not `zmq.Context.instance()`: a
    program may end that while its clients are still there.
    """

    _instance = None

    def __init__(self, io_threads: int = 1) -> None:
        super().__init__(io_threads)
        self.set(zmq.MAX_SOCKETS, SHARED_SOCKETS_MAX)
        # Of all its sockets: a monitor that is full while its program sleeps would hold up the others.
        self.setsockopt(zmq.RCVHWM, _INPUT_UNLIMITED)


class OpenSockets:
    """The sockets of one transport: one wait for all, and who takes what comes by each."""

    def __init__(self, tuning: Tuning, *, shared: bool) -> None:
        """In a context of their own, or in the one that all share which only connect."""
        self.context: zmq.Context[Socket] = SharedContext.instance() if shared else zmq.Context()
        self.shared = shared
        self.watch: Watch[Socket] = Watch(has_input)
        # libzmq waits for sockets that are open when their context is collected, and Python collects in any
        # order; so what is never closed is closed by something that is not collected with it.
        self.left: set[Socket] = set()
        self.ready: list[_Take] = []
        self._tuning = tuning
        self._takers: dict[Socket, _Take] = {}

    def socket(self, kind: int, endpoint: str) -> Socket:
        """A new one, set up, neither bound nor connected yet."""
        opened: Socket = self.context.socket(kind)
        set_options(opened, kind, endpoint, self._tuning)
        return opened

    def listen_to(self, watched: Socket, order: Order, take: Callable[[], None]) -> None:
        """Call `take` from `take_ready` when there is something to read."""
        self._takers[watched] = (int(order), take)
        self.left.add(watched)
        self.watch.add(watched, watched.fileno())

    def ignore(self, watched: Socket) -> None:
        """Forget a socket that is about to be closed."""
        del self._takers[watched]
        self.left.discard(watched)
        self.watch.remove(watched, watched.fileno())

    def wait(self, timeout_seconds: float | None) -> None:
        """Wait for news or the time."""
        for source in self.watch.wait(timeout_seconds):
            if source in self._takers:
                self.ready.append(self._takers[source])

    def take_ready(self) -> None:
        """Read those that were found ready."""
        ready, self.ready = self.ready, []
        ready.sort(key=_order)
        for _, take in ready:
            take()

    def close(self, linger_milliseconds: int) -> None:
        """Close all; what was accepted has so long to leave."""
        close_all(self.context, self.left, linger_milliseconds, shared=self.shared)
        self.left.clear()
        self._takers.clear()


def has_input(opened: Socket) -> bool:
    """Is there something to read?"""
    return bool(zmq_poll([(opened, _POLLIN)], 0))  # Quicker than to ask for the socket's option.


def drop_rest(source: Socket) -> None:
    """No frame of ours has several parts: read what follows one."""
    while source.getsockopt(zmq.RCVMORE):
        source.recv(zmq.DONTWAIT)


def set_options(opened: Socket, kind: int, endpoint: str, tuning: Tuning) -> None:
    """Set up a socket that is neither bound nor connected yet."""
    # Nothing is queued for a peer that is not there: it would be stale on arrival.
    connecting = (
        (zmq.IMMEDIATE, 1),
        (zmq.RECONNECT_IVL, tuning.reconnect_milliseconds),
        (zmq.CONNECT_TIMEOUT, tuning.handshake_milliseconds),
    )
    for option, value in (
        *(connecting if kind == zmq.DEALER else ()),
        (zmq.SNDHWM, tuning.frames_queued_max),
        (zmq.RCVHWM, _INPUT_UNLIMITED),
        (zmq.LINGER, 0),
        (zmq.MAXMSGSIZE, tuning.frame_bytes_max + _HEADER_BYTES_MAX),
        (zmq.HANDSHAKE_IVL, tuning.handshake_milliseconds),
        (zmq.IPV6, int("[" in endpoint)),
        *(_heartbeats(tuning) if kind == zmq.DEALER else _KEEPALIVE),
    ):
        opened.setsockopt(option, value)


def _heartbeats(tuning: Tuning) -> tuple[tuple[int, int], ...]:
    """For who connects. It also tells the other end how long a silence may last, so both notice one."""
    return (
        (zmq.HEARTBEAT_IVL, tuning.heartbeat_milliseconds),
        (zmq.HEARTBEAT_TIMEOUT, tuning.heartbeat_timeout_milliseconds),
        (zmq.HEARTBEAT_TTL, tuning.heartbeat_timeout_milliseconds),
    )


def close_all(
    context: zmq.Context[Socket], opened: set[Socket], linger_milliseconds: int, *, shared: bool
) -> None:
    """Close sockets, which may take so long to send what they have; and their context, if it is theirs."""
    if not shared:
        context.destroy(linger=linger_milliseconds)
        return
    # Monitoring ends first. Else a socket whose monitor is closed blocks the context's I/O thread when it
    # reports its own end.
    for one in opened:
        if one.type != zmq.PAIR:
            one.disable_monitor()
    for one in opened:
        one.close(linger_milliseconds)


def close_forgotten(
    name: str, pid: int, context: zmq.Context[Socket], opened: set[Socket], bell: int, shared: bool
) -> None:
    """Close what a transport that was never closed has left; in the process that opened it only."""
    if pid != os.getpid():
        return
    warnings.warn(f"the transport of {name} was never closed", ResourceWarning, stacklevel=1)
    close_all(context, opened, 0, shared=shared)
    os.close(bell)
