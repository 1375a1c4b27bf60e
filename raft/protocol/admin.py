"""Reports of a node to its supervisor, and requests of a supervisor to a node.

Owns the reports from which the launcher's leader history is made, and the requests that
steer or break one running node. Times are seconds on the machine's monotonic clock, which all
processes of one machine share. Knows nothing of how a report is shown or a process is started.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from raft.protocol.limits import Name, Number, Pid, Seconds, SignedNumber

# -- reports: node to supervisor, sent without a request --------------------------------------


class NodeUp(Struct, frozen=True):
    """The node has recovered its log and is running; `recovered_entries` came from its own disk."""

    node: Number
    incarnation: Number
    pid: Pid
    at_seconds: Seconds
    recovered_entries: Number = 0


class Alive(Struct, frozen=True):
    """The node is alive: a process that stops sending this without ending is hung.

    It repeats the other reports that still hold, because they are lost if a connection breaks: that
    the node has been up since `up_at_seconds`, and that it follows `leader` in `term` (0: none).
    """

    node: Number
    incarnation: Number
    pid: Pid
    term: Number
    leader: Number
    up_at_seconds: Seconds
    at_seconds: Seconds


class BecameLeader(Struct, frozen=True):
    """`node` won the election of `term`, `took_seconds` after it noticed that there was no leader."""

    node: Number
    term: Number
    previous: Number
    votes: Number
    voters: Number
    took_seconds: Seconds
    reason: Name  # startup | leader-died | timeout | transfer
    at_seconds: Seconds


class LostLeadership(Struct, frozen=True):
    """`node` led `term` and no longer does."""

    node: Number
    term: Number
    reason: Name  # higher-term | no-quorum | transfer | stopping | removed | disk-full | slow-fsync
    at_seconds: Seconds


class SawLeader(Struct, frozen=True):
    """`node` follows `leader` in `term` (0: it has lost sight of one)."""

    node: Number
    term: Number
    leader: Number
    at_seconds: Seconds


class SpaceIs(Struct, frozen=True):
    """The space used by the leader `node`; with `alarm`, it refuses commands that need more."""

    node: int
    used_bytes: int
    quota_bytes: int
    alarm: bool
    at_seconds: float


Report = NodeUp | Alive | BecameLeader | LostLeadership | SawLeader | SpaceIs

# -- requests: supervisor to node ----------------------------------------------------------------


class GetStatus(Struct, frozen=True):
    """Answered by `NodeStatus`."""


class LeaseStatus(Struct, frozen=True):
    """One lease, as its leader counts it."""

    lease: int
    ttl_seconds: float
    left_seconds: float
    attached: list[str]  # The first keys, and the elections and locks, that end with it.
    count: int  # Of all of those.


class NodeStatus(Struct, frozen=True):
    """One node's view of itself and of the cluster."""

    node: int
    incarnation: int
    role: str
    term: int
    vote: int
    leader: int
    commit: int
    applied: int
    last: int
    contact_seconds: float | None  # Since the last contact with the leader; of a leader: with a quorum.
    voters: list[int]
    learners: list[int]
    match: dict[int, int]  # A leader's view of its followers; empty elsewhere.
    faults: list[str]
    counters: dict[str, int]  # Dropped frames and dead letters by reason.
    used_bytes: int = 0  # State, event history and log, approximately as they are in memory;
    quota_bytes: int = 0  # the limit, from which on a leader refuses commands that need more:
    out_of_space: bool = False  # it does so now, until there is room again.
    heard_seconds: dict[int, float] = {}  # Since the last contact with each peer, if there was any.
    version: int = 1  # Of the code of this node's machine,
    cluster_version: int = 1  # and the one on which all members have agreed, as far as is applied here.
    log_terms: list[tuple[int, int]] = []  # Where each run of one term begins among its last entries.
    next: dict[int, int] = {}  # Of a leader: the entry that it sends each follower next.
    log_start: int = 1  # The first entry that is in the log; those before it are in a snapshot.
    timeout_ratio: float | None = None  # Of one that does not lead: how much of its election timeout is over.
    leases: list[LeaseStatus] = []  # Of a leader: the oldest ones,
    leases_count: int = 0  # and how many there are.
    release: str = ""  # Of this project, as the node runs it.
    alarms: list[str] = []  # What an operator should look at: disk-full, slow-fsync, out-of-space.


class GetMetrics(Struct, frozen=True):
    """Answered by `NodeMetrics`."""


class HistogramCounts(Struct, frozen=True):
    """How many values fell between each bound and the one before; the last count is of those above all."""

    bounds: list[float]
    counts: list[int]
    sum: float


class NodeMetrics(Struct, frozen=True):
    """What one incarnation of a node has counted, by the family and, within it, by the value of the label.

    A family that has no label has one entry, "". Names for the outside and help texts are the exporter's.
    """

    status: NodeStatus
    at_seconds: float  # On the node's monotonic clock.
    gauges: dict[str, dict[str, float]]
    counters: dict[str, dict[str, float]]
    histograms: dict[str, dict[str, HistogramCounts]]


class SetLink(Struct, frozen=True):
    """Break the way from this node to `to` until cleared; `fault` names it."""

    fault: SignedNumber
    to: Annotated[list[SignedNumber], Meta(max_length=10_000)]
    cut: bool = False
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    drop: float = 0.0  # Probabilities, 0.0 to 1.0.
    duplicate: float = 0.0
    reorder: float = 0.0


class SetDisk(Struct, frozen=True):
    """Break this node's disk until cleared; `fault` names it."""

    fault: SignedNumber
    fsync_delay_seconds: float = 0.0
    full: bool = False
    fail_fsync: bool = False
    lose_unsynced: bool = False  # A crash point takes what is not synced with it, as a power cut does.


class SetClock(Struct, frozen=True):
    """Let this node's clock run at `rate` until cleared; `fault` names it."""

    fault: SignedNumber
    rate: float


AT_ONCE = "now"  # The crash point that is always passed.


class ArmCrash(Struct, frozen=True):
    """Kill this node when its storage next passes the crash point of that name; `fault` names the order.

    The point AT_ONCE is passed at once.
    """

    fault: SignedNumber
    point: Name


class ClearFault(Struct, frozen=True):
    """End one injected fault, or all of them (`fault` 0)."""

    fault: SignedNumber = 0


class Transfer(Struct, frozen=True):
    """Hand leadership to `to`, or to the follower that is furthest ahead (0)."""

    to: SignedNumber = 0


class TakeSnapshot(Struct, frozen=True):
    """Take a snapshot now; answered by `SnapshotTaken` or `CannotDo` when it is durable."""


class SnapshotTaken(Struct, frozen=True):
    """The newest snapshot is at `index`, and contains everything applied before the request."""

    index: int


class Measure(Struct, frozen=True):
    """Measure `count` round trips to each other member; answered by `Measured`, or `CannotDo`."""

    count: Number = 20


class Measured(Struct, frozen=True):
    """Seconds of each round trip by member; fewer than asked for where one was not answered."""

    round_trips: dict[int, list[float]]


class Done(Struct, frozen=True):
    """The request was carried out."""


class CannotDo(Struct, frozen=True):
    """The request was refused and changed nothing."""

    reason: str
