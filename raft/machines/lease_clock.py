"""When leases run out: as their leader counts it, and as their holder does.

Owns the two counts, neither of which is replicated. Callers pass the time, in seconds of their process's
monotonic clock. The holder's count always runs out first, for any delay of messages and change of leaders: it
begins when a keep-alive is sent, the leader's when one has been received, and a new leader gives every lease
its full time again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import islice

from raft.machines.commands import LEASES_MAX_PER_EXPIRE
from raft.machines.leases import Leases

# Clock rates may differ by this much, and the holder's own may be the slow one.
DRIFT_RATIO = 0.01
# Leases examined in one call: a few milliseconds of work.
COUNTED_AT_ONCE = 2_000
LOOKED_AT_ONCE = 1_000
EXPIRING_MAX = 4 * LEASES_MAX_PER_EXPIRE  # On their way through the log.
QUIET_SECONDS = 1.0


class LeaseClock:
    """The leader's count, created when it begins to lead and discarded when it ends.

    Reads the table of leases, so it is only used while nothing is being applied. A keep-alive may be
    answered only by a leader that has confirmed its leadership with a quorum since the keep-alive came in
    and has applied all that was committed then, as for a linearizable read: a deposed leader would prolong
    leases that its successor lets expire.

    No call does more than a few milliseconds of work, for any number of leases. Each lease is in the heap
    once: a keep-alive changes its deadline only, and it is put back when it surfaces before that.
    """

    def __init__(self, leases: Leases, now_seconds: float) -> None:
        self._leases = leases
        self._deadlines: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._looked_at: dict[int, float] = {}  # Where in the heap each lease is; other places are void.
        self._expiring: set[int] = set()
        self._lag_seconds = 0.0  # Time that has passed and does not count.
        self._quiet_until = 0.0
        self._more_due = False
        self.newest = leases.newest
        """Those granted after this one are not counted yet."""
        self._uncounted: Iterator[tuple[int, int]] | None = leases.frozen()
        self.follow(now_seconds)

    @property
    def heap_size(self) -> int:
        """The number of places in the heap, void ones included."""
        return len(self._heap)

    @property
    def behind(self) -> bool:
        """Whether `follow` or `due` has more to do than one call does."""
        return self._uncounted is not None or self._more_due

    def follow(self, now_seconds: float) -> None:
        """Begin to count the leases granted since the last call; to be called after each batch applied.

        Those that were there at first are counted a few at each call: later than they might be, never sooner.
        """
        for lease, ttl_ms in reversed(self._leases.ttls_ms.items()):
            if lease <= self.newest:
                break
            self._count(lease, now_seconds + ttl_ms / 1000)
        self.newest = self._leases.newest
        if self._uncounted is None:
            return
        some = list(islice(self._uncounted, COUNTED_AT_ONCE))
        for lease, ttl_ms in some:
            if lease in self._leases and lease not in self._deadlines:
                self._count(lease, now_seconds + ttl_ms / 1000)
        if len(some) < COUNTED_AT_ONCE:
            self._uncounted = None

    def exclude_time(self, seconds: float, now_seconds: float) -> None:
        """Exclude time in which the node couldn't process messages: it counts for no lease.

        Messages that arrived in that time are still to be read, so no lease ends for a while.
        """
        self._lag_seconds += seconds
        self._quiet_until = now_seconds + QUIET_SECONDS

    def keep_alive(self, lease: int, now_seconds: float) -> float | None:
        """Renew a lease for its full time, and return that in seconds.

        None if it has ended, or its expiry is on the way to the log and can't be called back.
        """
        ttl_ms = self._leases.ttls_ms.get(lease)
        if ttl_ms is None or lease in self._expiring:
            return None
        self._count(lease, now_seconds + ttl_ms / 1000)
        return ttl_ms / 1000

    def remaining_seconds(self, lease: int, now_seconds: float) -> float | None:
        """How long a lease will last without a keep-alive; None if it has ended or is about to."""
        ttl_ms = self._leases.ttls_ms.get(lease)
        if ttl_ms is None or lease in self._expiring:
            return None
        if lease not in self._deadlines:
            return ttl_ms / 1000  # It has yet to be counted.
        return max(0.0, self._deadlines[lease] + self._lag_seconds - now_seconds)

    def due(
        self, now_seconds: float, *, load_of: Callable[[int], int] = lambda _: 0, load_max: int = 1
    ) -> tuple[int, ...]:
        """The leases to propose an `Expire` for; each is named once, and can't be kept alive any more.

        At most as many as one command can end: `load_of` is the number of things attached to each. Call again
        soon while `behind`.
        """
        self._more_due = False
        if (not self._heap and not self._expiring) or now_seconds < self._quiet_until:
            return ()
        self._expiring = {lease for lease in self._expiring if lease in self._leases}
        if len(self._expiring) >= EXPIRING_MAX:
            return ()
        due, load, at = list[int](), 0, now_seconds - self._lag_seconds
        for _ in range(LOOKED_AT_ONCE):
            if not self._heap or self._heap[0][0] > at:
                return tuple(due)
            if len(due) >= LEASES_MAX_PER_EXPIRE or load >= load_max:
                break
            lease = self._surfaced(at)
            if lease is not None:
                due.append(lease)
                load += load_of(lease)
        self._more_due = True
        return tuple(due)

    def not_proposed(self, leases: Iterable[int], now_seconds: float) -> None:
        """The proposal to expire these was dropped: they are due again, and can be kept alive."""
        for lease in leases:
            if lease in self._leases:
                self._expiring.discard(lease)
                self._count(lease, now_seconds)

    def cut_short(self, leases: Iterable[int], now_seconds: float) -> None:
        """Make these due now: their holder is known to have ended."""
        for lease in leases:
            if lease in self._leases and lease not in self._expiring:
                self._count(lease, now_seconds)

    def _count(self, lease: int, deadline: float) -> None:
        deadline -= self._lag_seconds
        self._deadlines[lease] = deadline
        at = self._looked_at.get(lease)
        if at is None or deadline < at:
            self._look_at(lease, deadline)

    def _look_at(self, lease: int, deadline: float) -> None:
        self._looked_at[lease] = deadline
        heappush(self._heap, (deadline, lease))

    def _surfaced(self, at: float) -> int | None:
        """Take the first one off the heap; the lease, if its time has run out."""
        place, lease = heappop(self._heap)
        if self._looked_at.get(lease) != place:
            return None
        del self._looked_at[lease]
        if lease not in self._leases:
            del self._deadlines[lease]
            return None
        if self._deadlines[lease] > at:
            self._look_at(lease, self._deadlines[lease])
            return None
        del self._deadlines[lease]
        self._expiring.add(lease)
        return lease


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
        """The time from which on the lease may belong to another holder."""
        return self._sent_seconds + self.ttl_seconds * (1 - DRIFT_RATIO)

    def remaining_seconds(self, now_seconds: float) -> float:
        """For how long the lease is ours for certain; 0 when it no longer is."""
        return max(0.0, self.deadline - now_seconds)

    def next_keep_alive(self) -> float:
        """When to send the next keep-alive, which leaves time for two more."""
        return self._sent_seconds + self.ttl_seconds / 3
