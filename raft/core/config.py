"""The options of a core, validated together.

Owns their defaults, and which of them exclude each other. Durations are in ticks, never in seconds.
"""

from __future__ import annotations

import enum

import msgspec

from raft.core.errors import ConfigError
from raft.core.types import LOCAL_THREADS, NO_NODE, Index, NodeId


class ReadOnlyOption(enum.Enum):
    """How a leader confirms that it still leads before it answers a read."""

    SAFE = "safe"
    LEASE_BASED = "lease-based"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one core. Raises ConfigError when made if they can't work together."""

    id: NodeId
    election_ticks: int = 10
    """Minimum number of ticks that a follower waits before it campaigns."""
    election_ticks_max: int = 0
    """Upper bound of that wait, excluded; 0 means twice election_ticks."""
    heartbeat_ticks: int = 1
    applied: Index = 0
    """The last index that the machine has applied before this start; no entry is applied twice."""
    async_storage_writes: bool = False
    max_size_per_msg: int = 1024 * 1024
    """Bytes of entries in an append, soft: one entry is always sent."""
    max_committed_size_per_ready: int = 0
    """Bytes of entries handed out and not yet applied; 0 means max_size_per_msg."""
    max_uncommitted_size: int = 0
    """Bytes of proposals not yet applied at a leader, above which it drops more; 0 is no limit."""
    max_inflight_msgs: int = 256
    """Appends in flight to a follower."""
    max_inflight_bytes: int = 0
    """Bytes of payload in flight to a follower; 0 is no limit."""
    check_quorum: bool = False
    """A leader without contact to a quorum steps down; vote requests are ignored while a leader is active."""
    pre_vote: bool = False
    read_only: ReadOnlyOption = ReadOnlyOption.SAFE
    """Lease-based reads rely on clocks whose rates differ by less than a tenth, on `Raft.expire_lease` after
    stalls, and on voters whose election timeout is not shorter. Voters without the option make no lease. A
    node grants no vote just after a start; see `Raft.release_pledge`."""
    unsafe_as_etcd: bool = False
    """Behave as etcd/raft where that is less safe; only for comparisons. With one voter, it reads at once:
    the commit index may lag after a power loss, and a removed leader may not know that it was removed. With a
    lease it reads until it steps down, when another node may have won already. It leads before its own vote
    is durable, so that after a crash it may lead the same term twice."""
    disable_proposal_forwarding: bool = False
    disable_conf_change_validation: bool = False
    step_down_on_removal: bool = False
    """A leader that is removed or demoted steps down as soon as the change applies."""
    hand_over_on_removal: bool = False
    """Before it steps down, a removed leader asks the voter with the longest log to campaign at once."""
    priority: int = 0
    """At most 0. Each step below adds one election timeout to the wait before campaigning."""

    def __post_init__(self) -> None:
        """Raise ConfigError for options that contradict each other."""
        for broken, reason in self._contradictions():
            if broken:
                raise ConfigError(reason)

    @property
    def election_ticks_drawn(self) -> int:
        """Number of election timeouts to draw from."""
        return (self.election_ticks_max or 2 * self.election_ticks) - self.election_ticks

    @property
    def leases(self) -> bool:
        """Whether reads use a lease, for which voters withhold their votes."""
        return self.read_only is ReadOnlyOption.LEASE_BASED and not self.unsafe_as_etcd

    @property
    def lease_ticks(self) -> int:
        """Length of a lease, from when the heartbeat was sent that a quorum has answered; 0 without leases.

        One tick shorter than voters withhold their votes, because ticks of two nodes don't start together,
        and a tenth shorter, because clocks differ.
        """
        return (self.election_ticks - 1) * 9 // 10 if self.leases else 0

    @property
    def applying_size_max(self) -> int:
        """Bytes of entries that may be handed out and not yet applied."""
        return self.max_committed_size_per_ready or self.max_size_per_msg

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
                f"election_ticks ({self.election_ticks}), or candidates that tie once tie forever",
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
