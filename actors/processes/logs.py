"""The log of one process: a JSON object a line, in a file that is turned over when it has grown.

Owns loguru's set-up and the form of a line. Nothing is written to standard error, and a log that
can't be written, as on a full disk, stops nothing: the next line that can be says how many were
lost. The time in a line is the wall clock's; it is for people, and decides nothing.
"""

from __future__ import annotations

import io
import os
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from loguru import logger

from actors.processes.private_files import make_private

if TYPE_CHECKING:
    from loguru import Message, Record

FILE_BYTES_MAX: Final = 16 * 1024 * 1024
OLD_FILES_MAX: Final = 2
PRINTED_LINE_CHARACTERS_MAX: Final = 64 * 1024
_RESERVED: Final = frozenset({"time", "level", "node", "incarnation", "event", "message"})


def _nothing_more() -> Mapping[str, Any]:
    return {}


def log_to_file(
    path: Path,
    *,
    node: str,
    incarnation: int,
    level: str = "INFO",
    extra: Callable[[], Mapping[str, Any]] = _nothing_more,
    file_bytes_max: int = FILE_BYTES_MAX,
    old_files_max: int = OLD_FILES_MAX,
    keep: Callable[[Mapping[str, Any]], None] | None = None,
) -> LogFile:
    """Let loguru's `logger` write to `path` only, from now on and in this process only.

    A line has time, level, node, incarnation, event and message, then what `extra` returns at that
    moment, then what the caller bound or passed by keyword: `logger.info("won", event="elected", votes=3)`.
    The event is empty when not given. A traceback goes into the field `traceback`.
    `keep` gets the fields of each line, too.
    When the file would grow beyond `file_bytes_max` it is renamed to `path.1`, that to `path.2`, and so on.
    """
    log = LogFile(path, file_bytes_max, old_files_max)
    encode = msgspec.json.Encoder(enc_hook=repr).encode

    def write(message: Message) -> None:
        line = line_of(message.record, node, incarnation, extra)
        if keep is not None:
            keep(line)
        if log.lines_lost:
            line = {**line, "lines_lost": log.lines_lost}
        log.write(encode(line) + b"\n")

    logger.remove()
    # The formatted text is not used; a short format costs the least.
    logger.add(write, level=level, format="", catch=False, backtrace=False, diagnose=False)
    return log


def line_of(
    record: Record, node: str, incarnation: int, extra: Callable[[], Mapping[str, Any]] = _nothing_more
) -> dict[str, Any]:
    """The fields of a line; see `log_to_file`."""
    line = {
        "time": record["time"].isoformat(timespec="microseconds"),
        "level": record["level"].name,
        "node": node,
        "incarnation": incarnation,
        "event": record["extra"].get("event", ""),
        "message": record["message"],
    }
    for more in (extra(), record["extra"]):
        line.update((name, value) for name, value in more.items() if name not in _RESERVED)
    if record["exception"] is not None:
        line["traceback"] = _traceback(record)
    return line


class PrintedLines(io.TextIOBase):
    """Stands for `sys.stdout` or `sys.stderr`: what is printed becomes lines of the log.

    For programs' own words (a `print`, a warning). Whatever must reach the process's own descriptor, as
    the last words before its end, is written to `sys.__stderr__`.
    """

    def __init__(self, event: str, level: str) -> None:
        super().__init__()
        self._log = partial(logger.bind(event=event).log, level)
        self._rest = ""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Log each whole line; the rest waits for its end, or for more text than a line may have."""
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > PRINTED_LINE_CHARACTERS_MAX:
            lines, self._rest = [*lines, self._rest], ""
        for line in filter(None, lines):
            self._log("{}", line[:PRINTED_LINE_CHARACTERS_MAX])
        return len(text)


class LogFile:
    """A file that lines are appended to, one write each, and turned over before it grows too long."""

    def __init__(self, path: Path, file_bytes_max: int, old_files_max: int) -> None:
        self.lines_lost = 0
        self._path = path
        self._bytes_max = file_bytes_max
        self._old_files_max = old_files_max
        self._torn = False
        make_private(path.parent)
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def write(self, line: bytes) -> None:
        """Append a line; one that can't be written is lost, and counted."""
        try:
            if self._size and self._size + len(line) > self._bytes_max:
                self._turn_over()
            text = b"\n" + line if self._torn else line
            written = os.write(self._fd, text)
        except OSError:
            self.lines_lost += 1
            return
        self._size += written
        self._torn = written < len(text)
        self.lines_lost = self.lines_lost + 1 if self._torn else 0

    def close(self) -> None:
        """Close the file; nothing may be written afterwards."""
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _turn_over(self) -> None:
        for number in range(self._old_files_max, 0, -1):
            older = self._old(number - 1) if number > 1 else self._path
            if older.exists():
                older.replace(self._old(number))
        if self._old_files_max == 0:
            self._path.unlink()
        # The new one first: a descriptor that was closed too early might by now be something else's.
        fd = self._open()
        os.close(self._fd)
        self._fd = fd
        self._size = 0

    def _old(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _traceback(record: Record) -> str:
    exception = record["exception"]
    if exception is None or exception.value is None:
        return ""
    return "".join(traceback.format_exception(exception.value))
