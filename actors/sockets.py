"""How the transport's sockets are set up: queues, limits, heartbeats.

Owns what may be tuned, and which option suits which kind of socket. Knows nothing of who is connected.
"""

from __future__ import annotations

from typing import Final

import msgspec
import zmq

_HEADER_BYTES_MAX: Final = 512
# libzmq 4.3.5 aborts the process when a queue of input is full, the peer goes, and a heartbeat is sent or
# answered afterwards. So no such queue is ever full. A sender has few frames under way all the same: its own
# queue is short, the kernel's buffers are small, and who asks waits for answers.
_INPUT_UNLIMITED: Final = 0
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
    lives_max: int = 4096
    """How many processes are remembered before those whose connections have gone are looked for."""
    reconnect_milliseconds: int = 10
    heartbeat_milliseconds: int = 500
    heartbeat_timeout_milliseconds: int = 1500
    handshake_milliseconds: int = 1000
    refused_retry_seconds: float = 1.0
    linger_milliseconds: int = 100
    """On close only: how long what was accepted may take to leave."""


def set_options(opened: zmq.Socket[bytes], kind: int, endpoint: str, tuning: Tuning) -> None:
    """Set up a socket that is neither bound nor connected yet."""
    for option, value in (
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
