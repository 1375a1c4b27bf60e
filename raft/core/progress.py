"""What a leader knows of one peer's log, and whether it may send more.

Owns the three states: probe (one append, then wait), replicate (a window of appends, limited in messages
and bytes) and snapshot (nothing until the snapshot arrived). Knows nothing of messages or quorums.
"""

from __future__ import annotations

import enum
from collections import deque

from raft.core.types import NO_LIMIT, Index


class ProgressState(enum.Enum):
    """How appends flow to the peer."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


PROBE = ProgressState.PROBE
REPLICATE = ProgressState.REPLICATE
SNAPSHOT = ProgressState.SNAPSHOT


class Inflights:
    """Appends in flight, oldest first, each with the index of its last entry."""

    __slots__ = ("_window", "bytes_in_flight", "bytes_max", "full", "messages_max")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        """Start empty; a `bytes_max` of 0 is no limit."""
        self.messages_max = messages_max
        self.bytes_max = bytes_max or NO_LIMIT
        self.bytes_in_flight = 0
        self.full = False
        """Whether the window is full; the last append may have exceeded the limit of bytes."""
        self._window: deque[tuple[Index, int]] = deque()

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last_index: Index, size_bytes: int) -> None:
        """Add an append; only when the window is not full."""
        assert not self.full, f"{len(self._window)} appends are in flight, no more are allowed"
        self._window.append((last_index, size_bytes))
        self.bytes_in_flight += size_bytes
        self.full = len(self._window) >= self.messages_max or self.bytes_in_flight >= self.bytes_max

    def free_up_to(self, index: Index) -> None:
        """Remove every append whose entries are all at or below `index`."""
        window = self._window
        while window and window[0][0] <= index:
            self.bytes_in_flight -= window.popleft()[1]
        self.full = len(window) >= self.messages_max or self.bytes_in_flight >= self.bytes_max

    def clear(self) -> None:
        """Remove all appends."""
        self._window.clear()
        self.bytes_in_flight = 0
        self.full = False


class Progress:
    """One peer, seen from the leader. `match` < `next` always; entries between them are in flight."""

    __slots__ = (
        "acked_tick",
        "flow_paused",
        "inflights",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "recently_active",
        "sent_commit",
        "state",
    )

    def __init__(
        self,
        match: Index,
        next_index: Index,
        inflights: Inflights,
        *,
        is_learner: bool = False,
        recently_active: bool = False,
    ) -> None:
        assert match < next_index, f"next {next_index} must be past match {match}"
        self.match = match
        self.next = next_index
        self.state = PROBE
        self.pending_snapshot: Index = 0
        self.recently_active = recently_active
        self.flow_paused = False
        self.inflights = inflights
        self.is_learner = is_learner
        self.sent_commit: Index = 0
        self.acked_tick = 0  # When the last heartbeat was sent that the peer has answered; 0 is never.

    def copy(self) -> Progress:
        """Return a copy that shares the window of appends."""
        other = Progress.__new__(Progress)
        for name in Progress.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def become_probe(self) -> None:
        """Send one append at a time, from behind a pending snapshot if there is one."""
        next_index = self.match + 1
        if self.state is SNAPSHOT:
            next_index = max(next_index, self.pending_snapshot + 1)
        self._enter(PROBE)
        self.next = next_index
        self.sent_commit = min(self.sent_commit, next_index - 1)

    def become_replicate(self) -> None:
        """Pipeline appends, from what is known to match."""
        self._enter(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, snapshot_index: Index) -> None:
        """Send nothing until a snapshot at this index arrived."""
        self._enter(SNAPSHOT)
        self.pending_snapshot = snapshot_index
        self.next = snapshot_index + 1
        self.sent_commit = snapshot_index

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.flow_paused = False
        self.pending_snapshot = 0
        self.inflights.clear()

    def paused(self) -> bool:
        """Tell whether appends have to wait."""
        return self.flow_paused or self.state is SNAPSHOT

    def sent_entries(self, count: int, payload_bytes: int) -> None:
        """Note an append of `count` entries."""
        if self.state is REPLICATE:
            last = self.next + count - 1
            self.next = last + 1
            self.inflights.add(last, payload_bytes)
            self.flow_paused = self.inflights.full
        else:
            assert self.state is PROBE, "entries must not be sent while a snapshot is in flight"
            self.flow_paused = True

    def sent_empty(self) -> None:
        """Note an append without entries: a probe, or a commit index."""
        if self.inflights.full:
            self.flow_paused = True  # It was sent despite a full window, as a probe: wait for a reply.

    def can_bump_commit(self, commit: Index) -> bool:
        """Tell whether sending this commit index may advance the peer's."""
        return commit > self.sent_commit and self.sent_commit < self.next - 1

    def acknowledge(self, index: Index) -> bool:
        """Note that the peer's log matches up to `index`; False if that was known."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        self.flow_paused = False
        return True

    def reject(self, rejected: Index, hint: Index) -> bool:
        """Step back after a rejected append at `rejected`, to at most `hint`; False if the reply is stale."""
        if self.state is REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        elif self.next - 1 != rejected:
            # Probes are sent one at a time: a reply to another one is stale.
            return False
        else:
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.flow_paused = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True
