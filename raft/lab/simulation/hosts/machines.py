"""The machines of a simulated world: which processes run on which, and what can be seen of their ends.

Owns the truth on which processes live, and how late and how surely others on the same machine see it. What is
kept of pledges outlives processes. Knows nothing of what nodes conclude.
"""

from __future__ import annotations

from random import Random

from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.setting import Setting
from raft.node.leadership.peer_processes import Pledge
from raft.protocol.registry import Process

BLIND_SHARE = 0.1  # Of all attempts to watch a process.
UNWRITTEN_SHARE = 0.05  # Of all attempts to write a pledge down.
SEEN_SECONDS_MAX = 0.05  # From the end of a process until it is seen.


class Machines:
    """All processes of nodes by (node, incarnation), and the moments at which they ended."""

    def __init__(self, setting: Setting, event_queue: EventQueue) -> None:
        self._setting = setting
        self._now = event_queue.now
        self._ended_at: dict[tuple[int, int], float] = {}

    def ended(self, node: int, incarnation: int) -> None:
        """A process has ended."""
        self._ended_at.setdefault((node, incarnation), self._now())

    def endings_seen_by(self, node: int, incarnation: int) -> SimulatedEndings:
        """What one process sees of the others."""
        dice = self._setting.dice(f"endings {node} {incarnation}")
        return SimulatedEndings(self, self._setting.machine_of(node), node, dice)

    def seconds_since_end(self, process: Process) -> float | None:
        """How long ago a process has ended; None if it lives."""
        ended_at = self._ended_at.get((process.pid, process.incarnation))
        return None if ended_at is None else self._now() - ended_at


class SimulatedEndings:
    """See `Endings`."""

    def __init__(self, machines: Machines, machine: str, node: int, dice: Random) -> None:
        self._machines = machines
        self._machine = machine
        self._node = node
        self._dice = dice

    def own(self, incarnation: int) -> Process | None:
        """See `Endings`."""
        return Process(self._machine, self._node, incarnation, incarnation) if self._machine else None

    def watch(self, process: Process) -> SimulatedWatch | None:
        """See `Endings`."""
        if not self._machine or process.machine != self._machine or self._dice.random() < BLIND_SHARE:
            return None
        return SimulatedWatch(self._machines, process, SEEN_SECONDS_MAX * self._dice.random() ** 3)


class SimulatedWatch:
    """See `Watched`."""

    def __init__(self, machines: Machines, process: Process, seen_after_seconds: float) -> None:
        self._machines = machines
        self._process = process
        self._seen_after_seconds = seen_after_seconds

    def has_ended(self, wait_milliseconds: int = 0) -> bool:
        """See `Watched`; never waits."""
        del wait_milliseconds
        seconds = self._machines.seconds_since_end(self._process)
        return seconds is not None and seconds >= self._seen_after_seconds

    def close(self) -> None:
        """Nothing is held."""


class KeptPledge:
    """See `PledgeRecord`; one for all processes of a node."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._pledge: Pledge | None = None

    def read(self) -> Pledge | None:
        """See `PledgeRecord`."""
        return self._pledge

    def write(self, pledge: Pledge) -> bool:
        """See `PledgeRecord`."""
        if self._dice.random() < UNWRITTEN_SHARE:
            return False
        self._pledge = pledge
        return True
