"""When a node takes a snapshot, and how much of its log it keeps.

Owns the rule, its numbers and their defaults. Carrying it out is `taker`'s.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from raft.core.types import NO_LIMIT

# Unless a number of entries is set. An entry that is read and applied again costs a restart 5 to 6 us, and
# memory its bytes twice and 170 more, however large the state is. A snapshot costs up to 1 us for each value
# that it has, where a write costs some 15 us.
ENTRIES_MIN: Final = 30_000
ENTRIES_MAX: Final = 100_000  # As in etcd. A restart takes half a second longer then.


class SnapshotPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot is due after so many entries or bytes; with 0 for both, only on request.

    Without a number of entries the log has to outgrow the newest snapshot (thesis section 5.1.3): one is due
    when there are as many bytes of commands since as it has, but not before ENTRIES_MIN and not later than
    ENTRIES_MAX. So a small state is seldom written, and a large one no more often than its log is worth.

    A state that is larger than `bytes_max` has to be exceeded by the commands since, or most of what the
    disk writes would be snapshots.
    """

    entries_max: int | None = None
    bytes_max: int = 64 * 1024 * 1024  # Of commands.
    # For a follower that was down briefly. Never more than the entries after the snapshot before.
    entries_kept: int = 5_000

    def limits(self, entries: int, newest_bytes: int) -> tuple[int, int]:
        """Of how many entries or bytes since the newest snapshot the next one is due, as of so many entries.

        The limits may change when they are reached: then ask again. `newest_bytes`: the newest's size.
        """
        bytes_max = max(self.bytes_max, newest_bytes) if self.bytes_max else NO_LIMIT
        if self.entries_max is not None:
            return self.entries_max or NO_LIMIT, bytes_max
        if entries < ENTRIES_MIN:
            return ENTRIES_MIN, bytes_max
        return ENTRIES_MAX, newest_bytes
