"""Schedules: the faults of a run as data that can be generated, saved, shared and shrunk.

Owns the kinds of faults, the parameters of each, and their validation. Knows nothing of how a fault is
carried out, and nothing of files.
Nodes are positions: 1 is the first of those that are members when the fault begins, and so on, so a schedule
is valid for clusters whose members change.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from msgspec import Struct

from raft.cluster.failures import BadUsage
from raft.cluster.selectors import check_selector
from raft.storage.device import CRASH_POINTS


class BadSchedule(BadUsage):
    """An invalid schedule; the text says which fault is wrong, and how to write it."""


class Kind(enum.StrEnum):
    """The kinds of faults. A correct cluster keeps its guarantees under all of them."""

    KILL = "kill"
    POWER_CUT = "power-cut"  # A kill that also loses unsynced writes.
    CRASH = "crash"  # Killed when a write passes `point`.
    RESTART = "restart"  # Gracefully; all nodes one after the other.
    PAUSE = "pause"
    PARTITION = "partition"  # Between `groups`; a node in no group can still talk to all.
    ISOLATE = "isolate"
    RING = "ring"  # Each node hears a majority, and no two hear the same one.
    LINK = "link"  # Slow, lossy, duplicating, reordering.
    DISK = "disk"  # Slow, full or failing.
    CLOCK = "clock"  # A node's clock runs at `rate`.
    SNAPSHOT = "snapshot"
    TRANSFER = "transfer"
    GROW = "grow"
    SHRINK = "shrink"
    REPLACE = "replace"


class Fault(Struct, frozen=True, kw_only=True):
    """One fault: when, what, where and for how long. The other fields depend on the kind."""

    at_seconds: float
    kind: Kind
    nodes: str = ""
    seconds: float = 0.0
    groups: tuple[str, ...] = ()
    one_way: bool = False
    every_seconds: float = 0.0  # It flaps: in force this long, then not for as long.
    to: str = ""
    both: bool = False
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    fsync_delay_seconds: float = 0.0
    full: bool = False
    fail_fsync: bool = False
    point: str = ""
    rate: float = 1.0

    @property
    def end_seconds(self) -> float:
        """When it ends."""
        return self.at_seconds + self.seconds

    def describe(self) -> str:
        """One line, for progress."""
        words = [self.kind.value, self.nodes or " | ".join(self.groups)]
        if self.point:
            words.append(f"at {self.point}")
        if self.kind is Kind.CLOCK:
            words.append(f"at {self.rate:g} times its rate")
        if self.seconds:
            words.append(f"for {self.seconds:.1f} s")
        return " ".join(word for word in words if word)


class Schedule(Struct, frozen=True, kw_only=True):
    """The faults of one run, in the order of their beginnings."""

    seed: int
    duration_seconds: float
    faults: tuple[Fault, ...] = ()

    def with_faults(self, faults: Iterable[Fault]) -> Schedule:
        """The same run with other faults."""
        return Schedule(seed=self.seed, duration_seconds=self.duration_seconds, faults=tuple(faults))


_COMMON = {"at_seconds", "kind", "nodes", "seconds"}
_LINK = {"delay_seconds", "jitter_seconds", "drop", "duplicate", "reorder"}

# The optional fields of each kind; required ones are in `check`.
FIELDS: dict[Kind, set[str]] = {
    Kind.KILL: {"nodes", "seconds"},
    Kind.POWER_CUT: {"nodes", "seconds"},
    Kind.CRASH: {"nodes", "seconds", "point"},
    Kind.RESTART: {"nodes"},
    Kind.PAUSE: {"nodes", "seconds"},
    Kind.PARTITION: {"groups", "one_way", "seconds", "every_seconds"},
    Kind.ISOLATE: {"nodes", "seconds", "every_seconds"},
    Kind.RING: {"nodes", "seconds"},
    Kind.LINK: {"nodes", "to", "both", "seconds", *_LINK},
    Kind.DISK: {"nodes", "seconds", "fsync_delay_seconds", "full", "fail_fsync"},
    Kind.CLOCK: {"nodes", "seconds", "rate"},
    Kind.SNAPSHOT: {"nodes"},
    Kind.TRANSFER: {"nodes"},
    Kind.GROW: set(),
    Kind.SHRINK: {"nodes"},
    Kind.REPLACE: {"nodes"},
}

_WITHOUT_NODES = {Kind.PARTITION, Kind.TRANSFER, Kind.GROW}
_RATE_MIN, _RATE_MAX = 0.1, 10.0


def check(schedule: Schedule) -> Schedule:
    """Return the schedule, its faults in order, or raise BadSchedule for the first invalid one."""
    if schedule.duration_seconds <= 0:
        raise BadSchedule("the duration of a schedule must be more than 0")
    for number, fault in enumerate(schedule.faults, 1):
        try:
            _check_fault(fault, schedule.duration_seconds)
        except BadUsage as wrong:
            raise BadSchedule(f"fault {number} ({fault.kind.value}): {wrong}") from None
    return schedule.with_faults(sorted(schedule.faults, key=lambda fault: fault.at_seconds))


def _check_fault(fault: Fault, duration_seconds: float) -> None:
    defaults = Fault(at_seconds=0.0, kind=fault.kind)
    for name in Fault.__struct_fields__:
        if name in {"at_seconds", "kind"} | FIELDS[fault.kind]:
            continue
        if getattr(fault, name) != getattr(defaults, name):
            raise BadUsage(f"{written_name(name)!r} is not a parameter of it")
    if not 0 <= fault.at_seconds < duration_seconds:
        raise BadUsage(f"it begins at {fault.at_seconds:g} s, but the run lasts {duration_seconds:g} s")
    if fault.end_seconds > duration_seconds + 1e-9:
        raise BadUsage("it ends after the run: give a shorter 'for'")
    if fault.kind not in _WITHOUT_NODES:
        check_selector(fault.nodes)
    for text in (*fault.groups, *filter(None, (fault.to,))):
        check_selector(text)
    for name in ("drop", "duplicate", "reorder"):
        if not 0 <= getattr(fault, name) <= 1:
            raise BadUsage(f"{name!r} is a share from 0% to 100%")
    _check_details(fault)


def _check_details(fault: Fault) -> None:
    match fault.kind:
        case Kind.PARTITION if len(fault.groups) < 2:
            raise BadUsage('it needs two groups or more, as in groups = ["1,2", "3,4,5"]')
        case Kind.CRASH if fault.point not in CRASH_POINTS:
            raise BadUsage(f"there is no crash point {fault.point!r}; there are {', '.join(CRASH_POINTS)}")
        case Kind.LINK if not fault.to:
            raise BadUsage('say to whom the link is bad, as in to = "followers"')
        case Kind.LINK if not any(getattr(fault, name) for name in _LINK):
            raise BadUsage("name a fault of the link: delay, jitter, drop, duplicate or reorder")
        case Kind.DISK if not (fault.fsync_delay_seconds or fault.full or fault.fail_fsync):
            raise BadUsage("name a fault of the disk: fsync_delay, full or fail_fsync")
        case Kind.CLOCK if not _RATE_MIN <= fault.rate <= _RATE_MAX:
            raise BadUsage(
                f"a clock runs at {_RATE_MIN:g} to {_RATE_MAX:g} times its rate, not {fault.rate:g}"
            )


def written_name(field: str) -> str:
    """A field's name in a file."""
    return {"seconds": "for"}.get(field, field.removesuffix("_seconds"))
