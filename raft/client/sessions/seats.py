"""What a candidate wants, and what elections, locks and semaphores are called in the cluster.

Owns the names: a lock and an election of the same name have nothing to do with each other.
"""

from __future__ import annotations

from msgspec import Struct

from raft.client.calls.store import Text, to_bytes


class Seat(Struct, frozen=True):
    """One of so many seats, with a value to announce; to be waited for or not."""

    election: str
    seats: int
    value: bytes
    wait: bool


def of_election(name: str, value: Text, *, wait: bool) -> Seat:
    """The one seat of an election."""
    return Seat(f"election/{name}", 1, to_bytes(value), wait)


def of_lock(name: str, value: Text, *, wait: bool) -> Seat:
    """The one seat of a lock."""
    return Seat(f"lock/{name}", 1, to_bytes(value), wait)


def of_semaphore(name: str, seats: int, value: Text, *, wait: bool) -> Seat:
    """One of a semaphore's seats."""
    return Seat(f"semaphore/{name}", seats, to_bytes(value), wait)
