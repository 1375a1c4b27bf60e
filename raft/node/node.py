"""The node actor: it runs one Raft core.

Theory of operation. A node works in turns. In a turn it handles the messages that have arrived: those of
peers go to the core at once, commands and queries of clients are collected. When the turn ends
(`on_turn_end`), it

1. continues what the machine could not finish in the turn before;
2. proposes the collected commands as one batch, and asks for one confirmation of all queries;
3. takes each `Ready` of the core and carries it out: a write goes to the log writer, committed entries to
   the applier, messages to the sender. Replies that acknowledge a write are attached to it, and leave
   through `answer` only when the write is durable;
4. answers reads, delivers events, and does what else has come up.

A turn enters a part only if that has something to do: the part says so by an attribute, which costs no call.
What time alone brings about (leases that expire, requests that have waited too long, the room that is left,
a snapshot that is due) is looked at once a tick, in `wake`.

Writes, the user's own machine and snapshots may work on threads; their results come back as `WorkDone`
messages, so only the loop touches the core. What takes long is done in steps, each in a further turn, so
that a heartbeat never waits for it. Time reaches the core as ticks, before each message of a peer.

What can never happen: an acknowledgement leaves before the write that it acknowledges is durable; an entry is
applied before it is committed, or twice; a message of a process that is known to have ended reaches the core.

Owns the order of effects, and the route of every message to and from the core. Knows nothing of how a
majority decides, of sockets, or of the layout of files: see raft.core, actors and raft.storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from actors.actor import Actor, Handlers
from actors.envelope import ProcessDown, ProcessUp
from actors.transport.base import IncarnationUsed
from raft.core.errors import StepRefused
from raft.core.messages import (
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    StorageAppend,
    StorageApply,
    TimeoutNow,
    VoteReply,
)
from raft.core.types import NO_NODE, NodeId, Role, Snapshot
from raft.node.components import NodeComponents
from raft.node.environment import NodeEnvironment
from raft.node.local import ContinueTurn, Leave
from raft.node.machine_services import MACHINE_REQUESTS
from raft.node.reporter import Leadership
from raft.node.requests.admin import ADMIN_REQUESTS, fault_handlers
from raft.node.requests.backups import BACKUP_REQUESTS
from raft.node.requests.membership import MEMBER_REQUESTS
from raft.node.snapshots.contents import State, unpack_state, verified
from raft.node.worker import WorkDone
from raft.protocol.admin import Measure, TakeSnapshot
from raft.protocol.client import AwaitAnswer, Command, Query, WhoLeads
from raft.protocol.records import GetRecords
from raft.protocol.registry import (
    CORE_MESSAGES,
    FAILOVER_MESSAGES,
    REGISTRY,
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
TERM_LEAP_MAX = 2**32  # A term further ahead cannot come from elections: it is an error, and must not spread.


def from_peers(handle: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Wrap a handler so that it accepts messages only from members that are up."""

    def handler(node: Any, message: Any) -> None:
        if node.is_from_member(message.sender, message) and node.has_plausible_term(message):
            handle(node, message)

    return handler


class Node(Actor):
    """A member of the cluster. When it fails, the process ends, and a new one recovers from disk."""

    def __init__(self, environment: NodeEnvironment) -> None:
        self._environment = environment
        self._id: NodeId = environment.config.node
        self._supervisor = supervisor_of(self._id, has_keys=environment.config.supervisor_has_keys)

    def on_start(self) -> None:
        """Recover, and join the cluster."""
        environment, config, context = self._environment, self._environment.config, self.context
        self.components = parts = NodeComponents(environment, context, self, self._supervisor)
        self._ballot: dict[NodeId, bool] = {}
        self._to_prepare = list(FAILOVER_MESSAGES)
        self._request_handlers = self._make_request_handlers()
        if environment.faults is not None:
            orders = fault_handlers(environment.faults, self._supervisor.process, parts.processes.clock_runs)
            context.become({**self.handlers, **orders})
        if config.supervisor:
            context.connect(self._supervisor.process, config.supervisor, config.supervisor_key)
            context.watch_process(self._supervisor.process)
            context.every(ALIVE_SECONDS, parts.reporter.alive)
        parts.reporter.started(environment.pid, environment.store.last_index() - parts.applier.applied)
        parts.failover.peer_up()

    @property
    def removed(self) -> bool:
        """Whether this node stopped because it was removed from the cluster."""
        return self.components.membership.removed

    @property
    def leadership(self) -> Leadership:
        """This node's role, term and leader, for its log lines."""
        return self.components.reporter.leadership if hasattr(self, "components") else Leadership()

    def on_stop(self) -> None:
        """Refuse what still waits, and let the write in progress end."""
        self.components.stop()

    def on_turn_end(self) -> None:
        """Pass the turn's requests to the core as one batch, and carry out its effects."""
        parts = self.components
        now = self.context.now()
        machine, applier, services, reads = (
            self._environment.machine,
            parts.applier,
            parts.machine_services,
            parts.reads,
        )
        applier.resume()
        if parts.client_requests.held.waiting:
            parts.client_requests.held.release()
        if parts.client_requests.arrived:
            parts.client_requests.propose()
        if reads.waiting:
            parts.ticker.pass_time(now)  # A lease is judged by the time after the reads have arrived.
            reads.flush(now)
        if parts.versions.agreement is not machine.agreement:
            parts.versions.check(now)
        if not parts.handshakes.origin.identity:
            parts.founder.propose_if_due()
        self._carry_out()
        if parts.failover.postponed is not None and parts.failover.campaign_if_asked():
            self._carry_out()
        if services.attentive or not applier.free or machine.leases.newest != services.leases.newest:
            services.settle(now)
            if services.behind:
                self.take_another_turn()
        if reads.waiting:
            reads.answer()
        if parts.space.low:
            parts.space.check(now)
        if parts.shutdown.begun:
            parts.shutdown.end_if_done()
        taker = parts.snapshots.taker
        if taker.wanted or applier.applied >= taker.due_index or applier.bytes_applied >= taker.due_bytes:
            taker.consider()

    def _carry_out(self) -> None:
        """Carry out each Ready of the core; what is acknowledged must be durable first.

        Messages in a Ready may leave at once. A leader's appends overtake its own write on purpose (thesis
        section 10.2.1): it counts itself only when that write has ended.
        """
        parts = self.components
        raft = parts.raft
        for _ in range(READIES_PER_TURN_MAX):
            if not raft.has_ready():
                return
            ready = raft.ready()
            messages = ready.messages
            if ready.committed and raft.role is Role.LEADER:
                # Clients wait for the machine; a leader's write counts when others have written, too.
                messages.insert(-1, messages.pop())
            for message in messages:
                if type(message) is StorageAppend:
                    self.context.flush()  # Before the disk's thread competes for the interpreter.
                    parts.log_writer.append(message)
                elif type(message) is StorageApply:
                    self.context.flush()  # An acknowledgement does not wait for the machine.
                    parts.applier.apply(message)
                else:
                    parts.sender.send(message)
            if ready.read_states:
                parts.reads.confirmed(ready.read_states)
            if ready.soft_state is not None or ready.hard_state is not None:
                self._note_leadership()
        self.take_another_turn()

    def take_another_turn(self) -> None:
        """Run another turn, after the messages in the inbox: a heartbeat must not wait for long work."""
        self.context.tell(self.context.address, ContinueTurn())

    def answer(self, responses: Sequence[Message]) -> None:
        """Deliver replies whose write is durable, to the core itself or to a peer."""
        for message in responses:
            if message.to == self._id:
                self._step(message)  # Refused if this node was removed meanwhile.
            else:
                self.components.sender.send(message)

    def restored(self, snapshot: Snapshot) -> None:
        """A snapshot of the leader is durable: restore members and machine."""
        parts = self.components
        state = unpack_state(snapshot.data)
        parts.membership.restored(snapshot.conf_state, state, snapshot.index)
        parts.applier.restore(snapshot.index, verified(snapshot, state.machine), state.configuration)
        parts.snapshots.installed()
        text = f"has the state up to {snapshot.index} by a snapshot"
        parts.journal.event("snapshot-installed", text, index=snapshot.index, bytes=len(snapshot.data))

    def _note_leadership(self) -> None:
        parts = self.components
        raft, before = parts.raft, parts.reporter.leadership
        if raft.leader == before.leader and raft.term == before.term and raft.role is before.role:
            return
        now = self.context.now()
        parts.machine_services.attentive = True
        parts.snapshots.term_is(raft.term)
        if before.role is Role.LEADER and raft.role is not Role.LEADER:
            parts.proposals.leadership_lost(now)
        if raft.leader != NO_NODE:
            parts.failover.leader_known()
            parts.client_requests.held.led_term = raft.term
            if raft.leader != before.leader:
                parts.reads.ask_again(now)
        if raft.role is Role.CANDIDATE:
            self._ballot = raft.tracker.votes  # Filled as votes come in; a new leader starts another one.
        if raft.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            parts.votes.asked()
        granted = sum(self._ballot.values())
        parts.ticker.plan()
        parts.reporter.changed(
            Leadership(raft.role, raft.term, raft.leader), granted, len(parts.peers.voters)
        )

    def late(self, seconds: float, *, busy: bool) -> None:
        """See `Callbacks`."""
        parts = self.components
        parts.raft.expire_lease()
        parts.machine_services.exclude_time(seconds, self.context.now())
        event, what = ("busy", "worked in one turn") if busy else ("stalled", "was not running")
        parts.journal.event(event, f"{what} for {seconds:.3f} s", seconds=seconds)

    def wake(self, now: float) -> None:
        """See `Callbacks`."""
        parts = self.components
        raft = parts.raft
        departs = parts.shutdown.begun or raft.handover_index
        if raft.role is Role.LEADER and raft.transferee == NO_NODE and not departs:
            parts.reporter.losing("")  # A transfer that was requested has failed.
            parts.disk_health.check(now)
        parts.machine_services.flush(now)
        parts.space.check(now)
        parts.applier.timing.arm()
        parts.proposals.expire(now)
        parts.membership.requests.expire(now)
        parts.reads.expire(now)
        if self._to_prepare:  # One at a time, as each takes some tenths of a millisecond.
            REGISTRY.prepare(self._to_prepare.pop())

    def on_append(self, append: Append) -> None:
        """Entries from the leader."""
        try:
            message = unpack_append(append)
        except BadEntry as error:
            self.components.journal.event("bad-entry", str(error), sender=append.sender)
            return
        self._step(message)

    def on_vote_request(self, message: PreVote | RequestVote) -> None:
        """A candidate asks for a vote or a pre-vote."""
        self.components.failover.vote_requested(message)
        self.components.votes.step(message)

    def on_vote_reply(self, reply: PreVoteReply | VoteReply) -> None:
        """A voter has answered this candidate."""
        self.components.votes.received(reply)
        self._step(reply)

    def on_timeout_now(self, message: TimeoutNow) -> None:
        """The leader transfers leadership to this node."""
        parts = self.components
        parts.reporter.asked_to_lead()
        parts.failover.asked_to_lead(message)

    def on_heartbeat(self, message: Heartbeat) -> None:
        """The leader's heartbeat, which may ask this node to withhold its vote from others."""
        parts = self.components
        if message.lease and (
            message.term < parts.raft.term or not parts.processes.may_pledge(message.sender)
        ):
            message.lease = False
        self._step(message)

    def on_heartbeat_reply(self, reply: HeartbeatReply) -> None:
        """A peer has answered this leader's heartbeat."""
        parts = self.components
        parts.sender.round_trips.replied(reply)
        if reply.pledged and not parts.processes.counts(reply.sender):
            reply.pledged = False
        self._step(reply)

    def on_expelled(self, message: Expelled) -> None:
        """A member has applied the removal of this node."""
        if self.is_from_member(message.sender, message):
            self.components.membership.expelled(message)

    def on_process_up(self, event: ProcessUp) -> None:
        """A peer or the supervisor is reachable."""
        parts = self.components
        if event.process == self._supervisor.process:
            parts.reporter.supervisor_up()
        elif (peer := parts.peers.node_of(event.process)) != NO_NODE:
            parts.handshakes.process_up(peer, event.incarnation)

    def peer_came_up(self, peer: NodeId) -> None:
        """See `Callbacks`."""
        parts = self.components
        parts.recent.peer_up(peer)
        parts.raft.report_reachable(peer)
        parts.snapshots.transfers.reconnected(peer)
        parts.failover.peer_up()

    def peer_went_down(self, peer: NodeId) -> None:
        """See `Callbacks`."""
        parts = self.components
        parts.recent.peer_down(peer)
        if parts.raft.role is Role.LEADER:
            parts.raft.report_unreachable(peer)

    def on_process_down(self, event: ProcessDown) -> None:
        """A peer has died or is unreachable; if it led, an election begins soon."""
        parts = self.components
        if event.process == self._supervisor.process:
            parts.reporter.supervisor_down()
        if (peer := parts.peers.node_of(event.process)) == NO_NODE:
            parts.machine_services.disconnected(event.process)
            return
        parts.handshakes.process_down(peer)
        if peer in parts.peers.up:
            parts.peers.up.discard(peer)
            parts.recent.peer_down(peer)
        if parts.raft.role is Role.LEADER:
            parts.raft.report_unreachable(peer)
        else:
            parts.failover.process_down(peer)

    def leader_gone(self, leader: NodeId, reason: str) -> None:
        """See `Callbacks`."""
        parts = self.components
        if parts.failover.leader_gone(leader):
            parts.reporter.leader_gone(leader, reason)

    def is_from_member(self, sender: NodeId, message: object) -> bool:
        """Whether the message is from its sender's current process, which must not be known to have ended.

        Messages that a dead leader left in the inbox must not count as contact with it.
        """
        parts = self.components
        source = self.context.sender
        if source is None:
            return False
        is_peer = parts.peers.nodes.get(source.process) == sender
        is_up = is_peer and sender in parts.peers.up
        if not is_up and not (is_peer and parts.handshakes.recognize(sender)):
            parts.membership.reject(source.process, sender, message)
            return False
        now = self.context.now()
        if now >= parts.ticker.due_at:
            parts.ticker.pass_time(now)
        parts.contacts.seen_at[sender] = now
        return True

    def has_plausible_term(self, message: Message) -> bool:
        """Whether the cluster can have reached the term. Terms only grow, so a wrong one would stay."""
        parts = self.components
        if message.term <= parts.raft.term + TERM_LEAP_MAX:
            return True
        text = f"n{message.sender} claims term {message.term}, and this node is in term {parts.raft.term}"
        parts.journal.event("term-refused", text, sender=message.sender)
        return False

    def on_handshake(self, handshake: Handshake) -> None:
        """Another node sends its identity, and asks for this node's."""
        if (source := self.context.sender) is not None:
            self.context.reply_handle().send(self.components.handshakes.take(handshake, source.process))

    def state(self) -> State:
        """See `Callbacks`."""
        parts = self.components
        return msgspec.structs.replace(parts.membership.state(), configuration=parts.applier.configuration)

    def install(self, message: InstallSnapshot) -> None:
        """See `Callbacks`; a damaged snapshot, or one of another cluster, is ignored."""
        if self.components.handshakes.is_of_this_cluster(message):
            self._step(message)

    def _step(self, message: Message) -> None:
        parts = self.components
        try:
            parts.raft.step(message)
        except StepRefused as refused:
            parts.journal.event("step-refused", str(refused), sender=message.sender)

    def on_command(self, command: Command) -> None:
        """A command of a client: judged with all others of the turn when it ends."""
        self.components.client_requests.arrived.append((command, self.context.reply_handle()))

    def on_request(self, request: object) -> None:
        """Another request of a client or supervisor: answered now, or later through its handle."""
        if (answer := self._request_handlers[type(request)](request)) is not None:
            self.context.reply(answer)

    def _make_request_handlers(self) -> dict[type, Callable[[Any], object | None]]:
        parts, handle, now = self.components, self.context.reply_handle, self.context.now
        client, members = parts.client_requests, parts.membership.requests
        return {
            Query: lambda it: client.query(it, handle, now()),
            WhoLeads: lambda _: client.who_leads(),
            AwaitAnswer: lambda it: parts.slow_requests.wait(it, handle),
            **dict.fromkeys(
                MACHINE_REQUESTS,
                lambda it: parts.machine_services.take(it, handle, now(), client.not_leader),
            ),
            **dict.fromkeys(MEMBER_REQUESTS, lambda it: members.take(it, handle)),
            **dict.fromkeys(BACKUP_REQUESTS, lambda it: parts.backups.take(it, handle)),
            **dict.fromkeys(ADMIN_REQUESTS, parts.admin.answer),
            GetRecords: parts.recent.answer,
            Measure: lambda it: parts.measuring.take(it, handle),
        }

    def on_leave(self, _: Leave) -> None:
        """Stop gracefully."""
        parts = self.components
        parts.client_requests.closed = parts.membership.requests.closed = True
        parts.shutdown.begin()

    def removed_from_cluster(self, *, leave: bool) -> None:
        """See `Callbacks`."""
        parts = self.components
        parts.reporter.losing("removed")
        if leave:
            parts.shutdown.begin()

    handlers: ClassVar[Handlers] = {
        **dict.fromkeys(CORE_MESSAGES, from_peers(_step)),
        Append: from_peers(on_append),
        **dict.fromkeys((PreVote, RequestVote), from_peers(on_vote_request)),
        **dict.fromkeys((PreVoteReply, VoteReply), from_peers(on_vote_reply)),
        TimeoutNow: from_peers(on_timeout_now),
        Heartbeat: from_peers(on_heartbeat),
        HeartbeatReply: from_peers(on_heartbeat_reply),
        SnapshotChunk: from_peers(lambda self, chunk: self.components.snapshots.chunk(chunk)),
        SnapshotProgress: from_peers(
            lambda self, progress: self.components.snapshots.transfers.progress(progress)
        ),
        Expelled: on_expelled,
        Leaving: from_peers(
            lambda self, message: self.components.raft.learn_committed(message.index, message.term)
        ),
        Handshake: on_handshake,
        WorkDone: lambda _self, work: work.deliver(),
        ContinueTurn: lambda _self, _message: None,  # The rest is done when the turn ends.
        ProcessUp: on_process_up,
        ProcessDown: on_process_down,
        IncarnationUsed: lambda self, used: self.components.handshakes.incarnation_used(used),
        Command: on_command,
        **dict.fromkeys(
            (Query, WhoLeads, AwaitAnswer, *MACHINE_REQUESTS, *MEMBER_REQUESTS, *ADMIN_REQUESTS), on_request
        ),
        **dict.fromkeys((*BACKUP_REQUESTS, GetRecords, Measure), on_request),
        TakeSnapshot: lambda self, _: self.components.snapshots.take(self.context.reply_handle()),
        Leave: on_leave,
    }
