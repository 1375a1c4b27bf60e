"""Requests to a launcher process, and its answers: one struct for each verb.

Owns the protocol between the command line and the supervisor. Knows nothing of how a verb is typed, shown
or carried out. Selectors travel as typed, and are resolved where the cluster is known. With `dry_run` a
verb is checked as usual, and its effects are only described.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from raft.cluster.quorum import Quorum
from raft.protocol.admin import LeaseStatus
from raft.protocol.limits import Name, Probability, Rate, Seconds, Selector, SignedNumber

SUPERVISOR_PROCESS = "launcher"
SUPERVISOR_ACTOR = "supervisor"


class GetClusterStatus(Struct, frozen=True):
    """Answered by `ClusterStatus`."""


class GetLeader(Struct, frozen=True):
    """Answered by `LeaderAnswer`, or by `Failed` if none stands within `wait_seconds`."""

    wait_seconds: Seconds = 0.0


class Kill(Struct, frozen=True):
    """SIGKILL, now or at the crash point `at`; the nodes stay down, or restart after a delay.

    At AT_ONCE (see raft.protocol.admin), where disks lose unsynced writes, it is a power cut.
    """

    selector: Selector
    restart_after_seconds: Seconds | None = None
    at: Name = ""
    dry_run: bool = False


class Stop(Struct, frozen=True):
    """SIGTERM; a leader hands over first."""

    selector: Selector
    dry_run: bool = False


class Start(Struct, frozen=True):
    """Start nodes that are down; `repair_from_peers` lets those with a damaged log rejoin with empty data."""

    selector: Selector
    repair_from_peers: bool = False


class Restart(Struct, frozen=True):
    """Stop, then start; `rolling`: one after the other, each only when its predecessor is back."""

    selector: Selector
    rolling: bool = False
    dry_run: bool = False


class Pause(Struct, frozen=True):
    """SIGSTOP, until `Resume` or for a while."""

    selector: Selector
    for_seconds: Seconds | None = None
    dry_run: bool = False


class Resume(Struct, frozen=True):
    """SIGCONT."""

    selector: Selector


class ForceSnapshot(Struct, frozen=True):
    """Let nodes take snapshots now; answered when all are durable."""

    selector: Selector


class Partition(Struct, frozen=True):
    """Cut the links between groups; a single group is cut from all other nodes."""

    groups: Annotated[list[Selector], Meta(max_length=10_000)]
    one_way: bool = False
    dry_run: bool = False


class Isolate(Struct, frozen=True):
    """Cut each of the nodes from all others."""

    selector: Selector
    dry_run: bool = False


class Link(Struct, frozen=True):
    """Delay, drop, duplicate or reorder messages from some nodes to others."""

    sources: Selector
    targets: Selector
    both: bool = False
    delay_seconds: Seconds = 0.0
    jitter_seconds: Seconds = 0.0
    drop: Probability = 0.0
    duplicate: Probability = 0.0
    reorder: Probability = 0.0
    dry_run: bool = False


class BreakDisk(Struct, frozen=True):
    """Make the disks of nodes slow, full or failing."""

    selector: Selector
    fsync_delay_seconds: Seconds = 0.0
    full: bool = False
    fail_fsync: bool = False
    lose_unsynced: bool = False
    dry_run: bool = False


class SetClockRate(Struct, frozen=True):
    """Run the clocks of nodes at another rate, until the fault is cleared."""

    selector: Selector
    rate: Rate
    dry_run: bool = False


class MendDisk(Struct, frozen=True):
    """End all disk faults of these nodes."""

    selector: Selector


class Heal(Struct, frozen=True):
    """End all network faults."""


class ListFaults(Struct, frozen=True):
    """Answered by `FaultList`."""


class ClearFaults(Struct, frozen=True):
    """End the faults with these ids, or all: paused nodes are resumed, killed ones started."""

    ids: Annotated[list[SignedNumber], Meta(max_length=100_000)] = []


class HandOver(Struct, frozen=True):
    """Transfer leadership to the node that `to` means, or away from the present leader ("")."""

    to: Selector = ""


class GetMembers(Struct, frozen=True):
    """Answered by `MemberList`."""


class AddMember(Struct, frozen=True):
    """Start one more node, and make it a voter when it has caught up, unless it is to stay a learner.

    A `node` that was started elsewhere is named, with its `endpoint`; a launcher starts its own.
    """

    learner: bool = False
    node: SignedNumber = 0
    endpoint: Name = ""


class PromoteMember(Struct, frozen=True):
    """Give a learner a vote, when it has caught up."""

    selector: Selector


class RemoveMember(Struct, frozen=True):
    """Take a node out of the cluster, and stop it."""

    selector: Selector
    dry_run: bool = False


class ReplaceMember(Struct, frozen=True):
    """Start one more node, give it a node's place when it has caught up, and stop that one.

    As for `AddMember`, the new one is named if it was started elsewhere.
    """

    selector: Selector
    dry_run: bool = False
    node: SignedNumber = 0
    endpoint: Name = ""


class Down(Struct, frozen=True):
    """Stop all nodes gracefully and end; answered before that."""

    dry_run: bool = False


class Done(Struct, frozen=True):
    """It was carried out; `lines` describe the result."""

    lines: list[str] = []


class Failed(Struct, frozen=True):
    """It was not carried out, or not wholly; `exit_code` is the verb's."""

    reason: str
    exit_code: int


class LeaderAnswer(Struct, frozen=True):
    """The present leader."""

    leader: int
    term: int


class FaultEntry(Struct, frozen=True):
    """One fault in force."""

    id: int
    kind: str
    nodes: list[int]
    text: str
    links: dict[int, list[int]] = {}  # From each node, to which others it breaks the way.
    cut: bool = False  # Nothing passes there; else it is slow or lossy.


class FaultList(Struct, frozen=True):
    """All faults in force."""

    faults: list[FaultEntry]
    v: int = 1


class MemberEntry(Struct, frozen=True):
    """One member of the cluster."""

    id: int
    role: str  # voter | learner | leaving (a voter until the change in progress is done)
    state: str | None  # Of its process; None if it is not one of the launcher's.
    endpoint: str
    match: int  # Up to this index its log is known to agree with the leader's.
    lag: int  # The number of committed entries beyond that.


class MemberList(Struct, frozen=True):
    """All members, as the leader knows them."""

    leader: int
    term: int
    members: list[MemberEntry]
    v: int = 1


class NodeView(Struct, frozen=True, kw_only=True):
    """One node in the status; fields that only the node itself knows are None if it does not answer."""

    id: int
    pid: int | None
    state: str
    votes: bool = True  # False for a learner; for a node that is down, as the leader reports it.
    role: str | None = None
    term: int | None = None
    leader: int | None = None
    commit: int | None = None
    applied: int | None = None
    last: int | None = None
    contact_ms: float | None = None
    restarts: int = 0
    uptime_s: float | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    used_bytes: int | None = None
    quota_bytes: int | None = None
    faults: list[str] = []
    hears: list[int] | None = None  # The peers heard lately; followers hear each other only in elections.
    in_quorum: bool = True  # It belongs to the largest group of nodes that hear each other.
    machine_version: int | None = None  # Of the code of the user's own machine in this process,
    cluster_version: int | None = None  # and the one on which all members have agreed, as far as it knows.
    vote: int | None = None  # To which node it gave its vote in its term.
    heard_ms: dict[int, float] = {}  # Since it heard each peer last.
    match: dict[int, int] = {}  # Of a leader: up to which index each peer's log agrees with its own.
    log_terms: list[tuple[int, int]] = []  # Where each run of one term begins among its last entries.
    next: dict[int, int] = {}  # Of a leader: the entry that it sends each follower next.
    log_start: int | None = None  # The first entry that is in its log, behind what is in a snapshot.
    timeout_ratio: float | None = None  # Of a follower: how much of its election timeout is over.
    leases: list[LeaseStatus] = []  # Of a leader: the oldest ones,
    leases_count: int = 0  # and how many there are.
    release: str | None = None  # Of this project, as the node runs it.
    alarms: list[str] = []  # What an operator should look at: disk-full, slow-fsync, out-of-space.


class ClusterStatus(Struct, frozen=True, kw_only=True):
    """The state of the whole cluster; `leader` is None while there is none."""

    v: int = 1
    cluster: str
    leader: int | None
    term: int
    voters: int
    alive: int
    can_lose: int
    nodes: list[NodeView]
    out_of_space: bool = False
    quorum: Quorum | None = None
    machine: str = ""  # The user's own, as --machine was given; "" without one.


VerbAnswer = Done | Failed | LeaderAnswer | FaultList | ClusterStatus | MemberList

# Tags above those of messages to nodes, which travel the same way.
VERB_TAGS: dict[int, type] = dict(
    enumerate(
        (
            GetClusterStatus, GetLeader, Kill, Stop, Start, Restart, Pause, Resume, Partition, Isolate, Link,
            Heal, ListFaults, ClearFaults, HandOver, Down, Done, Failed, LeaderAnswer, FaultList,
            ClusterStatus, GetMembers, AddMember, PromoteMember, RemoveMember, ReplaceMember, MemberList,
            BreakDisk, MendDisk,
            ForceSnapshot, SetClockRate,
        ),
        start=1000,
    )
)  # fmt: skip
