"""A session for each worker: opened when it is needed, and a new one when it has expired.

Owns their lives. What was under way in a session that has expired stays unknown.
"""

from __future__ import annotations

from contextlib import suppress

from raft.client.errors import ClientError
from raft.client.sessions.asyncio_session import AsyncSession
from raft.lab.chaos.workers import Worker

TTL = "10s"


class Sessions:
    """The sessions of all workers."""

    def __init__(self) -> None:
        self._open: dict[int, AsyncSession] = {}

    async def of(self, worker: Worker) -> AsyncSession | None:
        """The worker's session; None if none could be opened."""
        session = self._open.get(worker.number)
        if session is not None and session.remaining_seconds:
            return session
        await self.end(worker)
        session = worker.client.session(TTL)
        try:
            await session.open()
        except ClientError:
            return None
        self._open[worker.number] = session
        return session

    async def end(self, worker: Worker) -> None:
        """Close the worker's session, if there is one."""
        session = self._open.pop(worker.number, None)
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Close all."""
        sessions, self._open = [*self._open.values()], {}
        for session in sessions:
            with suppress(ClientError):
                await session.close()
