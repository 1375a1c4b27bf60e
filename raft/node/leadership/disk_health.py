"""Transfers leadership away from a node whose disk is full, or much slower than another's.

Owns the assessment of the disk, the choice of the successor, and that leadership does not bounce. Knows
nothing of how a write is made, or of how leadership moves.

A slow leader transfers leadership only if another voter is proven to be faster: three writes in a row took
the limit or longer, and that voter had acknowledged the last one by half the limit. So the successor is at
least twice as fast; if all disks are slow the leader stays; and leadership returns only if the disks' speeds
change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from raft.core.raft import Raft
from raft.core.types import NO_NODE, Index, NodeId, Role
from raft.node.members.peers import Peers
from raft.node.reporter import Journal, Reporter
from raft.node.requests.commands import ClientRequests
from raft.protocol.client import Refused

DISK_FULL, SLOW_FSYNC = "disk-full", "slow-fsync"
SLOW_WRITES_MIN = 3
# A write that takes so many limits counts as slow before it ends.
HUNG_LIMITS = 4
# A leader that has written nothing for so long checks whether it still could.
IDLE_SECONDS = 1.0


class Writing(Protocol):
    """What is known of a node's writes; see `LogWriter`."""

    in_progress: bool
    writes: int
    began_at: float
    last: Index

    def probe(self) -> None:
        """Check for room."""
        ...


class DiskHealthMonitor:
    """Watches the writes of a node's disk, and transfers leadership if it fails or is too slow."""

    def __init__(
        self,
        raft: Raft,
        peers: Peers,
        service: ClientRequests,
        reporter: Reporter,
        journal: Journal,
        *,
        limit_seconds: float,
        writing: Callable[[], Writing],
        now: Callable[[], float],
        after: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._raft = raft
        self._peers = peers
        self._client_requests = service
        self._reporter = reporter
        self._journal = journal
        self._limit_seconds = limit_seconds
        self._writing = writing
        self._now = now
        self._after = after
        self.slow_seconds = limit_seconds
        """See `DiskObserver`: after a slow write all are to be reported."""
        self._full = False
        self._tried: set[NodeId] = set()
        self._slow_writes = 0
        self._looked_at = now()
        self._faster: set[NodeId] = set()

    # -- observations ------------------------------------------------------------------------

    def began(self, write: int) -> None:
        """See `DiskObserver`."""
        self._faster = set()
        if self._raft.role is Role.LEADER:
            self._after(self._limit_seconds / 2, lambda: self._find_faster(write))

    def ended(self, seconds: float) -> None:
        """See `DiskObserver`."""
        if seconds < self._limit_seconds:
            self._slow_writes = 0
            self.slow_seconds = self._limit_seconds
            return
        self._slow_writes += 1
        self.slow_seconds = 0.0
        if self._slow_writes == SLOW_WRITES_MIN:
            self._journal.event("fsync-slow", f"the last write took {seconds:.3f} s", seconds=seconds)
        if self._slow_writes >= SLOW_WRITES_MIN:
            self._hand_over(self._faster, SLOW_FSYNC)

    def full(self, reason: str) -> None:
        """See `DiskObserver`."""
        if self._full:
            return
        self._full = True
        self._tried = set()
        self._journal.event(DISK_FULL, reason)
        self._raft.able_to_lead = False
        self._client_requests.refusal = Refused(f"{DISK_FULL}: node {self._raft.id} has no room for its log")
        self.check(self._now())

    def has_room(self) -> None:
        """See `DiskObserver`."""
        self._full = False
        self._journal.event("disk-has-room", "the log can be written again")
        self._raft.able_to_lead = True
        self._client_requests.refusal = None

    @property
    def is_full(self) -> bool:
        """Did the last write find no room?"""
        return self._full

    @property
    def alarms(self) -> list[str]:
        """What is wrong with the disk now, by name."""
        slow = self._slow_writes >= SLOW_WRITES_MIN
        return [*([DISK_FULL] if self._full else []), *([SLOW_FSYNC] if slow else [])]

    # -- what follows -------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Relieve a leader that should not go on; to be called every now and then."""
        writing = self._writing()
        if self._full:
            self._step_down()
        elif writing.in_progress and now - writing.began_at >= HUNG_LIMITS * self._limit_seconds:
            self._hand_over(self._acknowledged(), SLOW_FSYNC)
        elif self._raft.role is Role.LEADER and now - max(self._looked_at, writing.began_at) >= IDLE_SECONDS:
            self._looked_at = now
            writing.probe()

    def _step_down(self) -> None:
        """One after the other: those whose disks are full as well don't take over."""
        voters = self._voters_up()
        if not voters - self._tried:
            self._tried = set()
        self._hand_over(voters - self._tried, DISK_FULL)
        self._tried.add(self._raft.transferee)

    def _hand_over(self, to: set[NodeId], reason: str) -> None:
        raft = self._raft
        if raft.role is not Role.LEADER or raft.transferee != NO_NODE:
            return
        progress = raft.tracker.progress
        successor = max(
            to & self._voters_up(), key=lambda peer: (progress[peer].match, -peer), default=NO_NODE
        )
        if successor == NO_NODE:
            return
        self._reporter.losing(reason)
        self._journal.event(
            "relieved", f"hands over to node {successor}: {reason}", heir=successor, reason=reason
        )
        raft.transfer_leader(successor)

    def _voters_up(self) -> set[NodeId]:
        return (self._peers.up & self._raft.tracker.configuration.voters) - {self._raft.id}

    def _find_faster(self, write: int) -> None:
        writing = self._writing()
        if write == writing.writes and writing.in_progress:
            self._faster = self._acknowledged()

    def _acknowledged(self) -> set[NodeId]:
        """Peers that have written what this node's disk has not."""
        last = self._writing().last
        if not last or self._raft.role is not Role.LEADER:
            return set()
        progress = self._raft.tracker.progress
        return {peer for peer in self._voters_up() if progress[peer].match >= last}
