"""A schedule as a TOML file: read, checked, written.

Owns the notation, and the errors for an invalid file. Durations and shares are written as on the command
line. Knows nothing of what the faults do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raft.cluster.failures import BadUsage
from raft.cluster.quantities import parse_duration, parse_probability
from raft.lab.chaos.schedule import BadSchedule, Fault, Kind, Schedule, check, written_name

_NAMES = {written_name(field): field for field in Fault.__struct_fields__}
_SHARES = {"drop", "duplicate", "reorder"}
_FLAGS = {"one_way", "both", "full", "fail_fsync"}
DIGITS = 6  # More than a user writes, so that writing and reading gives the same numbers.
_TOP = {"seed", "duration", "fault"}


def read_schedule(path: Path) -> Schedule:
    """Raises BadSchedule for an invalid file."""
    try:
        return parse_schedule(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise BadSchedule(f"{path} cannot be read: {error}") from None
    except BadSchedule as wrong:
        raise BadSchedule(f"{path}: {wrong}") from None


def parse_schedule(text: str) -> Schedule:
    """The schedule in a text; raises BadSchedule."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSchedule(f"this is not TOML: {error}") from None
    unknown = sorted(set(table) - _TOP)
    if unknown:
        raise BadSchedule(f"{unknown[0]!r} is unknown here: there are seed, duration and [[fault]]")
    faults = table.get("fault", [])
    if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
        raise BadSchedule("faults are written as [[fault]], one after the other")
    seed = table.get("seed", 0)
    if not isinstance(seed, int):
        raise BadSchedule(f"seed is a whole number, not {seed!r}")
    if "duration" not in table:
        raise BadSchedule('the duration is missing, as in duration = "60s"')
    duration_seconds = _value("duration", table["duration"], "")
    return check(
        Schedule(
            seed=seed,
            duration_seconds=duration_seconds,
            faults=tuple(_fault(number, fault) for number, fault in enumerate(faults, 1)),
        )
    )


def _fault(number: int, table: Mapping[str, Any]) -> Fault:
    where = f"fault {number}: "
    kinds = ", ".join(Kind)
    if "kind" not in table or table["kind"] not in set(Kind):
        raise BadSchedule(f"{where}its kind is one of {kinds}, not {table.get('kind')!r}")
    if "at" not in table:
        raise BadSchedule(f'{where}it does not say when, as in at = "3.2s"')
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _NAMES:
            raise BadSchedule(f"{where}{name!r} is unknown: there are {', '.join(_NAMES)}")
        values[_NAMES[name]] = _value(name, value, where)
    return Fault(**values)


def _value(name: str, value: object, where: str) -> Any:
    if name == "kind":
        return Kind(str(value))
    if name in ("nodes", "to", "point"):
        return str(value)  # So that `nodes = 3` is valid, too.
    parse, what = _notation(name)
    try:
        return parse(value)
    except BadUsage as wrong:
        raise BadSchedule(f"{where}{name}: {wrong}") from None
    except (TypeError, ValueError):
        raise BadSchedule(f"{where}{name} is {what}, not {value!r}") from None


def _notation(name: str) -> tuple[Callable[[Any], Any], str]:
    if name == "groups":
        return _groups, 'a list of groups, as in ["1,2", "3,4,5"]'
    if name in _FLAGS:
        return _flag, "true or false"
    if name == "rate":
        return _number, "a number such as 1.5"
    if name in _SHARES:
        return lambda value: round(parse_probability(_text(value)), DIGITS), 'a share such as "10%"'
    return lambda value: round(parse_duration(_text(value)), DIGITS), 'a duration such as "2s"'


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _groups(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(str(group) for group in value)


def format_schedule(schedule: Schedule) -> str:
    """The schedule as `parse_schedule` reads it; deterministic."""
    lines = [f"seed = {schedule.seed}", f'duration = "{_seconds(schedule.duration_seconds)}"']
    for fault in schedule.faults:
        defaults = Fault(at_seconds=0.0, kind=fault.kind)
        lines += ["", "[[fault]]", f'at = "{_seconds(fault.at_seconds)}"', f'kind = "{fault.kind.value}"']
        for name, field in _NAMES.items():
            value = getattr(fault, field)
            if field not in ("at_seconds", "kind") and value != getattr(defaults, field):
                lines.append(f"{name} = {_written(field, value)}")
    return "\n".join(lines) + "\n"


def _written(field: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{group}"' for group in value) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    if field == "rate":
        return repr(value)
    return f'"{value * 100:g}%"' if field in _SHARES else f'"{_seconds(value)}"'


def _seconds(seconds: float) -> str:
    """In seconds, or in milliseconds if it is less than one."""
    number, unit = (1000 * seconds, "ms") if seconds < 1 else (seconds, "s")
    return str(round(number, 3)).removesuffix(".0") + unit
