"""Graceful shutdown of a node: transfer leadership, answer pending commands, take a last snapshot.

Owns the order, how long each step may take, and what becomes of the commands that come while leadership is
handed over. Knows nothing of why the node stops.
"""

from __future__ import annotations

from collections.abc import Callable

from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role
from raft.node.reporter import Journal, Reporter
from raft.node.requests.proposals import Answerable, Proposals
from raft.node.snapshots.taker import SnapshotCallback
from raft.protocol.client import NotLeader, Refused

STOP_SECONDS_MAX = 0.3
SNAPSHOT_SECONDS_MAX = 2.0
HELD_MAX = 4_096
STOPPING = Refused("the node is stopping")
NOT_HANDED_OVER = Refused("leadership was about to be transferred")


class HeldCommands:
    """Commands that come while leadership is handed over: refused once it is known who leads instead.

    So their clients need not look for the new leader. They are in no log, so that a retry is safe.
    """

    def __init__(
        self, raft: Raft, not_leader: Callable[[], NotLeader], refusal: Callable[[], Refused | None]
    ) -> None:
        """`refusal` says why this leader takes no commands, if it takes none."""
        self._raft = raft
        self._refusal = refusal
        self._not_leader = not_leader
        self._held: list[Answerable] = []
        self._since: float | None = None

    @property
    def may_hold(self) -> bool:
        """Whether leadership is being handed over, and there is room for another command."""
        raft = self._raft
        if raft.role is Role.LEADER:
            return raft.transferee != NO_NODE and len(self._held) < HELD_MAX
        return 0 < len(self._held) < HELD_MAX and raft.leader == NO_NODE

    def hold(self, reply: Answerable) -> None:
        """Answer a command later."""
        self._held.append(reply)

    def expire(self, now: float) -> None:
        """Called every so often: refuse what is held if leadership stays here, or if it takes too long."""
        if not self._held:
            return
        if self._since is None:
            self._since = now
        stays = self._raft.role is Role.LEADER and self._raft.transferee == NO_NODE
        if stays or now - self._since >= STOP_SECONDS_MAX:
            self.refuse()

    def refuse(self) -> None:
        """Refuse what is held, with the leader's name if this node is not the one."""
        held, self._held, self._since = self._held, [], None
        leads = self._raft.role is Role.LEADER
        refusal = (self._refusal() or NOT_HANDED_OVER) if leads else self._not_leader()
        for reply in held:
            reply.send(refusal)


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
        """At the end of a turn: finish, if another node leads and no command is pending."""
        handed_over = self._raft.role is not Role.LEADER and self._raft.leader != NO_NODE
        if handed_over and not len(self._proposals):
            self._finish()

    def _finish(self) -> None:
        """Take a last snapshot, then leave: a newer machine starts from its state, not from its commands."""
        if self._last_step:
            return
        self._last_step = True
        self._after(SNAPSHOT_SECONDS_MAX, self._leave)
        self._last_snapshot(lambda _index, _failure: self._leave())
