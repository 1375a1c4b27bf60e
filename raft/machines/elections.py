"""Elections, locks and semaphores: queues of candidates, of whom the first hold seats.

Owns the queues. An election has one seat, a semaphore several; a lock is an election without
announced values. A candidate is named by the log index of its campaign, and as the queue keeps
the order of arrival, that is a fencing token: it grows with every leadership, over restarts and snapshots,
and even if the election was empty in between. Knows nothing of time; a candidate leaves when its lease ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct

from raft.machines.commands import (
    ANSWER_BYTES_MAX,
    LEASE_CANDIDATES_MAX,
    LIMIT_MAX,
    SEATS_MAX,
    Campaign,
    Fence,
    Operation,
    Proclaim,
    Resign,
)
from raft.machines.history import History
from raft.machines.keys import Table
from raft.machines.leases import Leases
from raft.machines.results import (
    Campaigned,
    Candidate,
    ElectionState,
    FenceRejected,
    LeaseGone,
    Led,
    Left,
    Proclaimed,
    Refused,
    Resigned,
)

ANSWERED_BYTES = 32  # What a candidate takes in an answer, besides its value.
ANNOUNCED_BYTES_MAX = ANSWER_BYTES_MAX - SEATS_MAX * ANSWERED_BYTES
TOO_MUCH_ANNOUNCED = Refused(
    f"the seats of an election announce {ANNOUNCED_BYTES_MAX} bytes at most: announce less, or keep it "
    "in the store, under a key that is announced"
)
CANDIDATE_BYTES = 500  # What a candidate is counted for besides its value and its election's name.


class Queue(Struct, gc=False):
    """The candidates of one election, by token and in the order of arrival."""

    seats: int
    seated: dict[int, Candidate]
    waiting: OrderedDict[
        int, Candidate
    ]  # An ordered dict: the first candidate is found quickly, even after many have left.

    def __len__(self) -> int:
        return len(self.seated) + len(self.waiting)


class Elections:
    """All elections that have a candidate."""

    def __init__(self, leases: Leases, history: History) -> None:
        self._leases = leases
        self._history = history
        self._table: Table[str, Queue] = Table()
        self._by_lease: dict[int, dict[int, str]] = {}
        self._elections: dict[int, str] = {}  # By token.
        self.size_bytes = 0
        """The total size of all candidates."""

    # -- commands -------------------------------------------------------------------------------

    def campaign(self, index: int, request: Campaign) -> Campaigned | LeaseGone | Refused:
        """Add a candidate to the queue; it takes a seat if one is free."""
        election, lease = request.election, request.lease
        if lease not in self._leases:
            return LeaseGone(lease)
        if self.count_of(lease) >= LEASE_CANDIDATES_MAX:
            return Refused(
                f"at most {LEASE_CANDIDATES_MAX} candidates hang on a lease, as on {lease} already"
            )
        queue = self._table.live.get(election)
        if queue is not None and queue.seats != request.seats:
            return Refused(
                f"{election!r} has {queue.seats} seats while there are candidates, not {request.seats}"
            )
        ahead = len(queue) if queue is not None else 0
        seated = ahead < request.seats
        if not seated and not request.wait:
            return Campaigned(0, False, ahead)
        self._join(election, request.seats, Candidate(index, lease, request.value))
        if seated:
            self._history.add(Led(election, index, request.value, index))
        return Campaigned(index, seated, ahead)

    def resign(self, index: int, request: Resign) -> Resigned:
        """Remove a candidate, whether it holds a seat or waits."""
        queue = self._table.live.get(request.election)
        if queue is None:
            return Resigned(False)
        candidate = queue.seated.get(request.token) or queue.waiting.get(request.token)
        if candidate is None:
            return Resigned(False)
        mine = self._by_lease[candidate.lease]
        del mine[request.token]
        if not mine:
            del self._by_lease[candidate.lease]
        self._leave(index, request.election, [request.token])
        return Resigned(True)

    def proclaim(self, index: int, request: Proclaim) -> Proclaimed | FenceRejected:
        """Change what the holder of a seat announces."""
        election, token, value = request.election, request.token, request.value
        rejection = self.rejection(Fence(election, token))
        if rejection is not None:
            return rejection
        seated = self._table.own(election, _copy).seated
        before = seated[token]
        seated[token] = Candidate(token, before.lease, value)
        self.size_bytes += len(value) - len(before.value)
        self._history.add(Led(election, token, value, index))
        return Proclaimed()

    def drop(self, index: int, leases: Iterable[int]) -> None:
        """Remove all candidates of ended leases: all at once, or one of them might still take a seat."""
        leaving: dict[str, list[int]] = {}
        for lease in leases:
            for token, election in self._by_lease.pop(lease, {}).items():
                leaving.setdefault(election, []).append(token)
        for election in sorted(leaving):
            self._leave(index, election, leaving[election])

    # -- questions ------------------------------------------------------------------------------

    def count_of(self, lease: int) -> int:
        """How many candidates hang on a lease."""
        return len(self._by_lease.get(lease, ()))

    def some_of(self, lease: int, limit: int) -> tuple[tuple[str, bool], ...]:
        """At most `limit` of the elections with a candidate of that lease, and whether that holds a seat."""
        mine = islice(self._by_lease.get(lease, {}).items(), limit)
        return tuple((election, token in self._table.live[election].seated) for token, election in mine)

    def rejection(self, fence: Fence) -> FenceRejected | None:
        """Why a fenced command must not be carried out; None if its token holds a seat."""
        election = fence.election or self._elections.get(fence.token, "")
        queue = self._table.live.get(election)
        if queue is not None and fence.token in queue.seated:
            return None
        return FenceRejected(election, fence.token, next(reversed(queue.seated), 0) if queue else 0)

    def state(self, election: str) -> ElectionState | Refused:
        """The holders of seats and the waiting candidates; an election without candidates is empty.

        As many of the waiting candidates as one answer holds.
        """
        revision, queue = self._history.revision, self._table.live.get(election)
        if queue is None:
            return ElectionState(0, (), (), revision)
        room_bytes = ANSWER_BYTES_MAX - sum(map(_answered_bytes, queue.seated.values()))
        if room_bytes < 0:  # An earlier version accepted it.
            return Refused(f"those who hold the seats of {election!r} announce more than one answer holds")
        waiting: list[Candidate] = []
        for candidate in islice(queue.waiting.values(), LIMIT_MAX):
            room_bytes -= _answered_bytes(candidate)
            if room_bytes < 0:
                break
            waiting.append(candidate)
        more = len(queue.waiting) - len(waiting)
        return ElectionState(queue.seats, tuple(queue.seated.values()), tuple(waiting), revision, more)

    def too_big(self, operation: Operation) -> bool:
        """Whether the values of seat holders might not fit into one answer."""
        if isinstance(operation, Campaign):
            return operation.seats * len(operation.value) > ANNOUNCED_BYTES_MAX
        if isinstance(operation, Proclaim):
            queue = self._table.live.get(operation.election)
            return queue is not None and queue.seats * len(operation.value) > ANNOUNCED_BYTES_MAX
        return False

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> list[tuple[str, int, list[Candidate]]]:
        """Everything, in the order of the names."""
        return [_state(name, queue) for name, queue in self._table.items()]

    def frozen(self) -> Iterator[tuple[str, int, list[Candidate]]]:
        """The same, as of this moment, to be drawn later."""
        return (_state(name, queue) for name, queue in self._table.frozen())

    def restore(self, elections: Sequence[tuple[str, int, Sequence[Candidate]]]) -> None:
        """Restore the state of an earlier `snapshot`."""
        self._table.fill(())
        self._by_lease.clear()
        self._elections.clear()
        self.size_bytes = 0
        for name, seats, candidates in elections:
            for candidate in candidates:
                self._join(name, seats, candidate)

    # -------------------------------------------------------------------------------------------

    def _join(self, election: str, seats: int, candidate: Candidate) -> None:
        if election not in self._table.live:
            self._table.put(election, Queue(seats, {}, OrderedDict()))
        queue = self._table.own(election, _copy)
        (queue.seated if len(queue.seated) < seats else queue.waiting)[candidate.token] = candidate
        self._elections[candidate.token] = election
        self._by_lease.setdefault(candidate.lease, {})[candidate.token] = election
        self.size_bytes += _bytes_of(election, candidate)

    def _leave(self, index: int, election: str, tokens: Iterable[int]) -> None:
        """Remove candidates from a queue, and record events for seats lost and won."""
        queue = self._table.own(election, _copy)
        lost: list[int] = []
        for token in tokens:
            del self._elections[token]
            left = queue.seated.pop(token, None)
            if left is not None:
                lost.append(token)
            else:
                left = queue.waiting.pop(token)
            self.size_bytes -= _bytes_of(election, left)
        for token in sorted(lost):
            self._history.add(Left(election, token, index))
        while queue.waiting and len(queue.seated) < queue.seats:
            token, candidate = queue.waiting.popitem(last=False)
            queue.seated[token] = candidate
            self._history.add(Led(election, token, candidate.value, index))
        if not queue.seated:
            self._table.pop(election)


def _answered_bytes(candidate: Candidate) -> int:
    return ANSWERED_BYTES + len(candidate.value)


def _bytes_of(election: str, candidate: Candidate) -> int:
    return CANDIDATE_BYTES + len(election) + len(candidate.value)


def _copy(queue: Queue) -> Queue:
    return Queue(queue.seats, queue.seated.copy(), queue.waiting.copy())


def _state(name: str, queue: Queue) -> tuple[str, int, list[Candidate]]:
    return name, queue.seats, [*queue.seated.values(), *queue.waiting.values()]
