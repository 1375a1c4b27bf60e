"""What a client program is asked to do, as one value that all peers' clients read alike.

Owns the shape of a task and of what comes back. A client program takes a task as JSON in its last argument,
prints "ready" once it is connected, reads the moment to begin from its input, and prints one JSON object.
All moments are seconds of the monotonic clock, which the processes of a machine share. Knows no peer.
"""

from __future__ import annotations

import sys
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

Kind: TypeAlias = Literal["load", "probe", "watch", "hand-over", "fill", "holds", "leader", "add"]


class Task(Struct, frozen=True, kw_only=True):
    """One task. Which fields count depends on what there is to do.

    load:      callers that wait for their answer before they ask again, for `seconds`: answers `Latencies`.
    probe:     a write begins every `every_seconds`, whatever became of the ones before: answers in how many
               seconds (`Took`) after the named moment the first that began after it was acknowledged.
    watch:     one write after the other, each until all `callers`, which watch, have seen it: `Latencies`.
    hand-over: two candidates hand leadership to each other `count` times: `Latencies`.
    fill:      `count` writes, and then the key "last": `Took`.
    holds:     waits until `node` itself has that last key: `Took`, from the named moment on.
    leader:    answers `Leads`.
    add:       has the cluster take in `node`, which listens at `new_endpoint`: `Took`.
    """

    do: Kind
    endpoints: dict[int, str]
    cluster: str = "bench"
    callers: int = 1
    connections: int = 1
    reads: float = 0.0
    value_bytes: int = 16
    seconds: float = 0.0
    every_seconds: float = 0.005
    keys: int = 10_000
    count: int = 0
    seed: int = 0
    node: int = 0
    new_endpoint: str = ""


class Latencies(Struct, frozen=True):
    """How long each operation took that ended well within the time that counts; how many did not."""

    latencies: list[float]
    failed: int = 0


class Took(Struct, frozen=True):
    """How long it took."""

    seconds: float


class Leads(Struct, frozen=True):
    """Who leads."""

    leader: int


Answer: TypeAlias = Latencies | Took | Leads


def read_task(text: str) -> Task:
    """The task in a client program's argument."""
    return msgspec.json.decode(text, type=Task)


def await_the_word() -> float:
    """Say that all is ready, and return the moment that the other side names."""
    print("ready", flush=True)
    return float(sys.stdin.readline())


def tell(answer: Answer) -> None:
    """Print what came of it."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()
