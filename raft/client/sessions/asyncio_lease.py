"""A lease as an object, for asyncio: refresh, time left, revoke.

Owns only the lease's number. A session is a lease that is kept alive automatically.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raft.client.errors import ClientError
from raft.machines.commands import GetLease

if TYPE_CHECKING:
    from raft.client.asyncio_calls import AsyncCalls


class AsyncLease:
    """A lease that is kept alive only by `refresh`; accepted wherever a lease number is.

    As an asynchronous context manager it is revoked at the end, which deletes the keys attached to it.
    """

    def __init__(self, client: AsyncCalls, lease: int, ttl_seconds: float) -> None:
        self.id = lease
        self.ttl_seconds = ttl_seconds
        """How long it lasts after a refresh."""
        self._client = client

    def __index__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"AsyncLease({self.id}, {self.ttl_seconds:g} s)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ClientError):  # If this fails, the lease ends by itself.
            await self.revoke()

    async def refresh(self) -> float:
        """Renew it for its full time. Returns the seconds left, 0 if it has ended."""
        return await self._client.keep_alive(self.id)

    async def remaining(self) -> float:
        """The seconds until it ends without a refresh, 0 if it has ended."""
        return await self._client.time_left(self.id)

    async def keys(self) -> tuple[bytes, ...]:
        """The keys attached to it, in order. Many keys are read in several pages. Raises LeaseEnded."""
        state = await self._client.ask(GetLease(self.id))
        keys = list(state.keys)
        while state.more:
            state = await self._client.ask(GetLease(self.id, keys[-1]))
            keys += state.keys
        return tuple(keys)

    async def revoke(self) -> bool:
        """End it and delete the keys attached to it. Returns whether it was still active."""
        return await self._client.revoke(self.id)
