"""Membership of the cluster: configuration changes as they are applied, and what follows from them.

Owns the step from a committed entry to a changed membership, and the notices to removed members.
Knows nothing of how a change is proposed, or of whether it is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from raft.core.changes import AnyConfChange, decode_conf_change
from raft.core.errors import ConfChangeRefused
from raft.core.messages import AppendEntries, Heartbeat
from raft.core.quorum import VoteResult
from raft.core.raft import Raft
from raft.core.types import ConfState, Entry, Index, NodeId, Role, Term
from raft.node.config import NODE_ID_MAX, NodeConfig
from raft.node.members.handshakes import Handshakes
from raft.node.members.identity import Origin, named_by
from raft.node.members.member_addresses import MemberAddresses
from raft.node.members.peers import Peers, decode_endpoints
from raft.node.reporter import Journal
from raft.node.requests.membership import MemberRequests
from raft.node.requests.proposals import Proposals
from raft.node.snapshots.contents import State
from raft.protocol.client import LeaderIs, WhoLeads
from raft.protocol.registry import Expelled, Leaving, address_of, process_of

if TYPE_CHECKING:
    from actors.context import Context

# The last message to a removed member has arrived by then, if it can arrive at all.
REMOVAL_NOTICE_SECONDS = 1.0
# A removed node of which some peers know, but not a quorum, leaves after so many election timeouts: the
# others may be lost for good.
CATCH_UP_TIMEOUTS = 20
ASK_SECONDS = 0.5


class Removal(Struct):
    """The entry that removed this node, and which members are known to have applied it."""

    index: Index
    term: Term
    patience_ends: float
    known_to: set[NodeId] = field(default_factory=set)


class RemovalCallback(Protocol):
    """Called when this node was removed, and again when it is safe that it should `leave`."""

    def __call__(self, *, leave: bool) -> None:
        """Take note."""


class Membership:
    """Keeps the core and the peers in step with the log; `requests` are about the members.

    The endpoints on the command line are newer than those in entries applied by an earlier process: a
    cluster may have moved while this node was down. Where a member moved before that, both are tried in turn.
    """

    def __init__(
        self,
        config: NodeConfig,
        raft: Raft,
        peers: Peers,
        handshakes: Handshakes,
        journal: Journal,
        proposals: Proposals,
        context: Context,
        on_removal: RemovalCallback,
        *,
        leader_removed: Callable[[NodeId], None],
        added: Callable[[], None],
    ) -> None:
        self.removed = False
        self._addresses = MemberAddresses(peers, context, journal)
        self.requests = MemberRequests(
            raft,
            peers,
            proposals,
            now=context.now,
            round_seconds_max=config.election_seconds_min,
            timeout_seconds=2 * config.election_seconds_max,
            has_keys=bool(config.keys),
            handshakes=handshakes,
            meet=self._addresses.meet,
            part=self._disconnect_unless_member,
        )
        self._raft = raft
        self._peers = peers
        self._handshakes = handshakes
        self._journal = journal
        self._context = context
        self._on_removal = on_removal
        self._leader_removed = leader_removed
        self._added = added
        self._configured = config.peers
        self._configured_until = raft.log.last
        self._grace_seconds = config.election_seconds_max
        self._asked: set[NodeId] = set()
        self._removal: Removal | None = None

    @property
    def members(self) -> set[NodeId]:
        """All current members, voters or not."""
        return set(self._raft.tracker.progress)

    def connect_all(self, state: State) -> None:
        """Connect to all members in the snapshot and on the command line."""
        removed = {peer: at for peer, at in state.removed.items() if peer not in self.members}
        for peer, removed_at in removed.items():
            self._peers.remove(peer, removed_at)
        for peer, endpoint in {**state.members, **self._configured}.items():
            if peer not in removed and peer != self._raft.id:
                self._addresses.admit(peer, endpoint)
                if state.members.get(peer, endpoint) != endpoint:
                    self._addresses.also(peer, state.members[peer])

    def state(self) -> State:
        """The node's part of a snapshot, beside the machine's state."""
        origin, peers = self._handshakes.origin, self._peers
        return State(
            dict(peers.endpoints), dict(peers.removed), identity=origin.identity, founders=origin.founders
        )

    # -- changes ----------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Apply a committed change."""
        raft = self._raft
        if entry.index <= raft.restored_index:
            return
        before, led = self.members, raft.role is Role.LEADER
        try:
            change = readable_change(entry)
            conf_state = raft.apply_conf_change(change, entry.index)
        except ConfChangeRefused as refused:
            # Alike on every replica: an entry that changes nothing, not a crash.
            self._journal.event("conf-change-refused", str(refused), index=entry.index)
            return
        if (named := named_by(change)) is not None:
            self._handshakes.learn(named)
            return
        self._peers.voters = conf_state.voters
        for peer in self.members - before:
            self._peers.removed.pop(peer, None)  # Itself, too: snapshots tell others.
        for peer, endpoint in decode_endpoints(change.as_v2().context).items():
            if peer in self.members:
                self._listens_at(peer, endpoint, entry.index)
        for peer in before - self.members:
            self._announce_removal(peer, entry, tell=led)
        if led and self.members - before:
            self._added()
        self._note_endpoint(conf_state, entry.index)

    def restored(self, conf_state: ConfState, state: State, index: Index) -> None:
        """A leader's snapshot has brought its configuration along; the core has switched to it already."""
        self._peers.voters = conf_state.voters
        self._handshakes.learn(Origin(state.identity, state.founders))
        self._peers.agreed.clear()
        for peer, endpoint in state.members.items():
            self._addresses.admit(peer, endpoint)
        for peer, removed_at in state.removed.items():
            if peer not in self.members:  # An earlier version's snapshot may name its sender.
                self._peers.remove(peer, removed_at)
                self._disconnect(peer)
        self._note_endpoint(conf_state, index)

    def _listens_at(self, peer: NodeId, endpoint: str, index: Index) -> None:
        """An entry has the endpoint of a member."""
        self._peers.agreed[peer] = endpoint
        is_old = index <= self._configured_until  # The command line of this start is newer.
        if peer == self._raft.id:
            if not is_old:
                self._peers.endpoints[peer] = endpoint
        elif is_old and self._configured.get(peer, endpoint) != endpoint:
            self._addresses.admit(peer, self._configured[peer])
            self._addresses.also(peer, endpoint)
        else:
            self._addresses.admit(peer, endpoint)

    def _note_endpoint(self, conf_state: ConfState, index: Index) -> None:
        voters = [*conf_state.voters]
        learners = [*conf_state.learners, *conf_state.learners_next]
        outgoing = [*conf_state.voters_outgoing]
        text = f"voters {voters}, learners {learners}" + (
            f", voters until now {outgoing}" if outgoing else ""
        )
        self._journal.event(
            "configuration", text, index=index, voters=voters, learners=learners, outgoing=outgoing
        )
        self.requests.configuration_changed()

    # -- farewells --------------------------------------------------------------------------------

    def _announce_removal(self, peer: NodeId, entry: Entry, *, tell: bool) -> None:
        index = entry.index
        self._peers.remove(peer, index)
        if peer == self._raft.id:
            self._on_removed(index, entry.term)
            return
        if peer == self._raft.leader:
            # It may have transferred leadership, but not to this node: its messages no longer count.
            self._leader_removed(peer)
        if tell:
            # It gets no more entries, so it wouldn't learn of its removal by its log.
            self._context.tell(address_of(peer), Expelled(self._raft.id, index))
        self._context.after(REMOVAL_NOTICE_SECONDS, lambda: self._disconnect(peer))

    def _disconnect(self, peer: NodeId) -> None:
        if peer in self._peers.removed:
            self._addresses.forget(peer)
            self._handshakes.forget(peer)
            self._context.unwatch_process(process_of(peer))
            self._context.disconnect(process_of(peer))

    def _disconnect_unless_member(self, node: NodeId) -> None:
        """Disconnect from a node that was contacted, and is not added after all."""
        if node not in self._peers.endpoints:
            self._context.unwatch_process(process_of(node))
            self._context.disconnect(process_of(node))

    def expelled(self, message: Expelled) -> None:
        """Another node has applied this node's removal."""
        if not self._is_member_after(message.index):
            removal = self._on_removed(message.index)
            removal.known_to.add(message.sender)
            if self._raft.handover_index and self._others_know(removal):
                # Members that have applied it ignore this node, and acknowledge nothing.
                self._raft.quorum_knows_of_removal()
                self.requests.removal_known()

    def _on_removed(self, index: Index, term: Term = 0) -> Removal:
        removal = self._removal
        if removal is None or index > removal.index:
            timeout_seconds = CATCH_UP_TIMEOUTS * self._grace_seconds
            removal = Removal(index, term, self._context.now() + timeout_seconds)
            self._removal = removal
            self._journal.event("removed", f"removed from the cluster by entry {index}", index=index)
            self._on_removal(leave=False)
            self._context.after(self._grace_seconds, lambda: self._leave_unless_added_again(removal))
        return removal

    def _leave_unless_added_again(self, removal: Removal) -> None:
        """Leave once the others can do without this node, which may be the only one that knows.

        Until they know, they may need its vote; so it informs them, and they answer if they know.
        """
        if removal is not self._removal:
            return
        # A node that catches up may apply its removal before the entry that adds it again.
        if self._is_member_after(removal.index):
            self._removal = None
        elif self._others_know(removal):
            self.removed = True
            self._on_removal(leave=True)
        else:
            if self._raft.role is not Role.LEADER:
                for voter in self._raft.tracker.configuration.voter_ids():
                    leaving = Leaving(self._raft.id, removal.index, removal.term)
                    self._context.tell(address_of(voter), leaving)
            self._context.after(self._grace_seconds / 4, lambda: self._leave_unless_added_again(removal))

    def _others_know(self, removal: Removal) -> bool:
        raft = self._raft
        if removal.known_to and raft.id in raft.tracker.progress:
            return True  # It has not applied its removal, and so knows nothing that they do not.
        if removal.known_to and self._context.now() >= removal.patience_ends:
            return True
        known_to = dict.fromkeys(removal.known_to, True)
        return raft.removal_known or raft.tracker.vote_result(known_to) is VoteResult.WON

    def _is_member_after(self, index: Index) -> bool:
        return self._raft.id in self._raft.tracker.progress and self._raft.log.applied >= index

    # -- unknown senders --------------------------------------------------------------------------------

    def reject(self, process: str, sender: NodeId, message: object) -> None:
        """A message for the core came from a process that is not known as a member that is up.

        Former members are informed of their removal, and can't disrupt (thesis section 4.2.3). An unknown
        node may have joined while this node was down, and may even lead, so it is asked for the members.
        So is one whose removal this node has applied, if it was elected after that.
        """
        if process != process_of(sender) or sender == self._raft.id:
            return
        removed_at = self._peers.removed.get(sender)
        if removed_at is not None and self._was_elected_since(message, removed_at):
            del self._peers.removed[sender]
            removed_at = None
        if removed_at is not None:
            self._context.tell(address_of(sender), Expelled(self._raft.id, removed_at))
        elif sender not in self._peers.endpoints and sender not in self._asked:
            self._asked.add(sender)
            pending = self._context.ask(address_of(sender), WhoLeads(), ASK_SECONDS)
            pending.then(
                lambda answer: self._learn(sender, answer), lambda _failure: self._asked.discard(sender)
            )

    def _was_elected_since(self, message: object, index: Index) -> bool:
        """Is it from a leader of a later term than the entry's, which has removed it?

        It was added again by an entry that this node lacks, and that only this leader can send. Without
        that entry it could only have been elected by those who did not know of the removal: then it
        leads all the same.
        """
        if not isinstance(message, AppendEntries | Heartbeat):
            return False
        log = self._raft.log
        # What is before the log has no later term than its beginning.
        return message.term > log.term(max(index, log.first_index() - 1))

    def _learn(self, stranger: NodeId, answer: object) -> None:
        self._asked.discard(stranger)
        if isinstance(answer, LeaderIs) and self._handshakes.origin.fits(Origin(answer.identity)):
            for peer, endpoint in answer.endpoints.items():
                if peer not in self._peers.endpoints and peer not in self._peers.removed:
                    self._addresses.admit(peer, endpoint)


def readable_change(entry: Entry) -> AnyConfChange:
    """The change that an entry holds; raises ConfChangeRefused, alike on every replica, for what is none."""
    change = decode_conf_change(entry)
    for step in change.as_v2().changes:
        if not 0 <= step.node <= NODE_ID_MAX:  # 0 is a change that was voided.
            raise ConfChangeRefused(f"a node's id is a number from 1 to {NODE_ID_MAX}, not {step.node}")
    return change
