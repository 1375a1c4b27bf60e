"""Do all replicas answer alike? The leader asks so every few seconds, for as long as commands are applied.

Owns when it asks. The question is a command, so each replica compares at the same index; one that has
parted from the leader stops with `Diverged`. What is compared is said in `raft.machines.trail`.
"""

from __future__ import annotations

from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import Role
from raft.machines.application import Application
from raft.machines.codec import encode_nodes_own
from raft.node.applier import Applier

CHECK_SECONDS = 2.0


class ReplicaCheck:
    """The checks that a leader proposes."""

    def __init__(self, application: Application, raft: Raft, applier: Applier) -> None:
        self._application = application
        self._raft = raft
        self._applier = applier
        self._due = 0.0

    def propose(self, now: float) -> None:
        """Propose a check if it is time, and there is something new to check. To be called often."""
        if self._raft.role is not Role.LEADER:
            self._due = now + CHECK_SECONDS
        if now < self._due or not self._applier.free:
            return
        self._due = now + CHECK_SECONDS
        check = self._application.next_check()
        if check is not None:
            try:
                self._raft.propose_batch([encode_nodes_own(check)])
            except ProposalDropped:
                return
