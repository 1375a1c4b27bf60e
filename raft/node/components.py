"""The parts of one node, created and connected.

Owns which part gets which others. A node reads them as `components`, and so may a test that inspects a node;
only the node itself changes them. Knows nothing of when a part is called: that is the node's turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from actors.address import Address
from actors.context import Context
from raft.core.messages import InstallSnapshot, Message
from raft.core.raft import Raft
from raft.core.types import Index, NodeId, Snapshot
from raft.node.applier import Applier
from raft.node.environment import HEARTBEAT_TICKS, NodeEnvironment, core_config
from raft.node.leadership.disk_health import DiskHealthMonitor
from raft.node.leadership.failover import Failover
from raft.node.leadership.peer_processes import PeerProcesses
from raft.node.leadership.shutdown import Shutdown
from raft.node.leadership.votes import Votes
from raft.node.log_writer import QUICK_SECONDS_MAX, LogWriter, WritePlacement
from raft.node.machine_services import MachineServices
from raft.node.machine_worker import OwnMachineWorker
from raft.node.members.handshakes import Founder, Handshakes
from raft.node.members.identity import Origin, origin_in
from raft.node.members.membership import Membership
from raft.node.members.peers import Peers
from raft.node.members.versions import Versions
from raft.node.metrics import Counted
from raft.node.reporter import DeferredJournal, Reporter
from raft.node.requests.admin import AdminRequests, Contacts
from raft.node.requests.backups import Backups
from raft.node.requests.commands import ClientRequests
from raft.node.requests.measuring import Measuring
from raft.node.requests.proposals import Proposals
from raft.node.requests.reads import Reads
from raft.node.requests.recent import Recent
from raft.node.requests.slow_requests import SlowRequests
from raft.node.sender import MessageSender
from raft.node.snapshots.contents import SendableSnapshots, State, unpack_state
from raft.node.snapshots.coordinator import SnapshotCoordinator
from raft.node.space import Space
from raft.node.ticker import Ticker
from raft.protocol.admin import NodeMetrics, NodeStatus


class Callbacks(Protocol):
    """What the parts call on their node."""

    def answer(self, responses: Sequence[Message]) -> None:
        """Deliver responses whose condition has become true."""

    def restored(self, snapshot: Snapshot) -> None:
        """A snapshot of the leader is durable."""

    def install(self, message: InstallSnapshot) -> None:
        """A snapshot of a leader has arrived as a whole."""

    def state(self) -> State:
        """The node's part of a snapshot."""

    def take_another_turn(self) -> None:
        """Run another turn soon."""

    def removed_from_cluster(self, *, leave: bool) -> None:
        """This node was removed; it stops if `leave`."""

    def leader_gone(self, leader: NodeId, reason: str) -> None:
        """The leader has died or was removed."""

    def peer_came_up(self, peer: NodeId) -> None:
        """A peer is reachable, and is of this cluster."""

    def peer_went_down(self, peer: NodeId) -> None:
        """A peer is no longer reachable."""

    def wake(self, now: float) -> None:
        """Time has passed: expire what has waited too long."""

    def late(self, seconds: float, *, busy: bool) -> None:
        """The process was stopped, or a turn took too long."""


class NodeComponents:
    """The parts of one node, by name. Creating them recovers the machine, and connects to the members."""

    def __init__(
        self, environment: NodeEnvironment, context: Context, node: Callbacks, supervisor: Address
    ) -> None:
        self._environment = environment
        self._context = context
        self._node = node
        env, config, store = environment, environment.config, environment.store
        snapshot = store.snapshot()
        state = unpack_state(snapshot.data)  # Not kept: it refers to the data of the whole snapshot.
        own_parts = env.machine.restore_apart(state.machine)
        env.machine.checked_until = store.initial_state()[0].commit
        self.log = SendableSnapshots(
            store, lambda: self.membership.members,
            lambda: self.snapshots.want(), lambda stored: self.snapshots.is_damaged(stored),
        )  # fmt: skip
        self.raft = Raft(core_config(config, snapshot.index), self.log, env.random, env.observer)
        self.peers = Peers(config.node, config.address, snapshot.conf_state.voters)
        self.recent = Recent(self.raft, incarnation=env.incarnation, lines=env.log_lines)
        self.votes = Votes(self.raft, self.recent.note)
        self.journal = DeferredJournal(env.journal, context.after, self.recent.note)
        self.reporter = Reporter(
            node=config.node, incarnation=env.incarnation, now=env.true_now or context.now,
            tell=partial(context.tell, supervisor) if config.supervisor else None, journal=self.journal,
        )  # fmt: skip
        self.processes = PeerProcesses(
            config, self.raft, incarnation=env.incarnation, endings=env.endings, record=env.pledges,
            after=context.after,
        )  # fmt: skip
        self.handshakes = Handshakes(
            config.node, origin_in(store, Origin(state.identity, state.founders)),
            blank=store.last_index() == 0, machine=env.machine, peers=self.peers, context=context,
            journal=self.journal, came_up=node.peer_came_up, went_down=node.peer_went_down,
            note_incarnation=env.note_incarnation, processes=self.processes, is_deserted=env.is_deserted,
        )  # fmt: skip
        self.founder = Founder(self.raft, self.handshakes, env.draw_identity)
        self._build_replication(snapshot.index)
        self._build_requests()
        self._build_leadership()
        self.applier.configuration = state.configuration
        self.applier.own_machine.restore(own_parts)
        self.ticker = Ticker(
            self.raft, tick_seconds=config.tick_seconds, heartbeat_ticks=HEARTBEAT_TICKS, now=context.now,
            sleep_ticks_max=max(HEARTBEAT_TICKS, config.election_ticks // 2), after=context.after,
            woken=node.wake, late=node.late, worked=env.worked,
        )  # fmt: skip
        self.membership.connect_all(state)

    def _build_replication(self, applied: Index) -> None:
        env, config, context, node = self._environment, self._environment.config, self._context, self._node
        timeout_seconds = 2 * config.election_seconds_max
        self.proposals = Proposals(timeout_seconds, context.answer_all)
        self.membership = Membership(
            config, self.raft, self.peers, self.handshakes, self.journal, self.proposals, context,
            node.removed_from_cluster, leader_removed=lambda leader: node.leader_gone(leader, "transfer"),
            added=lambda: self.snapshots.want(),  # It names the new member, which needs it once it is up.
        )  # fmt: skip
        slow_worker, own_worker = env.snapshot_worker(context.post), env.apply_worker
        self.applier = Applier(
            machine=env.machine, applied=applied, waiters=self.proposals,
            on_config=self.membership.apply, answer=node.answer, slow=slow_worker,
            own_machine=OwnMachineWorker(
                env.machine.own, own_worker and own_worker(context.post), context.now
            ),
            again=node.take_another_turn, now=context.now,
        )  # fmt: skip
        self.snapshots = SnapshotCoordinator(
            config, self.raft, context, self.journal, log=env.store, applier=self.applier,
            worker=slow_worker, state=node.state, step=node.install, tight=lambda: self.space.tight,
        )  # fmt: skip
        self.sender = MessageSender(context, self.snapshots.transfers)
        self.reads = Reads(
            node=config.node, incarnation=env.incarnation, machine=self.applier,
            confirm=self.raft.read_index, timeout_seconds=timeout_seconds,
            retry_seconds=config.election_seconds_min, answer_all=context.answer_all,
        )  # fmt: skip

    def _build_requests(self) -> None:
        env, config, context = self._environment, self._environment.config, self._context
        self.slow_requests = SlowRequests(env.incarnation, context.now, context.after)
        self.space = Space(
            quota_bytes=config.tuning.quota_bytes, machine=env.machine, log=env.store, raft=self.raft,
            journal=self.journal, want_snapshot=self.snapshots.want, tell=self.reporter.space,
        )  # fmt: skip
        self.versions = Versions(
            env.machine, self.raft, self.peers, self.handshakes, self.journal, self.snapshots.want
        )
        self.client_requests = ClientRequests(
            self.raft, self.proposals, self.reads, self.applier, self.peers, self.slow_requests, self.space,
            self.versions, identity=lambda: self.handshakes.origin.identity, now=context.now,
            after=context.after,
        )  # fmt: skip
        self.backups = Backups(
            config.cluster, env.store, self.applier, self.reads, self.snapshots, self.slow_requests
        )
        self.machine_services = MachineServices(
            env.machine, self.raft, self.applier, self.reads, context, self.versions
        )
        self.measuring = Measuring(context, self.peers, self.handshakes.own)
        self.contacts = Contacts()
        self.admin = AdminRequests(
            raft=self.raft, incarnation=env.incarnation, peers=self.peers, contacts=self.contacts,
            faults=env.faults, counters=env.counters, now=context.now, machine=env.machine,
            transferring=lambda: self.reporter.losing("transfer"), space=lambda: self.space.room,
            metrics=self.metrics, leases=self.machine_services.leases.told,
            disk_alarms=lambda: self.disk_health.alarms,
        )  # fmt: skip

    def _build_leadership(self) -> None:
        env, config, context, node = self._environment, self._environment.config, self._context, self._node
        self.disk_health = DiskHealthMonitor(
            self.raft, self.peers, self.client_requests, self.reporter, self.journal,
            limit_seconds=config.fsync_limit_seconds, writing=lambda: self.log_writer,
            now=context.now, after=context.after,
        )  # fmt: skip
        self.log_writer = LogWriter(
            env.store, env.disk_worker(context.post), env.store.initial_state()[0],
            node.restored, node.answer, self.disk_health, context.after, context.now,
            WritePlacement(min(QUICK_SECONDS_MAX, config.heartbeat_seconds / 10)),
        )  # fmt: skip
        self.failover = Failover(
            self.raft, self.peers, self.processes, gone=node.leader_gone, random=env.random,
            now=context.now, after=context.after, step_vote=self.votes.step,
            allowed=config.pre_vote,  # With pre-votes early campaigns are harmless.
        )  # fmt: skip
        self.shutdown = Shutdown(
            self.raft, self.proposals, self.reporter, self.journal, last_snapshot=self.snapshots.last,
            successor=self.admin.successor, after=context.after, leave=env.leave,
        )  # fmt: skip

    def metrics(self, status: NodeStatus) -> NodeMetrics:
        """Everything that the parts count."""
        return Counted(
            self._environment.machine, self.proposals, self.reads, self.applier, self.log_writer,
            self.disk_health, self.machine_services, self.sender, self.reporter, self.ticker,
            self._environment.usage, self._environment.traffic,
        ).metrics(status, self._context.now())  # fmt: skip

    def stop(self) -> None:
        """Refuse what still waits, let the write in progress end, and write the journal."""
        self.client_requests.stop()
        self.proposals.stop()
        self.membership.requests.stop()
        self.reads.stop()
        self.machine_services.stop()
        self.slow_requests.stop()
        self.log_writer.close()
        self.applier.close()
        self.snapshots.close()
        self.journal.write()
