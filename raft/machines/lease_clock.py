"""When leases run out: as their leader counts it, and as their holder does.

Owns the two counts, neither of which is replicated. Both are told the time, in seconds of their own
process's monotonic clock. The holder's count runs out first, whatever happens to messages and leaders:
it begins when a keep-alive is sent, the leader's when one has been received, and a new leader gives every
lease its full time again.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from raft.machines.leases import Leases
from raft.machines.operations import LEASES_MAX_PER_EXPIRE

# A holder reckons with clocks whose rates differ by so much: its own may be the slow one.
DRIFT_RATIO = 0.01


class LeaseClock:
    """The leader's count, made when it begins to lead, thrown away when it ends.

    Reads the table of leases, so it is only used while nothing is being applied. A keep-alive may be
    answered only by a leader that has confirmed its leadership with a quorum since the keep-alive came in
    and has applied all that was committed then, as for a linearizable read: a deposed leader would prolong
    leases that its successor lets expire.
    """

    def __init__(self, leases: Leases, now_seconds: float) -> None:
        self._leases = leases
        self._deadlines: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._expiring: set[int] = set()
        self.newest = -1
        """Those granted after this one are not counted yet."""
        self.follow(now_seconds)

    def follow(self, now_seconds: float) -> None:
        """Begin to count the leases granted since the last call; to be called after each batch applied."""
        for lease, ttl_ms in reversed(self._leases.ttls_ms.items()):
            if lease <= self.newest:
                break
            self._count(lease, now_seconds + ttl_ms / 1000)
        self.newest = self._leases.newest

    def keep_alive(self, lease: int, now_seconds: float) -> float | None:
        """Give a lease its full time again, and say how many seconds that is.

        None if it has ended, or its expiry is on the way to the log and can't be called back.
        """
        ttl_ms = self._leases.ttls_ms.get(lease)
        if ttl_ms is None or lease in self._expiring:
            return None
        self._count(lease, now_seconds + ttl_ms / 1000)
        return ttl_ms / 1000

    def remaining_seconds(self, lease: int, now_seconds: float) -> float | None:
        """How long a lease will last without a keep-alive; None if it has ended or is about to."""
        if lease not in self._leases or lease not in self._deadlines:
            return None
        return max(0.0, self._deadlines[lease] - now_seconds)

    def due(self, now_seconds: float, limit: int = LEASES_MAX_PER_EXPIRE) -> tuple[int, ...]:
        """The leases to propose an `Expire` for; each is named once, and can't be kept alive any more."""
        if not self._heap and not self._expiring:
            return ()
        due: list[int] = []
        while self._heap and len(due) < limit:
            deadline, lease = self._heap[0]
            if self._deadlines.get(lease) == deadline and lease in self._leases:
                if deadline > now_seconds:
                    break
                due.append(lease)
                self._expiring.add(lease)
            heappop(self._heap)
            if self._deadlines.get(lease) == deadline:
                del self._deadlines[lease]
        self._expiring = {lease for lease in self._expiring if lease in self._leases}
        return tuple(due)

    def not_proposed(self, leases: Iterable[int], now_seconds: float) -> None:
        """The proposal to expire these never entered the log: they are due again, and may be kept alive."""
        for lease in leases:
            if lease in self._leases:
                self._expiring.discard(lease)
                self._count(lease, now_seconds)

    def cut_short(self, leases: Iterable[int], now_seconds: float) -> None:
        """Let these be due now: whoever held them is known to be gone."""
        for lease in leases:
            if lease in self._leases and lease not in self._expiring:
                self._count(lease, now_seconds)

    def next_deadline(self) -> float | None:
        """When `due` will have something to say, or a little before; None if no lease is counted."""
        return self._heap[0][0] if self._heap else None

    def _count(self, lease: int, deadline: float) -> None:
        self._deadlines[lease] = deadline
        heappush(self._heap, (deadline, lease))
        # A heap can't lose what is in its middle: what was prolonged stays there till it surfaces.
        if len(self._heap) > 64 + 2 * len(self._deadlines):
            self._heap = [(at, lease) for lease, at in self._deadlines.items()]
            heapify(self._heap)


class HeldLease:
    """The holder's count of one lease."""

    def __init__(self, ttl_seconds: float, sent_seconds: float) -> None:
        """The request that granted it was sent at `sent_seconds`."""
        self.ttl_seconds = ttl_seconds
        self._sent_seconds = sent_seconds

    def kept_alive(self, sent_seconds: float) -> None:
        """A keep-alive that was sent then has been answered; answers may come in any order."""
        self._sent_seconds = max(self._sent_seconds, sent_seconds)

    @property
    def deadline(self) -> float:
        """From then on the lease may be somebody else's."""
        return self._sent_seconds + self.ttl_seconds * (1 - DRIFT_RATIO)

    def remaining_seconds(self, now_seconds: float) -> float:
        """For how long the lease is ours for certain; 0 when it no longer is."""
        return max(0.0, self.deadline - now_seconds)

    def next_keep_alive(self) -> float:
        """When to send the next keep-alive, which leaves time for two more."""
        return self._sent_seconds + self.ttl_seconds / 3
