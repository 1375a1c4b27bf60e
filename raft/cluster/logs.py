"""The nodes' logs as one: merged by time, filtered, followed.

Owns reading the files, rotated ones included, and choosing lines. Nodes write one JSON object a
line; what is none (a word from a library) keeps its place and is shown as it is. The lines of different
nodes are ordered by wall-clock time, since it is all that log files have in common.
"""

from __future__ import annotations

import datetime
import heapq
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from raft.cluster.failures import BadUsage

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
_READ_BYTES_MAX = 1 << 20


class _Fields(Struct):
    """What a node writes about a line, as far as choosing and showing it needs."""

    time: str = ""
    level: str = "INFO"
    term: int | None = None
    role: str | None = None
    event: str | None = None
    message: str = ""


class LogLine(Struct, frozen=True):
    """One line of one node's log; `moment` is its wall-clock time in seconds, for order only."""

    moment: float
    time: str
    node: int
    level: str
    role: str
    term: int | None
    event: str
    message: str
    raw: str

    def as_json(self) -> str:
        """The line as one JSON object, whatever it was."""
        if self.time:
            return '{"v":1,' + self.raw.lstrip()[1:]
        return msgspec.json.encode({"v": 1, "node": f"n{self.node}", "message": self.message}).decode()


class LogFilter(Struct, frozen=True):
    """Which lines are wanted; None or 0 means no condition."""

    level: str | None = None
    pattern: re.Pattern[str] | None = None
    since_moment: float = 0.0

    def wants(self, line: LogLine) -> bool:
        """Does this line meet every condition?"""
        if line.moment < self.since_moment:
            return False
        if self.level is not None and _rank(line.level) < _rank(self.level):
            return False
        return self.pattern is None or self.pattern.search(f"{line.event} {line.message}") is not None


def log_filter(level: str | None, grep: str | None, since_seconds: float | None) -> LogFilter:
    """The filter that was typed; raises BadUsage for a level or an expression that is none."""
    if level is not None and level.upper() not in LEVELS:
        raise BadUsage(f"{level!r} is no level: choose one of {', '.join(LEVELS).lower()}")
    try:
        pattern = None if grep is None else re.compile(grep)
    except re.error as error:
        raise BadUsage(f"{grep!r} is not a regular expression: {error}") from None
    since = 0.0
    if since_seconds is not None:
        since = datetime.datetime.now(datetime.UTC).timestamp() - since_seconds
    return LogFilter(None if level is None else level.upper(), pattern, since)


def parse_line(raw: str, node: int, previous_moment: float) -> LogLine:
    """One line as a node wrote it; a line that is no object takes its predecessor's time."""
    try:
        fields = msgspec.json.decode(raw, type=_Fields)
        moment = datetime.datetime.fromisoformat(fields.time).timestamp()
    except (msgspec.DecodeError, ValueError):
        return LogLine(previous_moment, "", node, "INFO", "", None, "", raw, raw)
    return LogLine(
        moment=moment,
        time=fields.time,
        node=node,
        level=fields.level,
        role=fields.role or "",
        term=fields.term,
        event=fields.event or "",
        message=fields.message,
        raw=raw,
    )


class NodeLog:
    """One node's log from its oldest file on, read as far as it goes, again and again."""

    def __init__(self, path: Path, node: int) -> None:
        self._path = path
        self._node = node
        self._moment = 0.0
        self._inode = 0
        self._offset = 0

    def history(self) -> Iterator[LogLine]:
        """All that rotation has put aside, oldest first; then what the present file holds."""
        for path in _rotated(self._path):
            yield from self._parse(path.read_bytes())
        yield from self.new()

    def new(self) -> Iterator[LogLine]:
        """What was written since the last call."""
        try:
            with self._path.open("rb") as file:
                inode = self._path.stat().st_ino
                if inode != self._inode:
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                while chunk := file.read(_READ_BYTES_MAX):
                    whole = chunk[: chunk.rfind(b"\n") + 1]
                    self._offset += len(whole)
                    yield from self._parse(whole)
                    if not whole:
                        return  # A line that is still being written.
                    file.seek(self._offset)
        except FileNotFoundError:
            return

    def _parse(self, data: bytes) -> Iterator[LogLine]:
        for raw in data.decode(errors="replace").splitlines():
            line = parse_line(raw, self._node, self._moment)
            self._moment = line.moment
            yield line


def merged(logs: Sequence[NodeLog], wanted: LogFilter, last: int | None = None) -> Iterable[LogLine]:
    """All lines so far that are wanted, by time; only the `last` ones if that is given."""
    lines = heapq.merge(*(log.history() for log in logs), key=lambda line: line.moment)
    chosen = (line for line in lines if wanted.wants(line))
    return chosen if last is None else deque(chosen, maxlen=last)


def arrived(logs: Sequence[NodeLog], wanted: LogFilter) -> list[LogLine]:
    """The wanted lines that were written since the last look, by time."""
    lines = [line for log in logs for line in log.new() if wanted.wants(line)]
    return sorted(lines, key=lambda line: line.moment)


def _rotated(path: Path) -> list[Path]:
    """Older files of the same log: `n1.log.1`, or with a date before the suffix."""
    siblings = set(path.parent.glob(f"{path.name}.*")) | set(path.parent.glob(f"{path.stem}.*{path.suffix}"))
    return sorted(siblings - {path}, key=lambda sibling: sibling.stat().st_mtime_ns)


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("INFO")
