"""What a candidate requests, and what any client may see of an election, a lock or a semaphore.

Owns the names in the cluster: a lock and an election of the same name are independent of each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from msgspec import Struct

from raft.client.calls.store import Text, to_bytes
from raft.client.calls.watches import ElectionObserver
from raft.client.errors import ClientError, LeadershipLost
from raft.machines.commands import GetElection
from raft.machines.results import Candidate, ElectionState, Led, Left

if TYPE_CHECKING:
    from raft.client.asyncio_calls import AsyncCalls


class Candidacy(Struct, frozen=True):
    """A request for one of `seats` seats, with a value to announce."""

    election: str
    seats: int
    value: bytes
    wait: bool


def of_election(name: str, value: Text, *, wait: bool) -> Candidacy:
    """The one seat of an election."""
    return Candidacy(f"election/{name}", 1, to_bytes(value), wait)


def of_lock(name: str, value: Text, *, wait: bool) -> Candidacy:
    """The one seat of a lock."""
    return Candidacy(f"lock/{name}", 1, to_bytes(value), wait)


def of_semaphore(name: str, seats: int, value: Text, *, wait: bool) -> Candidacy:
    """One of a semaphore's seats."""
    return Candidacy(f"semaphore/{name}", seats, to_bytes(value), wait)


def may_campaign_again(error: ClientError) -> bool:
    """After this error, may the work begin again under a new leadership?"""
    return isinstance(error, LeadershipLost) or error.retry_is_safe


class AsyncSeats:
    """The seats of an election, a lock or a semaphore, as any client sees them."""

    def __init__(self, client: AsyncCalls, election: str) -> None:
        self._reader = client
        self._election = election

    async def current(self) -> ElectionState:
        """The holders and the waiting candidates."""
        return await self._reader.ask(GetElection(self._election))

    async def locked(self) -> bool:
        """Are all seats taken, by any client?"""
        state = await self.current()
        return 0 < state.seats <= len(state.holders)

    async def contenders(self) -> tuple[Candidate, ...]:
        """The holders, then the waiting candidates (10,000 at most), in the order of arrival."""
        state = await self.current()
        return (*state.holders, *state.waiting)

    async def observe(self) -> AsyncIterator[Led | Left]:
        """The leader now, then every change, without end; after a gap in the events, the difference."""
        async for event in self._reader.changes(ElectionObserver(self._election)):
            assert isinstance(event, Led | Left), event
            yield event
