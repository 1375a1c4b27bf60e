"""Did two nodes lead in one term?

Owns that one question, asked of each report while the cluster runs. It is the promise that
everything else stands on (thesis section 3.2, election safety), so it is checked from outside, too.
"""

from __future__ import annotations


class ElectionSafety:
    """Remembers who led which term."""

    def __init__(self) -> None:
        self._leaders: dict[int, list[int]] = {}

    def rival(self, term: int, node: int) -> int | None:
        """Note that `node` led `term`; the node that did before, if that is news."""
        leaders = self._leaders.setdefault(term, [])
        if node in leaders:
            return None
        leaders.append(node)
        return leaders[0] if len(leaders) > 1 else None
