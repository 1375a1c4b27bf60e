"""Reports to the supervisor and to the node's log: starts, leaders, roles.

Owns the data about the current election: how long it took, and why
it was held. Knows nothing of how reports are shown.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from raft.core.types import NO_NODE, NodeId, Role, Term
from raft.protocol.admin import Alive, BecameLeader, LostLeadership, NodeUp, Report, SawLeader, SpaceIs

if TYPE_CHECKING:
    from raft.node.space import Room

HELD_MAX = 256


class Journal(Protocol):
    """A log of events: a name to find it by, a sentence to read, and values."""

    def event(self, event: str, message: str, **values: object) -> None:
        """Write one event."""
        ...


class DeferredJournal:
    """Writes events in the next turn of the loop: during an election, messages are sent first.

    They are kept in memory at once, by `note`.
    """

    def __init__(
        self,
        journal: Journal,
        after: Callable[[float, Callable[[], None]], object],
        note: Callable[[str, str, Mapping[str, Any]], None],
    ) -> None:
        self._note = note
        self._journal = journal
        self._after = after
        self._held: list[tuple[str, str, dict[str, object]]] = []

    def event(self, event: str, message: str, **values: object) -> None:
        """See `Journal`."""
        self._note(event, message, values)
        if not self._held:
            self._after(0.0, self.write)
        self._held.append((event, message, values))

    def write(self) -> None:
        """Write what is held back now."""
        held, self._held = self._held, []
        for event, message, values in held:
            self._journal.event(event, message, **values)


class Leadership(Struct, frozen=True, gc=False):
    """A node's role, its term and its leader."""

    role: Role = Role.FOLLOWER
    term: Term = 0
    leader: NodeId = NO_NODE


class Reporter:
    """Sends reports. They wait until the supervisor is reachable; the oldest ones are dropped."""

    def __init__(
        self,
        *,
        node: NodeId,
        incarnation: int,
        now: Callable[[], float],
        tell: Callable[[Report], None] | None,
        journal: Journal,
    ) -> None:
        self.leadership = Leadership()
        self.elected: Counter[str] = Counter()
        """Elections won since the process started, by reason."""
        self.campaigns = 0
        self.leaders_seen = 0
        self.lost: Counter[str] = Counter()
        """Leaderships lost since the process started, by reason."""
        self._node = node
        self._incarnation = incarnation
        self._now = now
        self._tell = tell
        self._journal = journal
        self._held: deque[Report] = deque(maxlen=HELD_MAX)
        self._connected = False
        self._previous: NodeId = NO_NODE
        self._leaderless_since = now()
        self._up: NodeUp | None = None
        self._reason = "startup"
        self._losing = ""

    # -- what the node notices ------------------------------------------------------------------

    def started(self, pid: int, recovered_entries: int) -> None:
        """The log is recovered, and the node is running."""
        self._up = NodeUp(self._node, self._incarnation, pid, self._now(), recovered_entries)
        self._report(self._up)
        self._journal.event(
            "node-started", f"node {self._node} is up", pid=pid, recovered_entries=recovered_entries
        )

    def alive(self) -> None:
        """Report that the node is alive; never queued, because a late report is useless."""
        up, leadership = self._up, self.leadership
        if self._tell is not None and self._connected and up is not None:
            term, leader = leadership.term, leadership.leader
            self._tell(Alive(up.node, up.incarnation, up.pid, term, leader, up.at_seconds, self._now()))

    def leader_gone(self, leader: NodeId, reason: str) -> None:
        """The leader has died or was removed, so that an election is held ahead of the timeout."""
        self._reason = reason
        self._journal.event("leader-gone", f"leader {leader} is gone: {reason}", leader=leader, reason=reason)

    def asked_to_lead(self) -> None:
        """The leader transfers leadership to this node."""
        self._reason = "transfer"
        self._leaderless_since = self._now()

    def losing(self, reason: str) -> None:
        """Set the reason for a loss of leadership that may follow; "" clears it."""
        self._losing = reason

    def changed(self, leadership: Leadership, votes: int, voters: int) -> None:
        """The node's role, term or leader has changed."""
        before, self.leadership = self.leadership, leadership
        led = before.role is Role.LEADER
        leads = leadership.role is Role.LEADER
        if leadership.role is Role.CANDIDATE and leadership.term != before.term:
            self.campaigns += 1
        if led and (not leads or leadership.term != before.term):
            self._lost(before.term, leadership.term)
        if leads and (not led or leadership.term != before.term):
            self._won(leadership.term, votes, voters)
        if (leadership.leader, leadership.term) != (before.leader, before.term):
            self._saw(before, leadership)

    def space(self, room: Room) -> None:
        """Report this leader's space, when it begins to lead and at each alarm."""
        self._report(SpaceIs(self._node, room.used_bytes, room.quota_bytes, room.alarm, self._now()))

    # -- the supervisor's connection ------------------------------------------------------------

    def supervisor_up(self) -> None:
        """Send all reports that wait."""
        self._connected = True
        while self._held and self._tell is not None:
            self._tell(self._held.popleft())

    def supervisor_down(self) -> None:
        """Keep reports from now on."""
        self._connected = False

    # -------------------------------------------------------------------------------------------

    def _won(self, term: Term, votes: int, voters: int) -> None:
        took_seconds = self._now() - self._leaderless_since
        self.elected[self._reason] += 1
        self._report(
            BecameLeader(
                self._node, term, self._previous, votes, voters, took_seconds, self._reason, self._now()
            )
        )
        self._journal.event(
            "leader-elected",
            f"leads term {term}, with {votes} of {voters} votes, after {took_seconds * 1000:.1f} ms",
            votes=votes, voters=voters, reason=self._reason, previous=self._previous,
            took_ms=round(took_seconds * 1000, 3),
        )  # fmt: skip

    def _lost(self, led_term: Term, term: Term) -> None:
        reason = self._losing or ("higher-term" if term > led_term else "no-quorum")
        self._losing = ""
        self.lost[reason] += 1
        self._report(LostLeadership(self._node, led_term, reason, self._now()))
        self._journal.event(
            "leader-lost", f"no longer leads term {led_term}: {reason}", reason=reason, led_term=led_term
        )

    def _saw(self, before: Leadership, leadership: Leadership) -> None:
        if leadership.leader == before.leader == NO_NODE:
            return
        self._report(SawLeader(self._node, leadership.term, leadership.leader, self._now()))
        if leadership.leader != NO_NODE:
            self.leaders_seen += 1
            self._journal.event("leader-seen", f"node {leadership.leader} leads", leader=leadership.leader)
            self._previous = leadership.leader
            self._reason = "timeout"
        elif before.leader != NO_NODE and self._reason != "transfer":
            self._leaderless_since = self._now()

    def _report(self, report: Report) -> None:
        if self._tell is None:
            return
        if self._connected:
            self._tell(report)
        else:
            self._held.append(report)
