"""The actor that keeps one node running: starts it, hears it, starts it again, gives it up, stops it.

Owns the node's process and what is known of it. Knows nothing of event loops or threads: whoever hosts
it is told through a `Listener`.
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
from actors.processes.child import describe_exit
from actors.supervision import RestartChildren, Supervisor
from raft.embedding.errors import NodeError, NodeFailed, NodeRefused, NodeRemoved
from raft.embedding.settings import Plan
from raft.node.config import EXIT_REFUSED, EXIT_REMOVED
from raft.node.process.exit_codes import DATA_NEED_A_DECISION
from raft.protocol.admin import Alive, BecameLeader, LostLeadership, NodeUp, SawLeader, SpaceIs
from raft.protocol.registry import process_of

NODE_ENTRY = "raft.node.process.main:main"
# A node says twice a second that its loop turns.
HUNG_SECONDS = 5.0
HUNG_CHECK_SECONDS = 1.0
_LAST_WORDS_BYTES_MAX = 4096

log = logging.getLogger("raft.embedding")


class Leader(Struct, frozen=True):
    """Who leads the cluster, and in which term; terms only grow."""

    node: int
    term: int


class Stop(Struct, frozen=True):
    """End the node gracefully, and then tell the listener."""


class Listener(Protocol):
    """Who is told."""

    def up(self) -> None:
        """The node has recovered its log and takes part; at each start anew."""

    def leader_changed(self, leader: Leader | None) -> None:
        """The node follows somebody else now, or knows of nobody."""

    def ended(self, error: NodeError | None) -> None:
        """The node has ended for good; None if it was asked to. The last that is told."""


class Child(Protocol):
    """What is needed of a child process."""

    pid: int | None
    returncode: int | None

    @property
    def error(self) -> Exception | None:
        """Why it never came to be."""

    def kill(self, signal_number: int = signal.SIGKILL) -> bool:
        """Send a signal."""

    def close(self) -> None:
        """Give back what belongs to it."""


class Children(Protocol):
    """What is needed of a fork server."""

    @property
    def ended(self) -> bool:
        """Is it gone, and the node with it?"""

    def fileno(self) -> int:
        """Readable when `receive` has something to do."""

    def receive(self) -> Sequence[Child]:
        """Children that started, failed or ended."""

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> Child:
        """Ask for a child."""


class Keeper(Actor):
    """Hosted by a runtime that listens at the plan's supervisor endpoint."""

    def __init__(self, plan: Plan, children: Children, listener: Listener) -> None:
        self.leader: Leader | None = None
        self.lives = 0
        self._plan = plan
        self._config = plan.config
        self._children = children
        self._listener = listener
        self._supervisor = Supervisor(plan.restarts, Random())
        self._name = f"node {plan.config.node}"
        self._child: Child | None = None
        self._started_seconds = 0.0
        self._heard_seconds = 0.0
        self._checked_seconds = 0.0
        self._log_offset = 0
        self._is_up = False
        self._was_up = False
        self._stopping = False
        self._over = False

    @property
    def pid(self) -> int | None:
        """The node's process, while there is one."""
        return None if self._child is None else self._child.pid

    def on_start(self) -> None:
        """Start the node."""
        self._plan.words_path.unlink(missing_ok=True)
        self.context.add_reader(self._children.fileno(), self._hear)
        self.context.every(HUNG_CHECK_SECONDS, self._look_for_hung)
        self._start()

    # -- what is heard -----------------------------------------------------------------------------

    def on_node_up(self, report: NodeUp) -> None:
        """The node has recovered its log, and takes part."""
        if self._is_of_this_life(report):
            self._came_up(report.pid)

    def on_saw_leader(self, report: SawLeader) -> None:
        """The node follows somebody else than before; itself, if it leads."""
        if self._is_of_this_life(report):
            self._follow(Leader(report.leader, report.term) if report.leader else None)

    def on_alive(self, report: Alive) -> None:
        """The node's loop turns; and what it has told before, should that have been lost on its way."""
        if not self._is_of_this_life(report):
            return
        self._heard_seconds = self.context.now()
        if not self._is_up:
            self._came_up(report.pid)
        self._follow(Leader(report.leader, report.term) if report.leader else None)

    def on_other_report(self, report: BecameLeader | LostLeadership | SpaceIs) -> None:
        """Of no use here: whom the node follows says it all, and the node's log tells of its space."""

    def on_stop_request(self, _: Stop) -> None:
        """By SIGTERM, on which a node hands over and ends; by force if that takes too long."""
        if self._stopping or self._over:
            return
        self._stopping = True
        if self._child is None:
            self._end(None)
            return
        if self._child.pid is not None:
            self._child.kill(signal.SIGTERM)
        self.context.after(self._plan.stop_seconds_max, self._kill)

    def _came_up(self, pid: int) -> None:
        """From now on an empty directory is a lost disk, whatever the program was told at its start."""
        self._is_up = self._was_up = True
        self._heard_seconds = self.context.now()
        self._config = msgspec.structs.replace(self._config, first_start=False)
        log.info("%s is up, process %d", self._name, pid)
        self._listener.up()

    def _is_of_this_life(self, report: NodeUp | Alive | SawLeader) -> bool:
        """Does a report come from the process that runs now? All processes of a machine share the clock."""
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
        if self._stopping or self._over:
            return
        self._started_seconds = self.context.now()
        path = self._plan.words_path
        self._log_offset = path.stat().st_size if path.exists() else 0
        self._child = self._children.spawn(NODE_ENTRY, self._config.encode(), log_path=path)
        self.lives += 1
        self._supervisor.started(self._name, self._started_seconds)

    def _hear(self) -> None:
        for child in self._children.receive():
            if child is not self._child:
                continue
            if child.returncode is not None or child.error is not None:
                self._bury(child)
            elif self._stopping:
                child.kill(signal.SIGTERM)  # It was not there yet when the end was asked for.
        if self._children.ended and not self._over:
            self.context.remove_reader(self._children.fileno())
            self._end(NodeFailed("the process that starts the node is gone, and the node with it"))

    def _bury(self, child: Child) -> None:
        self._child = None
        self._is_up = False
        self._follow(None)
        child.close()
        if self._stopping:
            self._end(None)
            return
        code = child.returncode
        words = str(child.error) if code is None else self._last_words() or describe_exit(code)
        if code == EXIT_REMOVED:
            self._end(NodeRemoved(f"{self._name} is no member of its cluster any more"))
        elif code is None or code in DATA_NEED_A_DECISION or (code == EXIT_REFUSED and not self._was_up):
            self._end(NodeRefused(words))
        else:
            self._start_again(words if code > 0 else describe_exit(code))

    def _start_again(self, words: str) -> None:
        decision = self._supervisor.ended(self._name, self.context.now(), failed=True)
        if isinstance(decision, RestartChildren):
            log.warning("%s ended, and starts again in %.2f s: %s", self._name, decision.after_seconds, words)
            self.context.after(decision.after_seconds, self._start)
            return
        policy = self._plan.restarts
        times = f"after {policy.max_restarts} restarts within {policy.window_seconds:g} s"
        self._end(NodeFailed(f"{self._name} was given up {times}: {words}"))

    def _look_for_hung(self) -> None:
        """Kill a node that was up and says nothing any more; but not for this program's own standstill."""
        now = self.context.now()
        if now - self._checked_seconds > 2 * HUNG_CHECK_SECONDS:
            self._heard_seconds = now
        self._checked_seconds = now
        if self._is_up and self._child is not None and now - self._heard_seconds > HUNG_SECONDS:
            log.warning("%s has said nothing for %g s, and is killed", self._name, HUNG_SECONDS)
            self._child.kill(signal.SIGKILL)

    def _kill(self) -> None:
        if self._child is not None:
            log.warning("%s did not end within %g s", self._name, self._plan.stop_seconds_max)
            self._child.kill(signal.SIGKILL)

    def _end(self, error: NodeError | None) -> None:
        self._over = True
        if error is not None:
            log.critical("%s: %s", type(error).__name__, error)
        self._follow(None)
        self._listener.ended(error)

    def _last_words(self) -> str:
        """What the process printed before it ended: a traceback, or else its last line."""
        try:
            printed = self._plan.words_path.read_bytes()[self._log_offset :]
        except OSError:
            return ""
        text = printed[-_LAST_WORDS_BYTES_MAX:].decode(errors="replace").strip()
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
