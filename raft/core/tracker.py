"""The active configuration, the progress of each member, and the votes of a campaign.

Owns what a leader or candidate computes from all members at once. Knows nothing of messages;
how a configuration changes is confchange's.
"""

from __future__ import annotations

import msgspec

from raft.core.progress import Inflights, Progress
from raft.core.quorum import VoteResult, joint_vote_result, majority_index
from raft.core.types import ConfState, Index, NodeId


class Configuration(msgspec.Struct, frozen=True):
    """The voters and learners; `outgoing` is empty unless the configuration is joint."""

    voters: frozenset[NodeId] = frozenset()
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    learners_next: frozenset[NodeId] = frozenset()
    """Outgoing voters that become learners when the joint configuration is left."""
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Whether two majorities are needed."""
        return bool(self.outgoing)

    def voter_ids(self) -> frozenset[NodeId]:
        """Return the voters of both halves."""
        return self.voters | self.outgoing

    def conf_state(self) -> ConfState:
        """Return the configuration as it is stored."""
        return ConfState(
            tuple(sorted(self.voters)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )


class Tracker:
    """The members as this node knows them. `progress` is in ascending order of ids."""

    __slots__ = (
        "_incoming",
        "_outgoing",
        "configuration",
        "inflight_bytes_max",
        "inflight_messages_max",
        "progress",
        "votes",
    )

    def __init__(self, inflight_messages_max: int, inflight_bytes_max: int) -> None:
        self.inflight_messages_max = inflight_messages_max
        self.inflight_bytes_max = inflight_bytes_max
        self.votes: dict[NodeId, bool] = {}
        self.switch(Configuration(), {})

    def switch(self, configuration: Configuration, progress: dict[NodeId, Progress]) -> None:
        """Make another configuration the active one."""
        self.configuration = configuration
        self.progress = dict(sorted(progress.items()))
        self._incoming = [self.progress[voter] for voter in configuration.voters]
        self._outgoing = [self.progress[voter] for voter in configuration.outgoing]

    def reset(self, last_index: Index, own_id: NodeId) -> None:
        """Reset the progress of all members, at a change of term or role."""
        self.votes = {}
        fresh = {}
        for node, old in self.progress.items():
            match = last_index if node == own_id else 0
            window = Inflights(self.inflight_messages_max, self.inflight_bytes_max)
            fresh[node] = Progress(match, last_index + 1, window, is_learner=old.is_learner)
        self.switch(self.configuration, fresh)

    def committed(self) -> Index:
        """Return the index that the quorum is known to have."""
        incoming = self._incoming
        if incoming and not self._outgoing:
            matches = sorted([peer.match for peer in incoming])
            return matches[(len(matches) - 1) // 2]
        index = majority_index([peer.match for peer in incoming])
        return min(index, majority_index([peer.match for peer in self._outgoing]))

    def acked_tick(self) -> int:
        """Return the latest tick whose heartbeats a quorum has answered."""
        tick = majority_index([peer.acked_tick for peer in self._incoming])
        return min(tick, majority_index([peer.acked_tick for peer in self._outgoing]))

    def record_vote(self, voter: NodeId, granted: bool) -> None:
        """Note a vote; only the first of each voter counts."""
        self.votes.setdefault(voter, granted)

    def vote_result(self, votes: dict[NodeId, bool]) -> VoteResult:
        """Return the outcome of these votes in the active configuration."""
        return joint_vote_result(self.configuration.voters, self.configuration.outgoing, votes)

    def quorum_active(self) -> bool:
        """Tell whether a quorum was active since the last check."""
        active = {node: peer.recently_active for node, peer in self.progress.items() if not peer.is_learner}
        return self.vote_result(active) is VoteResult.WON

    def is_singleton(self) -> bool:
        """Tell whether there is exactly one voter, which needs no other node."""
        return len(self.configuration.voters) == 1 and not self.configuration.outgoing
