"""A lease as an object: refreshed, asked about and revoked in a blocking program.

Owns nothing but the lease's number; a session is a lease that is kept alive by itself.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raft.client.errors import ClientError
from raft.machines.commands import GetLease

if TYPE_CHECKING:
    from raft.client.client import Client


class Lease:
    """A lease that is kept alive by `refresh` alone; where a lease is wanted, it counts as its number.

    As a context manager it is revoked at the end, and with it go the keys that hang on it.
    """

    def __init__(self, client: Client, lease: int, ttl_seconds: float) -> None:
        self.id = lease
        self.ttl_seconds = ttl_seconds
        """How long it lasts after a refresh."""
        self._client = client

    def __index__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"Lease({self.id}, {self.ttl_seconds:g} s)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ClientError):  # Whatever hinders it, the lease ends by itself.
            self.revoke()

    def refresh(self) -> float:
        """Give it its full time again; the seconds left, 0 if it has ended."""
        return self._client.keep_alive(self.id)

    def remaining(self) -> float:
        """The seconds that it lasts without a refresh, 0 if it has ended."""
        return self._client.time_left(self.id)

    def keys(self) -> tuple[bytes, ...]:
        """The keys that hang on it, in order; of very many, not all of one moment. Raises LeaseEnded."""
        state = self._client.ask(GetLease(self.id))
        keys = list(state.keys)
        while state.more:
            state = self._client.ask(GetLease(self.id, keys[-1]))
            keys += state.keys
        return tuple(keys)

    def revoke(self) -> bool:
        """End it, and all that hangs on it; whether it lasted until then."""
        return self._client.revoke(self.id)
