"""For how long nobody could write.

Owns the arithmetic on times of writes that went well. Knows nothing of why they did not.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from msgspec import Struct

from raft.lab.checkers.records import Record

WRITES = frozenset({"put", "cas", "append", "add", "fenced-put", "acquire"})
AFTER_SECONDS = 1.0  # A fault may be felt for a while after its end.


class Availability(Struct, frozen=True, kw_only=True):
    """Gaps between writes that went well: the longest one, and the longest around each fault."""

    longest_gap_seconds: float
    gap_seconds_p50: float
    gap_seconds_max: float
    faults: int


def availability(
    records: Sequence[Record], faults: Sequence[tuple[float, float]], begin: float, end: float
) -> Availability:
    """Measure from `begin` to `end`, between which clients wrote; each fault is a pair of its times."""
    moments = sorted(
        record.returned
        for record in records
        if record.outcome == "done" and record.op in WRITES and record.returned is not None
    )
    gaps = sorted(
        longest_gap(moments, max(fault_begin, begin), min(fault_end + AFTER_SECONDS, end))
        for fault_begin, fault_end in faults
    )
    return Availability(
        longest_gap_seconds=longest_gap(moments, begin, end),
        gap_seconds_p50=gaps[len(gaps) // 2] if gaps else 0.0,
        gap_seconds_max=gaps[-1] if gaps else 0.0,
        faults=len(gaps),
    )


def longest_gap(moments: Sequence[float], begin: float, end: float) -> float:
    """The longest stretch without one of the moments that meets the time from `begin` to `end`, whole."""
    first = max(bisect_left(moments, begin) - 1, 0)
    last = min(bisect_right(moments, end) + 1, len(moments))
    near = moments[first:last]
    if not near:
        return end - begin
    gaps = [later - earlier for earlier, later in itertools.pairwise(near)]
    return max([*gaps, near[0] - begin, end - near[-1]])
