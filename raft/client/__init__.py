"""The client library: find the leader, retry what is safe, and say so when nobody can know."""

from raft.client.asyncio_client import AsyncClient
from raft.client.client import Client
from raft.client.errors import (
    ClientClosed,
    ClientError,
    CommandRefused,
    NoLeader,
    OutcomeUnknown,
    Rejected,
    Unreachable,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ClientClosed",
    "ClientError",
    "CommandRefused",
    "NoLeader",
    "OutcomeUnknown",
    "Rejected",
    "Unreachable",
]
