"""The node actor: one Raft core, acted on.

Owns the order of effects, time as ticks, and the way of every message to and from the core. Knows
nothing of how a majority decides, of sockets, or of the layout of files: see raft.core, actors and
raft.storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec

from actors.actor import Actor, Handlers
from actors.envelope import ProcessDown, ProcessUp
from actors.transport.base import IncarnationUsed
from raft.core.errors import StepRefused
from raft.core.messages import (
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVote,
    RequestVote,
    StorageAppend,
    StorageApply,
    TimeoutNow,
)
from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role, Snapshot
from raft.node.applier import Applier
from raft.node.components import HEARTBEAT_TICKS, NodeComponents, core_config
from raft.node.handshakes import Founder, Handshakes
from raft.node.identity import Origin, origin_in
from raft.node.leadership.disk_health import DiskHealthMonitor
from raft.node.leadership.failover import Failover
from raft.node.leadership.shutdown import Shutdown
from raft.node.local import Continue, Leave
from raft.node.log_writer import QUICK_SECONDS_MAX, LogWriter, WritePlacement
from raft.node.machine_upkeep import HELD, MachineUpkeep
from raft.node.machine_worker import OwnMachineWorker
from raft.node.membership import Membership
from raft.node.metrics import Counted
from raft.node.peers import Peers, of_peers
from raft.node.reporter import LateJournal, Reporter, Standing
from raft.node.requests.admin import ADMIN_REQUESTS, AdminRequests, Contacts, obeying
from raft.node.requests.backups import BACKUP_REQUESTS, Backups
from raft.node.requests.commands import ClientRequests
from raft.node.requests.membership import MEMBER_REQUESTS
from raft.node.requests.proposals import Proposals
from raft.node.requests.reads import Reads
from raft.node.requests.slow_requests import SlowRequests
from raft.node.sender import MessageSender
from raft.node.snapshots.contents import SendableSnapshots, State, unpack_state, verified
from raft.node.snapshots.coordinator import SnapshotCoordinator
from raft.node.space import Space
from raft.node.ticker import Ticker
from raft.node.versions import Versions
from raft.node.worker import WorkDone
from raft.protocol.admin import NodeMetrics, NodeStatus, TakeSnapshot
from raft.protocol.client import AwaitAnswer, Command, Query, WhoLeads
from raft.protocol.registry import (
    CORE_MESSAGES,
    Append,
    BadEntry,
    Expelled,
    Handshake,
    Leaving,
    SnapshotChunk,
    SnapshotProgress,
    supervisor_of,
    unpack_append,
)

READIES_PER_TURN_MAX = 8
ALIVE_SECONDS = 0.5
TERM_LEAP_MAX = 2**32  # No peer is ahead by as many elections: such a term is an error, and must not spread.


class Node(Actor):
    """A member of the cluster. One life: when it fails, the process ends and starts again from disk."""

    def __init__(self, parts: NodeComponents) -> None:
        self._parts = parts
        self._id: NodeId = parts.config.node
        self._supervisor = supervisor_of(self._id, has_keys=parts.config.supervisor_has_keys)

    def on_start(self) -> None:
        """Recover, and take part."""
        parts, config, context = self._parts, self._parts.config, self.context
        snapshot = parts.store.snapshot()
        state = unpack_state(snapshot.data)
        own_parts = parts.machine.restore_apart(state.machine)
        parts.machine.checked_until = parts.store.initial_state()[0].commit
        log = SendableSnapshots(
            parts.store, lambda: self._membership.members,
            lambda: self._snapshots.want(), lambda stored: self._snapshots.is_damaged(stored),
        )  # fmt: skip
        self._raft = Raft(core_config(config, snapshot.index), log, parts.random, parts.observer)
        self._peers = Peers(self._id, config.address, snapshot.conf_state.voters)
        self._journal = LateJournal(parts.journal, context.after)
        self._reporter = Reporter(
            node=self._id, incarnation=parts.incarnation, now=parts.true_now or context.now,
            tell=partial(context.tell, self._supervisor) if config.supervisor else None, journal=self._journal
        )  # fmt: skip
        self._introductions = Handshakes(
            self._id, origin_in(parts.store, Origin(state.identity, state.founders)),
            blank=parts.store.last_index() == 0, machine=parts.machine, peers=self._peers, context=context,
            journal=self._journal, came_up=self._peer_came_up, went_down=self._peer_went_down,
            note_incarnation=parts.note_incarnation,
        )  # fmt: skip
        self._build(snapshot)
        self._applier.configuration = state.configuration
        self._founder = Founder(self._raft, self._introductions, parts.draw_identity)
        self._applier.lane.restore(own_parts)
        self._takers = self._make_takers()
        if parts.faults is not None:
            context.become({**self.handlers, **obeying(parts.faults, self._supervisor.process)})
        self._ticker = Ticker(
            self._raft, tick_seconds=config.tick_seconds, heartbeat_ticks=HEARTBEAT_TICKS, now=context.now,
            sleep_ticks_max=max(HEARTBEAT_TICKS, config.election_ticks // 2), after=context.after,
            woken=self._look_after_the_waiting, late=self._late, worked=parts.worked,
        )  # fmt: skip
        self._ballot: dict[NodeId, bool] = {}
        self._membership.meet_all(state)
        if config.supervisor:
            context.connect(self._supervisor.process, config.supervisor, config.supervisor_key)
            context.watch_process(self._supervisor.process)
            context.every(ALIVE_SECONDS, self._reporter.alive)
        self._reporter.started(parts.pid, parts.store.last_index() - snapshot.index)
        self._failover.peer_up()

    @property
    def removed(self) -> bool:
        """Was this node removed from the cluster, and has stopped for that?"""
        return self._membership.removed

    @property
    def standing(self) -> Standing:
        """What this node is, for whoever writes its log."""
        return self._reporter.standing if hasattr(self, "_reporter") else Standing()

    def _build(self, snapshot: Snapshot) -> None:
        parts, config, context = self._parts, self._parts.config, self.context
        patience_seconds = 2 * config.election_seconds_max
        self._proposals = Proposals(patience_seconds)
        self._membership = Membership(
            config, self._raft, self._peers, self._introductions, self._journal, self._proposals, context,
            self._dismissed, leader_removed=lambda leader: self._leader_gone(leader, "transfer"),
        )  # fmt: skip
        self._slow_worker, own_worker = parts.snapshot_worker(context.post), parts.apply_worker
        self._applier = Applier(
            machine=parts.machine, applied=snapshot.index, waiters=self._proposals,
            on_config=self._membership.apply, answer=self._answer, slow=self._slow_worker,
            lane=OwnMachineWorker(parts.machine.own, own_worker and own_worker(context.post), context.now),
            again=self._take_another_turn, now=context.now,
        )  # fmt: skip
        self._snapshots = SnapshotCoordinator(
            config, self._raft, context, self._journal, log=parts.store, applier=self._applier,
            worker=self._slow_worker, state=self._state, step=self._install, tight=lambda: self._space.tight,
        )  # fmt: skip
        self._outgoing = MessageSender(context, self._snapshots.transfers)
        self._reads = Reads(
            node=self._id, incarnation=parts.incarnation, machine=self._applier,
            confirm=self._raft.read_index, patience_seconds=patience_seconds,
            retry_seconds=config.election_seconds_min,
        )  # fmt: skip
        self._build_service()
        self._disk = LogWriter(
            parts.store, parts.disk_worker(context.post), parts.store.initial_state()[0],
            self._restored, self._answer, self._disk_health, context.after, context.now,
            WritePlacement(min(QUICK_SECONDS_MAX, config.heartbeat_seconds / 10)),
        )  # fmt: skip
        upkeep = parts.machine, self._raft, self._applier, self._reads, context, self._versions
        self._upkeep = MachineUpkeep(*upkeep)
        self._contacts = Contacts()
        self._steering = AdminRequests(
            raft=self._raft, incarnation=parts.incarnation, peers=self._peers, contacts=self._contacts,
            faults=parts.faults, counters=parts.counters, now=context.now, machine=parts.machine,
            transferring=lambda: self._reporter.losing("transfer"), space=lambda: self._space.room,
            metrics=self._metrics,
        )  # fmt: skip
        self._failover = Failover(
            self._raft, self._peers, random=parts.random, now=context.now, after=context.after,
            # Votes ahead of time are harmless behind pre-votes, but would break the promise of a lease.
            allowed=config.pre_vote and not config.lease_reads,
        )  # fmt: skip
        self._shutdown = Shutdown(
            self._raft, self._proposals, self._reporter, self._journal, last_snapshot=self._snapshots.last,
            heir=self._steering.heir, after=context.after, leave=parts.leave,
        )  # fmt: skip

    def _build_service(self) -> None:
        """What clients' requests go through."""
        parts, config, context = self._parts, self._parts.config, self.context
        self._desk = SlowRequests(parts.incarnation, context.now, context.after)
        self._space = Space(
            quota_bytes=config.tuning.quota_bytes, machine=parts.machine, log=parts.store, raft=self._raft,
            journal=self._journal, want_snapshot=self._snapshots.want, tell=self._reporter.space,
        )  # fmt: skip
        self._versions = Versions(
            parts.machine, self._raft, self._peers, self._introductions, self._journal, self._snapshots.want
        )  # fmt: skip
        self._service = ClientRequests(
            self._raft, self._proposals, self._reads, self._applier, self._peers, self._desk, self._space,
            self._versions, identity=lambda: self._introductions.origin.identity,
        )  # fmt: skip
        self._backups = Backups(
            config.cluster, parts.store, self._applier, self._reads, self._snapshots, self._desk
        )
        self._disk_health = DiskHealthMonitor(
            self._raft, self._peers, self._service, self._reporter, self._journal,
            limit_seconds=config.fsync_limit_seconds, probe=lambda: self._disk.probe(),
            now=context.now, after=context.after,
        )  # fmt: skip

    def on_stop(self) -> None:
        """Tell everybody who waits what is known, and let the write in hand end."""
        self._proposals.stop()
        self._membership.requests.stop()
        self._reads.stop()
        self._upkeep.stop()
        self._desk.stop()
        self._disk.close()
        self._applier.close()
        self._snapshots.close()
        self._journal.write()

    def on_turn_end(self) -> None:
        """Hand the turn's requests to the core as one batch, and carry out what the core wants."""
        now = self.context.now()
        self._applier.resume()
        self._service.flush(now)
        self._upkeep.flush(now)
        if not self._introductions.origin.identity:
            self._founder.look()
        self._carry_out()
        if self._failover.postponed is not None and self._failover.take_over():
            self._carry_out()
        self._upkeep.settle(now)
        self._reads.answer()
        self._space.look(now)
        if self._shutdown.begun:
            self._shutdown.end_if_done()
        self._snapshots.turn_ended()
        if self._upkeep.behind:
            self._take_another_turn()

    def _carry_out(self) -> None:
        """Do what the core wants done. The order is the promise: persist before you speak.

        Term, vote and entries go to the disk; whatever may only be said once they are durable is not
        among `messages`, but comes with the write as its `responses`, and `_answer` gives it out when
        the write has ended. What is left may be said at once, and a leader's appends overtake its own
        write on purpose (thesis section 10.2.1): it counts itself only by that write's response.
        Entries are applied once they are committed, and are durable here.
        """
        raft = self._raft
        for _ in range(READIES_PER_TURN_MAX):
            if not raft.has_ready():
                return
            ready = raft.ready()
            for message in ready.messages:
                if type(message) is StorageAppend:
                    self.context.flush()  # What leaves is not to compete with the disk's thread.
                    self._disk.append(message)
                elif type(message) is StorageApply:
                    self._applier.apply(message)
                else:
                    self._outgoing.send(message)
            self._reads.confirmed(ready.read_states)
            self._notice_standing()
        self._take_another_turn()

    def _take_another_turn(self) -> None:
        """Go on soon. The inbox first: what takes long is done without keeping a heartbeat waiting."""
        self.context.tell(self.context.address, Continue())

    def _answer(self, responses: Sequence[Message]) -> None:
        """Give out what has become true: to the core itself, or to a peer."""
        for message in responses:
            if message.to == self._id:
                self._step(message)  # Refused if this node was removed meanwhile.
            else:
                self._outgoing.send(message)

    def _restored(self, snapshot: Snapshot) -> None:
        state = unpack_state(snapshot.data)
        self._membership.restored(snapshot.conf_state, state, snapshot.index)
        self._applier.restore(snapshot.index, verified(snapshot, state.machine), state.configuration)
        self._snapshots.installed()

    def _notice_standing(self) -> None:
        raft, before = self._raft, self._reporter.standing
        if raft.leader == before.leader and raft.term == before.term and raft.role is before.role:
            return
        now = self.context.now()
        if before.role is Role.LEADER and raft.role is not Role.LEADER:
            self._proposals.leadership_lost(now)
        if raft.leader != NO_NODE:
            self._failover.leader_known()
            if raft.leader != before.leader:
                self._reads.ask_again(now)
        if raft.role is Role.CANDIDATE:
            self._ballot = raft.tracker.votes  # Filled as votes come in; a new leader starts another one.
        granted = sum(self._ballot.values())
        self._ticker.plan()
        self._reporter.changed(Standing(raft.role, raft.term, raft.leader), granted, len(self._peers.voters))

    def _late(self, seconds: float, *, busy: bool) -> None:
        self._raft.expire_lease()
        self._upkeep.pass_over(seconds, self.context.now())
        event, what = ("busy", "worked in one turn") if busy else ("stalled", "was not running")
        self._journal.event(event, f"{what} for {seconds:.3f} s", seconds=seconds)

    def _look_after_the_waiting(self, now: float) -> None:
        raft = self._raft
        departs = self._shutdown.begun or raft.handover_index
        if raft.role is Role.LEADER and raft.transferee == NO_NODE and not departs:
            self._reporter.losing("")  # The transfer that was asked for, if any, has failed.
            self._disk_health.look(now)
        self._applier.timing.arm()
        self._proposals.expire(now)
        self._membership.requests.expire(now)
        self._reads.expire(now)

    def on_append(self, append: Append) -> None:
        """Entries from the leader, in the bytes that it made."""
        try:
            message = unpack_append(append)
        except BadEntry as error:
            self._journal.event("bad-entry", str(error), sender=append.sender)
            return
        self._step(message)

    def on_vote_request(self, message: PreVote | RequestVote) -> None:
        """A rival asks for a vote, or whether it would get one."""
        self._failover.rival_asks(message)
        self._step(message)

    def on_timeout_now(self, message: TimeoutNow) -> None:
        """The leader hands over to this node."""
        self._reporter.asked_to_lead()
        self._failover.asked_to_lead(message)

    def on_heartbeat_reply(self, reply: HeartbeatReply) -> None:
        """A peer has heard this leader."""
        self._outgoing.round_trips.replied(reply)
        self._step(reply)

    def on_expelled(self, message: Expelled) -> None:
        """A member has applied the removal of this node."""
        if self.is_genuine(message.sender):
            self._membership.expelled(message)

    def on_process_up(self, event: ProcessUp) -> None:
        """A peer or the supervisor can be heard."""
        if event.process == self._supervisor.process:
            self._reporter.supervisor_up()
        elif (peer := self._peers.node_of(event.process)) != NO_NODE:
            self._introductions.process_up(peer, event.incarnation)

    def _peer_came_up(self, peer: NodeId) -> None:
        """A peer can be heard, and is of this cluster."""
        self._raft.report_reachable(peer)
        self._snapshots.transfers.reconnected(peer)
        self._failover.peer_up()

    def _peer_went_down(self, peer: NodeId) -> None:
        if self._raft.role is Role.LEADER:
            self._raft.report_unreachable(peer)

    def on_process_down(self, event: ProcessDown) -> None:
        """A peer has died or cannot be reached: if it led, somebody else has to, and soon."""
        if event.process == self._supervisor.process:
            self._reporter.supervisor_down()
        if (peer := self._peers.node_of(event.process)) == NO_NODE:
            self._upkeep.disconnected(event.process)
            return
        self._introductions.process_down(peer)
        self._peers.up.discard(peer)
        if self._raft.role is Role.LEADER:
            self._peer_went_down(peer)
        elif peer == self._raft.leader:
            self._leader_gone(peer, "leader-died")

    def _leader_gone(self, leader: NodeId, reason: str) -> None:
        if self._failover.leader_gone(leader):
            self._reporter.leader_gone(leader, reason)

    def is_genuine(self, sender: NodeId) -> bool:
        """Is the message from the process it claims, and from a life that is not known to be over?

        What a dead leader left in the inbox must not bring it back to life.
        """
        source = self.context.sender
        if source is None:
            return False
        if self._peers.node_of(source.process) != sender or sender not in self._peers.up:
            is_peer = self._peers.node_of(source.process) == sender
            if not (is_peer and self._introductions.recognize(sender)):
                self._membership.turn_away(source.process, sender)
                return False
        now = self.context.now()
        self._ticker.pass_time(now)
        self._contacts.heard_at[sender] = now
        return True

    def is_credible(self, message: Message) -> bool:
        """Is the term one that the cluster may have come to? Terms only grow, and so would a wrong one."""
        if message.term <= self._raft.term + TERM_LEAP_MAX:
            return True
        text = f"n{message.sender} claims term {message.term}, and this node is in term {self._raft.term}"
        self._journal.event("term-refused", text, sender=message.sender)
        return False

    def on_introduction(self, told: Handshake) -> None:
        """Another node says who it is, and asks for the same."""
        if (source := self.context.sender) is not None:
            self.context.reply_handle().send(self._introductions.take(told, source.process))

    def _state(self) -> State:
        return msgspec.structs.replace(self._membership.state(), configuration=self._applier.configuration)

    def _install(self, message: InstallSnapshot) -> None:
        """A leader's snapshot is here as a whole; what is none, or is another cluster's, is left."""
        if self._introductions.is_ours(message):
            self._step(message)

    def _step(self, message: Message) -> None:
        try:
            self._raft.step(message)
        except StepRefused as refused:
            self._journal.event("step-refused", str(refused), sender=message.sender)

    def on_command(self, command: Command) -> None:
        """A client wants something done: like any request, but there are many of this kind."""
        if (refusal := self._service.command(command, self.context.reply_handle)) is not None:
            self.context.reply(self._proposals.refused(refusal))

    def on_request(self, request: object) -> None:
        """A client or a supervisor wants something: it is answered at once, or later through its handle."""
        if (answer := self._takers[type(request)](request)) is not None:
            self.context.reply(answer)

    def _metrics(self, status: NodeStatus) -> NodeMetrics:
        return Counted(
            self._parts.machine, self._proposals, self._reads, self._applier, self._disk, self._disk_health,
            self._upkeep, self._outgoing, self._reporter, self._ticker, self._parts.usage,
        ).metrics(status, self.context.now())  # fmt: skip

    def _make_takers(self) -> dict[type, Callable[[Any], object | None]]:
        service, handle, now = self._service, self.context.reply_handle, self.context.now
        upkeep, requests, backups = self._upkeep, self._membership.requests, self._backups
        return {
            Query: lambda it: service.query(it, handle, now()),
            WhoLeads: lambda _: service.who_leads(),
            AwaitAnswer: lambda it: self._desk.wait(it, handle),
            **dict.fromkeys(HELD, lambda it: upkeep.take(it, handle, now(), service.not_leader)),
            **dict.fromkeys(MEMBER_REQUESTS, lambda it: requests.take(it, handle)),
            **dict.fromkeys(BACKUP_REQUESTS, lambda it: backups.take(it, handle)),
            **dict.fromkeys(ADMIN_REQUESTS, self._steering.answer),
        }

    def on_leave(self, _: Leave) -> None:
        """End gracefully."""
        self._service.closed = self._membership.requests.closed = True
        self._shutdown.begin()

    def _dismissed(self, *, leave: bool) -> None:
        self._reporter.losing("removed")
        if leave:
            self._shutdown.begin()

    handlers: ClassVar[Handlers] = {
        **dict.fromkeys(CORE_MESSAGES, of_peers(_step)),
        Append: of_peers(on_append),
        **dict.fromkeys((PreVote, RequestVote), of_peers(on_vote_request)),
        TimeoutNow: of_peers(on_timeout_now),
        HeartbeatReply: of_peers(on_heartbeat_reply),
        SnapshotChunk: of_peers(lambda self, chunk: self._snapshots.chunk(chunk)),
        SnapshotProgress: of_peers(lambda self, progress: self._snapshots.transfers.progress(progress)),
        Expelled: on_expelled,
        Leaving: of_peers(lambda self, message: self._raft.learn_committed(message.index, message.term)),
        Handshake: on_introduction,
        WorkDone: lambda _self, work: work.deliver(),
        Continue: lambda _self, _message: None,  # What is left is carried out when the turn ends.
        ProcessUp: on_process_up,
        ProcessDown: on_process_down,
        IncarnationUsed: lambda self, told: self._introductions.incarnation_used(told),
        Command: on_command,
        **dict.fromkeys((Query, WhoLeads, AwaitAnswer, *HELD, *MEMBER_REQUESTS, *ADMIN_REQUESTS), on_request),
        **dict.fromkeys(BACKUP_REQUESTS, on_request),
        TakeSnapshot: lambda self, _: self._snapshots.take(self.context.reply_handle()),
        Leave: on_leave,
    }
