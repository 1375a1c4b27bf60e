"""Durations, probabilities and counts as users type and read them.

Owns shares such as `10%`, and the output of all. The grammar of durations and of their ranges is in
`raft.durations`. Inside the program all are floats.
"""

from __future__ import annotations

import re

from msgspec import Struct

from raft.cluster.failures import BadUsage
from raft.durations import range_of, seconds_of

_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)


class DurationRange(Struct, frozen=True):
    """Two durations in seconds, the shorter first."""

    seconds_min: float
    seconds_max: float


def parse_duration(text: str) -> float:
    """The seconds in `text`, such as `500ms`, `5s`, `2m`, `1m30s` or `1d`; raises BadUsage."""
    try:
        return seconds_of(text)
    except ValueError as error:
        raise BadUsage(str(error)) from None


def parse_positive_duration(text: str) -> float:
    """Like `parse_duration`, but zero is refused."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise BadUsage(f"{text!r} must be more than 0")
    return seconds


def parse_duration_range(text: str) -> DurationRange:
    """Two positive durations joined by a dash, the shorter first; one alone means `D` to `2D`."""
    try:
        return DurationRange(*range_of(text))
    except ValueError as error:
        raise BadUsage(str(error)) from None


def parse_probability(text: str) -> float:
    """A share of all messages, from `0%` to `100%`; raises BadUsage."""
    written = text.strip()
    number = written.removesuffix("%")
    if number == written:
        raise BadUsage(f"{text!r} is not a share: write one like 10% or 0.5%")
    if not _NUMBER.fullmatch(number) or float(number) > 100:
        raise BadUsage(f"{text!r} is not a share: it lies between 0% and 100%")
    return float(number) / 100


def format_duration(seconds: float) -> str:
    """A duration in a suitable unit, in the notation that `parse_duration` reads."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us" if seconds else "0s"
    if seconds < 1:
        return f"{_short(seconds * 1e3)}ms"
    if seconds < 60:
        return f"{_short(seconds)}s"
    unit, letter = (3600, "h") if seconds >= 3600 and seconds % 3600 == 0 else (60, "m")
    whole, rest = divmod(seconds, unit)
    return f"{whole:.0f}{letter}" + (f"{_short(rest)}s" if rest else "")


def format_share(probability: float) -> str:
    """A probability as `parse_probability` reads it."""
    return f"{_short(probability * 100)}%"


def count_of(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 node", "2 nodes"; `many` is for plurals that are not formed with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _short(number: float) -> str:
    """About three digits, without trailing zeros."""
    text = f"{number:.0f}" if number >= 100 else f"{number:.1f}"
    return text.removesuffix(".0")
