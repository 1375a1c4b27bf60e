"""The log of one process: a JSON object a line, in a file that is turned over when it has grown.

Owns the form of a line, and where lines go. Nothing is written to standard error unless that is wanted, and a
log that can't be written, as on a full disk, stops nothing: the next line that can be says how many were
lost. The time in a line is the wall clock's; it is for people, and decides nothing.
"""

from __future__ import annotations

import datetime
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.processes.private_files import make_private

if TYPE_CHECKING:
    from loguru import Message, Record

FILE_BYTES_MAX: Final = 16 * 1024 * 1024
OLD_FILES_MAX: Final = 2
PRINTED_LINE_CHARACTERS_MAX: Final = 64 * 1024
LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}  # As loguru numbers them.
_RESERVED: Final = frozenset({"time", "level", "node", "incarnation", "event", "message"})

Line = Mapping[str, Any]
"""The fields of a line: time, level, node, incarnation, event and message, then others."""


def _nothing_more() -> Line:
    return {}


class ProcessLog:
    """Makes lines of what is logged, and gives each to all of `writers`. It is a `Log`.

    A line has time, level, node, incarnation, event and message, then what `extra` returns at that moment,
    then the values. What is below `level` is not written.
    """

    def __init__(
        self,
        *writers: Callable[[Line], None],
        node: str,
        incarnation: int,
        level: str = "INFO",
        extra: Callable[[], Line] = _nothing_more,
    ) -> None:
        self._writers = writers
        self._node = node
        self._incarnation = incarnation
        self._least = LEVELS[level]
        self._extra = extra

    def __call__(self, level: str, event: str, message: str, /, **values: object) -> None:
        """See `Log`."""
        if LEVELS[level] >= self._least:
            self._write(datetime.datetime.now().astimezone(), level, event, message, values)

    def take_over_loguru(self) -> None:
        """Write what loguru's `logger` is told in this process, and let it write nowhere else.

        An exception becomes the field `traceback`; `event` is empty where it is not given.
        """
        # Imported on demand: in a process that does not use it, it is not loaded.
        from loguru import logger

        def write(message: Message) -> None:
            record = message.record
            values = dict(record["extra"])
            if record["exception"] is not None:
                values["traceback"] = _traceback(record)
            event = str(values.pop("event", ""))
            self._write(record["time"], record["level"].name, event, record["message"], values)

        logger.remove()
        # The formatted text is not used; a short format costs the least.
        logger.add(write, level=self._least, format="", catch=False, backtrace=False, diagnose=False)

    def _write(
        self, time: datetime.datetime, level: str, event: str, message: str, values: Mapping[str, object]
    ) -> None:
        line = {
            "time": time.isoformat(timespec="microseconds"),
            "level": level,
            "node": self._node,
            "incarnation": self._incarnation,
            "event": event,
            "message": message,
        }
        for more in (self._extra(), values):
            line.update((name, value) for name, value in more.items() if name not in _RESERVED)
        for write in self._writers:
            write(line)


def print_line(line: Line) -> None:
    """Write a line to standard error, if that can be: for people who run a process in the foreground."""
    with suppress(OSError, ValueError):
        print(f"{line['time']} {line['level']} {line['event']}: {line['message']}", file=sys.stderr)


class PrintedLines(io.TextIOBase):
    """Stands for `sys.stdout` or `sys.stderr`: what is printed becomes lines of the log.

    For programs' own words (a `print`, a warning). Whatever must reach the process's own descriptor, as
    the last words before its end, is written to `sys.__stderr__`.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log
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
            self._log(line[:PRINTED_LINE_CHARACTERS_MAX])
        return len(text)


class LogFile:
    """A file that lines are appended to as JSON, one write each, and turned over before it grows too long.

    When it would grow beyond `file_bytes_max` it is renamed to `path.1`, that to `path.2`, and so on.
    """

    def __init__(
        self, path: Path, file_bytes_max: int = FILE_BYTES_MAX, old_files_max: int = OLD_FILES_MAX
    ) -> None:
        self.lines_lost = 0
        self._encode = msgspec.json.Encoder(enc_hook=repr).encode
        self._lock = threading.Lock()  # A machine of the user's, on its thread, may log as well.
        self._path = path
        self._bytes_max = file_bytes_max
        self._old_files_max = old_files_max
        self._torn = False
        make_private(path.parent)
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def write(self, line: Line) -> None:
        """Append a line; one that can't be written is lost, and counted in the next one that can be."""
        lost = {"lines_lost": self.lines_lost} if self.lines_lost else {}
        text = self._encode({**line, **lost}) + b"\n"
        with self._lock:
            self._append(text)

    def close(self) -> None:
        """Close the file; nothing may be written afterwards."""
        os.close(self._fd)

    def _append(self, line: bytes) -> None:
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
