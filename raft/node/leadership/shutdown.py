"""Graceful shutdown of a node: transfer leadership, answer pending commands, take a last snapshot.

Owns the order, and how long each step may take. Knows nothing of why the node stops.
"""

from __future__ import annotations

from collections.abc import Callable

from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role
from raft.node.reporter import Journal, Reporter
from raft.node.requests.proposals import Proposals
from raft.node.snapshots.taker import SnapshotCallback

STOP_SECONDS_MAX = 0.3
SNAPSHOT_SECONDS_MAX = 2.0
# After another node leads: its first writes come before this process's last snapshot and its end, which use a
# disk and a core that may be shared with it.
SUCCESSOR_SECONDS = 0.05


class Shutdown:
    """Stops this node by calling `leave`, at once or a little later."""

    def __init__(
        self,
        raft: Raft,
        proposals: Proposals,
        reporter: Reporter,
        journal: Journal,
        *,
        successor: Callable[[], NodeId],
        after: Callable[[float, Callable[[], None]], object],
        last_snapshot: Callable[[SnapshotCallback], None],
        leave: Callable[[], None],
    ) -> None:
        self.begun = False
        self._handed_over = False
        self._last_step = False
        self._last_snapshot = last_snapshot
        self._raft = raft
        self._proposals = proposals
        self._reporter = reporter
        self._journal = journal
        self._successor = successor
        self._after = after
        self._leave = leave

    def begin(self) -> None:
        """Stop gracefully: a leader transfers leadership first, within a time limit."""
        if self.begun:
            return
        self.begun = True
        self._journal.event("node-stopping", f"node {self._raft.id} is about to stop")
        successor = self._successor() if self._raft.role is Role.LEADER else NO_NODE
        if successor == NO_NODE:
            self._finish()
            return
        self._reporter.losing("stopping")
        self._raft.transfer_leader(successor)
        self._after(STOP_SECONDS_MAX, self._finish)

    def end_if_done(self) -> None:
        """At the end of a turn: finish soon, if another node leads and no command is pending."""
        handed_over = self._raft.role is not Role.LEADER and self._raft.leader != NO_NODE
        if handed_over and not len(self._proposals) and not self._handed_over:
            self._handed_over = True
            self._after(SUCCESSOR_SECONDS, self._finish)

    def _finish(self) -> None:
        """Take a last snapshot, then leave: a newer machine starts from its state, not from its commands."""
        if self._last_step:
            return
        self._last_step = True
        self._after(SNAPSHOT_SECONDS_MAX, self._leave)
        self._last_snapshot(lambda _index, _failure: self._leave())
