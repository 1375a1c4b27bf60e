"""A load on the members of any peer, by that peer's own client.

Owns the choice of the client's connections and the starting of client programs; the clock, the counting and
the CPU are benchmarks.load's, so they are the same for all. Knows nothing of what is compared.
"""

from __future__ import annotations

from benchmarks.load import Figures, Load, drive, measure
from benchmarks.peers.members import Members
from benchmarks.peers.raft_actors import RaftActors

CONNECTIONS_MAX = 8  # From 1 to 16 etcd's client does about equally well on two cores; 64 cost more CPU.


def load_members(members: Members, load: Load) -> Figures:
    """Have callers write and read, and say what came of it."""
    if isinstance(members.peer, RaftActors):
        return measure(members.task("load").endpoints, "bench", members.pids(), load, members.peer.tree)
    task = members.task(
        "load",
        callers=load.callers,
        connections=min(load.callers, CONNECTIONS_MAX),
        reads=load.reads,
        value_bytes=load.value_bytes,
        seconds=load.seconds,
    )
    asked = members.asked(task)
    try:
        return drive([asked.process], members.pids(), load)
    finally:
        asked.end()
