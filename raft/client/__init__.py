"""The client library: find the leader, retry what is safe, and report an unknown outcome as such.

Everything that a user's program imports is here, whichever module defines it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from raft.client.calls.store import Replaced, Swapped
from raft.client.calls.transactions import Key
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
    NotAllowed,
    OutcomeUnknown,
    OutOfSpace,
    Rejected,
    SessionExpired,
    Taken,
    Unreachable,
    UnsupportedVersion,
)
from raft.client.watches.iterators import AsyncWatching, Changed, Watching
from raft.machines.commands import Fence, WatchElection, WatchKeys
from raft.machines.results import (
    Candidate,
    ElectionState,
    Item,
    Items,
    Led,
    Left,
    Removed,
    TransactionDone,
)

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.fencing import DamagedToken, FencedFile, FencedRow, StaleToken
    from raft.client.recipes.barriers import AsyncBarrier, AsyncDoubleBarrier, Barrier, DoubleBarrier
    from raft.client.recipes.counters import AsyncCounter, Counter
    from raft.client.recipes.parties import AsyncParty, Party
    from raft.client.recipes.queues import AsyncQueue, AsyncQueueItem, ItemLost, Queue, QueueItem
    from raft.client.recipes.rwlocks import AsyncReadWriteLock, ReadWriteLock
    from raft.client.retries import Backoff, retry, retry_async
    from raft.client.sessions.asyncio_election import AsyncElection, AsyncLead
    from raft.client.sessions.asyncio_lease import AsyncLease
    from raft.client.sessions.asyncio_session import AsyncSession, SessionState
    from raft.client.sessions.election import Election, Lead
    from raft.client.sessions.lease import Lease
    from raft.client.sessions.session import Session
    from raft.client.telemetry import trace_calls

__all__ = [
    "AsyncBarrier",
    "AsyncClient",
    "AsyncCounter",
    "AsyncDoubleBarrier",
    "AsyncElection",
    "AsyncLead",
    "AsyncLease",
    "AsyncParty",
    "AsyncQueue",
    "AsyncQueueItem",
    "AsyncReadWriteLock",
    "AsyncSession",
    "AsyncWatching",
    "Backoff",
    "Barrier",
    "Candidate",
    "Changed",
    "Client",
    "ClientClosed",
    "ClientError",
    "CommandRefused",
    "Counter",
    "DamagedToken",
    "DoubleBarrier",
    "Election",
    "ElectionState",
    "EventsForgotten",
    "Fence",
    "FenceRejected",
    "FencedFile",
    "FencedRow",
    "Item",
    "ItemLost",
    "Items",
    "Key",
    "Lead",
    "LeadershipLost",
    "Lease",
    "LeaseEnded",
    "Led",
    "Left",
    "NoLeader",
    "NotAllowed",
    "OutOfSpace",
    "OutcomeUnknown",
    "Party",
    "Queue",
    "QueueItem",
    "ReadWriteLock",
    "Rejected",
    "Removed",
    "Replaced",
    "Session",
    "SessionExpired",
    "SessionState",
    "StaleToken",
    "Swapped",
    "Taken",
    "TransactionDone",
    "Unreachable",
    "UnsupportedVersion",
    "WatchElection",
    "WatchKeys",
    "Watching",
    "retry",
    "retry_async",
    "trace_calls",
]

# These need asyncio, which takes longer to import than `get` on the command line takes: imported on demand.
_LATER = {
    "asyncio_client": ("AsyncClient",),
    "sessions.asyncio_election": ("AsyncElection", "AsyncLead"),
    "sessions.asyncio_lease": ("AsyncLease",),
    "sessions.asyncio_session": ("AsyncSession", "SessionState"),
    "sessions.election": ("Election", "Lead"),
    "fencing": ("DamagedToken", "FencedFile", "FencedRow", "StaleToken"),
    "sessions.lease": ("Lease",),
    "recipes.barriers": ("AsyncBarrier", "AsyncDoubleBarrier", "Barrier", "DoubleBarrier"),
    "recipes.counters": ("AsyncCounter", "Counter"),
    "recipes.parties": ("AsyncParty", "Party"),
    "recipes.queues": ("AsyncQueue", "AsyncQueueItem", "ItemLost", "Queue", "QueueItem"),
    "recipes.rwlocks": ("AsyncReadWriteLock", "ReadWriteLock"),
    "retries": ("Backoff", "retry", "retry_async"),
    "sessions.session": ("Session",),
    "telemetry": ("trace_calls",),
}


def __getattr__(name: str) -> object:
    for module, names in _LATER.items():
        if name in names:
            return getattr(import_module(f"raft.client.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
