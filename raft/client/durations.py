"""Times as programs write them: 5, 0.5, "500ms", "5s", "2m".

Owns the reading. Everything else in the client counts in seconds.
"""

from __future__ import annotations

import math
import re

Duration = float | str

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: Duration) -> float:
    """So many seconds; ValueError for a text that is no time."""
    if not isinstance(duration, str):
        return float(duration)
    written = _WRITTEN.fullmatch(duration)
    if written is None:
        raise ValueError(f"a time is written 500ms, 5s or 2m, not {duration!r}")
    return float(written[1]) * _SECONDS[written[2]]


def timeout_of(seconds: float) -> float:
    """A time-out for each call; ValueError for one in which nothing could be done."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"timeout_seconds is a number of seconds, not {seconds!r}")
    if not 0 < seconds < math.inf:
        raise ValueError(f"timeout_seconds must be more than 0 and finite, not {seconds}")
    return seconds


def ttl_ms_of(duration: Duration) -> int:
    """A lease's time as the machine counts it."""
    return round(seconds_of(duration) * 1000)
