"""Requests of clients: commands, queries, and which node leads.

Owns the admission of requests, and the gathering of a turn's commands into one batch. Knows nothing of
how a command is replicated, or of what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role
from raft.machines.agreement import SINCE_LEVEL
from raft.machines.codec import decode_call, question_tag
from raft.machines.commands import Call, Campaign, DeleteRange, Own, Proclaim, Transaction
from raft.node.applier import Applier
from raft.node.machine_worker import COMMANDS_MAX, QUERIES_MAX
from raft.node.members.peers import Peers
from raft.node.members.versions import Versions
from raft.node.requests.held import HeldRequests
from raft.node.requests.proposals import Answerable, Proposals
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
        self.commands: list[bytes] = []
        """Those of this turn, to be proposed when it ends."""
        self._calls: list[Call] = []  # The same, decoded.
        self._room = 0  # The number of commands accepted in this turn.
        self._replies: list[Answerable] = []
        self.held = HeldRequests(raft, after=after, admit=self._admit, refuse=self._refuse)

    def command(self, command: Command, reply_handle: Callable[[], Answerable]) -> object | None:
        """Accept a command, to be answered through its handle; or return the refusal."""
        raft = self._raft
        if raft.role is not Role.LEADER or self.closed or raft.transferee != NO_NODE:
            return self._refuse_or_hold(command, reply_handle)
        if self.refusal is not None:
            return self.refusal
        if len(command.body) > COMMAND_BYTES_MAX:
            return TOO_LARGE
        call = decode_call(command.body)
        if call is None:
            return UNREADABLE
        if call.session < 0:
            return NODES_ONLY
        if not self.commands:
            self._room = PENDING_MAX - len(self._proposals)
        if len(self.commands) >= self._room:
            return TOO_MANY
        operation, space = call.operation, self._space
        refusal: object
        if space.allowance > 0:
            space.allowance -= len(command.body) + ENTRY_BYTES
        elif (refusal := space.refuse(operation, len(command.body))) is not None:
            return refusal
        reply = reply_handle
        kind = type(operation)
        if kind in _CHECKED:
            if kind is not Own:
                refusal = self._applier.too_big(operation) or self._versions.refuse_level(operation)
                if refusal is not None:
                    return refusal
            elif self._applier.own_machine.commands >= COMMANDS_MAX:
                return OWN_BUSY
            elif isinstance(operation, Own) and operation.since > self._versions.agreed:
                return self._versions.refuse(operation)
            else:
                reply = lambda: self._slow_requests.take(reply_handle())  # noqa: E731
        self.commands.append(command.body)
        self._calls.append(call)
        self._replies.append(reply())
        return None

    def _refuse_or_hold(
        self, request: Command | Query, reply_handle: Callable[[], Answerable]
    ) -> object | None:
        if (successor := self.held.successor) != NO_NODE:
            return self.not_leader(successor)
        if self.held.may_hold:
            self.held.hold(request, reply_handle())
            return None
        if self._raft.role is not Role.LEADER:
            return self.not_leader()
        return STOPPING if self.closed else NOT_HANDED_OVER

    def _admit(self, request: Command | Query, reply: Answerable) -> None:
        """Take a request up that was held."""
        if isinstance(request, Query):
            refusal = self.query(request, lambda: reply, self._now())
        elif (refusal := self.command(request, lambda: reply)) is not None:
            self._proposals.refused(refusal)
        if refusal is not None:
            reply.send(refusal)

    def _refuse(self, reply: Answerable) -> None:
        """This leader leads on, and takes no command that was held: it may be cut off."""
        reply.send(self._proposals.refused(self.refusal or NOT_HANDED_OVER))

    def query(self, query: Query, reply_handle: Callable[[], Answerable], now: float) -> object | None:
        """Accept a query, to be answered through its handle; or return the answer."""
        stale = query.consistency is Consistency.STALE
        if not stale and self._raft.leader == NO_NODE:
            return self._refuse_or_hold(query, reply_handle)
        own = question_tag(query.body) == OWN_TAG
        if own and self._applier.own_machine.queries >= QUERIES_MAX:
            return OWN_BUSY
        reply = self._slow_requests.take(reply_handle()) if own else reply_handle()
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
        """At the end of a turn: propose its commands as one batch."""
        commands, calls, replies = self.commands, self._calls, self._replies
        self.commands, self._calls, self._replies = [], [], []
        # Leadership may have been lost since the commands arrived, within the turn.
        refusal: object = self.not_leader()
        if self._raft.role is Role.LEADER:
            try:
                first, term = self._raft.propose_batch(commands)
            except ProposalDropped as dropped:
                refusal = Refused(dropped.reason)
            else:
                self._proposals.logged(term, first, replies)
                self._applier.note(term, first, calls)
                return
        self._proposals.refused(refusal, len(replies))
        for reply in replies:
            reply.send(refusal)

    def not_leader(self, successor: NodeId = NO_NODE) -> NotLeader:
        """The refusal that names the leader, or the node that will probably be the next one."""
        leader = successor or self._raft.leader
        return NotLeader(leader, self._peers.endpoints.get(leader, ""), self._raft.term)
