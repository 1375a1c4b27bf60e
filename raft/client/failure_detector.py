"""Which nodes have gone silent, as far as one client can tell from what they leave unanswered.

Owns a suspicion, and how quickly it comes: a paused leader is replaced within its election timeout, but its
connection is given up much later. Being wrong costs a question to another node, which says that the leader
stands. Knows nothing of requests, or of who leads.
"""

from __future__ import annotations

import math

# So long a node may be silent at least; a busy one may take twice as long as its slowest recent answer.
PATIENCE_SECONDS_MIN = 0.100
PATIENCE_SECONDS_MAX = 1.0
# A paused node's connection is given up before this, so here an answer was lost, and the node is well.
SILENCE_SECONDS_MAX = 2.0
SLOWEST_KEPT = 0.9  # Of the slowest answer, at each one that was quicker.


class FailureDetector:
    """Counts a node's silence from the first ask that it was sent after its last answer."""

    def __init__(self) -> None:
        self._asked_at: dict[int, float] = {}
        self._slowest_seconds = 0.0

    @property
    def seconds(self) -> float:
        """How long to wait for an answer before looking elsewhere."""
        return min(max(2 * self._slowest_seconds, PATIENCE_SECONDS_MIN), PATIENCE_SECONDS_MAX)

    def asked(self, node: int, now: float) -> None:
        """That node was sent something that it should answer soon."""
        if now - self._asked_at.get(node, -math.inf) >= SILENCE_SECONDS_MAX:
            self._asked_at[node] = now

    def answered(self, node: int, asked_at: float, now: float) -> None:
        """That node has answered what it was asked then."""
        self._asked_at.pop(node, None)
        self._slowest_seconds = max(now - asked_at, SLOWEST_KEPT * self._slowest_seconds)

    def gone(self, node: int) -> None:
        """The connection to that node is no more; the next one begins afresh."""
        self._asked_at.pop(node, None)

    def lost_with(self, node: int, now: float) -> bool:
        """Has that node been silent for too long to ask it for more?"""
        asked_at = self._asked_at.get(node)
        return asked_at is not None and self.seconds <= now - asked_at < SILENCE_SECONDS_MAX
