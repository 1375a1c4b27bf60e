"""The rules that a hard state obeys from one write to the next.

Owns which changes are forbidden, and which must be durable before they are acknowledged. Knows nothing of
bytes or files.
"""

from __future__ import annotations

from raft.core.types import NO_NODE, HardState


def step_back(old: HardState, new: HardState) -> str | None:
    """How `new` contradicts `old`, or None. A second vote in a term could elect two leaders."""
    if new.term < old.term:
        return f"the term went from {old.term} back to {new.term}"
    if new.term == old.term and old.vote not in (NO_NODE, new.vote):
        return f"the vote of term {old.term} went from node {old.vote} to node {new.vote}"
    if new.commit < old.commit:
        return f"the commit index went from {old.commit} back to {new.commit}"
    return None


def may_wait(old: HardState, new: HardState) -> bool:
    """Whether only the commit index changes, which can always be learned again from a quorum."""
    return (new.term, new.vote) == (old.term, old.vote)
