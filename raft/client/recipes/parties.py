"""Who takes part in something just now.

Owns the keys NAME/*, one for each participant, which goes with its session.
"""

from __future__ import annotations

from raft.client.calls.store import Text, page, range_of, to_bytes
from raft.client.recipes.steps import Steps, carry_out, carry_out_async, change, in_time, unique
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session
from raft.durations import Duration
from raft.machines.commands import Count, Delete, Put
from raft.machines.results import Counted, Items


def members(prefix: bytes) -> Steps[list[bytes]]:
    """What the participants have announced."""
    found: list[bytes] = []
    after: bytes | None = None
    while True:
        items: Items = yield page(prefix, after)
        found += [item.value for item in items.items]
        if not items.more:
            return found
        after = items.items[-1].key


def wait_for(prefix: bytes, count: int) -> Steps[None]:
    """Wait until so many take part."""
    while True:
        found: Counted = yield Count(*range_of(prefix, prefix=True))
        if found.count >= count:
            return
        yield change(prefix, found.revision)


class Party:
    """A group that sessions join and leave; a session that has ended has left."""

    def __init__(self, session: Session, name: str, value: Text = b"") -> None:
        """`value` is what this participant announces."""
        self._session = session
        self._prefix = f"{name}/".encode()
        self._me = self._prefix + unique().encode()
        self._value = to_bytes(value)

    def join(self) -> None:
        """Take part until `leave`, or until the session has ended."""
        self._session.call(Put(self._me, self._value, self._session.lease))

    def leave(self) -> None:
        """Take part no longer."""
        self._session.call(Delete(self._me))

    def members(self) -> list[bytes]:
        """What those have announced who take part."""
        return carry_out(self._session, members(self._prefix))

    def count(self) -> int:
        """How many take part."""
        return self._session.count(self._prefix)

    def wait_for(self, count: int, *, timeout: Duration | None = None) -> bool:
        """Wait until so many take part; False if there were too few for all that time."""
        return carry_out(self._session, in_time(wait_for(self._prefix, count)), timeout)


class AsyncParty:
    """`Party` in an event loop."""

    def __init__(self, session: AsyncSession, name: str, value: Text = b"") -> None:
        """`value` is what this participant announces."""
        self._session = session
        self._prefix = f"{name}/".encode()
        self._me = self._prefix + unique().encode()
        self._value = to_bytes(value)

    async def join(self) -> None:
        """Take part until `leave`, or until the session has ended."""
        await self._session.call(Put(self._me, self._value, self._session.lease))

    async def leave(self) -> None:
        """Take part no longer."""
        await self._session.call(Delete(self._me))

    async def members(self) -> list[bytes]:
        """What those have announced who take part."""
        return await carry_out_async(self._session, members(self._prefix))

    async def count(self) -> int:
        """How many take part."""
        return await self._session.count(self._prefix)

    async def wait_for(self, count: int, *, timeout: Duration | None = None) -> bool:
        """Wait until so many take part; False if there were too few for all that time."""
        return await carry_out_async(self._session, in_time(wait_for(self._prefix, count)), timeout)
