"""One node: it takes ticks, messages and requests, and hands out what is to be done.

Owns the state that roles share, and the dispatch to the current role. What is decided stands in the
modules of the roles; nothing here waits, writes or sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from types import MappingProxyType

from raft.core import (
    candidate,
    elections,
    every_role,
    follower,
    leader,
    lease,
    membership,
    output,
    trace,
    transitions,
)
from raft.core.changes import AnyConfChange, ConfChange
from raft.core.confchange import restore
from raft.core.config import Config, ReadOnlyOption
from raft.core.errors import (
    BrokenStorage,
    ConfChangeRefused,
    PeerNotFound,
    ProposalDropped,
    StepRefused,
)
from raft.core.log import Log
from raft.core.messages import (
    PEER_REPLIES,
    STEPPABLE,
    DurableReply,
    Message,
    Propose,
    ReadIndex,
    StorageAppendReply,
    StorageApplyReply,
    TransferLeader,
)
from raft.core.reads import ReadQueue
from raft.core.ready import Ready
from raft.core.status import Status, status_of
from raft.core.tracker import Tracker
from raft.core.types import (
    NO_NODE,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    ReadState,
    Role,
    Snapshot,
    SoftState,
    Storage,
    Term,
)

_HANDLERS: Mapping[Role, every_role.Handlers] = MappingProxyType(
    {
        Role.FOLLOWER: follower.HANDLERS,
        Role.PRE_CANDIDATE: candidate.PRE_CANDIDATE_HANDLERS,
        Role.CANDIDATE: candidate.CANDIDATE_HANDLERS,
        Role.LEADER: leader.HANDLERS,
    }
)


class Raft:
    """A Raft node without a world around it. One caller at a time, never from inside an observer."""

    __slots__ = (
        "_handlers",
        "_on_tick",
        "able_to_lead",
        "after_append",
        "config",
        "election_elapsed",
        "handover_index",
        "heartbeat_elapsed",
        "held_reads",
        "id",
        "leader",
        "lease_ticks",
        "log",
        "messages",
        "observer",
        "pending_conf_index",
        "pledge_tick",
        "random",
        "randomized_election_ticks",
        "read_states",
        "reads",
        "removal_known",
        "restored_index",
        "role",
        "steps_on_advance",
        "term",
        "ticks",
        "told_hard_state",
        "told_soft_state",
        "tracker",
        "transferee",
        "uncommitted_size",
        "vote",
    )

    def __init__(
        self, config: Config, storage: Storage, random: Random, observer: trace.Observer | None = None
    ) -> None:
        """Start from what storage holds, as a follower.

        The only draws are `random.randrange(election_ticks_drawn)`. Raises BrokenStorage if the stored
        parts contradict each other.
        """
        self.config = config
        self.id: NodeId = config.id
        self.random = random
        self.observer = observer
        self.term: Term = 0
        self.vote: NodeId = NO_NODE
        self.leader: NodeId = NO_NODE
        self.role = Role.FOLLOWER
        self.able_to_lead = True  # Set by the caller: False keeps this node from campaigning, and no more.
        self.log = Log(storage, config.applying_size_max, applies_unstable=not config.async_storage_writes)
        self.tracker = Tracker(config.max_inflight_msgs, config.max_inflight_bytes)
        self.reads = ReadQueue()
        self.held_reads: list[ReadIndex] = []
        self.read_states: list[ReadState] = []
        self.messages: list[Message] = []
        self.after_append: list[DurableReply] = []
        self.steps_on_advance: list[DurableReply | StorageAppendReply | StorageApplyReply] = []
        # Not from 0, which stands for never. A pledge may have been given before this start.
        self.ticks = self.pledge_tick = config.election_ticks
        self.lease_ticks = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_ticks = 0
        self.transferee: NodeId = NO_NODE
        self.pending_conf_index: Index = 0
        # Set while this node leads without a vote: once it is applied, a quorum of the others knows that.
        self.handover_index: Index = 0
        self.removal_known = False  # This node led when it was removed, and until a quorum knew of it.
        self.uncommitted_size = 0
        self.restored_index: Index = self.log.first_index() - 1
        self._on_tick: Callable[[Raft], None]
        self._handlers: every_role.Handlers
        self.take_up_role()
        self.notify(trace.INIT_STATE)
        self._load(*storage.initial_state())
        transitions.become_follower(self, self.term, NO_NODE)
        self.told_soft_state = SoftState(self.leader, self.role)
        self.told_hard_state = HardState(self.term, self.vote, self.log.committed)

    def _load(self, hard_state: HardState, conf_state: ConfState) -> None:
        log = self.log
        try:
            membership.switch(self, restore(self.tracker, conf_state, log.last))
        except ConfChangeRefused as refused:
            raise BrokenStorage(f"stored configuration: {refused.reason}") from refused
        if hard_state != HardState():
            if not log.committed <= hard_state.commit <= log.last:
                raise BrokenStorage(
                    f"stored commit index {hard_state.commit} is outside of {log.committed} to {log.last}"
                )
            log.committed = hard_state.commit
            self.term = hard_state.term
            self.vote = hard_state.vote
        applied = self.config.applied
        if applied:
            if not log.applied <= applied <= log.committed:
                raise BrokenStorage(f"applied {applied} is outside of {log.applied} to {log.committed}")
            log.applied_to(applied, 0)

    # Input

    def tick(self) -> None:
        """Let one tick pass."""
        self.ticks += 1
        self._on_tick(self)

    def step(self, message: Message) -> None:
        """Take a message of a peer, of a storage thread, or of this node to itself.

        Stale messages are dropped or answered. Raises StepRefused for what is not for a core (as
        PeerNotFound, a reply of a stranger), ProposalDropped for a Propose that can't be taken.
        """
        kind = type(message)
        if kind in PEER_REPLIES:
            if message.sender not in self.tracker.progress:
                raise PeerNotFound
        elif kind not in STEPPABLE:
            raise StepRefused(f"{kind.__name__} is for a storage thread, not for the core")
        self._take(message)

    def _take(self, message: Message) -> None:
        kind = type(message)
        if self.observer is not None and kind in trace.RECEIVE_EVENTS:
            self.observer(trace.RECEIVE_EVENTS[kind], self, message)
        if message.term != self.term and not elections.settle_term(self, message):
            return
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(self, message)

    # Requests

    def propose(self, data: bytes) -> None:
        """Append one command as the leader, or pass it on; raises ProposalDropped."""
        self.propose_batch((data,))

    def propose_batch(self, commands: Sequence[bytes]) -> tuple[Index, Term]:
        """Append all of them or none, in order; raises ProposalDropped.

        Returns the index of the first and their term, (0, 0) if they were passed on to the leader.
        """
        if not commands:
            raise ProposalDropped("there is nothing to propose")
        if self.role is not Role.LEADER:
            entries = [Entry(0, 0, EntryKind.NORMAL, data) for data in commands]
            self._take(Propose(self.id, self.id, 0, entries))
            return 0, 0
        leader.check_accepting(self)
        term, first = self.term, self.log.last + 1
        index = first
        entries = []
        for data in commands:
            entries.append(Entry(term, index, EntryKind.NORMAL, data))
            index += 1
        leader.append_accepted(self, entries)
        return first, term

    def propose_conf_change(self, change: AnyConfChange, *, expected: ConfState | None = None) -> None:
        """Append a change as the leader, or pass it on; raises ProposalDropped.

        A leader raises ConfChangeRefused, with the reason and at once, for what can't be done now or
        if its configuration is not the expected one. Only a leader can compare.
        """
        if self.role is Role.LEADER:
            current = self.tracker.configuration.conf_state()
            if expected is not None and expected != current:
                raise ConfChangeRefused(f"the configuration is {current}, not the expected {expected}")
            if not self.config.disable_conf_change_validation:
                reason = membership.refusal(self, change)
                if reason:
                    raise ConfChangeRefused(reason)
                membership.dry_run(self, change)
        elif expected is not None:
            raise ProposalDropped("only a leader can compare the configuration with the expected one")
        kind = EntryKind.CONF_CHANGE if isinstance(change, ConfChange) else EntryKind.CONF_CHANGE_V2
        self._take(Propose(self.id, self.id, 0, [Entry(0, 0, kind, change.encode())]))

    def apply_conf_change(self, change: AnyConfChange, index: Index | None = None) -> ConfState:
        """Switch to the configuration that a committed change asks for, and return it.

        With the index of its entry, a change that a restored snapshot already contains does nothing.
        Raises ConfChangeRefused, on every node alike, for a change that can't be made: skip it.
        """
        if index is not None and index <= self.restored_index:
            return self.tracker.configuration.conf_state()
        return membership.apply(self, change)

    def campaign(self) -> None:
        """Start an election now, unless this node may not lead, or would break a lease by it."""
        if not lease.pledged(self):
            elections.hup(self)

    def transfer_leader(self, to: NodeId) -> None:
        """Ask the leader, this node or another, to hand over to `to`. Nothing tells if it does not."""
        if self.role is Role.LEADER:
            leader.transfer(self, to)
        elif self.role is Role.FOLLOWER and self.leader != NO_NODE:
            self.send(TransferLeader(self.id, self.leader, self.term, to))

    def read_index(self, context: bytes) -> bool:
        """Ask from which index on a read is linearizable; the answer comes as a ReadState.

        Returns False if there is no leader to ask. A message may be lost, so ask again after a
        while, with another context: an answer to the earlier request may still come.
        """
        if self.role is not Role.LEADER and self.leader == NO_NODE:
            return False
        self._take(ReadIndex(self.id, self.id, 0, context))
        return True

    def forget_leader(self) -> None:
        """Behave as if no leader had been heard of, so that a vote can be granted before the timeout.

        The timeout itself goes on. Not with lease-based reads: they rely on votes being withheld.
        """
        if self.role is Role.FOLLOWER and self.config.read_only is not ReadOnlyOption.LEASE_BASED:
            self.leader = NO_NODE

    def report_unreachable(self, node: NodeId) -> None:
        """Tell that a message to `node` was probably lost."""
        if self.role is Role.LEADER:
            leader.report_unreachable(self, node)

    def report_reachable(self, node: NodeId) -> None:
        """Tell that `node` can be reached again: it is sent what it lacks now, not after a heartbeat."""
        if self.role is Role.LEADER:
            leader.report_reachable(self, node)

    def lapse_lease(self) -> None:
        """Tell that this node may have been stopped, for more ticks than it will be given.

        Lease-based reads ask a quorum again, until one has answered.
        """
        lease.lapse(self)

    def report_snapshot(self, node: NodeId, ok: bool) -> None:
        """Tell whether a snapshot reached `node`; until then nothing else is sent there."""
        if self.role is Role.LEADER:
            leader.report_snapshot(self, node, ok=ok)

    def learn_committed(self, index: Index, term: Term) -> None:
        """Take the word of a member that has applied the entry of `term` at `index`; it need not lead.

        What is committed once is committed in every later term.
        """
        if self.log.matches(index, term):
            self.log.commit_to(index)

    def quorum_knows_of_removal(self) -> None:
        """Step down, as a leader that was removed and has led on only to tell the others so."""
        if self.handover_index:
            self.removal_known = self.id not in self.tracker.progress
            membership.end_leadership(self)

    # Output

    # Not wrapped: both are called for every message.
    has_ready = output.has_ready
    ready = output.take_ready

    def advance(self, _ready: Ready | None = None) -> None:
        """Tell that the last Ready is saved, sent and applied; not with asynchronous storage writes."""
        assert not self.config.async_storage_writes, "storage replies take the place of advance"
        steps = self.steps_on_advance
        self.steps_on_advance = []
        for message in steps:
            self._take(message)

    def status(self) -> Status:
        """Describe the node."""
        return status_of(self)

    # For the modules of the roles

    def take_up_role(self) -> None:
        """Use the tables of the current role."""
        self._handlers = _HANDLERS[self.role]
        self._on_tick = leader.tick if self.role is Role.LEADER else elections.tick

    def send(self, message: Message) -> None:
        """Queue a message that may leave before anything is durable."""
        self.messages.append(message)
        if self.observer is not None:
            self._notify_sent(message)

    def send_when_durable(self, message: DurableReply) -> None:
        """Queue a promise, which must not leave before what it promises is durable."""
        self.after_append.append(message)
        if self.observer is not None:
            self._notify_sent(message)

    def _notify_sent(self, message: Message) -> None:
        event = trace.SEND_EVENTS.get(type(message))
        if event is not None and self.observer is not None:
            self.observer(event, self, message)

    def notify(self, event: str, detail: trace.Detail = None) -> None:
        """Tell the observer, if there is one."""
        if self.observer is not None:
            self.observer(event, self, detail)

    def applied_to(self, index: Index, size_bytes: int) -> None:
        """Note what has been applied, and leave a joint configuration that is to be left by itself."""
        log = self.log
        if index < log.applied:
            index = log.applied
        log.applied_to(index, size_bytes)
        if 0 < self.handover_index <= index:
            self.quorum_knows_of_removal()
        if (
            self.tracker.configuration.auto_leave
            and index >= self.pending_conf_index
            and self.role is Role.LEADER
        ):
            leave = Entry(0, 0, EntryKind.CONF_CHANGE_V2)
            # During a transfer it is dropped; whoever leads after that tries again.
            with suppress(ProposalDropped):
                self._take(Propose(self.id, self.id, 0, [leave]))

    def snapshot_saved(self, snapshot: Snapshot) -> None:
        """Note that a received snapshot is durable and restored."""
        self.log.stable_snapshot_to(snapshot.index)
        self.applied_to(snapshot.index, 0)
