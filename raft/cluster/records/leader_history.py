"""The present leader, by the nodes' reports.

Owns the launcher's view of leadership: the leader of the highest term that still leads, whom each node
follows, and whether all of them agree. Pure.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct


class Leader(Struct, frozen=True):
    """A node and the term that it leads."""

    node: int
    term: int


class LeaderHistory:
    """Receives elections and losses in any order; a lower term never displaces a higher one."""

    def __init__(self) -> None:
        self.leader: Leader | None = None
        self.term = 0
        self.elected_seconds = 0.0  # When the present leader was elected.
        self._followed: dict[int, Leader] = {}

    def elected(self, node: int, term: int, at_seconds: float = 0.0) -> bool:
        """`node` leads `term`; True if that was not known."""
        self.saw(node, Leader(node, term))
        if term < self.term or self.leader == Leader(node, term):
            return False
        self.leader, self.term, self.elected_seconds = Leader(node, term), term, at_seconds
        return True

    def lost(self, node: int, term: int) -> bool:
        """`node` no longer leads `term`; True if it was the present leader."""
        if self.leader != Leader(node, term):
            return False
        self.leader = None
        return True

    def died(self, node: int) -> Leader | None:
        """The process of `node` has ended; returns the leadership that this ended, if it led."""
        self._followed.pop(node, None)
        ended = self.leader
        if ended is None or ended.node != node:
            return None
        self.leader = None
        return ended

    def saw(self, node: int, leader: Leader) -> None:
        """`node` follows `leader`, or no leader (node 0) in its term."""
        known = self._followed.get(node)
        if known is None or leader.term >= known.term:
            self._followed[node] = leader

    def agreed(self, nodes: Collection[int]) -> Leader | None:
        """The present leader if all of `nodes` follow it."""
        if self.leader is None or any(self._followed.get(node) != self.leader for node in nodes):
            return None
        return self.leader
