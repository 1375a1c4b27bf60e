"""Shrinking: a failing run with fewer faults, which is easier to understand.

Owns the search (Zeller's delta debugging): parts of the plan are left out as long as the rest still fails.
Knows nothing of why it fails.
left still fails. Knows nothing of why it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Fault = TypeVar("Fault")

RUNS_MAX = 150


def shrink(
    plan: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool], *, runs_max: int = RUNS_MAX
) -> tuple[Fault, ...]:
    """A part of the plan that still fails, made as small as possible within that many runs."""
    kept = list(plan)
    runs = 0
    pieces = 1
    while kept:
        size = -(-len(kept) // pieces)
        for start in range(0, len(kept), size):
            if runs >= runs_max:
                return tuple(kept)
            runs += 1
            rest = kept[:start] + kept[start + size :]
            if fails(rest):
                kept = rest
                pieces = max(1, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(kept))
    return tuple(kept)
