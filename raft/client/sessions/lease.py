"""A lease as an object, for blocking programs: refresh, time left, revoke.

Owns only the lease's number. A session is a lease that is kept alive automatically.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raft.client.blocking import blocking
from raft.client.errors import ClientError
from raft.client.sessions.asyncio_lease import AsyncLease

if TYPE_CHECKING:
    pass


class Lease:
    """A lease that is kept alive only by `refresh`; accepted wherever a lease number is.

    As a context manager it is revoked at the end, which deletes the keys attached to it.
    """

    def __init__(self, unsuspended: AsyncLease) -> None:
        self.id = unsuspended.id
        self.ttl_seconds = unsuspended.ttl_seconds
        """How long it lasts after a refresh."""
        self.unsuspended = unsuspended

    def __index__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"Lease({self.id}, {self.ttl_seconds:g} s)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ClientError):  # If this fails, the lease ends by itself.
            self.revoke()

    refresh = blocking(AsyncLease.refresh)
    remaining = blocking(AsyncLease.remaining)
    keys = blocking(AsyncLease.keys)
    revoke = blocking(AsyncLease.revoke)
