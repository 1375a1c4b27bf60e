"""Group membership: which sessions take part in something at present.

Owns the keys NAME/*, one for each participant, which are deleted with their sessions.
"""

from __future__ import annotations

from raft.client.blocking import blocking
from raft.client.calls.store import Text, page, range_of, to_bytes
from raft.client.recipes.steps import Steps, change, in_time, run_steps, unique
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.sessions.session import Session, UnsuspendedSession
from raft.durations import Duration
from raft.machines.commands import Count, Delete, Put
from raft.machines.results import Counted, Items


def members(prefix: bytes) -> Steps[list[bytes]]:
    """The values announced by the participants."""
    found: list[bytes] = []
    after: bytes | None = None
    while True:
        items: Items = yield page(prefix, after)
        found += [item.value for item in items.items]
        if not items.more:
            return found
        after = items.items[-1].key


def wait_for(prefix: bytes, count: int) -> Steps[None]:
    """Wait until at least `count` take part."""
    while True:
        found: Counted = yield Count(*range_of(prefix, prefix=True))
        if found.count >= count:
            return
        yield change(prefix, found.revision)


class AsyncParty:
    """A group that sessions join and leave; a session that has ended has left."""

    def __init__(self, session: AsyncSession | UnsuspendedSession, name: str, value: Text = b"") -> None:
        """`value` is what this participant announces."""
        self._session = session
        self._prefix = f"{name}/".encode()
        self._me = self._prefix + unique().encode()
        self._value = to_bytes(value)

    async def join(self) -> None:
        """Take part until `leave`, or until the session has ended."""
        await self._session.call(Put(self._me, self._value, self._session.lease))

    async def leave(self) -> None:
        """Stop taking part."""
        await self._session.call(Delete(self._me))

    async def members(self) -> list[bytes]:
        """The values announced by the participants."""
        return await run_steps(self._session, members(self._prefix))

    async def count(self) -> int:
        """The number of participants."""
        return await self._session.count(self._prefix)

    async def wait_for(self, count: int, *, timeout: Duration | None = None) -> bool:
        """Wait until at least `count` take part; False when the time is up."""
        return await run_steps(self._session, in_time(wait_for(self._prefix, count)), timeout)


class Party:
    """`AsyncParty` for blocking programs."""

    def __init__(self, session: Session, name: str, value: Text = b"") -> None:
        """`value` is what this participant announces."""
        self.unsuspended = AsyncParty(session.unsuspended, name, value)

    join = blocking(AsyncParty.join)
    leave = blocking(AsyncParty.leave)
    members = blocking(AsyncParty.members)
    count = blocking(AsyncParty.count)
    wait_for = blocking(AsyncParty.wait_for)
