"""What carries frames between processes, as the runtime sees it.

Owns the protocol and the three things that a transport reports. Knows nothing of actors,
envelopes or message types: a payload is bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

NO_KEY: Final = b""
"""For a process that has no keys, and is reached over ipc: that its directory is private is proof enough."""


class Received(msgspec.Struct, frozen=True, gc=False):
    """A payload from that incarnation of that process, at most once and in the order in which it was sent."""

    process: str
    incarnation: int
    payload: bytes


class PeerUp(msgspec.Struct, frozen=True, gc=False):
    """An incarnation of a process can be heard; comes before anything Received from that incarnation."""

    process: str
    incarnation: int


class PeerDown(msgspec.Struct, frozen=True, gc=False):
    """The process that was last reported up is gone or cannot be reached any more.

    A new incarnation of a process that was never seen to go is reported as PeerDown, then PeerUp.
    """

    process: str
    reason: str


class IncarnationUsed(msgspec.Struct, frozen=True, gc=False):
    """`process` has heard another incarnation of ours, with this one's number or a later one.

    So it drops what we send, as left over from an earlier incarnation. It hears incarnations after
    `incarnation` only.
    """

    process: str
    incarnation: int


TransportEvent = Received | PeerUp | PeerDown | IncarnationUsed


class Transport(Protocol):
    """Frames to and from named processes: at most once, in order per pair of incarnations, never blocking.

    All methods but `wake` belong to the thread that runs the loop.
    """

    @property
    def name(self) -> str:
        """This process's name, as its peers know it."""

    @property
    def incarnation(self) -> int:
        """This incarnation's number; a later incarnation of the same name has a greater one."""

    @property
    def frame_bytes_max(self) -> int:
        """How long a payload may be."""

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Keep a connection to `process` at `endpoint` open, now or as soon as a process listens there.

        Connecting again to the same endpoint does nothing; to another one replaces the old connection.
        """

    def disconnect(self, process: str) -> None:
        """Forget the connection to `process`; does nothing when there is none."""

    def send(self, process: str, payload: bytes) -> str | None:
        """Hand over a payload: None when it was accepted, else why not ("unknown", "full", "down" and so on).

        Accepted means no more than that: it may still be lost.
        """

    def poll(self, timeout_seconds: float | None) -> None:
        """Wait until there is something to receive, a reader was called, `wake` was, or the time is up.

        None waits without end; calls the callbacks of readers that are ready.
        """

    def receive(self) -> list[TransportEvent]:
        """What has arrived, in order and without waiting; a bounded batch, so that there may be more."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` from `poll` whenever `fd` is readable."""

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`; does nothing when it is not known."""

    def wake(self) -> None:
        """Make a waiting or the next `poll` return at once; from any thread, also when closed."""

    def close(self) -> None:
        """Release everything; what was accepted is given a short while to leave."""

    @property
    def counters(self) -> Mapping[str, int]:
        """How many frames were dropped, by reason."""
