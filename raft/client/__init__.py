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
    UnsupportedVersion,
)
from raft.client.transactions import Key

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.asyncio_session import SessionState
    from raft.client.retrying import Backoff, retry, retry_async

__all__ = [
    "AsyncClient",
    "Backoff",
    "Client",
    "ClientClosed",
    "ClientError",
    "CommandRefused",
    "EventsForgotten",
    "FenceRejected",
    "Key",
    "LeadershipLost",
    "LeaseEnded",
    "NoLeader",
    "OutOfSpace",
    "OutcomeUnknown",
    "Rejected",
    "SessionExpired",
    "SessionState",
    "Taken",
    "Unreachable",
    "UnsupportedVersion",
    "retry",
    "retry_async",
]


def __getattr__(name: str) -> object:
    # What needs asyncio is loaded when it is asked for: that takes longer than a command line's `get`.
    if name == "AsyncClient":
        from raft.client.asyncio_client import AsyncClient

        return AsyncClient
    if name == "SessionState":
        from raft.client.asyncio_session import SessionState

        return SessionState
    if name in ("Backoff", "retry", "retry_async"):
        from raft.client import retrying

        return getattr(retrying, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
