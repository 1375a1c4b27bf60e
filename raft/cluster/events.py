"""What happened to the cluster, as one stream: from it the leader report and the timeline are made.

Owns the kinds of events, their one-line-a-JSON-object form, and the file that keeps them.
`t` is monotonic seconds since the launcher started; `wall` is for people and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import UNSET, Struct, UnsetType

VERSION = 1


class Happening(Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all events have; the journal fills in when."""

    v: int = VERSION
    t: float = 0.0
    wall: str = ""


class ClusterReady(Happening, frozen=True, kw_only=True, tag="cluster-ready"):
    """For the first time all nodes are up and follow one leader; `took_ms` since the launcher started."""

    nodes: int
    leader: int
    term: int
    took_ms: float


class LeaderElected(Happening, frozen=True, kw_only=True, tag="leader-elected"):
    """A node won an election, `took_ms` after it had noticed that there was no leader."""

    node: int
    term: int
    previous: int
    votes: int
    voters: int
    took_ms: float
    reason: str  # startup | leader-died | timeout | transfer


class LeaderLost(Happening, frozen=True, kw_only=True, tag="leader-lost"):
    """A leader no longer leads: it said so, or its process died."""

    node: int
    term: int
    reason: str  # died | higher-term | no-quorum | transfer | stopping | removed | disk-full | slow-fsync


class NodeStarted(Happening, frozen=True, kw_only=True, tag="node-started"):
    """A node has recovered its log and takes part, `took_ms` after its process was asked for."""

    node: int
    pid: int
    incarnation: int
    took_ms: float


class NodeExited(Happening, frozen=True, kw_only=True, tag="node-exited"):
    """A node's process ended, by a signal or with a code; a crash tells its last words."""

    node: int
    pid: int
    cause: str  # injected | crash | stopped
    signal: str | UnsetType = UNSET
    code: int | UnsetType = UNSET
    traceback: str | UnsetType = UNSET


class NodeGaveUp(Happening, frozen=True, kw_only=True, tag="node-gave-up"):
    """A node failed too often, or cannot start; it is not started again until somebody asks for it."""

    node: int
    restarts: int
    window_s: float
    reason: str | UnsetType = UNSET


class FaultInjected(Happening, frozen=True, kw_only=True, tag="fault"):
    """Something was broken on purpose."""

    id: int
    kind: str  # kill | pause | partition | isolate | link | disk | crash
    nodes: list[int]
    text: str


class FaultCleared(Happening, frozen=True, kw_only=True, tag="fault-cleared"):
    """Something that was broken on purpose was mended."""

    id: int
    kind: str
    nodes: list[int]
    text: str


class MembersChanged(Happening, frozen=True, kw_only=True, tag="members-changed"):
    """Nodes joined or left the cluster by request, or got a vote."""

    text: str
    voters: list[int]
    learners: list[int]


class Violation(Happening, frozen=True, kw_only=True, tag="violation"):
    """What must never happen did: two nodes led in one term."""

    term: int
    nodes: list[int]
    text: str


Event = (
    ClusterReady
    | LeaderElected
    | LeaderLost
    | NodeStarted
    | NodeExited
    | NodeGaveUp
    | FaultInjected
    | FaultCleared
    | MembersChanged
    | Violation
)

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as a JSON object, without the line's end."""
    return _encode(event)


def decode_event(line: bytes | str) -> Event:
    """The event of one line; raises msgspec.DecodeError for what is none."""
    return _decoder.decode(line)


class EventLog:
    """The file that a cluster's events are appended to, a line each and at once."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb", buffering=0)

    def append(self, event: Event) -> None:
        """Write one event; other processes can read it on return."""
        self._file.write(encode_event(event) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(path: Path) -> list[Event]:
    """All events so far."""
    reader = EventReader(path)
    try:
        return list(reader.new())
    finally:
        reader.close()


class EventReader:
    """Reads an event file from its beginning, as far as it goes, again and again."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        self._partial = b""

    def new(self) -> Iterator[Event]:
        """The events written since the last call."""
        for line in self._file:
            self._partial += line
            if not self._partial.endswith(b"\n"):
                return
            whole, self._partial = self._partial, b""
            yield decode_event(whole)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
