"""Choice of the node for each request, retries and redirects, as steps that do no I/O themselves.

A call is a generator. It yields a step (`Ask` a node, `Wait`, or `AwaitChannel`) and is sent the step's
outcome: an answer or an AskFailed for `Ask`, None for the others. The blocking and the asyncio client only
run these steps. Knows nothing of sockets, threads or event loops.

Theory of operation. A call makes attempts until it has a result or its time is up. Each attempt:

1. chooses a node: the known leader, unless it is suspected or has just failed; otherwise, in turn, the best
   of the other nodes (reachable first, then not suspected, then members);
2. asks it. A node that does not know this client's cluster is asked which cluster it belongs to, for the
   error text. A follower whose leader the client cannot reach is asked to relay the request;
3. handles the outcome. A result ends the call. A redirect is followed at once, but only one in a row. A
   refusal, or a failure to deliver, is remembered and retried after a wait that doubles from 2 to 50 ms. A
   node that reports that it is still working is waited for.

What differs between requests is what may be repeated. A query may always be. A command outside of a session
may not once it may have reached a log: a time-out then ends it with OutcomeUnknown. A command of a session
(calls.sessions.commit_idempotent) is repeated under the same sequence number, so it is applied once.

What can never happen: a command outside of a session is sent again after an attempt whose outcome is
unknown; and `Rejected`, which says that a retry is safe, is raised after such an attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TypeAlias

from msgspec import Struct

from actors.address import Address
from actors.dead_letters import Reason
from actors.errors import AskFailed, AskTimeout, Undeliverable
from raft.client.errors import (
    ClientError,
    CommandRefused,
    NoLeader,
    OutcomeUnknown,
    OutOfSpace,
    Rejected,
    Unreachable,
    UnsupportedVersion,
)
from raft.client.failure_detector import ANSWER_SECONDS_MAX, FailureDetector
from raft.client.watches.channels import Channel, Channels
from raft.protocol import client
from raft.protocol.client import (
    Answer,
    AwaitAnswer,
    AwaitEvents,
    Command,
    Committed,
    Failed,
    Invalid,
    KeepAlive,
    LeaderIs,
    ListMembers,
    MemberChange,
    NotLeader,
    OpenWatch,
    Query,
    QueryResult,
    ReadBackup,
    Refused,
    TakeBackup,
    TakesLong,
    TimeLeft,
    Unknown,
    WhoLeads,
)
from raft.protocol.registry import address_of, relay_of

NO_SUCH_ACTOR = str(Reason.NO_SUCH_ACTOR)

UNKNOWN_CONFIGURATION = -1  # Older than any: the first answer makes the client ask for the members.
WAIT_SECONDS_FIRST = 0.002
WAIT_SECONDS_MAX = 0.050
WORKING_SECONDS_MAX = 0.5  # A node that works on a request reports at least this often.
# A refused request is not sent again when less time is left than this, or than a tenth of the whole: an
# answer could not arrive in time, and a certain refusal would become an unknown outcome.
LAST_SECONDS_MAX = 0.050


Request: TypeAlias = (
    Command
    | Query
    | WhoLeads
    | ListMembers
    | MemberChange
    | KeepAlive
    | TimeLeft
    | AwaitEvents
    | OpenWatch
    | AwaitAnswer
    | TakeBackup
    | ReadBackup
)


class Ask(Struct, frozen=True, gc=False):
    """Ask that node; the outcome is its answer or an AskFailed."""

    node: int
    request: Request
    timeout_seconds: float
    relayed: bool = False
    """To be relayed to the leader."""


class Wait(Struct, frozen=True, gc=False):
    """Wait this long, or less if a node becomes reachable meanwhile."""

    seconds: float


class AwaitChannel(Struct, frozen=True, gc=False):
    """Wait until the channel has something new, or has closed."""

    channel: Channel


Step: TypeAlias = Ask | Wait | AwaitChannel
Outcome: TypeAlias = Answer | AskFailed | None
Attempt: TypeAlias = tuple[int, Outcome]
"""Which node was asked, and the outcome."""


class ClusterView:
    """What one client knows of the cluster: endpoints, leader, reachable nodes, suspected nodes.

    Configured endpoints are never given up. `learn` is called whenever a node is reported to listen at an
    endpoint, and returns whether the client can connect to it; `forget` when a node has left the cluster.
    """

    def __init__(
        self,
        endpoints: Mapping[int, str],
        is_up: Callable[[int], bool],
        learn: Callable[[int, str], bool | None],
        forget: Callable[[int], None] = lambda _node: None,
        channels: Channels | None = None,
    ) -> None:
        if not endpoints:
            raise ValueError("a client needs the endpoint of at least one node")
        self.endpoints = dict(endpoints)
        self.leader = 0
        self.configuration = 0  # As the cluster numbers it; see Committed.
        self.identity = ""  # Of the cluster, once known: nodes of other clusters are not asked from then on.
        self._configured = frozenset(endpoints)
        self._non_members: set[int] = set()  # Configured, but not members as far as is known.
        self._doubted: set[int] = set()
        self._forget = forget
        self._unreachable: set[int] = set()
        self.detector = FailureDetector()
        self.channels = channels
        self.is_up = is_up
        self._learn = learn
        self._turn = 0

    def address(self, node: int, request: Request) -> Address:
        """The address for a request: only a node of this client's cluster takes one, except WhoLeads."""
        return address_of(node, "" if type(request) is WhoLeads else self.identity)

    def address_for(self, step: Ask) -> Address:
        """The address for a step."""
        return relay_of(step.node) if step.relayed else self.address(step.node, step.request)

    def is_of_cluster(self, told: LeaderIs) -> bool:
        """Does the node that reports this belong to the client's cluster? The first report defines that."""
        self.identity = self.identity or told.identity
        return told.identity in ("", self.identity)

    def reject_foreign(self, node: int, told: LeaderIs) -> Undeliverable:
        """The node is of another cluster: do not ask it again, unless there is no other node."""
        self.forget_leader(node)
        endpoint = self.endpoints.get(node, "")
        if len(self.endpoints) > 1:
            self.endpoints.pop(node, None)
        return Undeliverable(
            f"node {node} of cluster {told.identity} listens at {endpoint}, but this client belongs to "
            f"cluster {self.identity}"
        )

    def responsive_leader(self, now: float) -> int:
        """The leader, if it is known, is not suspected, and has left no command unanswered; otherwise 0."""
        leader = self.leader
        return 0 if leader in self._doubted or self.detector.is_suspected(leader, now) else leader

    def choose(self, avoid: int, now: float) -> int:
        """The leader if it is known, responsive and not to be avoided.

        Otherwise the best other node in turn.
        """
        leader = self.responsive_leader(now)
        if leader and leader != avoid:
            return leader
        faults = {
            node: (
                not self.is_up(node),
                self.detector.is_suspected(node, now) or node in self._doubted,
                node == avoid,
                node in self._non_members,
            )
            for node in sorted(self.endpoints)
        }
        fewest = min(faults.values())
        best = [node for node, found in faults.items() if found == fewest]
        self._turn += 1
        return best[self._turn % len(best)]

    def note_redirect(self, answer: NotLeader) -> None:
        """A node names the leader; 0 stands for none."""
        self.leader = answer.leader
        if answer.leader and answer.endpoint:
            self.add_node(answer.leader, answer.endpoint)

    def add_node(self, node: int, endpoint: str) -> None:
        """Another node reports that a node listens there. A node that cannot be connected to is left out."""
        if self._learn(node, endpoint) is False:
            return
        if node not in self._configured or node not in self.endpoints:
            self.endpoints[node] = endpoint

    def set_members(self, endpoints: Mapping[int, str]) -> None:
        """Set the members. Other nodes are forgotten, except configured ones, which are then tried last."""
        for node, endpoint in endpoints.items():
            if endpoint:
                self.add_node(node, endpoint)
        for node in self.endpoints.keys() - endpoints.keys() - self._configured:
            del self.endpoints[node]
            self.forget_leader(node)
            self._forget(node)
        self._non_members = set(self._configured - endpoints.keys())

    def needs_relay(self, node: int, answer: Outcome) -> bool:
        """Does that node follow a leader that this client could not reach, and cannot now?"""
        if not isinstance(answer, NotLeader) or answer.leader in (0, node):
            return False
        return answer.leader in self._unreachable and not self.is_up(answer.leader)

    def is_doubted(self, node: int) -> bool:
        """Has the node left a command unanswered, and answered nothing since?"""
        return node in self._doubted

    def doubt(self, node: int) -> None:
        """A node has left a command unanswered. It must answer a probe before it gets another one."""
        self._doubted.add(node)
        self.forget_leader(node)

    def forget_leader(self, node: int) -> None:
        """The node is not the leader, or no longer usable as such."""
        if self.leader == node:
            self.leader = 0

    def note_request(self, node: int, now: float) -> float:
        """The node is being asked; returns how soon it should answer.

        An unconnected node is not suspected.
        """
        if not self.is_up(node):
            return ANSWER_SECONDS_MAX
        self.detector.asked(node, now)
        return self.detector.seconds

    def note_outcome(self, node: int, outcome: Outcome, asked_at: float, now: float) -> None:
        """Note the outcome of a request that a node was asked at that time."""
        if not isinstance(outcome, AskFailed):
            self.detector.answered(node, asked_at, now)
            self._doubted.discard(node)
            self._unreachable.discard(node)
        elif not isinstance(outcome, AskTimeout):
            self.detector.gone(node)
            self._doubted.discard(node)
            self._unreachable.add(node)


class RetryBudget:
    """The time of one call, its failed attempts, and the error that it ends with when the time is up."""

    def __init__(
        self, now: Callable[[], float], timeout_seconds: float, began_at: float | None = None
    ) -> None:
        self.now = now
        self._deadline = (now() if began_at is None else began_at) + timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._last_seconds = min(LAST_SECONDS_MAX, timeout_seconds / 10)
        self._attempted = False
        self._wait_seconds = WAIT_SECONDS_FIRST
        self._redirected = False
        self._failed_at = 0
        self._timeout_factor = 1
        self.error: type[ClientError] = Unreachable
        self.reason = "no node was asked"

    @property
    def left_seconds(self) -> float:
        """The time left."""
        return max(0.0, self._deadline - self.now())

    def begin_attempt(self) -> int:
        """Begin an attempt; returns a node to avoid, or 0.

        Raises the last error when too little time is left.
        """
        if self.left_seconds <= (self._last_seconds if self._attempted else 0.0):
            raise self.error(f"{self.reason} (tried for {self._timeout_seconds:g} s)")
        failed_at, self._failed_at = self._failed_at, 0
        return failed_at

    def note_failure(self, error: type[ClientError], reason: str, node: int = 0) -> None:
        """Remember why the last attempt failed, and at which node."""
        self.error, self.reason, self._failed_at = error, reason, node
        self._attempted = True

    def may_follow_redirect(self) -> bool:
        """May a redirect be followed at once? Only one in a row: two nodes might redirect to each other."""
        before, self._redirected = self._redirected, True
        return not before and self.left_seconds > 0

    def scaled_timeout(self, seconds: float) -> float:
        """How long to wait for one node: longer each time, since it may be slow rather than dead."""
        return min(self._timeout_factor * seconds, ANSWER_SECONDS_MAX)

    def double_timeout(self) -> None:
        """Wait twice as long next time."""
        self._timeout_factor *= 2

    def next_wait(self) -> Wait:
        """The wait before the next attempt: twice the last one, or all the time left if no attempt fits."""
        self._redirected = False
        seconds, left_seconds = self._wait_seconds, self.left_seconds
        self._wait_seconds = min(2 * seconds, WAIT_SECONDS_MAX)
        return Wait(seconds if left_seconds - seconds > self._last_seconds else left_seconds)


def ask(
    view: ClusterView, node: int, request: Request, budget: RetryBudget, *, elsewhere: bool = True
) -> Generator[Step, Outcome, Outcome]:
    """Ask a request that is answered quickly.

    With `elsewhere`, wait only briefly: another node can answer.
    """
    asked_at, seconds = budget.now(), budget.left_seconds
    soon_seconds = view.note_request(node, asked_at)
    if elsewhere:
        seconds = min(seconds, budget.scaled_timeout(soon_seconds))
    outcome = yield Ask(node, request, seconds)
    view.note_outcome(node, outcome, asked_at, budget.now())
    if isinstance(outcome, AskTimeout):
        budget.double_timeout()
    outcome = yield from explain_undeliverable(view, node, outcome, budget)
    return (yield from relay_if_needed(view, node, request, outcome, budget))


def relay_if_needed(
    view: ClusterView, node: int, request: Request, answer: Outcome, budget: RetryBudget
) -> Generator[Step, Outcome, Outcome]:
    """If a node names a leader that this client cannot reach, ask it to relay the request there."""
    if not view.needs_relay(node, answer):
        return answer
    passed_on = yield Ask(node, request, budget.left_seconds, relayed=True)
    return answer if isinstance(passed_on, Undeliverable) else passed_on


def explain_undeliverable(
    view: ClusterView, node: int, outcome: Outcome, budget: RetryBudget
) -> Generator[Step, Outcome, Outcome]:
    """If a node does not serve this client's cluster, ask it which cluster it serves, for the error."""
    if isinstance(outcome, Undeliverable) and view.identity and NO_SUCH_ACTOR in str(outcome):
        told = yield Ask(node, WhoLeads(), min(view.detector.seconds, budget.left_seconds))
        if isinstance(told, LeaderIs) and not view.is_of_cluster(told):
            return view.reject_foreign(node, told)
    return outcome


def command(
    view: ClusterView, body: bytes, budget: RetryBudget, attempt: Attempt | None = None
) -> Generator[Step, Outcome, Committed]:
    """Commit a command once. Every other outcome is raised as a ClientError.

    With `attempt`, continues from a first attempt that was made already.
    """
    while True:
        if attempt is None:
            node = view.choose(budget.begin_attempt(), budget.now())
            if view.is_doubted(node) and not (yield from answers_probe(view, node, budget)):
                continue
            attempt = node, (yield from ask(view, node, Command(body), budget, elsewhere=False))
        (node, answer), attempt = attempt, None
        if isinstance(answer, TakesLong):
            answer = yield from await_slow_answer(node, answer, budget)
        if isinstance(answer, Committed):
            view.leader = node
            yield from refresh_members(view, node, answer, budget)
            return answer
        if isinstance(answer, AskTimeout):
            view.doubt(node)
        if isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable):
            view.forget_leader(node)
            raise OutcomeUnknown(f"node {node} may or may not have taken the command: {answer}")
        if isinstance(answer, Unknown):
            view.forget_leader(node)
            raise OutcomeUnknown(answer.reason)
        if not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)


def query(
    view: ClusterView, request: Query, budget: RetryBudget, attempt: Attempt | None = None
) -> Generator[Step, Outcome, QueryResult]:
    """Answer a query. It changes nothing, so any failure is retried at another node.

    With `attempt`, continues from a first attempt that was made already.
    """
    while True:
        if attempt is None:
            node = view.choose(budget.begin_attempt(), budget.now())
            attempt = node, (yield from ask(view, node, request, budget))
        (node, answer), attempt = attempt, None
        if isinstance(answer, TakesLong):
            answer = yield from await_slow_answer(node, answer, budget)
            if not budget.left_seconds and not isinstance(answer, QueryResult):
                raise Rejected(f"node {node} was still working on the query when the time was up")
        if isinstance(answer, QueryResult):
            yield from refresh_members(view, node, answer, budget)
            return answer
        if not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)


def await_slow_answer(node: int, answer: Outcome, budget: RetryBudget) -> Generator[Step, Outcome, Outcome]:
    """While the node reports that it is working on the request, wait for its answer; ask no other node."""
    while isinstance(answer, TakesLong):
        seconds = min(budget.left_seconds, WORKING_SECONDS_MAX + ANSWER_SECONDS_MAX)
        if not seconds:
            return AskTimeout(f"node {node} was still working on the request")
        answer = yield Ask(node, AwaitAnswer(answer.ticket), seconds)
    return answer


def find_leader(view: ClusterView, budget: RetryBudget) -> Generator[Step, Outcome, LeaderIs]:
    """Find a node that knows the leader."""
    while True:
        node = view.choose(budget.begin_attempt(), budget.now())
        answer = yield from ask(view, node, WhoLeads(), budget)
        if isinstance(answer, LeaderIs) and not view.is_of_cluster(answer):
            answer = view.reject_foreign(node, answer)
        if isinstance(answer, LeaderIs):
            view.set_members(answer.endpoints)
            view.leader = answer.leader
            if answer.leader:
                return answer
            budget.note_failure(NoLeader, f"node {node} knows of no leader", node)
            yield from wait_before_retry(view, budget)
        elif not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)


def answers_probe(view: ClusterView, node: int, budget: RetryBudget) -> Generator[Step, Outcome, bool]:
    """Does a node that has left a command unanswered answer a question?

    So that no command is risked on it.
    """
    answer = yield from ask(view, node, WhoLeads(), budget)
    if not isinstance(answer, AskFailed):
        return True
    budget.note_failure(Unreachable, f"node {node} has left a command unanswered and does not answer", node)
    return False


def wait_before_retry(view: ClusterView, budget: RetryBudget) -> Generator[Step, Outcome, None]:
    """Wait before the next attempt; with a suspected leader, by asking it whether it is alive."""
    pause, now = budget.next_wait(), budget.now()
    if not view.leader or view.responsive_leader(now):
        yield pause
        return
    seconds = min(view.detector.seconds, budget.left_seconds)
    view.note_outcome(view.leader, (yield Ask(view.leader, WhoLeads(), seconds)), now, budget.now())


def refresh_members(
    view: ClusterView, node: int, answer: Committed | QueryResult, budget: RetryBudget
) -> Generator[Step, Outcome, None]:
    """Fetch the members if the configuration has changed, before all known nodes have left the cluster."""
    if answer.configuration <= view.configuration:
        return
    known = yield from ask(view, node, WhoLeads(), budget)
    if isinstance(known, LeaderIs) and view.is_of_cluster(known):
        view.configuration = answer.configuration
        view.set_members(known.endpoints)


def handle_refusal(view: ClusterView, node: int, answer: Outcome, budget: RetryBudget) -> bool:
    """Handle an answer that is no result; returns whether to retry at once. Raises CommandRefused."""
    if isinstance(answer, NotLeader):
        view.note_redirect(answer)
        budget.note_failure(NoLeader, f"node {node} knows of no leader", node)
        # A suspected leader gets no further request until it answers, or another leader is named.
        return view.responsive_leader(budget.now()) not in (0, node) and budget.may_follow_redirect()
    view.forget_leader(node)
    if isinstance(answer, client.OutOfSpace):
        raise OutOfSpace(
            f"the cluster is out of space: {answer.used_bytes} of {answer.quota_bytes} bytes are in use; "
            "delete keys, or set a larger quota_bytes"
        )
    if isinstance(answer, client.TooNew):
        raise UnsupportedVersion(answer.reason, answer.needed, answer.agreed)
    if isinstance(answer, Refused):
        budget.note_failure(Rejected, f"node {node} refused: {answer.reason}")
    elif isinstance(answer, Invalid | Failed):
        raise CommandRefused(answer.reason)
    elif isinstance(answer, AskFailed):
        budget.note_failure(Unreachable, f"node {node} could not be asked: {answer}", node)
    else:
        budget.note_failure(Rejected, f"node {node} gave an unexpected answer: {type(answer).__name__}", node)
    return False
