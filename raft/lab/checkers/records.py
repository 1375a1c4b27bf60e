"""A history as a file that any program can write: JSON lines, one for the run, then one for each operation.

Owns the format of those lines, the required fields of each kind of operation, and the errors of a malformed
file. Knows nothing of what is legal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct

from actors.processes.private_files import open_private, write_private

VERSION = 1
WORKLOADS = ("register", "append", "set", "lock", "election", "watch", "counter")

Outcome = Literal["done", "refused", "unknown"]


class Header(Struct, kw_only=True, omit_defaults=False):
    """The first line: which run this was, and how to repeat it."""

    v: int = VERSION
    kind: Literal["history"] = "history"
    workload: str
    seed: int | None = None
    nodes: int = 0
    command: str = ""
    versions: dict[str, str] = {}


class Record(Struct, kw_only=True):
    """One operation: what a client asked, and what it knows of the outcome.

    Times are seconds on one monotonic clock. A refused operation did not take place and never will; an
    unknown one may have taken place at any time after its call, or may still do so. `index` is its place in
    the log, for a read up to where it has seen the log, 0 if unknown. `line` is its line in the file, 0 if
    there is no file.
    """

    client: str
    op: str
    key: str = ""
    value: str | int | None = None
    expected: str | int | None = None
    call: float
    returned: float | None = msgspec.field(name="return", default=None)
    outcome: Outcome = "unknown"
    result: Any = None
    index: int = 0
    node: int = 0
    line: int = 0

    @property
    def done(self) -> bool:
        """Is it known to have taken place?"""
        return self.outcome == "done"

    def describe(self) -> str:
        """One line for display: the client, its request, and the outcome."""
        return f"{self.client}: {self.asked()} → {self.answered()}"

    def asked(self) -> str:
        """The request, in words."""
        if self.op == "cas":
            return f"cas {self.key} {show(self.expected)} → {show(self.value)}"
        if self.op == "fenced-put":
            return f"fenced-put {self.key} {show(self.value)} with token {self.expected}"
        if self.op == "acquire" and self.value is not None:
            return f"acquire {self.key}, which has {self.value} seats"
        if self.op in ("release", "resign", "keep") and self.expected is not None:
            return f"{self.op} {self.key} with token {self.expected}"
        if self.value is None:
            return f"{self.op} {self.key}"
        return f"{self.op} {self.key} {show(self.value)}"

    def answered(self) -> str:
        """The outcome, in words."""
        if not self.done:
            return self.outcome
        match self.op, self.result:
            case "get" | "read", result:
                return show(result)
            case "cas", result:
                return "swapped" if result["swapped"] else f"holds {show(result.get('found'))}"
            case "acquire", result:
                return f"token {result['token']}{_until(result)}"
            case "keep", result:
                return f"ok{_until(result)}"
            case "release" | "resign", {"held": False}:
                return "no longer held"
            case "led" | "left", result:
                return f"token {result['token']}"
            case "watch", result:
                return f"revisions {result['first']} to {result['last']}"
            case "fenced-put", result:
                return "accepted" if result["accepted"] else "rejected"
            case "event", result:
                return f"revision {result['revision']}"
        return "ok"


class RecordedHistory(Struct, kw_only=True):
    """A run's header and its operations in order of their calls; a watcher's events in order of delivery."""

    header: Header
    records: list[Record]


class MalformedHistory(Exception):
    """The input is not a history; the message says which line is wrong, and why."""


class HistoryWriter:
    """Writes a history line by line, immediately."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file: BinaryIO = open(path, "wb", buffering=0, opener=open_private)  # noqa: SIM115
        self._file.write(msgspec.json.encode(header) + b"\n")

    def write(self, record: Record) -> None:
        """Append one operation."""
        self._file.write(encode_record(record) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def encode_record(record: Record) -> bytes:
    """The operation as a JSON object, without a newline."""
    fields = msgspec.to_builtins(record)
    del fields["line"]
    return msgspec.json.encode(fields)


def write_history(path: Path, header: Header, records: Iterable[Record]) -> None:
    """Write a whole history, its operations in order of their calls."""
    lines = [msgspec.json.encode(header)]
    lines += [encode_record(record) for record in sorted(records, key=lambda record: record.call)]
    write_private(path, b"\n".join(lines) + b"\n")


def read_history(path: Path) -> RecordedHistory:
    """Read a history; raises MalformedHistory, or OSError if there is no such file."""
    return parse_history(path.read_bytes().splitlines())


def parse_history(lines: Sequence[bytes]) -> RecordedHistory:
    """A history from its lines; raises MalformedHistory for the first invalid one."""
    if not lines:
        raise MalformedHistory("line 1: the file is empty; a history begins with its header")
    header = _header(lines[0])
    decode = msgspec.json.Decoder(Record).decode
    checks = _CHECKS_OF[header.workload]
    records = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            record = decode(line)
            _check(record, checks, header.workload)
        except (msgspec.DecodeError, RecursionError) as error:
            raise MalformedHistory(f"line {number}: {error}") from error
        record.line = number
        records.append(record)
    records.sort(key=lambda record: record.call)  # Stable: simultaneous events keep their order.
    return RecordedHistory(header=header, records=records)


def show(value: object) -> str:
    """A value for display."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "[" + " ".join(str(part) for part in value) + "]"
    return str(value)


def _until(result: dict[str, Any]) -> str:
    until = result.get("until")
    return "" if until is None else f", sure until {until:.6f} s"


def _header(line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedHistory(f"line 1: no header of a history: {error}") from error
    if header.v != VERSION:
        raise MalformedHistory(f"line 1: version {header.v} is not known here; this is version {VERSION}")
    if header.workload not in WORKLOADS:
        raise MalformedHistory(f"line 1: workload {header.workload!r} is unknown: {', '.join(WORKLOADS)}")
    return header


Check = Callable[[Record], str]  # What is wrong with the record, or "".


def _check(record: Record, checks: dict[str, Check], workload: str) -> None:
    """Reject what a checker could not read; an illegal history is not rejected here."""
    check = checks.get(record.op)
    wrong = ""
    if check is None:
        wrong = f"op {record.op!r} is not part of the workload {workload}: {', '.join(checks)}"
    elif record.done and record.returned is None:
        wrong = "an operation that is done has a return"
    elif record.returned is not None and record.returned < record.call:
        wrong = f"it returns at {record.returned}, before its call at {record.call}"
    else:
        wrong = check(record)
    if wrong:
        raise msgspec.ValidationError(wrong)


def _text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _moment_or_none(value: object) -> bool:
    return value is None or _moment(value)


def _field(record: Record, name: str, fits: Callable[[object], bool]) -> bool:
    """Does the result, if there is one, have this field?"""
    result = record.result
    return not record.done or (isinstance(result, dict) and fits(result.get(name)))


def _writes(record: Record) -> str:
    return "" if isinstance(record.value, str) else "its value is not text"


def _reads_text(record: Record) -> str:
    return "" if not record.done or _text(record.result) else "its result is neither text nor null"


def _reads_list(record: Record) -> str:
    result = record.result
    fits = isinstance(result, list) and all(isinstance(element, str) for element in result)
    return "" if not record.done or fits else "its result is not a list of texts"


def _reads_number(record: Record) -> str:
    return "" if not record.done or _whole(record.result) else "its result is not a whole number"


def _swaps(record: Record) -> str:
    if not (_text(record.value) and _text(record.expected)):
        return "its value and what it expects are text or null"
    fits = _field(record, "swapped", lambda value: isinstance(value, bool)) and _field(record, "found", _text)
    return "" if fits else 'its result is not {"swapped": bool, "found": text or null}'


def _acquires(record: Record) -> str:
    if record.value is not None and not (_whole(record.value) and int(record.value) > 0):
        return "its value is not a number of seats"
    if not (_field(record, "token", _whole) and _field(record, "until", _moment_or_none)):
        return 'its result is not {"token": number, "until": seconds or null}'
    return ""


def _keeps(record: Record) -> str:
    if not _whole(record.expected):
        return "its expected value is not a token"
    return "" if _field(record, "until", _moment) else 'its result is not {"until": seconds}'


def _releases(record: Record) -> str:
    if not (record.expected is None or _whole(record.expected)):
        return "its expected value is not a token"
    held = record.result.get("held", True) if isinstance(record.result, dict) else True
    return "" if isinstance(held, bool) else 'its result is not {"held": bool}'


def _sees(record: Record) -> str:
    if not record.done:
        return "an event must be done"
    return "" if _field(record, "token", _whole) else 'its result is not {"token": number}'


def _watches(record: Record) -> str:
    if not record.done:
        return "a watch must be done, with the revisions that it covers"
    fits = _field(record, "first", _whole) and _field(record, "last", _whole)
    fits = fits and _field(record, "forgotten", lambda value: value is None or _whole(value))
    return "" if fits else 'its result is not {"first": revision, "last": revision}'


def _fences(record: Record) -> str:
    if not isinstance(record.value, str) or not _whole(record.expected):
        return "its value must be text, and its expected value a token"
    fits = _field(record, "accepted", lambda value: isinstance(value, bool))
    return "" if fits else 'its result is not {"accepted": bool}'


def _observes(record: Record) -> str:
    if not record.done:
        return "an event must be done"
    return "" if _field(record, "revision", _whole) else 'its result is not {"revision": number}'


def _counts(record: Record) -> str:
    return "" if _whole(record.value) else "its value is not a whole number"


_REGISTER: dict[str, Check] = {"put": _writes, "get": _reads_text, "cas": _swaps}
_LOCK: dict[str, Check] = {
    "acquire": _acquires,
    "keep": _keeps,
    "release": _releases,
    "resign": _releases,
    "led": _sees,
    "left": _sees,
    "fenced-put": _fences,
    "read": _reads_text,
}
_CHECKS_OF: dict[str, dict[str, Check]] = {
    "register": _REGISTER,
    "append": {"append": _writes, "read": _reads_list},
    "set": {"add": _writes, "read": _reads_list},
    "lock": _LOCK,
    "election": _LOCK,
    "watch": {**_REGISTER, "event": _observes, "watch": _watches},
    "counter": {"add": _counts, "read": _reads_number},
}
