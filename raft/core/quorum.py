"""Majorities, and pairs of majorities, as arithmetic on sets.

Owns the two computations on a quorum: the index that it has acknowledged, and the outcome of a
vote. Knows nothing of roles, logs or messages.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping

from raft.core.types import NO_LIMIT, Index, NodeId


class VoteResult(enum.Enum):
    """What the votes so far amount to."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


def majority_index(acknowledged: list[Index]) -> Index:
    """Return the highest index that more than half have reached, given one index per voter.

    Without voters it is NO_LIMIT, so that the empty half of a joint configuration never limits the
    other half.
    """
    if not acknowledged:
        return NO_LIMIT
    acknowledged.sort()
    return acknowledged[(len(acknowledged) - 1) // 2]


def committed_index(voters: Collection[NodeId], acknowledged: Mapping[NodeId, Index]) -> Index:
    """Return the index that a majority of `voters` has acknowledged; missing ones count as 0."""
    return majority_index([acknowledged.get(voter, 0) for voter in voters])


def joint_committed_index(
    incoming: Collection[NodeId], outgoing: Collection[NodeId], acknowledged: Mapping[NodeId, Index]
) -> Index:
    """Return the index that both majorities have acknowledged (thesis section 4.3)."""
    return min(committed_index(incoming, acknowledged), committed_index(outgoing, acknowledged))


def vote_result(voters: Collection[NodeId], votes: Mapping[NodeId, bool]) -> VoteResult:
    """Return the outcome among `voters`; an election without voters is won."""
    if not voters:
        return VoteResult.WON
    granted = missing = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            granted += 1
    needed = len(voters) // 2 + 1
    if granted >= needed:
        return VoteResult.WON
    if granted + missing >= needed:
        return VoteResult.PENDING
    return VoteResult.LOST


def joint_vote_result(
    incoming: Collection[NodeId], outgoing: Collection[NodeId], votes: Mapping[NodeId, bool]
) -> VoteResult:
    """Return the outcome among both: won only by both, lost by either."""
    first, second = vote_result(incoming, votes), vote_result(outgoing, votes)
    if first is second:
        return first
    if VoteResult.LOST in (first, second):
        return VoteResult.LOST
    return VoteResult.PENDING
