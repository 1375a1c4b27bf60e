"""Requests about members: listing them, and changing them.

Owns the admission of a change, when a learner has caught up, and the answer once the change is applied.
Knows nothing of how it is replicated, nor of what follows from it for this node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.asks import Answerable
from actors.transport.endpoints import EndpointError, canonical, check_target
from raft.core.changes import ConfChangeKind, ConfChangeSingle, ConfChangeV2
from raft.core.errors import ConfChangeRefused, ProposalDropped
from raft.core.raft import Raft
from raft.core.tracker import Configuration as TrackedConfiguration
from raft.core.types import NO_NODE, ConfState, Index, NodeId, Role
from raft.node.config import NODE_ID_MAX
from raft.node.members.handshakes import Handshakes
from raft.node.members.peers import Peers, encode_endpoints
from raft.node.requests.proposals import Proposals
from raft.protocol.client import (
    MEMBERS_MAX,
    AddLearner,
    Committed,
    Configuration,
    Invalid,
    ListMembers,
    MemberChange,
    Members,
    NotLeader,
    Promote,
    Refused,
    Remove,
    Replace,
    Unknown,
    UpdateMember,
)

Answer = Members | NotLeader | Refused | Invalid | Unknown

MemberRequest = ListMembers | MemberChange
MEMBER_REQUESTS: Final = (ListMembers, AddLearner, Promote, Remove, Replace, UpdateMember)
LEFT_BEFORE_JOINT_ENDED = Unknown("the change was begun, and its end was not seen here")
NOT_SEEN_KNOWN = Unknown("the change was made, but it was not seen here that a quorum knows of it: ask again")


class CatchUp:
    """Whether learners follow closely enough to be given votes, judged in rounds (thesis section 4.2.1).

    A round brings a learner to what was committed when the round began. A learner that takes no longer for
    one than `round_seconds_max` will not keep the cluster waiting.
    """

    def __init__(self, raft: Raft, now: Callable[[], float], round_seconds_max: float) -> None:
        self._raft = raft
        self._now = now
        self._round_seconds_max = round_seconds_max
        self._rounds: dict[NodeId, tuple[Index, float]] = {}

    def lacks(self, node: NodeId) -> str:
        """What a learner lacks, as text; "" once it has caught up. Ask again soon."""
        match, commit = self._raft.tracker.progress[node].match, self._raft.log.committed
        goal, began = self._rounds.setdefault(node, (commit, self._now()))
        if match >= commit or (match >= goal and self._now() - began <= self._round_seconds_max):
            self._rounds.pop(node)
            return ""
        if match >= goal:
            self._rounds[node] = (commit, self._now())
        return f"node {node} has the log up to {match}, and {commit} is committed: it has to catch up first"


class MemberRequests:
    """Answers requests about the members. Only the leader knows of them for sure."""

    def __init__(
        self,
        raft: Raft,
        peers: Peers,
        proposals: Proposals,
        *,
        now: Callable[[], float],
        round_seconds_max: float,
        timeout_seconds: float,
        has_keys: bool,
        handshakes: Handshakes,
        meet: Callable[[NodeId, str], str],
        part: Callable[[NodeId], None],
    ) -> None:
        self.closed = False
        self._raft = raft
        self._peers = peers
        self._proposals = proposals
        self._catch_up = CatchUp(raft, now, round_seconds_max)
        self._now = now
        self._timeout_seconds = timeout_seconds
        self._has_keys = has_keys
        self._handshakes = handshakes
        self._meet = meet
        self._disconnect = part
        self._half_done: list[tuple[float, MemberChange, Answerable]] = []
        self._known: TrackedConfiguration | None = None  # The last one that a quorum is seen to know.
        self._own_removal: _WhenKnown | None = None

    def take(
        self, request: MemberRequest, reply_handle: Callable[[], Answerable], *, visited: bool = False
    ) -> Answer | None:
        """Begin a change, answered through its handle once it is applied; or return the answer."""
        raft = self._raft
        if raft.role is not Role.LEADER:
            return self._not_leader()
        if isinstance(request, ListMembers):
            return self._members()
        if self.closed:
            return Refused("the node is stopping")
        if not raft.log.matches(raft.log.committed, raft.term):
            # What the leaders before have changed is known only then (pitfall of single-step changes,
            # Ongaro 2015).
            return Refused("the leader has not committed anything in its term yet")
        if raft.handover_index:
            return Refused("this leader was removed: it hands over once a quorum of the others knows of that")
        if self._is_so(request):
            if self._known is raft.tracker.configuration:
                return self._members()
            # An earlier request may have made the change a moment ago, and not been answered yet.
            self._answer_when_known(reply_handle())
            return None
        current = raft.tracker.configuration.conf_state()
        if request.expected is not None and _conf_state(request.expected) != current:
            return Invalid(f"the configuration is {current}, not the expected {request.expected}")
        refusal = self._contradiction(request)
        if refusal:
            return Invalid(refusal)
        refusal = self._hindrance(request)
        if refusal:
            return Refused(refusal)
        if isinstance(request, AddLearner) and not request.blank and not visited:
            self._visit(request, reply_handle())
            return None
        try:
            raft.propose_conf_change(_conf_change(request), expected=current)
        except (ProposalDropped, ConfChangeRefused) as refused:
            return Refused(refused.reason)
        answer = _WhenApplied(request, reply_handle(), self._applied)
        self._proposals.logged(raft.term, raft.log.last, [answer])
        return None

    def _visit(self, request: AddLearner, reply: Answerable) -> None:
        """Check a node's identity before it is added: it must not have a log of another cluster."""
        node, endpoint = request.node, request.endpoint
        # What cannot be connected to here, for want of a key perhaps, is refused before all have to connect.
        unmet = self._meet(node, endpoint)
        if unmet:
            reply.send(Invalid(unmet))
            return

        def refuse(answer: Answer) -> None:
            self._disconnect(node)
            reply.send(answer)

        def judged(objection: str) -> None:
            if objection:
                refuse(Invalid(objection))
                return
            answer = self.take(
                request, lambda: reply, visited=True
            )  # The situation may have changed meanwhile.
            if answer is not None:
                refuse(answer)

        self._handshakes.visit(node, endpoint, judged)

    def configuration_changed(self) -> None:
        """A new configuration is active: a pending change may be complete."""
        self._known = None  # The members may be the same, and one of them elsewhere.
        half_done, self._half_done = self._half_done, []
        for began, request, reply in half_done:
            self._settle(request, reply, began)

    def expire(self, now: float) -> None:
        """Answer changes that have waited too long."""
        oldest = now - self._timeout_seconds
        late = [entry for entry in self._half_done if entry[0] < oldest]
        self._half_done = [entry for entry in self._half_done if entry[0] >= oldest]
        for _, _, reply in late:
            reply.send(LEFT_BEFORE_JOINT_ENDED)

    def stop(self) -> None:
        """The node stops."""
        self.expire(float("inf"))

    # -- may it be? -------------------------------------------------------------------------------

    def _is_so(self, request: MemberChange) -> bool:
        """Does the present configuration leave nothing to be done?"""
        configuration, progress = self._raft.tracker.configuration, self._raft.tracker.progress
        match request:
            case AddLearner():
                return (
                    request.node in progress and self._peers.endpoints.get(request.node) == request.endpoint
                )
            case Promote():
                return request.node in configuration.voters and not configuration.joint
            case Remove():
                return request.node not in progress and request.node in self._peers.removed
            case Replace():
                gone = request.old not in progress and request.old in self._peers.removed
                return gone and request.new in configuration.voters and not configuration.joint
            case UpdateMember():
                return request.node in progress and self._peers.agreed.get(request.node) == request.endpoint

    def _contradiction(self, request: MemberChange) -> str:
        """Why a request makes no sense, as long as no other change is made; "" if it does."""
        configuration, progress = self._raft.tracker.configuration, self._raft.tracker.progress
        match request:
            case AddLearner():
                return self._cannot_join(request)
            case Promote():
                missing = request.node not in configuration.learners
                if missing:
                    return f"node {request.node} is no learner: add it as one first"
                return self._handshakes.why_rejected(request.node)
            case Remove():
                if request.node not in progress:
                    return f"node {request.node} is no member"
                alone = configuration.voters == {request.node}
                return f"node {request.node} is the only voter: no voter would be left" if alone else ""
            case Replace():
                if request.old not in progress:
                    return f"node {request.old} is no member"
                missing = request.new not in configuration.learners
                if missing:
                    return f"node {request.new} is no learner: add it as one first"
                return self._handshakes.why_rejected(request.new)
            case UpdateMember():
                if request.node not in progress:
                    return f"node {request.node} is no member"
                return self._unfit_place(request.node, request.endpoint)

    def _cannot_join(self, request: AddLearner) -> str:
        node, endpoint = request.node, request.endpoint
        if not 1 <= node <= NODE_ID_MAX:
            return f"a node's id is a number from 1 to {NODE_ID_MAX}, not {node}"
        if node in self._raft.tracker.progress:
            return f"node {node} is a member already, at {self._peers.endpoints.get(node)}"
        if len(self._raft.tracker.progress) >= MEMBERS_MAX:
            return f"a cluster has at most {MEMBERS_MAX} members, learners too: remove one first"
        return self._unfit_place(node, endpoint)

    def _unfit_place(self, node: NodeId, endpoint: str) -> str:
        """Why a member cannot listen there; "" if it can."""
        try:
            check_target(endpoint, has_keys=self._has_keys)
        except EndpointError as error:
            return str(error)
        place = canonical(endpoint)
        holder = next(
            (peer for peer, at in self._peers.endpoints.items() if canonical(at) == place and peer != node), 0
        )
        return f"node {holder} listens at {endpoint}" if holder else ""

    def _hindrance(self, request: MemberChange) -> str:
        """Why it has to wait; "" if it need not. A change must not take away the quorum that makes it."""
        voters = self._raft.tracker.configuration.voters
        match request:
            case AddLearner():
                if not self._handshakes.origin.identity:
                    return "the cluster has no identity yet, which its leader is about to give it"
                if self._handshakes.is_visited(request.node):
                    return f"node {request.node} is being asked who it is"
                return ""
            case UpdateMember():
                return ""  # Open connections are kept, so a quorum stays connected.
            case Promote():
                lacking, voters = self._catch_up.lacks(request.node), voters | {request.node}
            case Remove():
                lacking, voters = "", voters - {request.node}
            case Replace():
                lacking = self._catch_up.lacks(request.new)
                voters = (voters - {request.old}) | {request.new}
        if not lacking and not self._peers.are_quorate(voters):
            lacking = f"too few of the voters that it would leave, {sorted(voters)}, can be reached"
        return lacking

    # -- outcomes ---------------------------------------------------------------------------

    def _applied(self, request: MemberChange, reply: Answerable) -> None:
        self._settle(request, reply, self._now())

    def _settle(self, request: MemberChange, reply: Answerable, began: float) -> None:
        if self._is_so(request):
            self._answer_when_known(reply)
        elif self._raft.tracker.configuration.joint:
            self._half_done.append((began, request, reply))  # The leader leaves it soon.
        else:
            reply.send(Refused("another change took its place"))

    def _answer_when_known(self, reply: Answerable) -> None:
        """Answer once a quorum knows that the change is committed, not only this leader.

        Members count by what they have applied. If the leader died at once, those who have the change in
        their logs would go on counting by the old configuration, and might lack a quorum of that for good.
        An acknowledgement of an entry after the change shows that the member knows of the commit.
        """
        raft = self._raft
        configuration = raft.tracker.configuration

        def known() -> Members:
            self._known = configuration
            return self._members()

        answer = _WhenKnown(reply, known)
        index, term = raft.handover_index, raft.term
        if not index:
            if raft.role is not Role.LEADER:
                reply.send(NOT_SEEN_KNOWN)
                return
            try:
                index, term = raft.propose_batch([b""])
            except ProposalDropped:
                reply.send(NOT_SEEN_KNOWN)
                return
        if index == raft.handover_index:
            self._own_removal = answer
        self._proposals.logged(term, index, [answer])

    def removal_known(self) -> None:
        """A quorum of the others knows of this leader's removal."""
        if self._own_removal is not None:
            self._own_removal.is_known()

    def _members(self) -> Members:
        raft = self._raft
        configuration = raft.tracker.configuration
        return Members(
            leader=raft.leader,
            term=raft.term,
            voters=tuple(sorted(configuration.voters)),
            learners=tuple(sorted(configuration.learners | configuration.learners_next)),
            endpoints={node: self._peers.endpoints.get(node, "") for node in raft.tracker.progress},
            match={node: progress.match for node, progress in raft.tracker.progress.items()},
            commit=raft.log.committed,
            leaving=tuple(sorted(configuration.outgoing)),
        )

    def _not_leader(self) -> NotLeader:
        leader = self._raft.leader if self._raft.leader != self._raft.id else NO_NODE
        return NotLeader(leader, self._peers.endpoints.get(leader, ""), self._raft.term)


class _WhenApplied:
    """The answer to a change whose entry is in the log."""

    def __init__(
        self,
        request: MemberChange,
        reply: Answerable,
        applied: Callable[[MemberChange, Answerable], None],
    ) -> None:
        self._request = request
        self._reply = reply
        self._applied = applied

    def send(self, message: object) -> None:
        """Take what became of the entry."""
        if isinstance(message, Committed):
            self._applied(self._request, self._reply)
        else:
            self._reply.send(message)


class _WhenKnown:
    """The answer to a change that was made: "done" once the entry after it is committed, else "unknown"."""

    def __init__(self, reply: Answerable, known: Callable[[], Members]) -> None:
        self._reply: Answerable | None = reply
        self._known = known

    def send(self, message: object) -> None:
        """Take what became of that entry."""
        if isinstance(message, Committed):
            self.is_known()
        else:
            self._answer(NOT_SEEN_KNOWN)

    def is_known(self) -> None:
        """A quorum knows of the change."""
        self._answer(self._known())

    def _answer(self, answer: Members | Unknown) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.send(answer)


def _conf_change(request: MemberChange) -> ConfChangeV2:
    add, remove = ConfChangeKind.ADD_VOTER, ConfChangeKind.REMOVE
    match request:
        case AddLearner():
            steps = [ConfChangeSingle(ConfChangeKind.ADD_LEARNER, request.node)]
            return ConfChangeV2(tuple(steps), context=encode_endpoints({request.node: request.endpoint}))
        case UpdateMember():
            steps = [ConfChangeSingle(ConfChangeKind.UPDATE, request.node)]
            return ConfChangeV2(tuple(steps), context=encode_endpoints({request.node: request.endpoint}))
        case Promote():
            steps = [ConfChangeSingle(add, request.node)]
        case Remove():
            steps = [ConfChangeSingle(remove, request.node)]
        case Replace():
            # Two steps at once use a joint configuration, which the leader leaves automatically.
            steps = [ConfChangeSingle(add, request.new), ConfChangeSingle(remove, request.old)]
    return ConfChangeV2(tuple(steps))


def _conf_state(expected: Configuration) -> ConfState:
    voters, learners = expected
    return ConfState(voters=tuple(sorted(voters)), learners=tuple(sorted(learners)))
