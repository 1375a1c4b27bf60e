"""The nodes' logs as one: merged by time, filtered, followed.

Owns reading the files, including rotated ones, and filtering lines. Nodes write one JSON object a line; any
other line (from a library) keeps its place and is shown unchanged. Lines of different nodes are ordered by
wall-clock time, since log files have no other time in common.
"""

from __future__ import annotations

import contextlib
import datetime
import heapq
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from raft.cluster.failures import BadUsage

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
_READ_BYTES_MAX = 1 << 20
LINE_BYTES_MAX = 16 << 20  # The rest of a longer line is skipped.


class _Fields(Struct):
    """The fields of a node's log line that are needed for filtering and display."""

    time: str = ""
    level: str = "INFO"
    term: int | None = None
    role: str | None = None
    event: str | None = None
    message: str = ""
    traceback: str | None = None


class LogLine(Struct, frozen=True):
    """One line of one node's log; `moment` is its wall-clock time in seconds, for ordering only."""

    moment: float
    time: str
    node: int
    level: str
    role: str
    term: int | None
    event: str
    message: str
    raw: str
    traceback: str = ""

    def as_json(self) -> str:
        """The line as one JSON object, also if it was none."""
        if self.time:
            return '{"v":1,' + self.raw.lstrip()[1:]
        return msgspec.json.encode({"v": 1, "node": f"n{self.node}", "message": self.message}).decode()


class LogFilter(Struct, frozen=True):
    """Which lines to show; None or 0 means no condition."""

    level: str | None = None
    pattern: re.Pattern[str] | None = None
    since_moment: float = 0.0
    excluded: re.Pattern[str] | None = None

    def wants(self, line: LogLine) -> bool:
        """Does this line meet every condition?"""
        if self.since_moment and line.moment < self.since_moment:
            return False
        if self.level is not None and _rank(line.level) < _rank(self.level):
            return False
        words = f"{line.event} {line.message}"
        if self.excluded is not None and self.excluded.search(words):
            return False
        return self.pattern is None or self.pattern.search(words) is not None


def log_filter(
    level: str | None, grep: str | None, since_seconds: float | None, exclude: str | None = None
) -> LogFilter:
    """The filter for these options; raises BadUsage for an invalid level or expression."""
    if level is not None and level.upper() not in LEVELS:
        raise BadUsage(f"{level!r} is not a level: choose one of {', '.join(LEVELS).lower()}")
    since = 0.0
    if since_seconds is not None:
        since = datetime.datetime.now(datetime.UTC).timestamp() - since_seconds
    return LogFilter(
        level=None if level is None else level.upper(),
        pattern=_expression(grep),
        since_moment=since,
        excluded=_expression(exclude),
    )


def _expression(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise BadUsage(f"{text!r} is not a regular expression: {error}") from None


def parse_line(raw: str, node: int, previous_moment: float) -> LogLine:
    """One line as a node wrote it; a line that is no JSON object takes its predecessor's time."""
    try:
        fields = msgspec.json.decode(raw, type=_Fields)
        moment = datetime.datetime.fromisoformat(fields.time).timestamp()
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):  # Nested too deeply.
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
        traceback=fields.traceback or "",
    )


class NodeLog:
    """One node's log from its oldest file on, read to its end repeatedly."""

    def __init__(self, path: Path, node: int) -> None:
        self.node = node
        self._path = path
        self._moment = 0.0
        self._file: BinaryIO | None = None
        self._partial = b""

    def history(self) -> Iterator[LogLine]:
        """The lines of the rotated files, oldest first, then those of the present file."""
        for path in _rotated(self._path):
            with contextlib.suppress(FileNotFoundError):  # The oldest one may be removed at any time.
                yield from self._parse(path.read_bytes() + b"\n")
        yield from self.new()

    def new(self) -> Iterator[LogLine]:
        """The lines written since the last call, also in files rotated meanwhile."""
        if self._file is None and not self._open(self._path):
            return
        yield from self._rest()
        for following in self._put_aside_since():
            yield from self._rest()  # Written between the last reading and the rotation.
            if self._open(following):
                yield from self._rest()

    def _open(self, path: Path) -> bool:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        self.close()
        self._file, self._partial = file, b""
        return True

    def close(self) -> None:
        """Close the file; the next reading begins from the start."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rest(self) -> Iterator[LogLine]:
        """The whole lines from the present position to the end of the open file."""
        assert self._file is not None, "nothing is open"
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # It was truncated.
            self._partial = b""
        while chunk := self._file.read(_READ_BYTES_MAX):
            whole, newline, rest = chunk.rpartition(b"\n")
            if newline:
                yield from self._parse(self._partial + whole)
                self._partial = rest
            elif len(self._partial) < LINE_BYTES_MAX:
                self._partial += rest

    def _put_aside_since(self) -> list[Path]:
        """The files after the open one, which is no longer the present one."""
        assert self._file is not None, "nothing is open"
        ours = os.fstat(self._file.fileno())
        files = [*_rotated(self._path), self._path]
        for number, path in enumerate(files):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(ours, path.stat()):
                    return files[number + 1 :]
        return files if self._path.exists() else []  # The open file was removed: it was the oldest one.

    def _parse(self, data: bytes) -> Iterator[LogLine]:
        # Split at newlines only: other Unicode line ends may be part of a message.
        for raw in data.split(b"\n"):
            if raw:
                line = parse_line(raw[:LINE_BYTES_MAX].decode(errors="replace"), self.node, self._moment)
                self._moment = line.moment
                yield line


class ClusterLogs:
    """All logs in a cluster's log directory, including those of later nodes and of former ones."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._logs: dict[int, NodeLog] = {}

    @staticmethod
    def nodes_in(directory: Path) -> set[int]:
        """The nodes that have a log there."""
        names = (path.name.removeprefix("n").removesuffix(".log") for path in directory.glob("n*.log"))
        return {int(name) for name in names if name.isdecimal()}

    def history(self) -> Iterator[LogLine]:
        """All lines so far, by time."""
        return heapq.merge(*(log.history() for log in self._all()), key=_moment)

    def arrived(self) -> list[LogLine]:
        """The lines written since the last call, by time."""
        return sorted((line for log in self._all() for line in log.new()), key=_moment)

    def skip(self) -> None:
        """Skip the lines written so far."""
        self.arrived()

    def close(self) -> None:
        """Close the files."""
        for log in self._logs.values():
            log.close()

    def _all(self) -> list[NodeLog]:
        for node in sorted(self.nodes_in(self._directory)):
            if node not in self._logs:
                self._logs[node] = NodeLog(self._directory / f"n{node}.log", node)
        return list(self._logs.values())


def _moment(line: LogLine) -> float:
    return line.moment


def _rotated(path: Path) -> list[Path]:
    """Older files of the same log: `n1.log.1`, or with a date before the suffix."""
    siblings = set(path.parent.glob(f"{path.name}.*")) | set(path.parent.glob(f"{path.stem}.*{path.suffix}"))
    return sorted(siblings - {path}, key=lambda sibling: sibling.stat().st_mtime_ns)


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("INFO")
