"""Random schedules: the same seed gives the same faults.

Owns the families of faults, how often and how severely each strikes, and the gaps between them. Knows
nothing of how a fault is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any

from raft.cluster.failures import BadUsage
from raft.lab.chaos.schedule import Fault, Kind, Schedule, check
from raft.storage.device import CRASH_POINTS

# Upper limits; in a short run, these shares of it.
QUIET_SECONDS, QUIET_SHARE = 1.0, 0.2  # At the beginning, so that there is data to lose.
GAP_SECONDS, GAP_SHARE = 1.5, 0.125  # Between the beginnings of faults, on average: about their length.
FAULT_SECONDS = (0.4, 3.0)
LONGEST_SHARE = 0.25  # Of the run, for any single fault.
# With one faulty node at a time: the length of a fault, then time for the node to recover.
ONE_BROKEN_SECONDS, ONE_BACK_SECONDS = 1.7, 0.3

Drawn = dict[str, Any]


class Dice:
    """The random choices of one schedule."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.random = Random(f"chaos/{seed}")
        self.places = list(range(1, nodes + 1))

    @property
    def minority(self) -> int:
        """The largest number of nodes that the cluster can lose."""
        return (len(self.places) - 1) // 2

    def some(self, count: int) -> str:
        """That many random nodes."""
        return ",".join(map(str, sorted(self.random.sample(self.places, min(count, len(self.places))))))

    def one(self) -> str:
        """One node: half of the time the leader, where faults have the greatest effect."""
        return "leader" if self.random.random() < 0.5 else self.some(1)

    def any_nodes(self) -> str:
        """One node, the leader, a minority, a majority or all."""
        choices = [self.one(), self.one(), "leader", self.some(self.minority or 1)]
        choices += [self.some(self.minority + 1), "all"]
        return self.random.choice(choices)

    def shuffled(self) -> list[int]:
        """All nodes in random order."""
        return self.random.sample(self.places, len(self.places))

    def between(self, low: float, high: float) -> float:
        """A number with few digits, for a readable file."""
        return float(f"{self.random.uniform(low, high):.2g}")


def families() -> tuple[str, ...]:
    """The names of all families of faults."""
    return tuple(_FAMILIES)


def check_families(names: Collection[str]) -> tuple[str, ...]:
    """Return the names, or raise BadUsage for an unknown one."""
    for name in names:
        if name not in _FAMILIES:
            raise BadUsage(f"{name!r} is not a kind of fault: choose among {', '.join(_FAMILIES)}")
    return tuple(names)


def draw_schedule(seed: int, *, nodes: int, duration_seconds: float, names: Collection[str]) -> Schedule:
    """The schedule of a seed, with faults of these families."""
    dice = Dice(seed, nodes)
    chosen = sorted(check_families(names))
    gap_seconds = min(GAP_SECONDS, GAP_SHARE * duration_seconds)
    faults = []
    moment = min(QUIET_SECONDS, QUIET_SHARE * duration_seconds)
    while chosen and moment < 0.9 * duration_seconds:
        family = dice.random.choice(chosen)
        faults.append(_fault(dice, _FAMILIES[family](dice), moment, duration_seconds))
        moment += dice.random.expovariate(1 / gap_seconds)
    return check(Schedule(seed=seed, duration_seconds=duration_seconds, faults=tuple(faults)))


def draw_one_at_a_time(
    seed: int, *, nodes: int, duration_seconds: float, names: Collection[str] = ()
) -> Schedule:
    """At most one faulty node at any time: the cluster must continue to serve all the while."""
    dice = Dice(seed, nodes)
    chosen = [name for name in sorted(check_families(names or _ONE_AT_A_TIME)) if name in _OF_ONE_NODE]
    if not chosen:
        raise BadUsage(f"one at a time is possible for {', '.join(_OF_ONE_NODE)}")
    faults = []
    moment = QUIET_SECONDS
    while moment + ONE_BROKEN_SECONDS < duration_seconds:
        family = dice.random.choice(chosen)
        drawn = {**_OF_ONE_NODE[family](dice), "seconds": ONE_BROKEN_SECONDS}
        faults.append(Fault(at_seconds=round(moment, 3), **drawn))
        moment += ONE_BROKEN_SECONDS + ONE_BACK_SECONDS
    return check(Schedule(seed=seed, duration_seconds=duration_seconds, faults=tuple(faults)))


def _fault(dice: Dice, drawn: Drawn, moment: float, duration_seconds: float) -> Fault:
    at_seconds = round(moment, 3)
    lasts = dice.random.uniform(*FAULT_SECONDS)
    longest = min(duration_seconds - at_seconds, LONGEST_SHARE * duration_seconds)
    if drawn["kind"] in _LASTING:
        drawn = {**drawn, "seconds": round(min(lasts, longest), 3)}
    return Fault(at_seconds=at_seconds, **drawn)


_LASTING = set(Kind) - {
    Kind.RESTART, Kind.SNAPSHOT, Kind.TRANSFER, Kind.GROW, Kind.SHRINK, Kind.REPLACE,
}  # fmt: skip


def _kill(dice: Dice) -> Drawn:
    return {"kind": Kind.KILL, "nodes": dice.any_nodes()}


def _power_cut(dice: Dice) -> Drawn:
    return {"kind": Kind.POWER_CUT, "nodes": dice.random.choice(["all", dice.any_nodes()])}


def _crash(dice: Dice) -> Drawn:
    # Most points are passed by each write; the others wait for a snapshot or a full segment.
    saves = [point for point in CRASH_POINTS if point.startswith("save.")]
    point = dice.random.choice(saves if dice.random.random() < 0.6 else CRASH_POINTS)
    return {"kind": Kind.CRASH, "nodes": dice.any_nodes(), "point": point}


def _restart(dice: Dice) -> Drawn:
    return {"kind": Kind.RESTART, "nodes": dice.random.choice([dice.one(), "all"])}


def _pause(dice: Dice) -> Drawn:
    return {"kind": Kind.PAUSE, "nodes": dice.any_nodes()}


def _partition(dice: Dice) -> Drawn:
    if len(dice.places) < 2:
        return _kill(dice)
    return dice.random.choice((_halves, _halves, _isolate, _isolate, _ring, _bridge))(dice)


def _halves(dice: Dice) -> Drawn:
    nodes = dice.shuffled()
    size = dice.random.randint(1, max(1, len(nodes) // 2))
    one, other = (_listed(nodes[:size]), _listed(nodes[size:]))
    drawn: Drawn = {
        "kind": Kind.PARTITION,
        "groups": (one, other) if dice.random.random() < 0.5 else (other, one),
    }
    if dice.random.random() < 0.3:
        drawn["one_way"] = True
    return drawn | _flapping(dice)


def _isolate(dice: Dice) -> Drawn:
    return {"kind": Kind.ISOLATE, "nodes": dice.one()} | _flapping(dice)


def _flapping(dice: Dice) -> Drawn:
    return {"every_seconds": dice.between(0.05, 0.4)} if dice.random.random() < 0.2 else {}


def _ring(dice: Dice) -> Drawn:
    if len(dice.places) < 4:
        return _halves(dice)  # With three nodes, each hears both others.
    return {"kind": Kind.RING, "nodes": ",".join(map(str, dice.shuffled()))}


def _bridge(dice: Dice) -> Drawn:
    """Two halves that share one node."""
    if len(dice.places) < 3:
        return _halves(dice)
    _, *nodes = dice.shuffled()
    half = len(nodes) // 2
    return {"kind": Kind.PARTITION, "groups": (_listed(nodes[:half]), _listed(nodes[half:]))}


def _link(dice: Dice) -> Drawn:
    drawn: Drawn = {"kind": Kind.LINK, "nodes": "all", "to": "all"}
    if dice.random.random() < 0.5:
        drawn |= {"nodes": dice.one(), "both": dice.random.random() < 0.5}
    if dice.random.random() < 0.5:
        drawn["delay_seconds"] = dice.between(0.005, 0.15)
        drawn["jitter_seconds"] = dice.between(0.005, 0.15)
    else:
        for name in ("drop", "duplicate", "reorder"):
            drawn[name] = dice.between(0.01, 0.3)
    return drawn


def _disk(dice: Dice) -> Drawn:
    broken: Drawn = dice.random.choice(
        [{"fsync_delay_seconds": dice.between(0.01, 0.3)}, {"full": True}, {"fail_fsync": True}]
    )
    return {"kind": Kind.DISK, "nodes": dice.any_nodes(), **broken}


def _clock(dice: Dice) -> Drawn:
    return {"kind": Kind.CLOCK, "nodes": dice.any_nodes(), "rate": dice.between(0.5, 2.0)}


def _snapshot(dice: Dice) -> Drawn:
    return {"kind": Kind.SNAPSHOT, "nodes": dice.any_nodes()}


def _transfer(dice: Dice) -> Drawn:
    return {"kind": Kind.TRANSFER, "nodes": dice.random.choice(["", dice.some(1)])}


def _member(dice: Dice) -> Drawn:
    kind = dice.random.choice((Kind.GROW, Kind.SHRINK, Kind.REPLACE))
    return {"kind": kind} if kind is Kind.GROW else {"kind": kind, "nodes": dice.one()}


def _listed(nodes: list[int]) -> str:
    return ",".join(map(str, sorted(nodes)))


_FAMILIES: Mapping[str, Callable[[Dice], Drawn]] = {
    "kill": _kill,
    "pause": _pause,
    "partition": _partition,
    "link": _link,
    "disk": _disk,
    "crash": _crash,
    "restart": _restart,
    "transfer": _transfer,
    "snapshot": _snapshot,
    "member": _member,
    "clock": _clock,
    "power": _power_cut,
}

_ONE_AT_A_TIME = ("kill", "pause", "partition")  # By default.

_OF_ONE_NODE: Mapping[str, Callable[[Dice], Drawn]] = {
    "kill": lambda dice: {"kind": Kind.KILL, "nodes": dice.one()},
    "pause": lambda dice: {"kind": Kind.PAUSE, "nodes": dice.one()},
    "partition": lambda dice: {"kind": Kind.ISOLATE, "nodes": dice.one()},
    "disk": lambda dice: {**_disk(dice), "nodes": dice.one()},
}
