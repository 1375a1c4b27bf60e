"""One supervised node, as its supervisor knows it.

Owns the facts: its process, its state, how its end is to be understood, what was last heard of
it. Who acts on them is the supervisor; what the node itself is doing is the node's to tell.
"""

from __future__ import annotations

import enum
import signal

from actors.processes.child import ChildProcess
from raft.cluster.processes.usage import Usage, UsageMeter


class NodeState(enum.Enum):
    """What the supervisor sees of a node."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DOWN = "down"
    GAVE_UP = "gave-up"


HAS_PROCESS = frozenset({NodeState.STARTING, NodeState.RUNNING, NodeState.PAUSED})
HAS_NONE = frozenset({NodeState.DOWN, NodeState.GAVE_UP})


class Cause(enum.Enum):
    """Why a process ended, as told in its `node-exited`."""

    INJECTED = "injected"
    STOPPED = "stopped"
    CRASH = "crash"


class NodeProcess:
    """What is known of one node; `started_seconds` is when its present life was asked for."""

    def __init__(self, node: int) -> None:
        self.id = node
        self.state = NodeState.DOWN
        self.child: ChildProcess | None = None
        self.pid: int | None = None
        self.incarnation = 0
        self.lives = 0
        self.exits = 0
        self.started_seconds = 0.0
        self.came_up = False  # Has the present life said that it is up?
        self.up_seconds = 0.0
        self.heard_seconds = 0.0
        self.expected = Cause.CRASH
        self.last_words = ""  # Of the process before, if it crashed.
        self.repair = False  # A damaged log is to be put aside at the next start.
        self.removed = False  # It has stopped by itself, being a member no longer.
        self.output_offset = 0  # Where in its output file the present life begins.
        self.crash_armed = (
            False  # This life was told to die at some point of a write, whatever it was told since.
        )
        self.owed_signals: list[signal.Signals] = []  # To a process that was asked for and is not there yet.
        self._meter: UsageMeter | None = None

    @property
    def restarts(self) -> int:
        """How often it was started again, by whomever."""
        return max(self.lives - 1, 0)

    @property
    def name(self) -> str:
        """Its name as people write it."""
        return f"n{self.id}"

    def begin_life(self, child: ChildProcess, now: float) -> None:
        """A process was asked for."""
        assert self.child is None, f"{self.name} has a process already"
        self.child, self.state, self.expected = child, NodeState.STARTING, Cause.CRASH
        self.pid = self._meter = None
        self.crash_armed = self.came_up = False
        self.owed_signals.clear()
        self.lives += 1
        self.started_seconds = self.heard_seconds = now

    def end_life(self) -> Cause:
        """The process is gone; why, as far as the supervisor had a hand in it."""
        assert self.child is not None, f"{self.name} has no process that could end"
        self.child = self.pid = None
        self.state = NodeState.DOWN
        self.exits += 1
        return self.expected

    def usage(self, now: float) -> Usage | None:
        """What its process costs; None without one."""
        if self.pid is None:
            return None
        if self._meter is None:
            self._meter = UsageMeter(self.pid, self.started_seconds)
        return self._meter.read(now)

    def belongs_to_this_life(self, at_seconds: float) -> bool:
        """Can a report of that moment come from the process that runs now?"""
        return self.child is not None and at_seconds >= self.started_seconds
