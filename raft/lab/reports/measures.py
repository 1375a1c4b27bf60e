"""How clients fared over time: throughput, latency, and when nobody could write.

Owns the arithmetic on a history. Knows nothing of drawing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from raft.lab.checkers.records import Record
from raft.lab.checkers.revisions import EVENTS

WRITES = frozenset({"put", "cas", "append", "add", "fenced-put", "acquire"})
BINS = 120
GAP_SECONDS = 0.25  # Shorter pauses between writes are not worth a mark.


class Bin(Struct, kw_only=True):
    """A slice of time: what ended in it, and how long that had taken; None where nothing ended."""

    start: float
    end: float
    done: int = 0
    failed: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None

    @property
    def per_second(self) -> float:
        """Operations done a second."""
        return self.done / (self.end - self.start)


class Gap(Struct, frozen=True):
    """A time in which some client waited for a write, and none came back."""

    start: float
    end: float


def bins_of(records: Sequence[Record], start: float, end: float, count: int = BINS) -> list[Bin]:
    """Equal slices from `start` to `end`."""
    width = (end - start) / count or 1.0
    bins = [Bin(start=start + n * width, end=start + (n + 1) * width) for n in range(count)]
    took: list[list[float]] = [[] for _ in bins]
    for record in records:
        if record.op in EVENTS:
            continue
        moment = record.call if record.returned is None else record.returned
        place = min(max(int((moment - start) / width), 0), count - 1)
        if record.done and record.returned is not None:
            bins[place].done += 1
            took[place].append(1000 * (record.returned - record.call))
        else:
            bins[place].failed += 1
    for part, times in zip(bins, took, strict=True):
        if times:
            part.p50_ms, part.p99_ms = percentile(times, 0.5), percentile(times, 0.99)
    return bins


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]


def gaps_of(records: Sequence[Record], longer_than_seconds: float = GAP_SECONDS) -> list[Gap]:
    """Times between two writes that went well, of those in which some write was waiting for its answer.

    One of unknown outcome waits, too; until when is not recorded, so it counts from its call to the next
    write that went well.
    """
    writes = [record for record in records if record.op in WRITES]
    done = sorted(record.returned for record in writes if record.done and record.returned is not None)
    calls = sorted(record.call for record in writes)
    ends = sorted(_waits_until(record, done) for record in writes)
    gaps = []
    for earlier, later in pairwise(done):
        if later - earlier <= longer_than_seconds:
            continue
        asked = bisect_right(calls, earlier)
        one_waits = asked > bisect_right(ends, earlier)
        start = earlier if one_waits or asked == len(calls) else calls[asked]
        if later - start > longer_than_seconds:
            gaps.append(Gap(start, later))
    return gaps


def _waits_until(write: Record, done: Sequence[float]) -> float:
    """When its answer came, or that of the next write that has one."""
    if write.returned is not None:
        return write.returned
    place = bisect_right(done, write.call)
    return done[place] if place < len(done) else write.call
