"""A Raft node as a state machine: ticks, messages and requests go in, a `Ready` comes out.

Theory of operation. A node is a follower, a pre-candidate, a candidate or the leader of its term; there is
at most one leader in a term.

- A follower without contact to a leader for an election timeout becomes a pre-candidate (or, without
  `pre_vote`, a candidate). A pre-candidate asks whether it could win; it changes neither term nor vote.
- A candidate has begun a new term and voted for itself. Votes of a quorum make it leader; a quorum of
  rejections, or a leader of its term, makes it a follower. A timeout begins another campaign.
- A leader appends proposals, replicates them and commits what a quorum has made durable. It steps down
  without a quorum (`check_quorum`), or after its removal.
- A message of a higher term makes any of them a follower of that term, except for pre-votes, and for vote
  requests while a leader is active. A message of a lower term is dropped, or answered with this term.

A step changes only memory. The caller repeats: take a `Ready`, save its hard state, entries and snapshot,
send its messages, apply its committed entries, then call `advance` (or deliver the storage replies). A
reply that acknowledges something (a vote, an append) leaves only after that is durable.

What can never happen: two leaders in one term; a committed entry that is replaced; a term or a commit index
that goes back; a leader that lacks a committed entry. `invariants` checks all of it. If a message proves
that the disks of a majority were rolled back, the core raises MajorityRolledBack, and the node must stop.

Owns the dispatch to the current role; the decisions are in the modules of the roles, the fields in `state`.
Nothing here waits, writes or sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import MappingProxyType

from raft.core import (
    candidate,
    elections,
    follower,
    leader,
    lease,
    membership,
    replication,
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
from raft.core.messages import (
    PEER_REPLIES,
    STEPPABLE,
    Message,
    Propose,
    ReadIndex,
    StorageApplyReply,
    TransferLeader,
)
from raft.core.ready import Ready, has_ready, take_ready
from raft.core.state import Handlers, Observer, RaftState, Roles
from raft.core.status import Status, status_of
from raft.core.types import (
    NO_NODE,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    Role,
    SoftState,
    Storage,
    Term,
)


def _ignore(_raft: RaftState, _message: Message) -> None:
    """Do nothing: the kinds that a role ignores."""


def _total(handlers: Handlers, ignored: frozenset[type]) -> Handlers:
    return {**handlers, **dict.fromkeys(ignored, _ignore)}


_ROLES: Roles = MappingProxyType(
    {
        Role.FOLLOWER: (_total(follower.HANDLERS, follower.IGNORED), elections.tick),
        Role.PRE_CANDIDATE: (
            _total(candidate.PRE_CANDIDATE_HANDLERS, candidate.PRE_CANDIDATE_IGNORED),
            elections.tick,
        ),
        Role.CANDIDATE: (_total(candidate.CANDIDATE_HANDLERS, candidate.CANDIDATE_IGNORED), elections.tick),
        Role.LEADER: (_total(leader.HANDLERS, leader.IGNORED), leader.tick),
    }
)


class Raft(RaftState):
    """A Raft node without I/O. Not thread-safe; an observer must not call back into it."""

    __slots__ = ()

    def __init__(
        self, config: Config, storage: Storage, random: Random, observer: Observer | None = None
    ) -> None:
        """Start from what storage holds, as a follower.

        The only random draws are `random.randrange(election_ticks_drawn)`. Raises BrokenStorage if the
        stored parts contradict each other.
        """
        super().__init__(config, storage, random, observer, _ROLES)
        self.notify(trace.INIT_STATE)
        self._load(*storage.initial_state())
        transitions.become_follower(self, self.term, NO_NODE)
        self.previous_soft_state = SoftState(self.leader, self.role)
        self.previous_hard_state = HardState(self.term, self.vote, self.log.committed)

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
        self.on_tick(self)

    def step(self, message: Message) -> None:
        """Take a message of a peer, of a storage thread, or of this node to itself.

        Stale messages are dropped or answered. Raises StepRefused for kinds that are not for a core,
        PeerNotFound for a reply of an unknown node, ProposalDropped for a Propose that is not accepted.
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
        # What was applied counts in any term.
        if (
            message.term != self.term
            and kind is not StorageApplyReply
            and not elections.settle_term(self, message)
        ):
            return
        self.handlers[kind](self, message)

    # Requests

    def propose(self, data: bytes) -> None:
        """Append one command as the leader, or forward it to the leader; raises ProposalDropped."""
        self.propose_batch((data,))

    def propose_batch(self, commands: Sequence[bytes]) -> tuple[Index, Term]:
        """Append all of them or none, in order; raises ProposalDropped.

        Returns the first index and the term, or (0, 0) if the commands were forwarded to the leader.
        """
        if not commands:
            raise ProposalDropped("there is nothing to propose")
        if self.role is not Role.LEADER:
            entries = [Entry(0, 0, EntryKind.NORMAL, data) for data in commands]
            self._take(Propose(self.id, self.id, 0, entries))
            return 0, 0
        replication.check_accepting(self)
        term, first = self.term, self.log.last + 1
        entries = [Entry(term, index, data=data) for index, data in enumerate(commands, first)]
        replication.append_accepted(self, entries)
        return first, term

    def propose_conf_change(self, change: AnyConfChange, *, expected: ConfState | None = None) -> None:
        """Append a change as the leader, or forward it to the leader; raises ProposalDropped.

        A leader raises ConfChangeRefused, with the reason, if the change can't be made now, or if its
        configuration is not the expected one. Only a leader can compare with `expected`.
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

        If `index` (of its entry) is covered by a restored snapshot, the change is already made.
        Raises ConfChangeRefused, on every node alike, for a change that can't be made: skip it.
        """
        if index is not None and index <= self.restored_index:
            return self.tracker.configuration.conf_state()
        conf_state = membership.apply(self, change)
        if index is not None and self.log.matches(index, self.term):
            lease.release_removed(self)
        return conf_state

    def campaign(self) -> None:
        """Start an election now, unless this node may not lead, or has pledged its vote to a leader."""
        if not lease.pledged(self):
            elections.hup(self)

    def transfer_leader(self, to: NodeId) -> None:
        """Ask the leader, this node or another, to transfer leadership to `to`. Failure is not reported."""
        if self.role is Role.LEADER:
            leader.transfer(self, to)
        elif self.role is Role.FOLLOWER and self.leader != NO_NODE:
            self.send(TransferLeader(self.id, self.leader, self.term, to))

    def read_index(self, context: bytes) -> bool:
        """Request the index from which on a read is linearizable; the answer is a ReadState in a Ready.

        Returns False if no leader is known. Messages may be lost, so retry after a timeout, with
        another context: an answer to the earlier request may still arrive.
        """
        if self.role is not Role.LEADER and self.leader == NO_NODE:
            return False
        self._take(ReadIndex(self.id, self.id, 0, context))
        return True

    def forget_leader(self) -> None:
        """Forget the leader of a follower, so that it can grant a vote before its election timeout.

        The timeout is not restarted. Ignored while this node withholds its vote for the leader's lease.
        """
        as_etcd = self.config.unsafe_as_etcd and self.config.read_only is ReadOnlyOption.LEASE_BASED
        if self.role is Role.FOLLOWER and not as_etcd and not lease.pledged(self):
            self.leader = NO_NODE

    @property
    def pledged(self) -> bool:
        """Whether this node withholds its vote for the lease of a leader now."""
        return lease.pledged(self)

    def release_pledge(self, node: NodeId) -> None:
        """Report that the process of `node` which this node withholds its vote for has ended, for certain.

        NO_NODE: that this node has given no pledge before its start, or none that still counts.
        """
        lease.release(self, node)

    def resume_pledge(self, node: NodeId, ticks: int) -> None:
        """Report, after the start, that this node had pledged its vote to `node` and owes it for `ticks`.

        NO_NODE: it is not known to which node.
        """
        lease.resume(self, node, ticks)

    def report_unreachable(self, node: NodeId) -> None:
        """Report that a message to `node` was probably lost."""
        if self.role is Role.LEADER:
            leader.report_unreachable(self, node)

    def report_reachable(self, node: NodeId) -> None:
        """Report that `node` is reachable again: replication resumes now, not after the next heartbeat."""
        if self.role is Role.LEADER:
            leader.report_reachable(self, node)

    def expire_lease(self) -> None:
        """Report that this node may have been stopped for longer than the ticks that it received.

        Lease-based reads ask a quorum again, until one has answered.
        """
        lease.expire(self)

    def report_snapshot(self, node: NodeId, ok: bool) -> None:
        """Report whether a snapshot reached `node`; until then nothing else is sent there."""
        if self.role is Role.LEADER:
            leader.report_snapshot(self, node, ok=ok)

    def learn_committed(self, index: Index, term: Term) -> None:
        """Commit up to the entry of `term` at `index`, because some member has applied it.

        That member need not be the leader: a committed entry stays committed in every later term.
        """
        if self.log.matches(index, term):
            self.log.commit_to(index)

    def quorum_knows_of_removal(self) -> None:
        """Step down, as a removed leader that a quorum of the others knows to be removed."""
        membership.quorum_knows_of_removal(self)

    # Output

    # Not wrapped: both are called for every message.
    has_ready = has_ready
    ready = take_ready

    def advance(self, _ready: Ready | None = None) -> None:
        """Report that the last Ready is saved, sent and applied; not with asynchronous storage writes."""
        assert not self.config.async_storage_writes, "storage replies take the place of advance"
        steps, self.steps_on_advance = self.steps_on_advance, []
        for message in steps:
            self._take(message)

    def status(self) -> Status:
        """Return the status of the node."""
        return status_of(self)
