"""What a candidate requests, and the names of elections, locks and semaphores in the cluster.

Owns the names: a lock and an election of the same name are independent of each other.
"""

from __future__ import annotations

from msgspec import Struct

from raft.client.calls.store import Text, to_bytes


class Candidacy(Struct, frozen=True):
    """A request for one of `seats` seats, with a value to announce."""

    election: str
    seats: int
    value: bytes
    wait: bool


def of_election(name: str, value: Text, *, wait: bool) -> Candidacy:
    """The one seat of an election."""
    return Candidacy(f"election/{name}", 1, to_bytes(value), wait)


def of_lock(name: str, value: Text, *, wait: bool) -> Candidacy:
    """The one seat of a lock."""
    return Candidacy(f"lock/{name}", 1, to_bytes(value), wait)


def of_semaphore(name: str, seats: int, value: Text, *, wait: bool) -> Candidacy:
    """One of a semaphore's seats."""
    return Candidacy(f"semaphore/{name}", seats, to_bytes(value), wait)
