"""The actor that supervises one node: starts, monitors, restarts and stops it, or gives it up.

Owns the node's process and what it reports. Knows nothing of event loops or threads: a `Listener` gets
the changes.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, Protocol

import msgspec
from msgspec import Struct

from actors.actor import Actor, Handlers
from actors.failures.supervision import RestartChildren, Supervisor
from actors.processes.child import describe_exit
from raft.embedding.errors import NodeError, NodeFailed, NodeRefused, NodeRemoved
from raft.embedding.settings import Plan
from raft.node.config import EXIT_REFUSED, EXIT_REMOVED
from raft.node.process.exit_codes import DATA_NEED_A_DECISION
from raft.protocol.admin import Alive, BecameLeader, LostLeadership, NodeUp, SawLeader, SpaceIs
from raft.protocol.registry import process_of

NODE_ENTRY = "raft.node.process.main:main"
# A node reports twice a second that it is alive.
HUNG_SECONDS = 5.0
HUNG_CHECK_SECONDS = 1.0
_LAST_OUTPUT_BYTES_MAX = 4096

log = logging.getLogger("raft.embedding")


class Leader(Struct, frozen=True):
    """The leader of the cluster, and its term; terms only grow."""

    node: int
    term: int


class Stop(Struct, frozen=True):
    """Stop the node gracefully, then call the listener's `ended`."""


class Listener(Protocol):
    """Gets the changes of a node's state."""

    def up(self) -> None:
        """The node has recovered its log and is running; called after each start."""

    def leader_changed(self, leader: Leader | None) -> None:
        """The node follows another leader now, or none."""

    def ended(self, error: NodeError | None) -> None:
        """The node has ended for good; None if it was stopped. The last call."""


class Child(Protocol):
    """The interface to a child process."""

    pid: int | None
    returncode: int | None

    @property
    def error(self) -> Exception | None:
        """Why the process could not be started."""

    def kill(self, signal_number: int = signal.SIGKILL) -> bool:
        """Send a signal."""

    def close(self) -> None:
        """Release its resources."""


class Children(Protocol):
    """The interface to a fork server."""

    @property
    def ended(self) -> bool:
        """Whether the fork server has ended, and the node with it."""

    def fileno(self) -> int:
        """Readable when `receive` has something to do."""

    def receive(self) -> Sequence[Child]:
        """Children that started, failed or ended."""

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> Child:
        """Ask for a child."""


class NodeSupervisor(Actor):
    """Hosted by a runtime that listens at the plan's supervisor endpoint."""

    def __init__(self, plan: Plan, children: Children, listener: Listener) -> None:
        self.leader: Leader | None = None
        self.starts = 0
        self._plan = plan
        self._config = plan.config
        self._children = children
        self._listener = listener
        self._restarts = Supervisor(plan.restarts, Random())
        self._name = f"node {plan.config.node}"
        self._child: Child | None = None
        self._started_seconds = 0.0
        self._reported_seconds = 0.0
        self._checked_seconds = 0.0
        self._log_offset = 0
        self._is_up = False
        self._was_up = False
        self._stopping = False
        self._ended = False

    @property
    def pid(self) -> int | None:
        """The node's process id, while it runs."""
        return None if self._child is None else self._child.pid

    def on_start(self) -> None:
        """Start the node."""
        self._plan.output_path.unlink(missing_ok=True)
        self.context.add_reader(self._children.fileno(), self._on_children)
        self.context.every(HUNG_CHECK_SECONDS, self._check_hung)
        self._start()

    # -- reports -----------------------------------------------------------------------------

    def on_node_up(self, report: NodeUp) -> None:
        """The node has recovered its log, and is running."""
        if self._is_current(report):
            self._came_up(report.pid)

    def on_saw_leader(self, report: SawLeader) -> None:
        """The node follows another leader; itself, if it leads."""
        if self._is_current(report):
            self._follow(Leader(report.leader, report.term) if report.leader else None)

    def on_alive(self, report: Alive) -> None:
        """The node is alive; the report repeats earlier ones, which may have been lost."""
        if not self._is_current(report):
            return
        self._reported_seconds = self.context.now()
        if not self._is_up:
            self._came_up(report.pid)
        self._follow(Leader(report.leader, report.term) if report.leader else None)

    def on_other_report(self, report: BecameLeader | LostLeadership | SpaceIs) -> None:
        """Ignored: `SawLeader` reports the leader, and the node logs its space."""

    def on_stop_request(self, _: Stop) -> None:
        """Send SIGTERM, on which a node transfers leadership and ends; kill it if that takes too long."""
        if self._stopping or self._ended:
            return
        self._stopping = True
        if self._child is None:
            self._end(None)
            return
        if self._child.pid is not None:
            self._child.kill(signal.SIGTERM)
        self.context.after(self._plan.stop_seconds_max, self._kill)

    def _came_up(self, pid: int) -> None:
        """From now on an empty directory means a lost disk, even if this is a first start."""
        self._is_up = self._was_up = True
        self._reported_seconds = self.context.now()
        self._config = msgspec.structs.replace(self._config, first_start=False)
        log.info("%s is up, process %d", self._name, pid)
        self._listener.up()

    def _is_current(self, report: NodeUp | Alive | SawLeader) -> bool:
        """Whether a report comes from the current process. All processes of a machine share the clock."""
        sender = self.context.sender
        if sender is None or sender.process != process_of(self._config.node):
            return False
        return self._child is not None and report.at_seconds >= self._started_seconds

    def _follow(self, leader: Leader | None) -> None:
        if leader != self.leader:
            self.leader = leader
            self._listener.leader_changed(leader)

    # -- the process -------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._stopping or self._ended:
            return
        self._started_seconds = self.context.now()
        path = self._plan.output_path
        self._log_offset = path.stat().st_size if path.exists() else 0
        self._child = self._children.spawn(NODE_ENTRY, self._config.encode(), log_path=path)
        self.starts += 1
        self._restarts.started(self._name, self._started_seconds)

    def _on_children(self) -> None:
        for child in self._children.receive():
            if child is not self._child:
                continue
            if child.returncode is not None or child.error is not None:
                self._child_ended(child)
            elif self._stopping:
                child.kill(signal.SIGTERM)  # It had not started yet when the stop was requested.
        if self._children.ended and not self._ended:
            self.context.remove_reader(self._children.fileno())
            self._end(NodeFailed("the fork server of the node has ended, and the node with it"))

    def _child_ended(self, child: Child) -> None:
        self._child = None
        self._is_up = False
        self._follow(None)
        child.close()
        if self._stopping:
            self._end(None)
            return
        code = child.returncode
        output = str(child.error) if code is None else self._last_output() or describe_exit(code)
        if code == EXIT_REMOVED:
            self._end(NodeRemoved(f"{self._name} is no longer a member of its cluster"))
        elif code is None or code in DATA_NEED_A_DECISION or (code == EXIT_REFUSED and not self._was_up):
            self._end(NodeRefused(output))
        else:
            self._start_again(output if code > 0 else describe_exit(code))

    def _start_again(self, output: str) -> None:
        decision = self._restarts.ended(self._name, self.context.now(), failed=True)
        if isinstance(decision, RestartChildren):
            log.warning(
                "%s ended, and starts again in %.2f s: %s", self._name, decision.after_seconds, output
            )
            self.context.after(decision.after_seconds, self._start)
            return
        policy = self._plan.restarts
        times = f"after {policy.max_restarts} restarts within {policy.window_seconds:g} s"
        self._end(NodeFailed(f"{self._name} was given up {times}: {output}"))

    def _check_hung(self) -> None:
        """Kill a node that no longer reports; a stall of this program itself doesn't count."""
        now = self.context.now()
        if now - self._checked_seconds > 2 * HUNG_CHECK_SECONDS:
            self._reported_seconds = now
        self._checked_seconds = now
        if self._is_up and self._child is not None and now - self._reported_seconds > HUNG_SECONDS:
            log.warning("%s has not reported for %g s, and is killed", self._name, HUNG_SECONDS)
            self._child.kill(signal.SIGKILL)

    def _kill(self) -> None:
        if self._child is not None:
            log.warning("%s did not end within %g s", self._name, self._plan.stop_seconds_max)
            self._child.kill(signal.SIGKILL)

    def _end(self, error: NodeError | None) -> None:
        self._ended = True
        if error is not None:
            log.critical("%s: %s", type(error).__name__, error)
        self._follow(None)
        self._listener.ended(error)

    def _last_output(self) -> str:
        """What the process printed before it ended: a traceback, or else its last line."""
        try:
            printed = self._plan.output_path.read_bytes()[self._log_offset :]
        except OSError:
            return ""
        text = printed[-_LAST_OUTPUT_BYTES_MAX:].decode(errors="replace").strip()
        start = text.rfind("Traceback (most recent call last)")
        return text[start:] if start >= 0 else "".join(text.splitlines()[-1:])

    handlers: ClassVar[Handlers] = {
        NodeUp: on_node_up,
        SawLeader: on_saw_leader,
        Alive: on_alive,
        BecameLeader: on_other_report,
        LostLeadership: on_other_report,
        SpaceIs: on_other_report,
        Stop: on_stop_request,
    }
