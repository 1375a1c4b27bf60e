"""Reads that wait for a quorum to confirm the leader (thesis section 6.4).

Owns the queue of requests and the rounds of heartbeats that confirm them. A round is numbered by the
leader, never by the client, so that an answer to an older question can't be taken for one to this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from raft.core import lease
from raft.core.messages import Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply
from raft.core.quorum import joint_committed_index
from raft.core.tracker import Configuration
from raft.core.types import Index, NodeId, ReadState

if TYPE_CHECKING:
    from raft.core.raft import Raft


class PendingRead(msgspec.Struct):
    """A request, and the commit index when it came in."""

    request: ReadIndex
    index: Index


class ReadQueue:
    """Requests in the order of their rounds, and the newest round that each node has heard.

    Who has heard a round has confirmed the leader for all reads before it, whatever became of earlier
    rounds. So the round that a quorum has reached is found like a commit index.
    """

    __slots__ = ("_heard", "_pending", "last_round")

    def __init__(self) -> None:
        self._pending: dict[int, PendingRead] = {}
        self._heard: dict[NodeId, int] = {}
        self.last_round = 0

    def add(self, request: ReadIndex, index: Index) -> int:
        """Queue a request and return its round."""
        self.last_round += 1
        self._pending[self.last_round] = PendingRead(request, index)
        return self.last_round

    def acknowledge(self, read_round: int, node: NodeId) -> bool:
        """Note that `node` heard the round; False if that is not news."""
        if not self._heard.get(node, 0) < read_round <= self.last_round:
            return False
        self._heard[node] = read_round
        return True

    def confirmed(self, configuration: Configuration) -> list[PendingRead]:
        """Take out all requests up to the round that a quorum has heard."""
        heard = joint_committed_index(configuration.voters, configuration.outgoing, self._heard)
        confirmed = [number for number in self._pending if number <= heard]
        return [self._pending.pop(number) for number in confirmed]

    def last_pending_round(self) -> int:
        """Return the newest round that still waits, 0 if none does."""
        return next(reversed(self._pending), 0)


def on_read_index(raft: Raft, message: ReadIndex) -> None:
    """Answer a read as the leader, at once or when it is known to lead still."""
    if raft.config.unsafe_as_etcd and raft.tracker.is_singleton():
        answer(raft, message, raft.log.committed)
    elif committed_in_current_term(raft):
        confirm_or_answer(raft, message)
    else:
        # Until then the commit index may lag behind what an earlier leader has promised, be it oneself.
        raft.held_reads.append(message)


def release_held_reads(raft: Raft) -> None:
    """Go on with the reads that waited for the first commit of the term."""
    if raft.held_reads and committed_in_current_term(raft):
        held, raft.held_reads = raft.held_reads, []
        for message in held:
            confirm_or_answer(raft, message)


def committed_in_current_term(raft: Raft) -> bool:
    """Tell whether an entry of the leader's own term is committed."""
    return raft.log.matches(raft.log.committed, raft.term)


def confirm_or_answer(raft: Raft, message: ReadIndex) -> None:
    """Ask a quorum, unless a lease holds or there is nobody else to ask."""
    # A removed leader may see a configuration of one voter, and that is another node.
    alone = raft.tracker.configuration.voter_ids() == {raft.id}
    if alone or lease.holds(raft):
        answer(raft, message, raft.log.committed)
        return
    read_round = raft.reads.add(message, raft.log.committed)
    raft.reads.acknowledge(read_round, raft.id)
    broadcast_heartbeat(raft, read_round)


def on_round_heard(raft: Raft, message: HeartbeatReply) -> None:
    """Count a heartbeat's echo towards its round."""
    if not message.read_round:
        return
    if raft.reads.acknowledge(message.read_round, message.sender):
        for read in raft.reads.confirmed(raft.tracker.configuration):
            answer(raft, read.request, read.index)


def answer(raft: Raft, request: ReadIndex, index: Index) -> None:
    """Tell the one who asked, here or at a follower."""
    if request.sender == raft.id:
        raft.read_states.append(ReadState(index, request.context))
    else:
        raft.send(ReadIndexReply(raft.id, request.sender, raft.term, index, request.context))


def broadcast_heartbeat(raft: Raft, read_round: int) -> None:
    """Send everyone a heartbeat, with the part of the commit index that each is known to hold."""
    for node, peer in raft.tracker.progress.items():
        if node == raft.id:
            peer.heard_tick = raft.ticks
        else:
            commit = min(peer.match, raft.log.committed)
            raft.send(Heartbeat(raft.id, node, raft.term, commit, read_round, raft.ticks))
            peer.sent_commit = commit
