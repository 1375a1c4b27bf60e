"""A failure detector: which nodes a client suspects, by the requests that they leave unanswered.

Owns the suspicion and its time-out: a paused leader is replaced within its election timeout, but its
connection is given up much later. A wrong suspicion costs one question to another node, which names the same
leader. Knows nothing of the requests, or of who leads.
"""

from __future__ import annotations

# The shortest silence that raises suspicion; a busy node may take twice as long as its slowest recent answer.
ANSWER_SECONDS_MIN = 0.100
ANSWER_SECONDS_MAX = 1.0
# A paused node's connection is given up earlier, so after this an answer was lost, and the node is well.
SILENCE_SECONDS_MAX = 2.0
SLOWEST_DECAY = 0.9  # The slowest answer decays by this factor with each quicker one.


class FailureDetector:
    """Measures a node's silence from the first unanswered request after its last answer."""

    def __init__(self) -> None:
        self._asked_at: dict[int, float] = {}
        self._slowest_seconds = 0.0

    @property
    def seconds(self) -> float:
        """How long to wait for an answer before asking another node."""
        return min(max(2 * self._slowest_seconds, ANSWER_SECONDS_MIN), ANSWER_SECONDS_MAX)

    def asked(self, node: int, now: float) -> None:
        """The node was sent a request that it should answer soon."""
        asked_at = self._asked_at.get(node)
        if asked_at is None or now - asked_at >= SILENCE_SECONDS_MAX:
            self._asked_at[node] = now

    def answered(self, node: int, asked_at: float, now: float) -> None:
        """The node has answered a request sent at that time."""
        self._asked_at.pop(node, None)
        seconds, slowest_seconds = now - asked_at, SLOWEST_DECAY * self._slowest_seconds
        self._slowest_seconds = seconds if seconds > slowest_seconds else slowest_seconds

    def gone(self, node: int) -> None:
        """The connection to the node has ended; the next one begins without suspicion."""
        self._asked_at.pop(node, None)

    def is_suspected(self, node: int, now: float) -> bool:
        """Has the node been silent for too long to send it another request?"""
        asked_at = self._asked_at.get(node)
        if asked_at is None or (silent_seconds := now - asked_at) < ANSWER_SECONDS_MIN:
            return False
        return self.seconds <= silent_seconds < SILENCE_SECONDS_MAX
