"""A failing run again, with fewer and fewer faults.

Owns the repetition. Real processes never do quite the same twice, so each try is a run of its own, and a
schedule that has failed once need not fail again. Knows nothing of why it fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from raft.lab.chaos.order import Order
from raft.lab.chaos.run import carry_out
from raft.lab.chaos.schedule import Fault, Schedule
from raft.lab.checkers.verdict import Ruling
from raft.lab.shrinking import shrink

RUNS_MAX = 20

Tell = Callable[[str], None]


def shortened(order: Order, directory: Path, tell: Tell) -> Schedule | None:
    """The order's schedule with as few faults as still fail; None if it does not fail again."""
    place = directory / "again"

    def fails(faults: Sequence[Fault]) -> bool:
        place.mkdir()
        again = msgspec.structs.replace(order, schedule=order.schedule.with_faults(faults))
        try:
            failed = carry_out(again, place, _ignore).ruling is Ruling.ILLEGAL
        finally:
            shutil.rmtree(place)
        tell(f"with {len(faults)} of {len(order.schedule.faults)} faults: {'fails' if failed else 'passes'}")
        return failed

    if not fails(order.schedule.faults):
        return None
    return order.schedule.with_faults(shrink(order.schedule.faults, fails, runs_max=RUNS_MAX))


def _ignore(_text: str) -> None:
    """Each of these runs is told of in one line."""
