"""When a node takes a snapshot, and how much of its log it keeps.

Owns the numbers and their defaults. What follows from them is `snapshotting`'s.
"""

from __future__ import annotations

from msgspec import Struct


class SnapshotPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot is due after so many entries or bytes; with 0 for both, only on request.

    A state that is larger than `bytes_max` has to be exceeded by the commands since, or most of what the
    disk writes would be snapshots.
    """

    entries_max: int = 20_000
    bytes_max: int = 64 * 1024 * 1024  # Of commands.
    # For a follower that was down briefly. Never more than the entries after the snapshot before.
    entries_kept: int = 5_000
