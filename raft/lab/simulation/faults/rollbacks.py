"""The end of some runs: disks go back to an earlier state, like a restored snapshot of a virtual machine.

Owns these steps and the guarantees under test: a single node whose disk went back stops, and is repaired from
its peers; when a majority's disks went back, no other node follows them with another history. Incarnation
numbers do not go back here, so that the logs alone must reveal it. Knows nothing of the faults before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raft.core.raft import Raft
from raft.core.types import NO_LIMIT, Entry, Role
from raft.lab.simulation.clients.membership_operator import MembershipOperator
from raft.lab.simulation.clients.store_clients import Client
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.lab.simulation.hosts.member import Condition, Member
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting

KEY = "rolled-back"
WRITES_MAX = 12
VOTERS_MIN = 3  # With fewer there is no healthy rest.
DOWN_SECONDS_MAX = 3.0
MAJORITY_SHARE = 0.5
NEW_LEADER_SHARE = 0.3  # How often another leader is elected between the copies and the writes.
LATE_SHARE = 0.7  # How often the healthy rest is paused until the others may have elected a leader.
NOTICED_SECONDS_MAX = 15.0
STOPPED_ALONE = frozenset(("RolledBack",))
# Under the same leader in the same term, entries of one index and term may differ; replies reveal it.
STOPPED_BY_MAJORITY = frozenset(("MajorityRolledBack", "Diverged"))
REPAIRED_SECONDS_MAX = 60.0


class DiskRollbacks:
    """Rolls disks back in a cluster after all faults have ended."""

    def __init__(
        self,
        *,
        members: Mapping[int, Member],
        operator: MembershipOperator,
        writer: Client,
        dismiss: Callable[[Member], None],
        setting: Setting,
        event_queue: EventQueue,
        run_log: RunLog,
    ) -> None:
        self._members = members
        self._operator = operator
        self._writer = writer
        self._dismiss = dismiss
        self._setting = setting
        self._event_queue = event_queue
        self._run_log = run_log
        self._dice = setting.dice("rollbacks")

    def roll_back(self) -> bool:
        """Roll back one disk, or those of a majority; raises AssertionError if it was not noticed.

        Returns whether the cluster has one history afterwards.
        """
        leader = self._leader()
        if leader is None or leader.tracker.configuration.joint:
            return True
        voters = [self._members[node] for node in sorted(leader.tracker.configuration.voters)]
        if len(voters) < VOTERS_MIN or not all(member.raft is not None for member in voters):
            return True
        self._dice.shuffle(voters)
        if self._dice.random() < MAJORITY_SHARE:
            half = len(voters) // 2 + 1
            self._roll_back_majority(voters[:half])
            return False
        self._roll_back_one(voters[0])
        return True

    def _roll_back_one(self, victim: Member) -> None:
        copy = self._copy(victim)
        self._write_more()
        leader = self._leader()
        term = leader.term if leader is not None else 0
        self._start_from({victim: copy}, STOPPED_ALONE)

        def refused() -> bool:
            return victim.condition is Condition.REFUSED

        noticed = self._event_queue.run_until(self._event_queue.now() + NOTICED_SECONDS_MAX, refused)
        # Only the leader to which it had acknowledged more than it has now can detect it.
        if leader is not None and leader.role is Role.LEADER and leader.term == term:
            assert noticed or victim.node == leader.id or self._is_whole(victim), (
                f"the disk of {victim.name} went back, and it takes part: {victim.describe()}"
            )
        if noticed:
            self._run_log.count("rolled-back nodes noticed")
            self._repair(victim)

    def _repair(self, victim: Member) -> None:
        self._operator.repair(victim)
        limit = self._event_queue.now() + REPAIRED_SECONDS_MAX
        assert self._event_queue.run_until(limit, lambda: self._is_whole(victim)), (
            f"{victim.name}, whose disk went back, is not repaired from its peers: {victim.describe()}"
        )
        self._run_log.count("rolled-back nodes repaired")

    def _is_whole(self, victim: Member) -> bool:
        """Has it everything that the leader has? A snapshot may bring it before anything is missed."""
        leader = self._leader()
        return leader is not None and victim.applied == leader.log.applied == leader.log.last

    def _roll_back_majority(self, victims: list[Member]) -> None:
        rest = [member for member in self._members.values() if member.up and member not in victims]
        copies = {victim: self._copy(victim) for victim in victims}
        if self._dice.random() < NEW_LEADER_SHARE:
            self._change_leader()
        self._write_more()
        for member in rest:
            member.may_stop_with = STOPPED_BY_MAJORITY
        late = self._dice.random() < LATE_SHARE
        for victim in victims:
            self._dismiss(victim)
        if late:
            for member in rest:
                member.pause()
        self._start_from(copies, STOPPED_ALONE | STOPPED_BY_MAJORITY)
        self._event_queue.run_until(self._event_queue.now() + 3 * self._setting.election_seconds_max)
        for member in rest:
            member.resume()
        self._event_queue.run_until(self._event_queue.now() + NOTICED_SECONDS_MAX)
        self._run_log.count("majorities rolled back")
        for member in rest:
            self._check_follows_none(member, victims)

    def _check_follows_none(self, healthy: Member, victims: list[Member]) -> None:
        """The entries that it has committed are those of the node that it follows."""
        if healthy.raft is None:
            self._run_log.count("healthy nodes that stopped")
            return
        log, leader = healthy.raft.log, healthy.raft.leader
        followed = next((victim.raft for victim in victims if victim.node == leader), None)
        if followed is None or followed.term != healthy.raft.term:
            return
        first = max(log.first_index(), followed.log.first_index())
        own = _contents(log.slice(first, log.committed + 1, NO_LIMIT))
        last = min(followed.log.last, log.committed)
        others = _contents(followed.log.slice(first, last + 1, NO_LIMIT)) if last >= first else []
        assert own == others, (
            f"{healthy.name} follows {followed.id}, whose disk went back, and which has other entries "
            f"from {first} up to {log.committed}, where this one has committed its own"
        )

    def _copy(self, member: Member) -> SimulatedFiles:
        """As in a snapshot of a virtual machine, with or without unsynced writes."""
        copy = member.drive.copy()
        if self._dice.random() < 0.5:
            copy.power_cut(self._dice)
        else:
            copy.kill()
        return copy

    def _start_from(self, copies: Mapping[Member, SimulatedFiles], errors: frozenset[str]) -> None:
        for member, copy in copies.items():
            member.roll_back(copy)
            member.may_stop_with = errors
        self._event_queue.run_until(self._event_queue.now() + DOWN_SECONDS_MAX * self._dice.random())
        for member in copies:
            member.start()

    def _write_more(self) -> None:
        """Writes that the copies lack."""
        for _ in range(self._dice.randint(2, WRITES_MAX)):
            operation = self._writer.write(KEY)
            self._event_queue.run_until(
                self._event_queue.now() + 2 * REPAIRED_SECONDS_MAX, lambda: self._writer.idle
            )
            assert operation.done, "a write of a whole cluster is not done"
        # Until all nodes know of it.
        self._event_queue.run_until(self._event_queue.now() + 4 * self._setting.heartbeat_seconds)

    def _change_leader(self) -> None:
        leader = self._leader()
        if leader is None:
            return
        before = self._members[leader.id]
        before.die(power=False)
        self._event_queue.run_until(
            self._event_queue.now() + NOTICED_SECONDS_MAX, lambda: self._leader() is not None
        )
        before.start()
        self._event_queue.run_until(self._event_queue.now() + self._setting.election_seconds_max)

    def _leader(self) -> Raft | None:
        cores = [member.raft for member in self._members.values()]
        leaders = [raft for raft in cores if raft is not None and raft.role is Role.LEADER]
        return max(leaders, key=lambda raft: raft.term, default=None)


def _contents(entries: list[Entry]) -> list[tuple[int, int, bytes]]:
    return [(entry.index, entry.term, entry.data or b"") for entry in entries]
