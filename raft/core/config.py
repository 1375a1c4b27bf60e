"""How a core is set up, validated as a whole.

Owns the options, their defaults and which of them exclude each other. Ticks, never seconds.
"""

from __future__ import annotations

import enum

import msgspec

from raft.core.errors import ConfigError
from raft.core.types import LOCAL_THREADS, NO_LIMIT, NO_NODE, Index, NodeId


class ReadOnlyOption(enum.Enum):
    """How a leader makes sure that it still leads before it answers a read."""

    SAFE = "safe"
    LEASE_BASED = "lease-based"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one core. Raises ConfigError when made if they can't work together."""

    id: NodeId
    election_ticks: int = 10
    """A follower waits at least so many ticks before it campaigns."""
    election_ticks_max: int = 0
    """It waits less than so many; 0 takes twice election_ticks."""
    heartbeat_ticks: int = 1
    applied: Index = 0
    """The last index the machine has applied; at a start, so that nothing is applied twice."""
    async_storage_writes: bool = False
    max_size_per_msg: int = 1024 * 1024
    """Bytes of entries in an append, soft: one entry always fits."""
    max_committed_size_per_ready: int = 0
    """Bytes of entries handed out and not yet applied; 0 takes the value of max_size_per_msg."""
    max_uncommitted_size: int = 0
    """Bytes of proposals not yet applied at a leader, beyond which it drops more; 0 is no limit."""
    max_inflight_msgs: int = 256
    """Appends under way to a follower before it has acknowledged any."""
    max_inflight_bytes: int = 0
    """Bytes of payload under way to a follower; 0 is no limit."""
    check_quorum: bool = False
    """A leader that does not hear a quorum steps down; votes are ignored while a leader is heard."""
    pre_vote: bool = False
    read_only: ReadOnlyOption = ReadOnlyOption.SAFE
    """By a lease, reads rely on clocks that run within a tenth of each other's pace, on the same options at
    all members, and on being told of stalls. A node that has just started gives no vote for a while then."""
    unsafe_as_etcd: bool = False
    """Be as hasty as etcd/raft in three things; to compare with it only. Where there is one voter, it reads
    at once: the commit index may lag after a power loss, and a removed leader may not know it was removed.
    By a lease it reads until it steps down, when others may long have won. It leads on others' votes before
    its own is durable, and may forget its term and lead it twice."""
    disable_proposal_forwarding: bool = False
    disable_conf_change_validation: bool = False
    step_down_on_removal: bool = False
    """A leader that is removed or demoted steps down as soon as the change applies."""
    hand_over_on_removal: bool = False
    """Before it steps down, such a leader asks the voter with the longest log to campaign at once."""
    priority: int = 0
    """At most 0. Each step below adds one election timeout to the wait before campaigning."""

    def __post_init__(self) -> None:
        """Refuse what can't work."""
        for broken, reason in self._contradictions():
            if broken:
                raise ConfigError(reason)

    @property
    def election_ticks_drawn(self) -> int:
        """How many different waits there are to draw from."""
        return (self.election_ticks_max or 2 * self.election_ticks) - self.election_ticks

    @property
    def leases(self) -> bool:
        """Whether reads by a lease are to be safe, and votes withheld for it."""
        return self.read_only is ReadOnlyOption.LEASE_BASED and not self.unsafe_as_etcd

    @property
    def lease_ticks(self) -> int:
        """How long a lease lasts from the heartbeat that a quorum has answered, 0 if there are none.

        A tick less than others withhold their votes, as it may just have begun when one was sent, or be
        just over when it was heard; and a tenth less, as clocks differ.
        """
        return (self.election_ticks - 1) * 9 // 10 if self.leases else 0

    @property
    def applying_size_max(self) -> int:
        """Bytes of entries that may be handed out and not yet applied."""
        return self.max_committed_size_per_ready or self.max_size_per_msg

    @property
    def uncommitted_size_max(self) -> int:
        """Bytes of proposals a leader holds before it drops more."""
        return self.max_uncommitted_size or NO_LIMIT

    def _contradictions(self) -> list[tuple[bool, str]]:
        lease_based = self.read_only is ReadOnlyOption.LEASE_BASED
        inflight_bytes = self.max_inflight_bytes
        return [
            (self.id == NO_NODE, "id must not be 0"),
            (self.id in LOCAL_THREADS or self.id < 0, f"id {self.id} is reserved"),
            (self.heartbeat_ticks < 1, "heartbeat_ticks must be at least 1"),
            (
                self.election_ticks <= self.heartbeat_ticks,
                f"election_ticks ({self.election_ticks}) must exceed "
                f"heartbeat_ticks ({self.heartbeat_ticks})",
            ),
            (
                self.election_ticks_drawn < 1,
                f"election_ticks_max ({self.election_ticks_max}) must be 0 or exceed "
                f"election_ticks ({self.election_ticks}), or rivals that tie once tie for ever",
            ),
            (self.applied < 0, "applied must not be negative"),
            (self.max_size_per_msg < 0, "max_size_per_msg must not be negative"),
            (self.max_committed_size_per_ready < 0, "max_committed_size_per_ready must not be negative"),
            (self.max_uncommitted_size < 0, "max_uncommitted_size must not be negative"),
            (self.max_inflight_msgs < 1, "max_inflight_msgs must be at least 1"),
            (
                inflight_bytes != 0 and inflight_bytes < self.max_size_per_msg,
                f"max_inflight_bytes ({inflight_bytes}) must be 0 or at least "
                f"max_size_per_msg ({self.max_size_per_msg})",
            ),
            (
                self.applying_size_max == 0,
                "with max_size_per_msg 0, max_committed_size_per_ready must be set, "
                "or applying stalls after one batch",
            ),
            (
                lease_based and not self.check_quorum,
                "read_only lease-based needs check_quorum: without it no lease ever ends",
            ),
            (
                self.hand_over_on_removal and not self.step_down_on_removal,
                "hand_over_on_removal needs step_down_on_removal",
            ),
            (self.priority > 0, f"priority must be at most 0, not {self.priority}"),
        ]
