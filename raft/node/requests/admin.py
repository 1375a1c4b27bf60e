"""Requests to a node about itself: its status, its metrics, and a transfer of its leadership.

Owns the answers. Knows nothing of how the supervisor is reached, or why it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from actors.actor import Actor, Handlers
from raft.core.raft import Raft
from raft.core.status import Status, log_terms
from raft.core.types import NO_NODE, NodeId, Role
from raft.machines.application import Application
from raft.node.members.peers import Peers
from raft.node.space import Room
from raft.protocol.admin import (
    CannotDo,
    Done,
    GetMetrics,
    GetStatus,
    LeaseStatus,
    NodeMetrics,
    NodeStatus,
    Transfer,
)
from raft.version import VERSION

AdminRequest = GetStatus | GetMetrics | Transfer
ADMIN_REQUESTS = (GetStatus, GetMetrics, Transfer)
LOG_ENTRIES_TOLD = 64


class Faults(Protocol):
    """What can be broken on purpose in this process; see `raft.node.process.fault_injection`."""

    @property
    def clock_rate(self) -> float:
        """How many seconds this process's clock counts in one."""
        ...

    def describe(self) -> list[str]:
        """What is broken now, in words."""
        ...

    def orders(self) -> Mapping[type, Callable[[Any], Done | CannotDo]]:
        """The orders of a supervisor, and their handlers."""
        ...


class Contacts:
    """When the last message of each peer arrived."""

    def __init__(self) -> None:
        self.seen_at: dict[NodeId, float] = {}

    def seconds(self, status: Status, now: float) -> float | None:
        """Seconds since the last contact with the leader; for a leader, with a quorum. None without any."""
        leader = status.soft_state.leader
        if status.soft_state.role is not Role.LEADER:
            heard = self.seen_at.get(leader)
            return None if heard is None else now - heard
        voters = status.configuration.voters
        times = [now if voter == status.id else self.seen_at.get(voter) for voter in voters]
        known = sorted((time for time in times if time is not None), reverse=True)
        majority = len(voters) // 2 + 1
        return now - known[majority - 1] if len(known) >= majority else None


class AdminRequests:
    """Answers a supervisor's requests."""

    def __init__(
        self,
        *,
        raft: Raft,
        incarnation: int,
        peers: Peers,
        contacts: Contacts,
        faults: Faults | None,
        counters: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
        transferring: Callable[[], None],
        space: Callable[[], Room],
        machine: Application,
        metrics: Callable[[NodeStatus], NodeMetrics],
        leases: Callable[[], list[LeaseStatus]],
        disk_alarms: Callable[[], list[str]],
    ) -> None:
        self._disk_alarms = disk_alarms
        self._leases = leases
        self._metrics = metrics
        self._machine = machine
        self._space = space
        self._raft = raft
        self._incarnation = incarnation
        self._peers = peers
        self._contacts = contacts
        self._faults = faults
        self._counters = counters
        self._now = now
        self._transferring = transferring

    def answer(self, request: AdminRequest) -> NodeStatus | NodeMetrics | Done | CannotDo:
        """Answer a request."""
        match request:
            case GetStatus():
                return self.status()
            case GetMetrics():
                return self._metrics(self.status())
            case Transfer():
                return self.transfer(request)

    def status(self) -> NodeStatus:
        """This node's view of itself and of the cluster."""
        status, room, now = self._raft.status(), self._space(), self._now()
        state = status.hard_state
        configuration = status.configuration
        is_learner = status.id in configuration.learners
        return NodeStatus(
            node=status.id,
            incarnation=self._incarnation,
            role="learner" if is_learner else status.soft_state.role.value,
            term=state.term,
            vote=state.vote,
            leader=status.soft_state.leader,
            commit=state.commit,
            applied=status.applied,
            last=status.last_index,
            contact_seconds=self._contacts.seconds(status, now),
            voters=list(configuration.voters),
            learners=list(configuration.learners),
            match={peer: progress.match for peer, progress in status.progress.items()},
            faults=self._faults.describe() if self._faults is not None else [],
            counters=dict(self._counters()),
            used_bytes=room.used_bytes,
            quota_bytes=room.quota_bytes,
            out_of_space=room.alarm,
            heard_seconds={peer: now - at for peer, at in self._contacts.seen_at.items()},
            version=self._machine.own.version,
            cluster_version=self._machine.agreement.version,
            log_terms=log_terms(self._raft.log, LOG_ENTRIES_TOLD),
            next={peer: progress.next for peer, progress in status.progress.items()},
            log_start=status.first_index,
            timeout_ratio=None if is_learner else timeout_ratio(self._raft),
            leases=self._leases(),
            leases_count=len(self._machine.leases),
            release=VERSION,
            alarms=[*self._disk_alarms(), *(["out-of-space"] if room.alarm else [])],
        )

    def transfer(self, request: Transfer) -> Done | CannotDo:
        """Begin a transfer of leadership; the reports show its success."""
        if self._raft.role is not Role.LEADER:
            leader = self._raft.leader
            hint = f"node {leader} is" if leader != NO_NODE else "and no leader is known"
            return CannotDo(f"node {self._raft.id} is not the leader, {hint}")
        if request.to == self._raft.id:
            return CannotDo(f"node {request.to} leads already")
        target = request.to or self.successor()
        if target == NO_NODE:
            return CannotDo("no other voter can be reached")
        if target not in self._raft.status().configuration.voters:
            return CannotDo(f"node {target} is no voter")
        if target not in self._peers.up:
            return CannotDo(f"node {target} cannot be reached")
        self._transferring()
        self._raft.transfer_leader(target)
        return Done()

    def successor(self) -> NodeId:
        """The reachable voter with the longest matching log; 0 if there is none."""
        progress = self._raft.tracker.progress
        voters = self._raft.tracker.configuration.voters
        return max(self._peers.up & voters, key=lambda peer: (progress[peer].match, -peer), default=NO_NODE)


def timeout_ratio(raft: Raft) -> float | None:
    """How much of its election timeout is over, 0.0 to 1.0; None for a leader."""
    if raft.role is Role.LEADER or not raft.randomized_election_ticks:
        return None
    return round(min(raft.election_elapsed / raft.randomized_election_ticks, 1.0), 2)


def fault_handlers(faults: Faults, supervisor: str, clock_runs: Callable[[float], None]) -> Handlers:
    """Handlers of fault-injection orders, accepted only from the process of that name.

    `clock_runs` is called with the rate of the clock after each order.
    """
    orders = faults.orders()

    def handler(node: Actor, order: Any) -> None:
        sender = node.context.sender
        if sender is not None and sender.process == supervisor:
            node.context.reply(orders[type(order)](order))
            clock_runs(faults.clock_rate)
        else:
            node.context.reply(CannotDo("only the supervisor of this node may break it"))

    return dict.fromkeys(orders, handler)
