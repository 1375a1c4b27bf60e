"""Durations, and ranges of them, as programs and people write them: 5, timedelta(minutes=2), "1m30s", "1d".

Owns the one grammar, for clients, embedded nodes and every command line. Inside the program all are seconds.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

Duration = float | str | timedelta
"""Seconds as a number, a `timedelta`, or a text with a unit: us, ms, s, m, h or d."""

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(us|ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)


def seconds_of(duration: Duration) -> float:
    """So many seconds, 0 or more. ValueError for a text that is no duration, and for what no time can be.

    A bare number in a text is refused: it would not be clear whose unit it is in.
    """
    if isinstance(duration, str):
        return _read(duration)
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, bool) or not isinstance(duration, int | float):
        raise TypeError(
            f'a duration is a number of seconds, a timedelta or a text such as "5s", not {duration!r}'
        )
    else:
        seconds = float(duration)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a duration is 0 or more and finite, not {duration}")
    return seconds


def range_of(durations: str | tuple[Duration, Duration]) -> tuple[float, float]:
    """The two ends of a range in seconds, from a pair or a text: "250ms-500ms"; "250ms" alone is doubled.

    ValueError for one that leaves no room to draw from.
    """
    if isinstance(durations, str):
        low_text, dash, high_text = durations.partition("-")
        low = seconds_of(low_text)
        high = seconds_of(high_text) if dash else 2 * low
    else:
        low, high = map(seconds_of, durations)
    if not 0 < low < high:
        raise ValueError(
            f"{durations!r} leaves no room to draw from: the second must be longer than the first, and both "
            "more than nothing"
        )
    return low, high


def timeout_of(duration: Duration) -> float:
    """A time-out in seconds; ValueError for one in which nothing could be done."""
    try:
        seconds = seconds_of(duration)
    except (ValueError, TypeError) as error:
        raise type(error)(f"timeout_seconds: {error}") from None
    if not seconds:
        raise ValueError(f"timeout_seconds must be more than 0, not {duration!r}")
    return seconds


def ttl_ms_of(duration: Duration) -> int:
    """A lease's time as the machine counts it."""
    return round(seconds_of(duration) * 1000)


def _read(text: str) -> float:
    written = text.strip()
    if _NUMBER.fullmatch(written):
        raise ValueError(f"{text!r} has no unit: write {written}ms or {written}s")
    parts = list(_PART.finditer(written))
    if not parts or "".join(part.group() for part in parts) != written:
        raise ValueError(f"{text!r} is not a duration: write one like 500ms, 5s, 2m or 1d")
    return sum(float(part[1]) * _SECONDS[part[2]] for part in parts)
