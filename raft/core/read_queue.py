"""The reads that wait for a quorum, and the rounds of heartbeats that confirm them.

Owns the queue. A round is numbered by the leader, never by the client, so that a reply to an earlier round
cannot confirm a later one. Knows nothing of roles or of how messages are sent.
"""

from __future__ import annotations

import msgspec

from raft.core.messages import ReadIndex
from raft.core.quorum import joint_committed_index
from raft.core.tracker import Configuration
from raft.core.types import Index, NodeId


class PendingRead(msgspec.Struct):
    """A request, and the commit index when it came in."""

    request: ReadIndex
    index: Index


class ReadQueue:
    """Requests in the order of their rounds, and the newest round that each node has acknowledged.

    A node that acknowledged a round has confirmed the leader for all reads up to it, even if earlier
    rounds were lost. So the round that a quorum has reached is computed like a commit index.
    """

    __slots__ = ("_acked", "_pending", "last_round")

    def __init__(self) -> None:
        self._pending: dict[int, PendingRead] = {}
        self._acked: dict[NodeId, int] = {}
        self.last_round = 0

    def add(self, request: ReadIndex, index: Index) -> int:
        """Queue a request and return its round."""
        self.last_round += 1
        self._pending[self.last_round] = PendingRead(request, index)
        return self.last_round

    def acknowledge(self, read_round: int, node: NodeId) -> bool:
        """Note that `node` acknowledged the round; False if that was known."""
        if not self._acked.get(node, 0) < read_round <= self.last_round:
            return False
        self._acked[node] = read_round
        return True

    def acked_round(self, node: NodeId) -> int:
        """Return the newest round that a node has acknowledged, 0 if none."""
        return self._acked.get(node, 0)

    def confirmed(self, configuration: Configuration) -> list[PendingRead]:
        """Remove and return all requests up to the round that a quorum has acknowledged."""
        acked = joint_committed_index(configuration.voters, configuration.outgoing, self._acked)
        confirmed = [number for number in self._pending if number <= acked]
        return [self._pending.pop(number) for number in confirmed]

    def last_pending_round(self) -> int:
        """Return the newest round that is not confirmed, 0 if all are."""
        return next(reversed(self._pending), 0)
