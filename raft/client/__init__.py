"""The client library: find the leader, retry what is safe, and say so when nobody can know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.client.client import Client
from raft.client.errors import (
    ClientClosed,
    ClientError,
    CommandRefused,
    EventsForgotten,
    FenceRejected,
    LeadershipLost,
    LeaseEnded,
    NoLeader,
    OutcomeUnknown,
    OutOfSpace,
    Rejected,
    SessionExpired,
    Taken,
    Unreachable,
)

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

__all__ = [
    "AsyncClient",
    "Client",
    "ClientClosed",
    "ClientError",
    "CommandRefused",
    "EventsForgotten",
    "FenceRejected",
    "LeadershipLost",
    "LeaseEnded",
    "NoLeader",
    "OutOfSpace",
    "OutcomeUnknown",
    "Rejected",
    "SessionExpired",
    "Taken",
    "Unreachable",
]


def __getattr__(name: str) -> object:
    # Only who wants it pays for asyncio: a command line's `get` has better uses for its time.
    if name == "AsyncClient":
        from raft.client.asyncio_client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
