"""The parameters of one run.

Owns their defaults and consistency. Knows nothing of how they were typed.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from raft.cluster.failures import BadUsage
from raft.lab.chaos.schedule import Schedule
from raft.lab.checkers.records import WORKLOADS

CLIENTS = 10
RATE = 250.0
RECOVERY_SECONDS_MAX = 10.0


class Sabotage(enum.StrEnum):
    """A deliberate bug, to see that the checkers find it."""

    STALE_READS = "stale-reads"
    NO_FSYNC = "no-fsync"
    NO_FENCING = "no-fencing"


# The faults and the workload that reveal it soon.
REVEALING = {
    Sabotage.STALE_READS: (("partition", "pause"), "register"),
    Sabotage.NO_FSYNC: (("power",), "register"),
    Sabotage.NO_FENCING: (("kill", "transfer"), "lock"),
}


class Order(Struct, frozen=True, kw_only=True):
    """One run, to be checked by `check`."""

    schedule: Schedule
    nodes: int = 5
    workload: str = "register"
    rate: float = RATE  # Operations per second, of all clients together.
    clients: int = CLIENTS
    sabotage: Sabotage | None = None
    recovery_seconds_max: float = RECOVERY_SECONDS_MAX  # For a write, when one is possible.
    name: str = ""  # Of the cluster to start; "" uses a running one: `cluster`.
    cluster: str | None = None
    hosts: str = ""  # The kind of its hosts; see ClusterSpec.
    command: str = ""  # How to repeat the run.

    def check(self) -> Order:
        """Return the order, or raise BadUsage if it is inconsistent."""
        if self.workload not in WORKLOADS:
            raise BadUsage(f"there is no workload {self.workload!r}; there are {', '.join(WORKLOADS)}")
        if self.sabotage is Sabotage.STALE_READS and self.workload not in ("register", "append", "set"):
            raise BadUsage("--sabotage stale-reads goes with --workload register, append or set")
        if self.sabotage is Sabotage.NO_FENCING and self.workload not in ("lock", "election"):
            raise BadUsage("--sabotage no-fencing goes with --workload lock or election")
        if self.sabotage is Sabotage.NO_FSYNC and self.cluster is not None:
            raise BadUsage("--sabotage no-fsync needs a cluster of its own: leave --cluster out")
        if self.hosts and self.cluster is not None:
            raise BadUsage("--hosts needs a cluster of its own: leave --cluster out")
        return self
