"""The two commands of an operator: top, and trace. What they print, and when they end.

Owns their loops. Knows nothing of command lines, nor of how a system is found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from actors.address import Address
from actors.envelope import Traced
from actors.errors import AskFailed, AskRefused
from actors.observation.onlooker import NoSystem, Onlooker, System
from actors.observation.tables import TRACE_HEADING, as_table, figures_of, trace_line

INTERVAL_SECONDS: Final = 1.0
INTERVAL_SECONDS_MAX: Final = 180.0  # Three of them are a lease.
TRACE_SECONDS: Final = 60.0
TRACE_PERIOD_SECONDS: Final = 0.25
TRACE_LEASE_SECONDS: Final = 5.0
"""A trace whose onlooker has gone ends in its process after so long."""
RECORDS_MAX: Final = 10_000
ROWS_MAX: Final = 20
_CLEAR: Final = "\x1b[H\x1b[2J"
Print = Callable[[str], None]


def top(
    system: System,
    out: Print,
    *,
    interval_seconds: float = INTERVAL_SECONDS,
    times: int | None = 1,
    rows_max: int = ROWS_MAX,
    as_json: bool = False,
) -> None:
    """Print what a system does in an interval, so many times; until Ctrl-C without a number.

    Raises NoSystem when it has ended, or when no process of it answers.
    """
    if not 0 < interval_seconds <= INTERVAL_SECONDS_MAX:
        raise NoSystem(f"an interval has up to {INTERVAL_SECONDS_MAX:.0f} seconds, not {interval_seconds:g}")
    clears = times is None and not as_json and sys.stdout.isatty()
    with Onlooker(system) as onlooker:
        before = onlooker.loads(interval_seconds)
        if all(isinstance(load, str) for load in before.values()):
            why = "; ".join(f"{process}: {load}" for process, load in before.items())
            raise NoSystem(f"no process answers; is the key one that it allows? {why}")
        while times is None or times > 0:
            onlooker.wait(interval_seconds)
            after = onlooker.loads(interval_seconds)
            figures = figures_of(before, after)
            if as_json:
                out(msgspec.json.encode(figures).decode())
            else:
                out(f"{_CLEAR if clears else ''}{as_table(figures, rows_max)}{'' if times == 1 else chr(10)}")
            before = after
            times = None if times is None else times - 1


def trace(
    system: System,
    actor: Address,
    out: Print,
    note: Print,
    *,
    seconds: float = TRACE_SECONDS,
    records_max: int = RECORDS_MAX,
    as_json: bool = False,
) -> None:
    """Print each message that an actor handles, for so many seconds or so many messages at most.

    `note` is told what is not a message: that some were lost, or that the process does not answer. Raises
    NoSystem where there is no such process or actor.
    """
    with Onlooker(system) as onlooker:
        after, left, silent, first = 0, records_max, False, True
        ends = onlooker.now() + seconds
        while left > 0:
            try:
                traced = onlooker.trace(actor, after, TRACE_LEASE_SECONDS)
            except AskRefused as failure:
                raise NoSystem(str(failure)) from failure
            except AskFailed as failure:
                if not silent:
                    note(f"{actor.process} does not answer, and is asked again: {failure}")
                silent, after = True, 0
            else:
                if first and not as_json:
                    out(TRACE_HEADING)
                silent = first = False
                if traced.lost:
                    note(f"{traced.lost} messages came faster than they could be told, and are left out")
                after = _print_records(traced, left, out, as_json=as_json) or after
                left -= len(traced.records)
            if onlooker.now() >= ends:
                return
            onlooker.wait(min(TRACE_PERIOD_SECONDS, ends - onlooker.now()))
        note(f"{records_max} messages were shown, which is the limit")


def _print_records(traced: Traced, left: int, out: Print, *, as_json: bool) -> int:
    """Print them; the number of the last one, or 0."""
    now = datetime.now()
    for record in traced.records[:left]:
        if as_json:
            fields = {"v": 1, **msgspec.structs.asdict(record)}
            fields["sender"] = None if record.sender is None else str(record.sender)
            fields["age_seconds"] = traced.now - record.at
            out(msgspec.json.encode(fields).decode())
        else:
            out(trace_line(record, now, traced.now))
    return traced.records[-1].number if traced.records else 0
