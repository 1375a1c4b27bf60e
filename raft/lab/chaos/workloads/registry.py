"""Workloads by name.

Owns which there are, and what the cluster needs for them.
"""

from __future__ import annotations

from raft.lab.chaos.order import Order, Sabotage
from raft.lab.chaos.workers import Workload
from raft.lab.chaos.workloads.collections import Appends, Counters, Sets
from raft.lab.chaos.workloads.locks import Holdings
from raft.lab.chaos.workloads.register import Registers
from raft.lab.chaos.workloads.watches import Watches

TALLY = "raft.lab.chaos.tally:Tally"
OWN_MACHINE = frozenset({"append", "counter"})


def workload_of(order: Order) -> Workload:
    """A new one, inside a running event loop."""
    stale = order.sabotage is Sabotage.STALE_READS
    match order.workload:
        case "append":
            return Appends(stale=stale)
        case "set":
            return Sets(stale=stale)
        case "counter":
            return Counters(stale=stale)
        case "lock" | "election" as kind:
            fenced = order.sabotage is not Sabotage.NO_FENCING
            return Holdings(kind, fenced=fenced, clock_rate_max=_fastest_clock(order))
        case "watch":
            return Watches()
        case _:
            return Registers(stale=stale)


def _fastest_clock(order: Order) -> float:
    """How much faster than the clients' clock a node's may run."""
    return max([1.0, *(fault.rate for fault in order.schedule.faults)])
