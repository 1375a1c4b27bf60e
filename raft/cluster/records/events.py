"""The events of a cluster as one stream, from which the leader report and the timeline are made.

Owns the kinds of events, their encoding as JSON lines, and their file.
`t` is monotonic seconds since the launcher started; `wall` is informative and decides nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import UNSET, Struct, UnsetType

VERSION = 1
FILE_BYTES_MAX = 16 * 1024 * 1024
_STARTED = b'"event":"cluster-started"'


class ClusterEvent(Struct, frozen=True, kw_only=True, tag_field="event"):
    """The fields of all events; the journal fills in the time."""

    v: int = VERSION
    t: float = 0.0
    wall: str = ""


class ClusterStarted(ClusterEvent, frozen=True, kw_only=True, tag="cluster-started"):
    """A launcher has begun to run the cluster.

    Later events, up to the next one of this kind, belong to that run.
    """

    nodes: int
    pid: int


class EventsLost(ClusterEvent, frozen=True, kw_only=True, tag="events-lost"):
    """That many events before this one could not be written."""

    lost: int


class RunDirectoryRemoved(ClusterEvent, frozen=True, kw_only=True, tag="run-directory-removed"):
    """Something outside the cluster removed the directory of its sockets; `text` says what was done."""

    path: str
    text: str


class ClusterReady(ClusterEvent, frozen=True, kw_only=True, tag="cluster-ready"):
    """All nodes are up and follow one leader for the first time; `took_ms` since the launcher started."""

    nodes: int
    leader: int
    term: int
    took_ms: float


class LeaderElected(ClusterEvent, frozen=True, kw_only=True, tag="leader-elected"):
    """A node won an election, `took_ms` after it had noticed that there was no leader."""

    node: int
    term: int
    previous: int
    votes: int
    voters: int
    took_ms: float
    reason: str  # startup | leader-died | timeout | transfer


class LeaderLost(ClusterEvent, frozen=True, kw_only=True, tag="leader-lost"):
    """A leader has stopped leading: it reported so, or its process died."""

    node: int
    term: int
    reason: str  # died | higher-term | no-quorum | transfer | stopping | removed | disk-full | slow-fsync


class NodeStarted(ClusterEvent, frozen=True, kw_only=True, tag="node-started"):
    """A node has recovered its log and is up, `took_ms` after its process was requested."""

    node: int
    pid: int
    incarnation: int
    took_ms: float


class NodeExited(ClusterEvent, frozen=True, kw_only=True, tag="node-exited"):
    """A node's process ended, by a signal or with a code; after a crash with its last output."""

    node: int
    pid: int
    cause: str  # injected | crash | stopped
    signal: str | UnsetType = UNSET
    code: int | UnsetType = UNSET
    traceback: str | UnsetType = UNSET


class NodeGaveUp(ClusterEvent, frozen=True, kw_only=True, tag="node-gave-up"):
    """A node failed too often, or cannot start; it is not started again until a user asks for it."""

    node: int
    restarts: int
    window_s: float
    reason: str | UnsetType = UNSET


class FaultInjected(ClusterEvent, frozen=True, kw_only=True, tag="fault"):
    """A fault was injected."""

    id: int
    kind: str  # kill | pause | partition | isolate | link | disk | crash
    nodes: list[int]
    text: str


class FaultCleared(ClusterEvent, frozen=True, kw_only=True, tag="fault-cleared"):
    """A fault was cleared."""

    id: int
    kind: str
    nodes: list[int]
    text: str


class MembersChanged(ClusterEvent, frozen=True, kw_only=True, tag="members-changed"):
    """Nodes joined or left the cluster by request, or got a vote."""

    text: str
    voters: list[int]
    learners: list[int]


class SpaceAlarm(ClusterEvent, frozen=True, kw_only=True, tag="out-of-space"):
    """The leader refuses commands that let the state grow, until `SpaceAgain`."""

    node: int
    used_bytes: int
    quota_bytes: int


class SpaceAgain(ClusterEvent, frozen=True, kw_only=True, tag="space-again"):
    """There is space again."""

    node: int
    used_bytes: int
    quota_bytes: int


class Violation(ClusterEvent, frozen=True, kw_only=True, tag="violation"):
    """A safety property was violated: two nodes led in one term."""

    term: int
    nodes: list[int]
    text: str


Event = (
    ClusterStarted
    | EventsLost
    | RunDirectoryRemoved
    | ClusterReady
    | LeaderElected
    | LeaderLost
    | NodeStarted
    | NodeExited
    | NodeGaveUp
    | FaultInjected
    | FaultCleared
    | MembersChanged
    | SpaceAlarm
    | SpaceAgain
    | Violation
)

KINDS: frozenset[str] = frozenset(str(kind.__struct_config__.tag) for kind in Event.__args__)

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as a JSON object, without a newline."""
    return _encode(event)


def decode_event(line: bytes | str) -> Event:
    """The event of one line; raises msgspec.DecodeError for other lines."""
    return _decoder.decode(line)


def kind_of(event: Event) -> str:
    """The event's kind, as in its JSON form."""
    return str(event.__struct_config__.tag)


def nodes_of(event: Event) -> frozenset[int]:
    """The nodes that the event is about; none for one about the whole cluster."""
    if isinstance(event, FaultInjected | FaultCleared | Violation):
        return frozenset(event.nodes)
    node = getattr(event, "node", None)
    return frozenset() if node is None else frozenset([node])


class EventLog:
    """The file that a cluster's events are appended to, one line each, immediately.

    It is kept over restarts; each run begins with a ClusterStarted. A file that exceeds `file_bytes_max` is
    renamed to `FILE.1`, replacing the previous one. An event that cannot be written, as on a full disk, is
    counted, and the next one that can be written is preceded by an EventsLost. A file that was removed
    meanwhile is begun again.
    """

    def __init__(self, path: Path, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = file_bytes_max
        self._lost = 0
        self._open()
        self._torn = self._size > 0 and not _ends_a_line(path)

    def append(self, event: Event) -> None:
        """Write one event; other processes can read it on return."""
        if self._lost:
            lost = EventsLost(t=event.t, wall=event.wall, lost=self._lost)
            if not self._write(encode_event(lost)):
                self._lost += 1
                return
            self._lost = 0
        if not self._write(encode_event(event)):
            self._lost += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, line: bytes) -> bool:
        """Append a whole line, or leave at most a torn one, from which the next line is kept apart."""
        try:
            if not self._is_in_place():
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                self._reopen()
            if self._size > self._bytes_max:
                self._put_aside()
            text = (b"\n" if self._torn else b"") + line + b"\n"
            written = os.write(self._fd, text)
        except OSError:
            return False
        self._size += written
        self._torn = written < len(text)
        return not self._torn

    def _put_aside(self) -> None:
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._reopen()

    def _is_in_place(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        return False

    def _reopen(self) -> None:
        before = self._fd
        self._open()
        os.close(before)
        self._torn = False

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_events(path: Path) -> list[Event]:
    """All events of the present run so far."""
    reader = EventReader(path)
    try:
        return list(reader.new())
    finally:
        reader.close()


class EventReader:
    """Reads an event file to its end, repeatedly, from the beginning of the present run.

    With `all_runs` from the oldest event that was kept. Lines that are no events, such as those torn by a
    crash, are skipped.
    """

    def __init__(self, path: Path, *, all_runs: bool = False) -> None:
        self._path = path
        older = path.with_name(f"{path.name}.1")
        first = older if all_runs and older.exists() else path
        self._file: BinaryIO = first.open("rb")
        self._partial = b""
        if not all_runs:
            self._file.seek(_start_of_run(self._file.read()))

    def new(self) -> Iterator[Event]:
        """The events written since the last call."""
        yield from self._rest()
        while self._was_put_aside():
            yield from self._rest()  # Written between the last reading and the renaming of the file.
            self._file.close()
            self._file, self._partial = self._path.open("rb"), b""
            yield from self._rest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rest(self) -> Iterator[Event]:
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # It was truncated.
            self._partial = b""
        for line in self._file:
            self._partial += line
            if not self._partial.endswith(b"\n"):
                return
            whole, self._partial = self._partial, b""
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                yield decode_event(whole)

    def _was_put_aside(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False


def _start_of_run(data: bytes) -> int:
    """Where the line of the last ClusterStarted begins; 0 if there is none."""
    return data.rfind(b"\n", 0, max(data.rfind(_STARTED), 0)) + 1
