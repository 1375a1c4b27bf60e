"""One supervised node, as its supervisor knows it.

Owns the facts: its process, its state, the expected cause of its exit, its last reports. The supervisor acts
on them; the node's own work is known to the node only.
"""

from __future__ import annotations

import enum
import signal

from actors.processes.child import ChildProcess
from raft.cluster.processes.usage import Usage, UsageMeter


class NodeState(enum.Enum):
    """A node's state as the supervisor sees it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DOWN = "down"
    GAVE_UP = "gave-up"


HAS_PROCESS = frozenset({NodeState.STARTING, NodeState.RUNNING, NodeState.PAUSED})
HAS_NONE = frozenset({NodeState.DOWN, NodeState.GAVE_UP})


class Cause(enum.Enum):
    """Why a process ended, as reported in its `node-exited`."""

    INJECTED = "injected"
    STOPPED = "stopped"
    CRASH = "crash"


class NodeProcess:
    """What is known of one node; `started_seconds` is when its present process was requested."""

    def __init__(self, node: int) -> None:
        self.id = node
        self.state = NodeState.DOWN
        self.child: ChildProcess | None = None
        self.pid: int | None = None
        self.incarnation = 0
        self.starts = 0
        self.exits = 0
        self.started_seconds = 0.0
        self.is_up = False  # Has the present process reported that it is up?
        self.up_seconds = 0.0
        self.heard_seconds = 0.0
        self.expected = Cause.CRASH
        self.last_output = ""  # The last output of the previous process, if it crashed.
        self.repair = False  # Put a damaged log aside at the next start.
        self.removed = False  # It has stopped by itself, since it is no longer a member.
        self.output_offset = 0  # Where the present process begins in the output file.
        self.crash_armed = False  # A crash point was armed in this process, even if it was disarmed later.
        self.owed_signals: list[signal.Signals] = []  # For a process that was requested and is not there yet.
        self._meter: UsageMeter | None = None

    @property
    def restarts(self) -> int:
        """How often it was started again, for any reason."""
        return max(self.starts - 1, 0)

    @property
    def name(self) -> str:
        """Its name in output."""
        return f"n{self.id}"

    def begin_process(self, child: ChildProcess, now: float) -> None:
        """A process was requested."""
        assert self.child is None, f"{self.name} has a process already"
        self.child, self.state, self.expected = child, NodeState.STARTING, Cause.CRASH
        self.pid = self._meter = None
        self.crash_armed = self.is_up = False
        self.owed_signals.clear()
        self.starts += 1
        self.started_seconds = self.heard_seconds = now

    def end_process(self) -> Cause:
        """The process has ended; returns the cause, as far as the supervisor knows it."""
        assert self.child is not None, f"{self.name} has no process that could end"
        self.child = self.pid = None
        self.state = NodeState.DOWN
        self.exits += 1
        return self.expected

    def usage(self, now: float) -> Usage | None:
        """Its process's resource usage; None without a process."""
        if self.pid is None:
            return None
        if self._meter is None:
            self._meter = UsageMeter(self.pid, self.started_seconds)
        return self._meter.read(now)

    def is_of_present_process(self, at_seconds: float) -> bool:
        """Can a report of that time come from the present process?"""
        return self.child is not None and at_seconds >= self.started_seconds
