"""Did two nodes lead in one term?

Owns that one question, asked of each report while the cluster runs. It is the promise that
everything else stands on (thesis section 3.2, election safety), so it is checked from outside, too.
"""

from __future__ import annotations


class ElectionSafety:
    """Remembers who led which term."""

    def __init__(self) -> None:
        self._leaders: dict[int, int] = {}

    def rival(self, term: int, node: int) -> int | None:
        """Note that `node` led `term`; the other node that did, if there is one."""
        first = self._leaders.setdefault(term, node)
        return None if first == node else first
