"""The feed: a cluster at one moment as one value, and what has changed from one to the next.

Owns the picture that the page and the terminal view share (headline, nodes, links, leaders, faults,
invariants), as functions of what launcher and nodes have told, and its changes as a JSON merge patch
(RFC 7396). Pure; how it is asked for is the sampler's, how it is shown the views'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor
from typing import Any

import msgspec
from msgspec import Struct

from raft.cluster.records.events import Event, Violation
from raft.cluster.records.report import LeaderReport, Leadership, leader_report
from raft.cluster.rpc.messages import ClusterStatus, FaultEntry, FaultList, NodeView
from raft.cluster.selectors import names
from raft.live.invariants import Invariant, Invariants
from raft.live.stories import Stories, Story
from raft.protocol.admin import LeaseStatus
from raft.protocol.records import NodeEvent

LEADERS_SHOWN = 50
ELECTIONS_SHOWN = 12
EVENTS_KEPT = 20_000

ENDED = {
    "died": "its process died",
    "higher-term": "heard a newer term",
    "no-quorum": "heard no majority",
    "transfer": "handed over",
    "stopping": "was stopped",
    "removed": "left the cluster",
    "disk-full": "its disk was full",
    "slow-fsync": "its disk was slow",
    "partition": "was cut off",
    "isolate": "was cut off",
    "pause": "was paused",
    "kill": "was killed",
    "crash": "its process died",
    "superseded": "another was elected",
    "unreachable": "does not answer",
    "stepped-down": "no longer leads, and has not told why",
}
"""Why a leadership ended, for people."""


class NodePicture(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node. `condition` is what the eye needs: a role, or why the node has none."""

    id: int
    condition: (
        str  # leader | follower | candidate | pre-candidate | learner | starting | paused | dead | gave-up
    )
    cut_off: bool = False  # It runs, and is not among those that hear each other.
    silent: bool = False  # It runs, and has not answered.
    votes: bool = True
    term: int = 0
    vote: int = 0
    leader: int = 0
    commit: int = 0
    applied: int = 0
    last: int = 0
    log: list[tuple[int, int]] = []
    match: dict[str, int] = {}
    next: dict[str, int] = {}
    start: int = 1  # Its log begins here; what is before it is in a snapshot.
    timer: float = 0.0  # How much of its election timeout is over; in quarters, so that rest is no news.
    restarts: int = 0
    pid: int = 0
    cpu_percent: float = 0.0
    rss_mb: int = 0
    faults: list[int] = []


class FaultPicture(Struct, frozen=True):
    """One fault in force, and the command that ends it."""

    id: int
    kind: str
    nodes: list[int]
    text: str
    heal: str


class LeasePicture(Struct, frozen=True):
    """One lease as its leader counts it; `attached` is what ends with it, and `count` how much that is."""

    id: int
    ttl: float
    left: int  # Seconds.
    attached: list[str]
    count: int


class Load(Struct, frozen=True):
    """What clients had done in the last second or so, as the leader measures it."""

    writes_per_second: float
    reads_per_second: float
    p50_ms: float = 0.0  # From a command's arrival until it is committed; 0.0: there was none.
    p99_ms: float = 0.0


class StepPicture(Struct, frozen=True):
    """A command that was carried out, what it said, and what is to be seen in that."""

    command: str
    said: str
    look: str


class ScenePicture(Struct, frozen=True):
    """A scene of a guided tour, as far as it has come; number 0 stands before the first one."""

    number: int
    of: int
    title: str
    words: str
    steps: list[StepPicture]
    waits: bool  # For the viewer, to go on.


class Picture(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cluster at `t` seconds since its launcher started. `incomplete` says what is missing of it."""

    t: float
    cluster: str
    run: str = ""  # Another one: another launcher, whose `t` begins anew.
    headline: str
    leader: int = 0
    term: int = 0
    voters: int = 0
    needed: int = 0
    reachable: int = 0
    can_lose: int = 0
    out_of_space: bool = False
    nodes: dict[str, NodePicture] = {}
    links: dict[str, str] = {}
    groups: list[
        list[int]
    ] = []  # Of running nodes that hear each other; empty if all do, maybe by way of others.
    faults: list[FaultPicture] = []
    leaders: list[Leadership] = []
    invariants: list[Invariant] = []
    leases: list[LeasePicture] = []
    leases_count: int = 0
    load: Load | None = None
    elections: list[Story] = []
    scene: ScenePicture | None = None
    incomplete: str = ""


def seconds_in_words(seconds: float) -> str:
    """A span for people: `0.4 s`, `32 s`, `12 min`, `3 h 20 min`."""
    if seconds < 1.0:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 120.0:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def headline(status: ClusterStatus, leaders: Sequence[Leadership], t: float) -> str:
    """Who leads since when, and why the leader before ended; or since when there is none."""
    ended = [leader for leader in leaders if leader.ended is not None]
    before = ""
    if ended:
        why = ENDED.get(ended[-1].ended or "", ended[-1].ended)
        before = f"; n{ended[-1].node} ended: {why}"
    standing = next((leader for leader in reversed(leaders) if leader.ended is None), None)
    if status.leader is not None:
        since = ""
        if standing is not None and standing.node == status.leader:
            since = f" for {seconds_in_words(t - standing.elected_t)}"
        words = f"n{status.leader} leads term {status.term}{since}{before}"
    elif ended:
        end_t = ended[-1].elected_t + ended[-1].lasted_s
        words = f"no leader for {seconds_in_words(t - end_t)}{before}"
    else:
        words = "no leader yet"
    quorum = status.quorum
    if quorum is not None and quorum.reachable < quorum.needed:
        words += f"; no quorum: {quorum.reachable} of {status.voters} hear each other, {quorum.needed} needed"
    return words


def links(nodes: Iterable[NodeView], faults: Iterable[FaultEntry], heard_ms_max: float) -> dict[str, str]:
    """What passes on each way `from>to`: heard | cut | bad. A way that is left out is quiet.

    Followers hear each other only in elections, so a quiet way between them is nothing unusual.
    """
    ways: dict[str, str] = {}
    for node in nodes:
        for peer, silent_ms in node.heard_ms.items():
            if silent_ms <= heard_ms_max:
                ways[f"{peer}>{node.id}"] = "heard"
    for fault in faults:
        for source, targets in fault.links.items():
            for target in targets:
                if ways.get(f"{source}>{target}") != "cut":
                    ways[f"{source}>{target}"] = "cut" if fault.cut else "bad"
    return ways


def groups(nodes: Iterable[NodeView], ways: Mapping[str, str]) -> list[list[int]]:
    """The running nodes in groups of which none hears another, largest first; empty if there is only one."""
    left = {view.id for view in nodes if view.state == "running" and view.role is not None}
    passing = {way for way, how in ways.items() if how != "cut"}
    found = []
    while left:
        group, new = set[int](), {min(left)}
        while new:
            group |= new
            new = {
                node
                for node in left - group
                if any(f"{node}>{other}" in passing and f"{other}>{node}" in passing for other in new)
            }
        found.append(sorted(group))
        left -= group
    return sorted(found, key=lambda group: (-len(group), group)) if len(found) > 1 else []


def condition(view: NodeView) -> str:
    """A node's role while it runs, else what has become of its process."""
    if view.state == "running":
        return view.role or "unknown"
    return "dead" if view.state == "down" else view.state


def node_picture(view: NodeView, faults: Iterable[FaultEntry]) -> NodePicture:
    """One node, from what was told of it."""
    running = view.state == "running"
    return NodePicture(
        id=view.id,
        condition=condition(view),
        cut_off=running and not view.in_quorum,
        silent=running and view.role is None,
        votes=view.votes,
        term=view.term or 0,
        vote=view.vote or 0,
        leader=view.leader or 0,
        commit=view.commit or 0,
        applied=view.applied or 0,
        last=view.last or 0,
        log=view.log_terms,
        match={str(peer): index for peer, index in view.match.items()},
        next={str(peer): index for peer, index in view.next.items()},
        start=view.log_start or 1,
        timer=floor(4 * (view.timeout_ratio or 0.0)) / 4,
        restarts=view.restarts,
        pid=view.pid or 0,
        cpu_percent=5.0 * round((view.cpu_percent or 0.0) / 5.0),
        rss_mb=round((view.rss_bytes or 0) / 1e6),
        faults=[fault.id for fault in faults if view.id in fault.nodes],
    )


def lease_picture(lease: LeaseStatus) -> LeasePicture:
    """One lease, from what was told of it."""
    left = ceil(lease.left_seconds)
    return LeasePicture(lease.lease, lease.ttl_seconds, left, lease.attached, lease.count)


class Feed:
    """Told of events and statuses; gives a picture for each status."""

    def __init__(self, heard_seconds_max: float, run: str = "") -> None:
        self._run = run
        self._heard_ms_max = 1000.0 * heard_seconds_max
        self._events: list[Event] = []
        self._invariants = Invariants()
        self._stories = Stories()
        self._report: LeaderReport | None = None

    def tell(self, events: Sequence[Event]) -> None:
        """What has happened since the last call."""
        if not events:
            return
        self._events += events
        del self._events[:-EVENTS_KEPT]
        self._report = None
        for event in events:
            if isinstance(event, Violation):
                self._invariants.violation(event.text)

    def retell(self, events: Sequence[Event]) -> None:
        """All that has happened, in place of what was told before: more is known now."""
        self._events = []
        self.tell(events)
        self._report = None

    def tell_of_node(self, node: int, event: NodeEvent, t: float) -> bool:
        """A node says that this has happened there, at `t`; False if it only repeats itself."""
        return self._stories.tell(node, event, t)

    def _heal(self, fault: FaultEntry) -> str:
        """The command; empty where no launcher is asked, for nodes heal nothing."""
        return f"faults clear {fault.id}" if self._run else ""

    def leaders(self, t: float) -> list[Leadership]:
        """All leaders so far, oldest first; computed anew only after an event."""
        if self._report is None:
            self._report = leader_report(self._events, t)
        return self._report.leaders

    def picture(
        self, status: ClusterStatus, faults: FaultList, t: float, load: Load | None = None
    ) -> Picture:
        """The cluster at `t`."""
        leaders = self.leaders(t)
        quorum = status.quorum
        leading = next((view for view in status.nodes if view.id == status.leader), None)
        ways = links(status.nodes, faults.faults, self._heard_ms_max)
        return Picture(
            t=round(t, 2),
            cluster=status.cluster,
            run=self._run,
            headline=headline(status, leaders, t),
            leader=status.leader or 0,
            term=status.term,
            voters=status.voters,
            needed=0 if quorum is None else quorum.needed,
            reachable=0 if quorum is None else quorum.reachable,
            can_lose=status.can_lose,
            out_of_space=status.out_of_space,
            nodes={str(view.id): node_picture(view, faults.faults) for view in status.nodes},
            links=ways,
            groups=groups(status.nodes, ways) if self._heard_ms_max else [],
            faults=[
                FaultPicture(fault.id, fault.kind, fault.nodes, fault.text, self._heal(fault))
                for fault in faults.faults
            ],
            leaders=[_in_words(leader) for leader in leaders[-LEADERS_SHOWN:]],
            invariants=self._invariants.check(status),
            leases=[lease_picture(lease) for lease in leading.leases] if leading is not None else [],
            leases_count=leading.leases_count if leading is not None else 0,
            load=load,
            elections=self._stories.last(ELECTIONS_SHOWN),
            incomplete=incomplete(status),
        )


def _in_words(leader: Leadership) -> Leadership:
    if leader.ended is None:
        return leader
    return msgspec.structs.replace(leader, ended=ENDED.get(leader.ended, leader.ended))


def incomplete(status: ClusterStatus) -> str:
    """What the picture lacks, in a sentence; empty if it lacks nothing."""
    silent = [
        view.id
        for view in status.nodes
        if view.state == "unreachable" or (view.state == "running" and view.role is None)
    ]
    whose = "its" if len(silent) == 1 else "their"
    return f"{names(silent)} did not answer, so {whose} part is missing" if silent else ""


def without_answer(last: Picture | None, cluster: str, reason: str) -> Picture:
    """The last picture, marked as old; an empty one if there has been none."""
    if last is None:
        return Picture(t=0.0, cluster=cluster, headline="no picture of the cluster yet", incomplete=reason)
    return msgspec.structs.replace(last, incomplete=f"{reason}; this is what was seen last")


def as_json(picture: Picture) -> dict[str, Any]:
    """The picture as plain values, keys as text."""
    plain: dict[str, Any] = msgspec.to_builtins(picture, str_keys=True)
    return plain


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes `after` from `before`; neither may hold None."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        if key not in before:
            patch[key] = value
        elif before[key] != value:
            old = before[key]
            both = isinstance(old, dict) and isinstance(value, dict)
            patch[key] = merge_patch(old, value) if both else value
    return patch


def merged(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the feed makes of a patch; `page.js` does the same."""
    after = dict(before)
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, dict):
            old = after.get(key)
            after[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            after[key] = value
    return after
