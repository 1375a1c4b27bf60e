"""Heartbeats and election timeouts that suit a network and its disks.

Owns the rule. A leader must be heard several times within an election timeout, and an election must be over
long before another node begins one (thesis section 9.3): an election costs a round trip, and the write and
sync of the vote at both ends. A margin of ten is for what delays them all.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from raft.cluster.quantities import format_duration
from raft.protocol.admin import HistogramCounts

HEARTBEAT_SECONDS_MIN = 0.050  # The default: more often is of no use on any network.
ELECTION_SECONDS_MIN = 0.250
HEARTBEATS_MISSED = 5
MARGIN = 10
_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


class Timing(Struct, frozen=True):
    """What to give to all nodes alike."""

    heartbeat_seconds: float
    election_seconds_min: float
    election_seconds_max: float

    @property
    def flags(self) -> str:
        """As options of `up` and of `python -m raft.node`."""
        return f"--heartbeat {self.heartbeat} --election-timeout {self.election}"

    @property
    def toml(self) -> str:
        """As lines of a configuration file, for `up`."""
        return f'[up]\nheartbeat = "{self.heartbeat}"\nelection-timeout = "{self.election}"'

    @property
    def heartbeat(self) -> str:
        """As it is typed."""
        return format_duration(self.heartbeat_seconds)

    @property
    def election(self) -> str:
        """As it is typed: the shortest and the longest."""
        low, high = self.election_seconds_min, self.election_seconds_max
        return f"{format_duration(low)}-{format_duration(high)}"


def safe_timing(round_trip_seconds: float, fsync_seconds: float) -> Timing:
    """Values for members whose slowest round trip and slowest write with sync take that long."""
    heartbeat = rounded_up(max(HEARTBEAT_SECONDS_MIN, round_trip_seconds))
    election = rounded_up(
        max(
            ELECTION_SECONDS_MIN,
            HEARTBEATS_MISSED * heartbeat,
            MARGIN * (round_trip_seconds + 2 * fsync_seconds),
        )
    )
    return Timing(heartbeat, election, 2 * election)


def rounded_up(seconds: float) -> float:
    """The next value that people would type."""
    unit = 1e-3
    while 10 * unit < seconds:
        unit *= 10
    step = next(step for step in _STEPS if step * unit >= seconds * (1 - 1e-9))
    return round(step * unit, 6)


def at_most(counts: Iterable[HistogramCounts], share: float = 0.99) -> float:
    """The bound below which that share of all values in the histograms is; 0 if there are none.

    Of values above all bounds only the greatest bound is known.
    """
    slowest = 0.0
    for histogram in counts:
        left = share * sum(histogram.counts)
        bounds = [*histogram.bounds, histogram.bounds[-1]]
        for bound, count in zip(bounds, histogram.counts, strict=True):
            left -= count
            if left <= 0 and count:
                slowest = max(slowest, bound)
                break
    return slowest


def since(before: HistogramCounts, after: HistogramCounts) -> HistogramCounts:
    """What was counted between two looks at one histogram."""
    counts = [late - early for early, late in zip(before.counts, after.counts, strict=True)]
    return HistogramCounts(after.bounds, counts, after.sum - before.sum)
