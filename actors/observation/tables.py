"""What processes say of themselves, as figures over an interval, and these as a table for a terminal.

Owns the arithmetic of two looks at a system, and the columns. Knows nothing of how the answers came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from actors.address import Address
from actors.envelope import ActorInfo, HandlerTime, ProcessLoad, TraceRecord

_MIB: Final = 1024 * 1024
_TEXT_MAX: Final = 60
Loads = Mapping[str, ProcessLoad | str]


class ProcessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A process that answers; `cpu` is a share of one processor."""

    process: str
    incarnation: int
    pid: int
    cpu: float
    memory_bytes: int
    actors: int
    waiting: int
    handled_per_second: float
    open_asks: int
    restarts: int
    dead_letters: dict[str, int]
    dropped_frames: dict[str, int]


class ActorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One actor."""

    address: str
    state: str
    mailbox_depth: int
    stashed: int
    handled_per_second: float
    dropped: int
    restarts: int
    last_error: str | None


class HandlerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One handler of one actor; `busy` is the share of the interval that it took."""

    address: str
    message: str
    calls_per_second: float
    busy: float
    mean_seconds: float
    longest_seconds: float
    """Since its process was first looked at."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A system over one interval; `silent` says why processes do not answer. `v` is that of the format."""

    v: int = 1
    seconds: float
    processes: list[ProcessFigures]
    silent: dict[str, str]
    actors: list[ActorFigures]
    handlers: list[HandlerFigures]
    dead_letters: dict[str, int]
    new_dead_letters: dict[str, int]


def figures_of(before: Loads, after: Loads) -> Figures:
    """What has happened between two looks; a process that is new since has its figures from its start on."""
    processes: list[ProcessFigures] = []
    actors: list[ActorFigures] = []
    handlers: list[HandlerFigures] = []
    dead, new = Counter[str](), Counter[str]()
    longest_seconds = 0.0
    for name, now in after.items():
        if isinstance(now, str):
            continue
        was = _same_incarnation(before.get(name), now)
        seconds = max(now.now - (was.now if was else now.since), 1e-9)
        longest_seconds = max(longest_seconds, seconds)
        handled = {info.address: info.handled for info in was.info.actors} if was else {}
        of_process = [_actor(info, handled, seconds) for info in now.info.actors]
        actors += of_process
        handlers += _handlers(was, now, seconds)
        processes.append(_process(was, now, of_process, seconds))
        dead.update(now.info.dead_letters)
        new.update(now.info.dead_letters)
        new.subtract(was.info.dead_letters if was else {})
    return Figures(
        seconds=longest_seconds,
        processes=processes,
        silent={name: now for name, now in after.items() if isinstance(now, str)},
        actors=sorted(actors, key=lambda actor: (-actor.mailbox_depth, -actor.handled_per_second)),
        handlers=sorted(handlers, key=lambda handler: -handler.busy),
        dead_letters=dict(dead),
        new_dead_letters={reason: count for reason, count in new.items() if count > 0},
    )


def _same_incarnation(before: ProcessLoad | str | None, now: ProcessLoad) -> ProcessLoad | None:
    if isinstance(before, ProcessLoad) and before.info.incarnation == now.info.incarnation:
        return before
    return None


def _process(
    was: ProcessLoad | None, now: ProcessLoad, actors: Sequence[ActorFigures], seconds: float
) -> ProcessFigures:
    return ProcessFigures(
        process=now.info.process,
        incarnation=now.info.incarnation,
        pid=now.pid,
        cpu=(now.cpu_seconds - was.cpu_seconds) / seconds if was else 0.0,
        memory_bytes=now.memory_bytes,
        actors=now.info.actors_count,
        waiting=sum(actor.mailbox_depth for actor in actors),
        handled_per_second=sum(actor.handled_per_second for actor in actors),
        open_asks=now.info.open_asks,
        restarts=sum(actor.restarts for actor in actors),
        dead_letters=now.info.dead_letters,
        dropped_frames=now.info.dropped_frames,
    )


def _actor(info: ActorInfo, handled: Mapping[Address, int], seconds: float) -> ActorFigures:
    return ActorFigures(
        address=str(info.address),
        state=info.state,
        mailbox_depth=info.mailbox_depth,
        stashed=info.stashed,
        handled_per_second=(info.handled - handled.get(info.address, 0)) / seconds,
        dropped=info.dropped,
        restarts=info.restarts,
        last_error=info.last_error,
    )


def _handlers(was: ProcessLoad | None, now: ProcessLoad, seconds: float) -> Iterable[HandlerFigures]:
    known: dict[tuple[str, str], HandlerTime] = {}
    if was is not None and was.since == now.since:
        known = {(time.actor, time.message): time for time in was.handlers}
    for time in now.handlers:
        before = known.get((time.actor, time.message))
        count = time.count - (before.count if before else 0)
        took_seconds = time.seconds - (before.seconds if before else 0.0)
        if count:
            yield HandlerFigures(
                address=f"{now.info.process}/{time.actor}",
                message=time.message,
                calls_per_second=count / seconds,
                busy=took_seconds / seconds,
                mean_seconds=took_seconds / count,
                longest_seconds=time.longest_seconds,
            )


def as_table(figures: Figures, rows_max: int) -> str:
    """All of it for a terminal; of actors and handlers so many lines."""
    parts = [_aligned(_PROCESS_COLUMNS, [_process_row(process) for process in figures.processes])]
    parts += [f"{process} is silent: {why}" for process, why in figures.silent.items()]
    actors = [_actor_row(actor) for actor in figures.actors]
    parts += ["", _aligned(_ACTOR_COLUMNS, actors[:rows_max]), *_more(len(actors), rows_max, "actors")]
    handlers = [_handler_row(handler) for handler in figures.handlers]
    if handlers:
        parts += ["", _aligned(_HANDLER_COLUMNS, handlers[:rows_max])]
        parts += _more(len(handlers), rows_max, "handlers")
    if figures.dead_letters:
        rows = [
            [reason, str(count), str(figures.new_dead_letters.get(reason, 0))]
            for reason, count in sorted(figures.dead_letters.items(), key=lambda entry: -entry[1])
        ]
        parts += ["", _aligned(["DEAD LETTERS", "COUNT", "NEW"], rows)]
    return "\n".join(parts)


_PROCESS_COLUMNS: Final = [
    "PROCESS", "PID", "INCARNATION", "CPU", "MEMORY", "ACTORS", "WAITING", "HANDLED/S", "OPEN ASKS",
    "RESTARTS", "DEAD LETTERS",
]  # fmt: skip
_ACTOR_COLUMNS: Final = [
    "ACTOR", "STATE", "MAILBOX", "STASHED", "HANDLED/S", "REFUSED", "RESTARTS", "LAST ERROR",
]  # fmt: skip
_HANDLER_COLUMNS: Final = ["HANDLER OF", "MESSAGE", "CALLS/S", "BUSY", "MEAN", "LONGEST"]
_TEXT_COLUMNS: Final = frozenset(("PROCESS", "ACTOR", "STATE", "HANDLER OF", "MESSAGE", "LAST ERROR"))


def _process_row(process: ProcessFigures) -> list[str]:
    return [
        process.process,
        str(process.pid),
        str(process.incarnation),
        f"{process.cpu:.0%}",
        f"{process.memory_bytes / _MIB:.0f} MiB",
        str(process.actors),
        str(process.waiting),
        f"{process.handled_per_second:,.0f}",
        str(process.open_asks),
        str(process.restarts),
        str(sum(process.dead_letters.values())),
    ]


def _actor_row(actor: ActorFigures) -> list[str]:
    return [
        actor.address,
        actor.state,
        str(actor.mailbox_depth),
        str(actor.stashed),
        f"{actor.handled_per_second:,.0f}",
        str(actor.dropped),
        str(actor.restarts),
        shortened(actor.last_error or ""),
    ]


def _handler_row(handler: HandlerFigures) -> list[str]:
    return [
        handler.address,
        handler.message,
        f"{handler.calls_per_second:,.0f}",
        f"{handler.busy:.0%}",
        duration(handler.mean_seconds),
        duration(handler.longest_seconds),
    ]


def trace_line(record: TraceRecord, now: datetime, process_now: float) -> str:
    """One message of a traced actor."""
    at = now - timedelta(seconds=process_now - record.at)
    waited = "?" if record.waited_seconds is None else duration(record.waited_seconds)
    sender = "-" if record.sender is None else str(record.sender)
    return (
        f"{at:%H:%M:%S.%f}  {sender:<24} {record.message:<24} {waited:>9} {duration(record.took_seconds):>9}"
        f"  {shortened(record.outcome)}"
    )


TRACE_HEADING: Final = f"{'TIME':<15}  {'SENDER':<24} {'MESSAGE':<24} {'WAITED':>9} {'TOOK':>9}  OUTCOME"


def duration(seconds: float) -> str:
    """A short time, with three digits that mean something."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1.0:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"


def shortened(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_MAX else line[: _TEXT_MAX - 3] + "..."


def _more(count: int, shown_max: int, what: str) -> list[str]:
    return [f"... and {count - shown_max} more {what}"] if count > shown_max else []


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings: texts to the left, numbers to the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = []
    for cells in (columns, *rows):
        padded = [
            cell.ljust(width) if column in _TEXT_COLUMNS or index == 0 else cell.rjust(width)
            for index, (cell, width, column) in enumerate(zip(cells, widths, columns, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
