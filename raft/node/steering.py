"""What a supervisor asks of a running node: its status, a transfer, a fault.

Owns the answers. Knows nothing of how the supervisor is reached, or why it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from raft.control import (
    ArmCrash,
    CannotDo,
    ClearFault,
    Done,
    GetStatus,
    NodeStatus,
    SetClock,
    SetDisk,
    SetLink,
    Transfer,
)
from raft.core.raft import Raft
from raft.core.status import Status
from raft.core.types import NO_NODE, NodeId, Role
from raft.node.peers import Peers
from raft.node.space import Room

Steered = GetStatus | Transfer | SetLink | SetDisk | SetClock | ArmCrash | ClearFault
STEERED = (GetStatus, Transfer, SetLink, SetDisk, SetClock, ArmCrash, ClearFault)


class Faults(Protocol):
    """What can be broken on purpose in this process. Each raises ValueError for what makes no sense."""

    def set_link(self, fault: SetLink) -> None:
        """Break the ways to some peers."""
        ...

    def set_disk(self, fault: SetDisk) -> None:
        """Break the disk."""
        ...

    def set_clock(self, fault: SetClock) -> None:
        """Let the clock run faster or slower."""
        ...

    def arm_crash(self, fault: ArmCrash) -> None:
        """Die at a named point of a write."""
        ...

    def clear(self, fault: int) -> None:
        """End one fault, or all (0)."""
        ...

    def describe(self) -> list[str]:
        """What is broken now, in words."""
        ...


class NoFaults:
    """A process in which nothing can be broken on purpose."""

    def set_link(self, fault: SetLink) -> None:  # noqa: ARG002
        """See `Faults`."""
        raise ValueError("this node's network cannot be broken")

    def set_disk(self, fault: SetDisk) -> None:  # noqa: ARG002
        """See `Faults`."""
        raise ValueError("this node's disk cannot be broken")

    def set_clock(self, fault: SetClock) -> None:  # noqa: ARG002
        """See `Faults`."""
        raise ValueError("this node's clock cannot be changed")

    def arm_crash(self, fault: ArmCrash) -> None:  # noqa: ARG002
        """See `Faults`."""
        raise ValueError("this node cannot be killed at a point")

    def clear(self, fault: int) -> None:
        """See `Faults`."""

    def describe(self) -> list[str]:
        """See `Faults`."""
        return []


class Contacts:
    """When each peer was last heard."""

    def __init__(self) -> None:
        self.heard_at: dict[NodeId, float] = {}

    def seconds(self, status: Status, now: float) -> float | None:
        """Since the leader was heard; of a leader, since a quorum was. None if that never was."""
        leader = status.soft_state.leader
        if status.soft_state.role is not Role.LEADER:
            heard = self.heard_at.get(leader)
            return None if heard is None else now - heard
        voters = status.configuration.voters
        times = [now if voter == status.id else self.heard_at.get(voter) for voter in voters]
        known = sorted((time for time in times if time is not None), reverse=True)
        majority = len(voters) // 2 + 1
        return now - known[majority - 1] if len(known) >= majority else None


class Steering:
    """Answers a supervisor's requests."""

    def __init__(
        self,
        *,
        raft: Raft,
        incarnation: int,
        peers: Peers,
        contacts: Contacts,
        faults: Faults,
        counters: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
        transferring: Callable[[], None],
        space: Callable[[], Room],
    ) -> None:
        self._space = space
        self._raft = raft
        self._incarnation = incarnation
        self._peers = peers
        self._contacts = contacts
        self._faults = faults
        self._counters = counters
        self._now = now
        self._transferring = transferring

    def answer(self, request: Steered) -> NodeStatus | Done | CannotDo:
        """Do what is asked, or say why not."""
        faults = self._faults
        match request:
            case GetStatus():
                return self.status()
            case Transfer():
                return self.transfer(request)
            case SetLink():
                return attempt(lambda: faults.set_link(request))
            case SetDisk():
                return attempt(lambda: faults.set_disk(request))
            case SetClock():
                return attempt(lambda: faults.set_clock(request))
            case ArmCrash():
                return attempt(lambda: faults.arm_crash(request))
            case ClearFault():
                return attempt(lambda: faults.clear(request.fault))

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
            faults=self._faults.describe(),
            counters=dict(self._counters()),
            used_bytes=room.used_bytes,
            quota_bytes=room.quota_bytes,
            out_of_space=room.alarm,
            heard_seconds={peer: now - at for peer, at in self._contacts.heard_at.items()},
        )

    def transfer(self, request: Transfer) -> Done | CannotDo:
        """Begin to hand leadership over; that it was taken shows in the reports."""
        if self._raft.role is not Role.LEADER:
            leader = self._raft.leader
            hint = f"node {leader} is" if leader != NO_NODE else "nobody is known to be"
            return CannotDo(f"node {self._raft.id} is not the leader, {hint}")
        if request.to == self._raft.id:
            return CannotDo(f"node {request.to} leads already")
        target = request.to or self.heir()
        if target == NO_NODE:
            return CannotDo("no other voter can be reached")
        if target not in self._raft.status().configuration.voters:
            return CannotDo(f"node {target} is no voter")
        if target not in self._peers.up:
            return CannotDo(f"node {target} cannot be reached")
        self._transferring()
        self._raft.transfer_leader(target)
        return Done()

    def heir(self) -> NodeId:
        """The reachable voter that has most of this leader's log; 0 if there is none."""
        progress = self._raft.tracker.progress
        voters = self._raft.tracker.configuration.voters
        return max(self._peers.up & voters, key=lambda peer: (progress[peer].match, -peer), default=NO_NODE)


def attempt(action: Callable[[], None]) -> Done | CannotDo:
    """Do it, or say why it makes no sense."""
    try:
        action()
    except ValueError as error:
        return CannotDo(str(error))
    return Done()
