"""Asks a cluster for pictures, again and again, while a viewer looks; without one it costs nothing.

Owns the pace (10 a second at most, less for large clusters), the thread that asks, what viewers have not
been shown yet, and going on when the launcher has ended and another one runs. The pictures are the feed's.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from raft.cluster.failures import VerbFailed
from raft.cluster.records.events import Event, EventReader, kind_of, nodes_of
from raft.cluster.records.logs import ClusterLogs
from raft.cluster.records.timestamps import wall_now
from raft.cluster.rpc.launcher_client import Launcher
from raft.cluster.rpc.messages import ClusterStatus, FaultList, GetClusterStatus, ListFaults
from raft.cluster.rundir import RunDirectory
from raft.cluster.spec import ClusterRecord
from raft.live.feed import (
    Feed,
    Picture,
    as_json,
    merge_patch,
    without_answer,
)
from raft.live.history import LeaderHistory, answers_seen, faults_told
from raft.live.nodes import NodesConnection
from raft.protocol.records import NodeEvent

INTERVAL_SECONDS_MIN = 0.1
INTERVAL_SECONDS_PER_NODE = 0.01
NEWS_SECONDS = 0.02  # So often it is looked whether a look is due before its time.
AGAIN_SECONDS = 1.0  # After a look that failed.
ANSWER_SECONDS_MAX = 3.0
RECORDS_KEPT = 2_000
LOG_LINES_MAX = 100  # Of one look; of more the oldest are left out, and counted.
TEXT_CHARACTERS_MAX = 2_000
NODES_HEAR_SECONDS_MAX = 1.0  # As in `raft.cli.remote`: their election timeouts are not known.
TOLD_SECONDS_MAX = 1.0  # Until a node has told of what was seen: its events are asked for twice a second.
STILL_SECONDS = 1.0  # So often a viewer of a cluster in which nothing happens is told so.

NODE_KINDS = frozenset({
    "votes-asked", "vote-granted", "vote-refused", "relieved", "fsync-slow", "stalled",
    "snapshot-taken", "snapshot-sent", "snapshot-installed", "snapshot-abandoned", "snapshot-failed",
    "disk-full", "disk-has-room",
})  # fmt: skip
"""What nodes alone tell; of the rest the launcher tells, or the pictures."""

A = TypeVar("A")


class Record(Struct, frozen=True, omit_defaults=True):
    """An event, or a line of a node's log."""

    t: float
    source: str  # event | node | log
    kind: str  # The event's kind, or the line's level.
    nodes: list[int]
    text: str


class Look(Struct, frozen=True):
    """What one look has brought."""

    picture: Picture
    records: list[Record]


class Source(Protocol):
    """A cluster that can be looked at."""

    def look(self) -> Look:
        """Raises VerbFailed when the cluster does not answer."""
        ...

    def has_news(self) -> bool:
        """Has an event been told since the last look? Quick, for it is asked often."""
        ...

    def close(self) -> None:
        """Let go of every connection and file; the next look opens them again."""
        ...


def told_by_nodes(events: list[tuple[int, NodeEvent]], feed: Feed, t: float) -> list[Record]:
    """Tell the feed what nodes have told at `t`; records of what a launcher does not tell."""
    zero = datetime.datetime.now(datetime.UTC).timestamp() - t
    records = []
    for node, event in events:
        at = round(event.at_seconds - zero, 2)
        is_new = feed.tell_of_node(node, event, at)
        if is_new and event.kind in NODE_KINDS:
            text = f"n{node} {event.text}"[:TEXT_CHARACTERS_MAX]
            records.append(Record(at, "node", event.kind, [node], text))
    return records


class LauncherSource:
    """A cluster that a launcher runs on this machine; `find` gives its run directory."""

    def __init__(self, find: Callable[[], RunDirectory], event_text: Callable[[Event], str]) -> None:
        self._find = find
        self._event_text = event_text
        self._open = contextlib.ExitStack()
        self._launcher: Launcher | None = None
        self._run = ""
        self._told = 0  # Events of this run.
        self._skip = 0  # So many of those that are read next have been told.

    def look(self) -> Look:
        """One picture, and the events and log lines since the last look."""
        if self._launcher is None:
            self._connect()
        assert self._launcher is not None, "connecting raises or connects"
        self._events_bytes = self._size()
        events = list(self._events.new())
        self._feed.tell(events)
        news, self._skip = events[self._skip :], max(self._skip - len(events), 0)
        status = self._launcher.ask(GetClusterStatus(), ClusterStatus, ANSWER_SECONDS_MAX)
        faults = self._launcher.ask(ListFaults(), FaultList, ANSWER_SECONDS_MAX)
        t = time.monotonic() - self._launcher.record.started_seconds
        self._told += len(news)
        self._nodes.know({view.id for view in status.nodes}, self._endpoints)
        told = told_by_nodes(self._nodes.poll(status.leader), self._feed, t)
        picture = self._feed.picture(status, faults, t, self._nodes.load)
        return Look(picture, [*map(self._event, news), *told, *self._lines(t)])

    def has_news(self) -> bool:
        """Has the file of events grown?"""
        return self._launcher is not None and self._size() != self._events_bytes

    def _size(self) -> int:
        """Of the file of events; 0 if something has removed it."""
        with contextlib.suppress(OSError):
            return self._events_path.stat().st_size
        return 0

    def _endpoints(self) -> dict[int, str]:
        return {node.id: node.endpoint for node in ClusterRecord.read(self._directory.record).nodes}

    def close(self) -> None:
        """Let go of the launcher and the files."""
        self._launcher = None
        self._open.close()

    def _connect(self) -> None:
        with contextlib.ExitStack() as stack:
            self._directory = self._find()
            launcher = stack.enter_context(Launcher(self._directory))
            record = launcher.record
            self._events_path = Path(record.events)
            try:
                self._events = EventReader(self._events_path)
            except OSError as error:
                raise VerbFailed(f"{record.events} cannot be read: {error.strerror}") from error
            stack.callback(self._events.close)
            self._logs = ClusterLogs(Path(record.log_dir))
            stack.callback(self._logs.close)
            self._logs.skip()
            self._nodes = NodesConnection(record.cluster, record.keys or None)
            stack.callback(self._nodes.close)
            run = f"{record.pid}-{record.started_seconds:.3f}"
            self._feed = Feed(record.spec.election_seconds_max, run)
            if run != self._run:
                self._run, self._told = run, 0
            self._skip = self._told
            self._launcher = launcher
            self._open = stack.pop_all()

    def _event(self, event: Event) -> Record:
        text = self._event_text(event)[:TEXT_CHARACTERS_MAX]
        return Record(event.t, "event", kind_of(event), sorted(nodes_of(event)), text)

    def _lines(self, t: float) -> list[Record]:
        lines = self._logs.arrived()
        left_out = len(lines) - LOG_LINES_MAX
        told = [
            Record(
                round(t, 2),
                "log",
                line.level,
                [line.node],
                " ".join(part for part in (line.event, line.message) if part)[:TEXT_CHARACTERS_MAX],
            )
            for line in lines[-LOG_LINES_MAX:]
        ]
        if left_out > 0:
            told.insert(0, Record(round(t, 2), "log", "WARNING", [], f"{left_out} log lines left out here"))
        return told


class Asker(Protocol):
    """Takes the questions of a view; see `raft.cli.remote_looks`."""

    def ask(self, verb: object, expected: type[A], timeout_seconds: float) -> A:
        """Raises VerbFailed."""
        ...

    def members(self) -> dict[int, str]:
        """Where all nodes are. Raises VerbFailed."""
        ...

    def close(self) -> None:
        """Close the connections; the next question opens them again."""
        ...


class NodesSource:
    """A cluster without a launcher: its nodes are asked how they are, and for their recent events.

    What no node tells is seen by comparing looks; `told_within_seconds` is how long a node has to tell of it.
    """

    def __init__(
        self,
        asker: Asker,
        event_text: Callable[[Event], str],
        connect: Callable[[], NodesConnection],
        told_within_seconds: float = TOLD_SECONDS_MAX,
    ) -> None:
        self._asker = asker
        self._connect = connect
        self._nodes: NodesConnection | None = None
        self._event_text = event_text
        self._begun_seconds = time.monotonic()
        self._feed = Feed(NODES_HEAR_SECONDS_MAX)
        self._history = LeaderHistory(wall_now(), told_within_seconds)
        self._before: ClusterStatus | None = None

    def look(self) -> Look:
        """One picture, and what nodes have told or what is not as it was at the last look."""
        status = self._asker.ask(GetClusterStatus(), ClusterStatus, ANSWER_SECONDS_MAX)
        t = round(time.monotonic() - self._begun_seconds, 2)
        if self._nodes is None:
            self._nodes = self._connect()
        self._nodes.know({view.id for view in status.nodes}, self._asker.members)
        told = self._nodes.poll(status.leader)
        if self._history.tell(told, status, t):
            self._feed.retell(self._history.events)
            self._nodes.hurry()
        records = [
            *map(self._event, self._history.news(t)),
            *(
                Record(t, "event", "node-" + word, [node], f"{word.upper()} n{node}")
                for node, word in answers_seen(self._before, status)
            ),
            *told_by_nodes(told, self._feed, t),
        ]
        self._before = status
        return Look(self._feed.picture(status, faults_told(status), t, self._nodes.load), records)

    def _event(self, event: Event) -> Record:
        text = self._event_text(event)[:TEXT_CHARACTERS_MAX]
        return Record(round(event.t, 2), "event", kind_of(event), sorted(nodes_of(event)), text)

    def has_news(self) -> bool:
        """Nodes are only asked."""
        return False

    def close(self) -> None:
        """Let go of the connections to the nodes."""
        self._asker.close()
        nodes, self._nodes = self._nodes, None
        if nodes is not None:
            nodes.close()


class Place(Struct):
    """How far one viewer has been shown the feed."""

    picture: dict[str, Any] = {}
    number: int = 0  # Of the next record.


class Sampler:
    """The feed of one source for any number of viewers.

    `changed` is called after each look, on the sampler's thread. A viewer that falls behind skips pictures,
    and is told how many records it has missed; none ever waits for another.
    """

    def __init__(self, source: Source, changed: Callable[[], None]) -> None:
        self._source = source
        self._changed = changed
        self._lock = threading.Lock()
        self._viewers = 0
        self._thread: threading.Thread | None = None
        self._leave = threading.Event()
        self._records: deque[Record] = deque(maxlen=RECORDS_KEPT)
        self._told = 0  # Records ever.
        self._picture: Picture | None = None
        self._plain: dict[str, Any] = {}

    @property
    def picture(self) -> Picture | None:
        """The latest one."""
        return self._picture

    @property
    def looks(self) -> bool:
        """Is the cluster being asked at present?"""
        return self._thread is not None

    @contextlib.contextmanager
    def viewer(self) -> Any:
        """Look at the cluster for as long as the block lasts; gives the viewer's Place."""
        with self._lock:
            self._viewers += 1
            if self._thread is None:
                self._leave = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._leave,), name="sampler", daemon=True
                )
                self._thread.start()
        try:
            yield Place()
        finally:
            with self._lock:
                self._viewers -= 1
                if not self._viewers:
                    self._leave.set()
                    self._thread = None

    def news(self, place: Place) -> dict[str, Any]:
        """What this viewer has not seen: `picture` or `patch`, `records`, and `missed`. Empty if nothing."""
        with self._lock:
            plain, told, records = self._plain, self._told, list(self._records)
        passed = plain.get("t", 0.0) - place.picture.get("t", 0.0)
        if told == place.number and 0.0 <= passed < STILL_SECONDS and _is_time(place.picture, plain):
            return {}
        news: dict[str, Any] = {}
        if plain and not place.picture:
            news["picture"] = plain
        elif patch := merge_patch(place.picture, plain):
            news["patch"] = patch
        oldest = told - len(records)
        if told > place.number:
            news["records"] = records[max(place.number - oldest, 0) :]
            if place.number and oldest > place.number:
                news["missed"] = oldest - place.number
        place.picture, place.number = plain, told
        return news

    def _run(self, leave: threading.Event) -> None:
        pause_seconds = 0.0
        while not self._left_after(pause_seconds, leave):
            begun = time.monotonic()
            try:
                look = self._source.look()
            except VerbFailed as failure:
                self._source.close()
                look = Look(without_answer(self._picture, "", str(failure)), [])
            self._take(look)
            took = time.monotonic() - begun
            nodes = len(look.picture.nodes)
            interval = max(INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_PER_NODE * nodes)
            pause_seconds = AGAIN_SECONDS if not nodes else max(interval - took, interval / 2)
        self._source.close()

    def _left_after(self, pause_seconds: float, leave: threading.Event) -> bool:
        """Wait for so long, or until an event has been told: what is broken by hand is seen at once."""
        until = time.monotonic() + pause_seconds
        while (left := until - time.monotonic()) > 0:
            if leave.wait(min(left, NEWS_SECONDS)):
                return True
            if self._source.has_news():
                break
        return leave.is_set()

    def _take(self, look: Look) -> None:
        with self._lock:
            self._picture, self._plain = look.picture, as_json(look.picture)
            self._records += look.records
            self._told += len(look.records)
        self._changed()


def _is_time(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Do the two pictures differ in their time alone?"""
    return before.keys() == after.keys() and all(
        key == "t" or before[key] == value for key, value in after.items()
    )
