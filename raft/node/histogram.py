"""Numbers by size, in fixed buckets: what a latency was like, kept as a few plain integers.

Owns the buckets. Knows nothing of what is measured, or of how it is shown.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from raft.protocol.admin import HistogramCounts

LATENCY_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0, 2.5, 10.0,
)  # fmt: skip
"""The upper bounds of the buckets that all latencies of a node are counted in."""


class Histogram:
    """Counts values by bucket; a value on a bound belongs below it, as in Prometheus."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def counts(self) -> HistogramCounts:
        """A copy, for an answer."""
        return HistogramCounts(list(self._bounds), list(self._counts), self._sum)
