"""Requests of clients: commands, queries, and which node leads.

Owns the admission of requests, and the gathering of a turn's commands into one batch. Knows nothing of
how a command is replicated, or of what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.asks import Answerable
from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role
from raft.machines.agreement import SINCE_LEVEL
from raft.machines.codec import decode_call, question_tag
from raft.machines.commands import Call, Campaign, DeleteRange, Operation, Own, Proclaim, Transaction
from raft.node.applier import Applier
from raft.node.machine_worker import COMMANDS_MAX, QUERIES_MAX
from raft.node.members.peers import Peers
from raft.node.members.versions import Versions
from raft.node.requests.held import HeldRequests
from raft.node.requests.proposals import Proposals
from raft.node.requests.reads import Reads
from raft.node.requests.slow_requests import SlowRequests
from raft.node.space import ENTRY_BYTES, Space
from raft.protocol.client import Command, Consistency, Invalid, LeaderIs, NotLeader, Query, Refused

if TYPE_CHECKING:
    from actors.timers import Timer

COMMAND_BYTES_MAX = 2 * 1024 * 1024
PENDING_MAX = 16_384
# Operations that need more checks.
_CHECKED = frozenset((DeleteRange, Transaction, Campaign, Proclaim, Own, *SINCE_LEVEL))
OWN_TAG = 14  # Of commands and queries for the user's own machine; a test holds it to the types.

TOO_LARGE = Invalid(f"a command has at most {COMMAND_BYTES_MAX} bytes")
NODES_ONLY = Invalid("only nodes say that leases have ended, or ask each other for checks")
STOPPING = Refused("the node is stopping")
NOT_HANDED_OVER = Refused("leadership was about to be transferred")
UNREADABLE = Invalid("these bytes are no command that this node knows: is the client of another version?")
TOO_MANY = Refused(f"the leader has {PENDING_MAX} commands in hand already")
OWN_BUSY = Refused(f"your own machine has {COMMANDS_MAX} commands, or {QUERIES_MAX} queries, in hand already")


class ClientRequests:
    """Collects requests during a turn, and passes them on at its end."""

    def __init__(
        self,
        raft: Raft,
        proposals: Proposals,
        reads: Reads,
        applier: Applier,
        peers: Peers,
        slow_requests: SlowRequests,
        space: Space,
        versions: Versions,
        *,
        identity: Callable[[], str],
        now: Callable[[], float],
        after: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self.closed = False
        self.refusal: Refused | None = None  # Set while this leader takes no commands.
        self._raft = raft
        self._proposals = proposals
        self._reads = reads
        self._applier = applier
        self._peers = peers
        self._slow_requests = slow_requests
        self._identity = identity
        self._now = now
        self._space = space
        self._versions = versions
        self.arrived: list[tuple[Command, Answerable]] = []
        """The commands of this turn with their reply handles, to be judged and proposed when it ends."""
        self.held = HeldRequests(raft, after=after, admit=self._admit, refuse=self._refuse)

    def _refuse_or_hold(self, request: Command | Query, reply: Answerable) -> object | None:
        """What a node answers that cannot serve a request now; None if it holds it."""
        if (successor := self.held.successor) != NO_NODE:
            return self.not_leader(successor)
        if self.held.may_hold:
            self.held.hold(request, reply)
            return None
        if self._raft.role is not Role.LEADER:
            return self.not_leader()
        return STOPPING if self.closed else NOT_HANDED_OVER

    def _refuse_or_hold_command(self, command: Command, reply: Answerable) -> None:
        if (refusal := self._refuse_or_hold(command, reply)) is not None:
            reply.send(self._proposals.refused(refusal))

    @property
    def _takes_commands(self) -> bool:
        raft = self._raft
        return raft.role is Role.LEADER and not self.closed and raft.transferee == NO_NODE

    def _admit(self, request: Command | Query, reply: Answerable) -> None:
        """Take a request up that was held."""
        if isinstance(request, Query):
            if (refusal := self.query(request, lambda: reply, self._now())) is not None:
                reply.send(refusal)
        elif self._takes_commands:
            self.arrived.append((request, reply))
        else:
            self._refuse_or_hold_command(request, reply)

    def _refuse(self, reply: Answerable) -> None:
        """This leader leads on, and takes no command that was held: it may be cut off."""
        reply.send(self._proposals.refused(self.refusal or NOT_HANDED_OVER))

    def query(self, query: Query, reply_handle: Callable[[], Answerable], now: float) -> object | None:
        """Accept a query, to be answered through its handle; or return the answer."""
        stale = query.consistency is Consistency.STALE
        if not stale and self._raft.leader == NO_NODE:
            reply = reply_handle()
            if (refusal := self._refuse_or_hold(query, reply)) is not None:
                reply.send(refusal)
            return None
        own = question_tag(query.body) == OWN_TAG
        if own and self._applier.own_machine.queries >= QUERIES_MAX:
            return OWN_BUSY
        reply = reply_handle() if not own else self._slow_requests.take(reply_handle())
        if stale:
            self._reads.add_stale(query.body, reply, now)
        else:
            self._reads.add(query.body, reply, now)
        return None

    def who_leads(self) -> LeaderIs:
        """The leader that this node follows."""
        raft = self._raft
        return LeaderIs(raft.leader, raft.term, dict(self._peers.endpoints), self._identity())

    def propose(self) -> None:
        """At the end of a turn: propose its commands as one batch, and refuse those that are not accepted."""
        arrived, self.arrived = self.arrived, []
        if not self._takes_commands:
            for command, reply in arrived:
                self._refuse_or_hold_command(command, reply)
            return
        accepted: list[bytes] = []
        calls: list[Call] = []
        replies: list[Answerable] = []
        room = PENDING_MAX - len(self._proposals)
        for command, reply in arrived:
            call = self._accept(command.body) if len(calls) < room else TOO_MANY
            if type(call) is not Call:
                reply.send(self._proposals.refused(call))
                continue
            accepted.append(command.body)
            calls.append(call)
            replies.append(reply if type(call.operation) is not Own else self._slow_requests.take(reply))
        if not calls:
            return
        try:
            first, term = self._raft.propose_batch(accepted)
        except ProposalDropped as dropped:
            refused = self._proposals.refused(Refused(dropped.reason), len(replies))
            for reply in replies:
                reply.send(refused)
            return
        self._proposals.logged(term, first, replies)
        self._applier.note(term, first, calls)

    def _accept(self, body: bytes) -> object:
        """What a command's bytes ask for, as a Call, if this leader takes it; otherwise the refusal."""
        if self.refusal is not None:
            return self.refusal
        size = len(body)
        if size > COMMAND_BYTES_MAX:
            return TOO_LARGE
        call = decode_call(body)
        if call is None:
            return UNREADABLE
        if call.session < 0:
            return NODES_ONLY
        operation, space = call.operation, self._space
        refusal: object
        if space.allowance > 0:
            space.allowance -= size + ENTRY_BYTES
        elif (refusal := space.refuse(operation, size)) is not None:
            return refusal
        if type(operation) in _CHECKED and (refusal := self._refuse_checked(operation)) is not None:
            return refusal
        return call

    def _refuse_checked(self, operation: Operation) -> object | None:
        if type(operation) is not Own:
            return self._applier.too_big(operation) or self._versions.refuse_level(operation)
        if self._applier.own_machine.commands >= COMMANDS_MAX:
            return OWN_BUSY
        return self._versions.refuse(operation) if operation.since > self._versions.agreed else None

    def stop(self) -> None:
        """Refuse what has arrived and is not proposed, or is held."""
        self.held.end()
        for _, reply in self.arrived:
            reply.send(
                self._proposals.refused(STOPPING if self._raft.role is Role.LEADER else self.not_leader())
            )
        self.arrived = []

    def not_leader(self, successor: NodeId = NO_NODE) -> NotLeader:
        """The refusal that names the leader, or the node that will probably be the next one."""
        leader = successor or self._raft.leader
        return NotLeader(leader, self._peers.endpoints.get(leader, ""), self._raft.term)
