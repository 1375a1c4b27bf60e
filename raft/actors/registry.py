"""Names that can be trusted: a name has one holder, also while the network is cut.

Owns the naming: each name is an election of its own in a Raft cluster, whose value is the holder's
address. So a holder that is not heard of loses its name after its `ttl`, and knows that before any other
one is given it; and whatever it writes to can turn an earlier holder down by its token. For names that
have to be quick and no more than that, see `Context.directory`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from actors import Address
from actors.errors import NameTaken
from raft.client import AsyncClient, AsyncLead, Taken
from raft.client.sessions.asyncio_election import AsyncElection
from raft.durations import Duration
from raft.machines.results import ElectionState

PREFIX = "actors/"


class Holder(Struct, frozen=True):
    """Who holds a name, and its fencing token: a later holder's is greater."""

    address: Address
    token: int


class NameRegistry:
    """The names of a cluster, by way of a client that stays the caller's."""

    def __init__(self, client: AsyncClient, *, ttl: Duration = "5s") -> None:
        self._client = client
        self._ttl = ttl

    @asynccontextmanager
    async def hold(self, name: str, address: Address, *, wait: bool = False) -> AsyncIterator[AsyncLead]:
        """Hold a name within the block; raises NameTaken where another one does, unless told to wait for it.

        The block is cancelled, and LeadershipLost raised, before another one can be given the name.
        """
        try:
            async with self._election(name, address, wait=wait) as lead:
                yield lead
        except Taken as error:
            holder = await self.where_is(name)
            said = f"by {holder.address}" if holder is not None else "by one that has just let it go"
            raise NameTaken(f"the name {name!r} is held {said}") from error

    async def where_is(self, name: str) -> Holder | None:
        """Who holds a name, as of some moment after the call."""
        return _holder(await self._election(name).current())

    async def watch(self, name: str) -> AsyncIterator[Holder | None]:
        """Who holds a name now, then after each change, for ever; quick changes may be told as one."""
        last: Holder | None = None
        first = True
        async for _ in self._election(name).observe():
            holder = await self.where_is(name)
            if first or holder != last:
                yield holder
            first, last = False, holder

    def _election(self, name: str, address: Address | None = None, *, wait: bool = True) -> AsyncElection:
        value = b"" if address is None else str(address)
        return self._client.election(PREFIX + name, ttl=self._ttl, value=value, wait=wait)


def _holder(state: ElectionState) -> Holder | None:
    if not state.holders:
        return None
    (candidate,) = state.holders
    return Holder(Address.parse(candidate.value.decode()), candidate.token)
