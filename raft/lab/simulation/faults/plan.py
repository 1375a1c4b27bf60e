"""The faults of a run, as a plan made before the run begins.

Owns the plan, as data, from which single faults can be removed without moving the others. Knows nothing of
how a fault is carried out.
"""

from __future__ import annotations

import enum
from random import Random

from msgspec import Struct

from raft.lab.simulation.setting import Setting
from raft.storage.device import CRASH_POINTS

LEADER = 0  # Stands for the leader when the fault begins.


class Kind(enum.Enum):
    """The kinds of faults."""

    KILL = "kill"
    POWER_CUT = "power cut"
    BLACKOUT = "blackout"  # The power of all nodes at once.
    CRASH_POINT = "crash point"  # Dies when a write gets there.
    STOP = "stop"  # Gracefully.
    PAUSE = "pause"
    PARTITION = "partition"
    ISOLATION = "isolation"  # From the other nodes, but not from the clients.
    ONE_WAY = "one-way cut"
    BRIDGE = "bridge"  # Two halves that share one node.
    RING = "ring"  # Each node hears only two neighbours.
    SLOW_LINKS = "slow links"
    BAD_LINKS = "bad links"  # Frames are lost, duplicated and reordered.
    SLOW_DISK = "slow disk"
    LATE_WRITE = "late write"  # A node cut off with its leader writes what the next leader replaces.
    FULL_DISK = "full disk"
    FAILING_DISK = "failing disk"  # Every sync fails.
    BIT_FLIP = "bit flip"  # With a kill, so that it is read again.
    LOST_SEGMENT = "lost segment"  # The newest one of a log, while the node is down.
    SNAPSHOT_ROT = "snapshot rot"  # A received snapshot changes on its disk, and its node leads.
    WRITE_BACK = "write-back"  # The kernel writes unsynced data to the disk.
    SNAPSHOT = "snapshot"
    TRANSFER = "transfer"
    GROWTH = "new member"
    REMOVAL = "removal"
    REPLACEMENT = "replacement"
    WIPE = "wiped disk"


WEIGHTS = {
    Kind.KILL: 6,
    Kind.POWER_CUT: 8,
    Kind.BLACKOUT: 2,
    Kind.CRASH_POINT: 6,
    Kind.STOP: 2,
    Kind.PAUSE: 4,
    Kind.PARTITION: 4,
    Kind.ISOLATION: 4,
    Kind.ONE_WAY: 4,
    Kind.BRIDGE: 1,
    Kind.RING: 1,
    Kind.SLOW_LINKS: 2,
    Kind.BAD_LINKS: 7,
    Kind.SLOW_DISK: 3,
    Kind.LATE_WRITE: 3,
    Kind.FULL_DISK: 2,
    Kind.FAILING_DISK: 2,
    Kind.BIT_FLIP: 1,
    Kind.WRITE_BACK: 2,
    Kind.SNAPSHOT: 6,
    Kind.TRANSFER: 3,
    Kind.GROWTH: 2,
    Kind.REMOVAL: 2,
    Kind.REPLACEMENT: 2,
    Kind.WIPE: 1,
}
# A node that refuses its log stays away for good; with fewer members than at first, too few might be left.
CHANGES_OF_MEMBERS = frozenset((Kind.GROWTH, Kind.REMOVAL, Kind.REPLACEMENT, Kind.WIPE))

# Chosen separately, and for seeds without membership changes: a node that refuses its disk stays away.
LOSSES = (Kind.LOST_SEGMENT, Kind.SNAPSHOT_ROT)
LOSS_SECONDS_MAX = 4.0

QUIET_SECONDS_MAX = 3.0  # At the beginning, so that there is a leader.
QUIET_SHARE = 0.15
FAULTY_SHARE = 0.75  # Of the run; the rest is for recovery.


class Fault(Struct, frozen=True):
    """One fault. The meaning of `amount` and `detail` depends on the kind."""

    at_seconds: float
    kind: Kind
    nodes: tuple[int, ...]
    seconds: float
    amount: float
    detail: str = ""

    def describe(self) -> str:
        """One line for the run log."""
        nodes = ", ".join("the leader" if node == LEADER else f"n{node}" for node in self.nodes)
        words = [self.kind.value, self.detail, f"of {nodes}" if nodes else "", f"for {self.seconds:.2f} s"]
        return " ".join(word for word in words if word)


def draw_plan(setting: Setting) -> tuple[Fault, ...]:
    """The faults of a seed, in order of time."""
    dice = setting.dice("plan")
    # Each seed prefers some kinds and omits others, so that rare combinations occur, too.
    kinds = [kind for kind in WEIGHTS if dice.random() < 0.6]
    avoided = {Kind.BIT_FLIP} if dice.random() < 0.5 else CHANGES_OF_MEMBERS
    kinds = [kind for kind in kinds if kind not in avoided] or [Kind.POWER_CUT]
    spoilt: set[int] = set()
    plan = []
    moment = min(QUIET_SECONDS_MAX, QUIET_SHARE * setting.seconds)
    while (
        moment := moment + dice.expovariate(1 / setting.fault_gap_seconds)
    ) < FAULTY_SHARE * setting.seconds:
        kind = dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        fault = _draw(dice, setting, kind, moment)
        if kind is Kind.BIT_FLIP:
            # A majority keeps healthy disks, or recovery would be impossible.
            if len(spoilt | set(fault.nodes)) > (setting.nodes - 1) // 2:
                continue
            spoilt.update(fault.nodes)
        plan.append(fault)
    if avoided is CHANGES_OF_MEMBERS:
        plan += _draw_losses(setting, spoilt)
    return tuple(sorted(plan, key=lambda fault: fault.at_seconds))


def _draw_losses(setting: Setting, spoilt: set[int]) -> list[Fault]:
    dice = setting.dice("losses")
    losses = []
    for kind in LOSSES:
        node = dice.choice(setting.ids)
        share = QUIET_SHARE + (FAULTY_SHARE - QUIET_SHARE) * dice.random()
        seconds = LOSS_SECONDS_MAX * (0.25 + 0.75 * dice.random())
        if dice.random() < 0.5 and len(spoilt | {node}) <= (setting.nodes - 1) // 2:
            spoilt.add(node)
            losses.append(Fault(share * setting.seconds, kind, (node,), seconds, dice.random()))
    return losses


def _draw(dice: Random, setting: Setting, kind: Kind, moment: float) -> Fault:
    ids = list(setting.ids)
    seconds = min(dice.expovariate(1 / setting.fault_seconds), 10.0)
    amount = dice.random()
    nodes: tuple[int, ...] = (dice.choice(ids),)
    detail = ""
    if kind not in (Kind.BIT_FLIP, Kind.LATE_WRITE) and dice.random() < 0.5:
        nodes = (LEADER,)
    if kind in (Kind.PARTITION, Kind.BRIDGE, Kind.RING):
        dice.shuffle(ids)
        nodes = tuple(ids)
    elif kind in (Kind.BLACKOUT, Kind.SLOW_LINKS, Kind.BAD_LINKS):
        nodes = ()
    elif kind is Kind.LATE_WRITE:
        seconds = (1.0 + dice.random()) * setting.election_seconds_max
    elif kind is Kind.CRASH_POINT:
        saves = [point for point in CRASH_POINTS if point.startswith("save.")]
        detail = dice.choice(saves if dice.random() < 0.5 else CRASH_POINTS)
    return Fault(moment, kind, nodes, seconds, amount, detail)
