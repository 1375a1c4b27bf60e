"""The leaders of a cluster without a launcher: as its nodes tell of them, and where none tells, as it looks.

Owns putting both together: what a node has told of its own election, or of the end of its leadership and the
reason, replaces what was only seen by comparing looks. Pure; how nodes are asked is the sampler's.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from raft.cluster.records.events import Event, LeaderElected, LeaderLost
from raft.cluster.records.node_events import LEADER_KINDS, SEEN, Told, leader_events
from raft.cluster.rpc.messages import ClusterStatus, FaultEntry, FaultList
from raft.protocol.records import NodeEvent

TOLD_KEPT = 5_000
SEEN_KEPT = 200
_LINKS = re.compile(r"link to (n\d+(?:,n\d+)*): (.*)", re.DOTALL)


class LeaderHistory:
    """Told of what nodes say and of each look, at `t` on the view's clock; gives the events of both.

    `zero_seconds`: the wall clock at `t` 0. `told_within_seconds`: what is only seen becomes news after so
    long, for a node that tells of it tells more.
    """

    def __init__(self, zero_seconds: float, told_within_seconds: float) -> None:
        self._zero = zero_seconds
        self._within = told_within_seconds
        self._told: deque[Told] = deque(maxlen=TOLD_KEPT)
        self._seen: deque[Event] = deque(maxlen=SEEN_KEPT)
        self._before: ClusterStatus | None = None
        self._standing: tuple[int, int, float] | None = (
            None  # Not said to have ended, and nowhere to be seen.
        )
        self._news: set[tuple[str, int, int, str]] = set()
        self._known: dict[tuple[str, int, int, str], float] = {}  # Since when each is, by the view's clock.
        self.events: list[Event] = []
        """All of them, in no order."""

    def tell(self, told: Iterable[Told], status: ClusterStatus, t: float) -> bool:
        """What nodes have said since the last call, and what they look like now. Have the events changed?"""
        news = [(node, event) for node, event in told if event.kind in LEADER_KINDS]
        seen = leadership_seen(self._before, status, t)
        self._before = status
        self._told += news
        self._seen += seen
        stands_again = self._stands_again(status)
        if news or seen or stands_again:
            self.events = self._together()
        if self._end_of_standing(status, t):
            self.events = self._together()
            return True
        return bool(news or seen or stands_again)

    def news(self, t: float) -> list[Event]:
        """Elections and ends of leaderships that this has not given before, the oldest first."""
        fresh: list[Event] = []
        for event in sorted(self.events, key=lambda event: event.t):
            if not isinstance(event, LeaderElected | LeaderLost):
                continue
            is_end = isinstance(event, LeaderLost)
            key = ("lost" if is_end else "elected", event.node, event.term, event.reason if is_end else "")
            is_seen = event.reason == SEEN or any(event is one for one in self._seen)
            known_t = self._known.setdefault(key, t)
            if key not in self._news and not (is_seen and t - known_t < self._within):
                self._news.add(key)
                fresh.append(event)
        return fresh

    def _together(self) -> list[Event]:
        told = leader_events(self._told, self._zero)
        elected = {event.term for event in told if isinstance(event, LeaderElected)}
        lost = {(event.node, event.term) for event in told if isinstance(event, LeaderLost)}
        seen = [
            event
            for event in self._seen
            if (isinstance(event, LeaderElected) and event.term not in elected)
            or (isinstance(event, LeaderLost) and (event.node, event.term) not in lost)
        ]
        return [*told, *seen]

    def _stands_again(self, status: ClusterStatus) -> bool:
        """A leader that did not answer for a while, and leads the same term still, has not ended."""
        stale = [
            event
            for event in self._seen
            if isinstance(event, LeaderLost) and (event.node, event.term) == (status.leader, status.term)
        ]
        for event in stale:
            self._seen.remove(event)
        return bool(stale)

    def _end_of_standing(self, status: ClusterStatus, t: float) -> bool:
        """The end of a leader that was elected, told of no end, and has not been seen to lead for a while."""
        last = max(
            (event for event in self.events if isinstance(event, LeaderElected)),
            key=lambda event: event.term,
            default=None,
        )
        if last is None or status.leader == last.node or status.term < last.term or any(
            isinstance(event, LeaderLost) and (event.node, event.term) == (last.node, last.term)
            for event in self.events
        ):  # fmt: skip
            self._standing = None
            return False
        if self._standing is None or self._standing[:2] != (last.node, last.term):
            self._standing = (last.node, last.term, t)
        since = self._standing[2]
        if t - since < self._within:
            return False
        gone = [event.at_seconds - self._zero for _, event in self._told if _is_gone(event, last.node)]
        end_t = max((at for at in gone if last.t < at <= t), default=max(since, last.t))
        view = next((view for view in status.nodes if view.id == last.node), None)
        reason = "unreachable" if view is None or view.role is None else "stepped-down"
        self._seen.append(LeaderLost(node=last.node, term=last.term, reason=reason, t=round(end_t, 6)))
        return True


def faults_told(status: ClusterStatus) -> FaultList:
    """The faults of which the nodes themselves tell; a launcher that set them knows more."""
    entries: list[FaultEntry] = []
    for view in status.nodes:
        for text in view.faults:
            targets, cut = [], False
            if found := _LINKS.fullmatch(text):
                targets, cut = [int(name[1:]) for name in found[1].split(",")], found[2] == "cut"
            number = len(entries) + 1
            entries.append(FaultEntry(number, f"n{view.id}", [view.id], text, {view.id: targets}, cut))
    return FaultList(entries)


def _is_gone(event: NodeEvent, leader: int) -> bool:
    return event.kind == "leader-gone" and event.values.get("leader") == leader


def leadership_seen(before: ClusterStatus | None, now: ClusterStatus, t: float) -> list[Event]:
    """The ends and beginnings of leaderships, as two looks at nodes that tell no events show them.

    What begins and ends between the two is not seen.
    """
    old = (before.leader, before.term) if before is not None else (None, 0)
    new = (now.leader, now.term)
    if old == new or (old[0] is None and new[0] is None):
        return []
    events: list[Event] = []
    if old[0] is not None and (new[0] is None or old != new):
        events.append(LeaderLost(node=old[0], term=old[1], reason=_why_ended(old[0], now), t=t))
    if new[0] is not None:
        reason = "first seen" if before is None else "seen"
        elected = LeaderElected(
            node=new[0],
            term=new[1],
            previous=old[0] or 0,
            votes=0,
            voters=now.voters,
            took_ms=0.0,
            reason=reason,
            t=t,
        )
        events.append(elected)
    return events


def answers_seen(before: ClusterStatus | None, now: ClusterStatus) -> list[tuple[int, str]]:
    """Nodes that answer no longer ("unreachable"), or again ("answers")."""
    if before is None:
        return []
    answered = {view.id: view.role is not None for view in before.nodes}
    return [
        (view.id, "answers" if view.role is not None else "unreachable")
        for view in now.nodes
        if answered.get(view.id, view.role is not None) != (view.role is not None)
    ]


def _why_ended(leader: int, now: ClusterStatus) -> str:
    view = next((view for view in now.nodes if view.id == leader), None)
    if view is None:
        return "removed"
    if view.role is None:
        return "unreachable"
    return "stepped-down" if now.leader != leader else "superseded"
