"""The clients' measurements over time: throughput, latency, and periods without a write.

Owns the computation from a history. Knows nothing of drawing.
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
GAP_SECONDS = 0.25  # Shorter pauses between writes are not marked.


class Bin(Struct, kw_only=True):
    """A slice of time: operations that ended in it, and their latency; None if there were none."""

    start: float
    end: float
    done: int = 0
    failed: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None

    @property
    def per_second(self) -> float:
        """Operations done per second."""
        return self.done / (self.end - self.start)


class Gap(Struct, frozen=True):
    """A period in which a client waited for a write, and none was acknowledged."""

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
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]


def gaps_of(records: Sequence[Record], longer_than_seconds: float = GAP_SECONDS) -> list[Gap]:
    """Periods between two acknowledged writes in which another write was waiting for its answer.

    A write of unknown outcome waits, too; the end of its wait is not recorded, so it counts from its call to
    the next acknowledged write.
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
    """The time of its answer, or of the next answered write."""
    if write.returned is not None:
        return write.returned
    place = bisect_right(done, write.call)
    return done[place] if place < len(done) else write.call
