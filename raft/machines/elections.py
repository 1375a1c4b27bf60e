"""Elections, and with them locks and semaphores: candidates in a queue, the first of whom hold seats.

Owns who stands where. An election has one seat, a semaphore several; a lock is an election in which
nobody announces anything. A candidate is named by the log index of its campaign, and as the queue keeps
the order of arrival, that is a fencing token: it grows with every leadership, over restarts and snapshots,
and even if the election was empty in between. Knows nothing of time; a candidate goes when its lease ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from raft.machines.answers import (
    Candidate,
    ElectionState,
    FenceRejected,
    LeaseGone,
    Led,
    Left,
    Proclaimed,
    Refused,
    Resigned,
    Standing,
)
from raft.machines.history import History
from raft.machines.leases import Leases
from raft.machines.operations import Campaign, Fence, Proclaim, Resign

Queue = dict[int, Candidate]  # By token, in the order of arrival.


class Elections:
    """All elections that have a candidate."""

    def __init__(self, leases: Leases, history: History) -> None:
        self._leases = leases
        self._history = history
        self._seats: dict[str, int] = {}
        self._queues: dict[str, Queue] = {}
        self._by_lease: dict[int, list[tuple[str, int]]] = {}
        self._elections: dict[int, str] = {}  # By token.

    # -- commands -------------------------------------------------------------------------------

    def campaign(self, index: int, request: Campaign) -> Standing | LeaseGone | Refused:
        """Let a candidate join the queue, and take a seat if one is free."""
        election, lease = request.election, request.lease
        if lease not in self._leases:
            return LeaseGone(lease)
        seats = self._seats.get(election, request.seats)
        if seats != request.seats:
            return Refused(
                f"{election!r} has {seats} seats as long as somebody is there, not {request.seats}"
            )
        ahead = len(self._queues.get(election, ()))
        seated = ahead < seats
        if not seated and not request.wait:
            return Standing(0, False, ahead)
        self._join(election, seats, Candidate(index, lease, request.value))
        if seated:
            self._history.add(Led(election, index, request.value, index))
        return Standing(index, seated, ahead)

    def resign(self, index: int, request: Resign) -> Resigned:
        """Let a candidate go, whether it holds a seat or waits."""
        candidate = self._queues.get(request.election, {}).get(request.token)
        if candidate is None:
            return Resigned(False)
        mine = self._by_lease[candidate.lease]
        mine.remove((request.election, request.token))
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
        queue = self._queues[election]
        queue[token] = Candidate(token, queue[token].lease, value)
        self._history.add(Led(election, token, value, index))
        return Proclaimed()

    def drop(self, index: int, leases: Iterable[int]) -> None:
        """Let all candidates of ended leases go: all at once, or one of them might yet take a seat."""
        leaving: dict[str, list[int]] = {}
        for lease in leases:
            for election, token in self._by_lease.pop(lease, ()):
                leaving.setdefault(election, []).append(token)
        for election in sorted(leaving):
            self._leave(index, election, leaving[election])

    # -- questions ------------------------------------------------------------------------------

    def rejection(self, fence: Fence) -> FenceRejected | None:
        """Why a fenced command must not be carried out; None if its token holds a seat."""
        election = fence.election or self._elections.get(fence.token, "")
        holders = self._holders(election)
        if fence.token in holders:
            return None
        return FenceRejected(election, fence.token, holders[-1] if holders else 0)

    def state(self, election: str) -> ElectionState:
        """Who holds the seats and who waits; an election that nobody takes part in is an empty one."""
        seats = self._seats.get(election, 0)
        candidates = tuple(self._queues.get(election, {}).values())
        return ElectionState(seats, candidates[:seats], candidates[seats:], self._history.revision)

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> list[tuple[str, int, list[Candidate]]]:
        """Everything, in the order of the names."""
        return [(name, self._seats[name], list(self._queues[name].values())) for name in sorted(self._queues)]

    def restore(self, elections: Sequence[tuple[str, int, Sequence[Candidate]]]) -> None:
        """Become what `snapshot` gave."""
        self._seats.clear()
        self._queues.clear()
        self._by_lease.clear()
        self._elections.clear()
        for name, seats, candidates in elections:
            for candidate in candidates:
                self._join(name, seats, candidate)

    # -------------------------------------------------------------------------------------------

    def _holders(self, election: str) -> list[int]:
        return list(islice(self._queues.get(election, ()), self._seats.get(election, 0)))

    def _join(self, election: str, seats: int, candidate: Candidate) -> None:
        self._seats[election] = seats
        self._elections[candidate.token] = election
        self._queues.setdefault(election, {})[candidate.token] = candidate
        self._by_lease.setdefault(candidate.lease, []).append((election, candidate.token))

    def _leave(self, index: int, election: str, tokens: Iterable[int]) -> None:
        """Take candidates out of a queue, and tell who lost and who won a seat by it."""
        queue, before = self._queues[election], self._holders(election)
        for token in tokens:
            del queue[token], self._elections[token]
        after = self._holders(election)
        for token in before:
            if token not in queue:
                self._history.add(Left(election, token, index))
        for token in after:
            if token not in before:
                self._history.add(Led(election, token, queue[token].value, index))
        if not queue:
            del self._queues[election], self._seats[election]
