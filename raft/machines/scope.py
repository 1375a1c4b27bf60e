"""Whether a request stays below a prefix: the keys and elections that it names.

Owns that one question. Knows nothing of who asks, or of what the request does. Leases belong to no prefix:
they are granted, kept and ended by number. What lists them, or is about everything, is below no prefix.
"""

from __future__ import annotations

from raft.machines.commands import (
    Campaign,
    CompareAndSwap,
    CompareNumber,
    CompareValue,
    Count,
    Delete,
    DeleteRange,
    Get,
    GetElection,
    Grant,
    OpenSession,
    Proclaim,
    Put,
    Range,
    Resign,
    Revoke,
    Transaction,
    WatchElection,
    WatchKeys,
)
from raft.machines.keys import prefix_end

_OF_ONE_KEY = (Put, Delete, CompareAndSwap, Get, CompareValue, CompareNumber)
_OF_A_RANGE = (DeleteRange, Range, Count, WatchKeys)
_OF_AN_ELECTION = (Campaign, Resign, Proclaim, GetElection, WatchElection)
_KINDS = ("election", "lock", "semaphore")
_OF_LEASES = (OpenSession, Grant, Revoke)


def outside(request: object, below: str) -> str:
    """What of a request, or of a part of one, is not below that prefix, in words; "" if all of it is."""
    prefix = below.encode()
    if isinstance(request, _OF_ONE_KEY):
        return "" if request.key.startswith(prefix) else f"the key {_shown(request.key)}"
    if isinstance(request, _OF_A_RANGE):
        end = prefix_end(prefix)
        is_below = request.start.startswith(prefix) and (
            end is None or (request.end is not None and request.end <= end)
        )
        return "" if is_below else f"the keys from {_shown(request.start)} on"
    if isinstance(request, _OF_AN_ELECTION):
        kind, name = _own_name(request.election)
        return "" if name.startswith(below) else f"the {kind} {name!r:.100}"
    if isinstance(request, Transaction):
        parts = (*request.compares, *request.then, *request.otherwise)
        return next(filter(None, (outside(part, below) for part in parts)), "")
    return "" if isinstance(request, _OF_LEASES) else f"{type(request).__name__}, which is about everything"


def _own_name(election: str) -> tuple[str, str]:
    """What it is, and its name as users know it: clients put the kind in front of the name."""
    kind, slash, name = election.partition("/")
    return (kind, name) if slash and kind in _KINDS else ("election", election)


def _shown(key: bytes) -> str:
    return repr(key.decode(errors="replace"))[:100]
