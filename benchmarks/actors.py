"""What the actor runtime costs per message, with a transport that only hands over bytes.

Owns the measurement of delivery: decode a frame, find each actor and handler, call it, and send what
it tells. The handlers do next to nothing; sockets are measured elsewhere.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import msgspec

from actors import Actor, Address, Handlers, Registry, Runtime
from actors.codec import FrameBuilder
from actors.transport.base import Received, TransportEvent
from benchmarks._rows import Row, tell
from benchmarks.actor_peers.comparison import PEERS, compare

LIMITS_MICROSECONDS = {"received": 2.0, "forwarded": 3.0, "local": 1.5, "alone": 15.0}
FRAME_MESSAGES = 64
ROUNDS = 15
ROUND_SECONDS = 0.05


class Parcel(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A message of about the size of a small append."""

    sender: int
    number: int
    data: bytes


class Counting(Actor):
    """Counts what it gets."""

    def __init__(self) -> None:
        self.count = 0

    def on_parcel(self, parcel: Parcel) -> None:
        """Count it."""
        del parcel
        self.count += 1

    handlers: ClassVar[Handlers] = {Parcel: on_parcel}


class Forwarding(Actor):
    """Passes everything on to another process."""

    def on_parcel(self, parcel: Parcel) -> None:
        """Pass it on."""
        self.context.tell(FAR, parcel)

    handlers: ClassVar[Handlers] = {Parcel: on_parcel}


FAR = Address("far", "counting")
REGISTRY = Registry({1: Parcel})
PARCEL = Parcel(1, 2, b"x" * 64)


class Bytes:
    """A transport without sockets: what is put into `arrived` is received, what is sent is dropped."""

    name = "near"
    incarnation = 1
    frame_bytes_max = 1 << 20
    counters: ClassVar[Mapping[str, int]] = {}

    def __init__(self) -> None:
        self.arrived: list[TransportEvent] = []

    def receive(self) -> list[TransportEvent]:
        """What has arrived."""
        arrived, self.arrived = self.arrived, []
        return arrived

    def send(self, process: str, payload: bytes) -> str | None:
        """Drop it."""

    def poll(self, timeout_seconds: float | None) -> None:
        """Never wait."""

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Not needed."""

    def disconnect(self, process: str) -> None:
        """Not needed."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Not needed."""

    def remove_reader(self, fd: int) -> None:
        """Not needed."""

    def wake(self) -> None:
        """Not needed."""

    def close(self) -> None:
        """Not needed."""


def bench(actor: type[Actor], *, remote: bool, count: int) -> float:
    """The median of several rounds, in microseconds of CPU per message, when `count` come in a turn."""
    transport = Bytes()
    runtime = Runtime("near", transport=transport, registry=REGISTRY)
    address = runtime.spawn(actor, "actor")
    builder = FrameBuilder(REGISTRY)
    for _ in range(count):
        builder.add("actor", "sender", 0, PARCEL)
    received = Received("far", 1, builder.take())
    rounds = []
    for _ in range(ROUNDS):
        handled, started = 0, time.process_time()
        while (spent := time.process_time() - started) < ROUND_SECONDS:
            if remote:
                transport.arrived.append(received)
            else:
                for _ in range(count):
                    runtime.tell(address, PARCEL)
            handled += runtime.run_turn()
        rounds.append(spent / handled * 1e6)
    return statistics.median(rounds)


def measure() -> dict[str, float]:
    """Microseconds per message, by case."""
    return {
        "received": bench(Counting, remote=True, count=FRAME_MESSAGES),
        "forwarded": bench(Forwarding, remote=True, count=FRAME_MESSAGES),
        "local": bench(Counting, remote=False, count=FRAME_MESSAGES),
        "alone": bench(Counting, remote=True, count=1),
    }


def main(arguments: Sequence[str]) -> int:
    """Print the medians; 1 if one of them is over its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks actors", description=__doc__)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--peer", action="append", choices=PEERS, help="compare with this library instead")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that the libraries are in")
    parser.add_argument("--rounds", type=int, default=2, help="of a comparison; the best figures count (2)")
    options = parser.parse_args(arguments)
    if options.peer:
        return compare(options.peer, options.python, options.rounds)
    rows = (
        Row(f"{name} message", found, "us", LIMITS_MICROSECONDS[name]) for name, found in measure().items()
    )
    return tell(rows, options.output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
