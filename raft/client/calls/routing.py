"""What to ask whom, and what to make of the answer, step by step and without doing anything.

Owns the whole logic of a client, as generators that yield what is to be done and are sent what came
of it: `Ask` brings an answer or an AskFailed, `Wait` brings nothing. The blocking and the asyncio client
are two small drivers of the same generators. Knows nothing of sockets, threads or event loops.
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
from raft.client.failure_detector import PATIENCE_SECONDS_MAX, FailureDetector
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

NOT_TOLD = -1  # A configuration before any: the first answer makes a client ask for the members.
WAIT_SECONDS_FIRST = 0.002
WAIT_SECONDS_MAX = 0.050
WORKING_SECONDS_MAX = 0.5  # So often a node that works on a request says so.
# What was refused is not sent again when less is left than this, or than a tenth of all the time: without
# the time for an answer, a refusal that is certain would become an outcome that is not.
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
    """Ask that node; send back its answer, or the AskFailed."""

    node: int
    request: Request
    timeout_seconds: float
    relayed: bool = False
    """To be passed on to the leader."""


class Wait(Struct, frozen=True, gc=False):
    """Let so much time pass, less if a node comes up meanwhile that could not be reached."""

    seconds: float


class Hear(Struct, frozen=True, gc=False):
    """Wait until there is something new in that channel, or nothing more comes in it."""

    channel: Channel


Step: TypeAlias = Ask | Wait | Hear
Outcome: TypeAlias = Answer | AskFailed | None
Tried: TypeAlias = tuple[int, Outcome]
"""Which node was asked, and what came of it."""


class ClusterView:
    """What one client knows of the cluster: who is where, who leads, who can be reached, who is silent.

    What it was configured with is never given up. `learn` is called whenever a node is said to listen at an
    endpoint, and says whether the node can be spoken to; `forget` when one has left the cluster.
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
        self.identity = ""  # The cluster's, once told: others' nodes are not asked from then on.
        self._configured = frozenset(endpoints)
        self._strangers: set[int] = set()  # Configured, but no members as far as is known.
        self._doubted: set[int] = set()
        self._forget = forget
        self._unreached: set[int] = set()
        self.detector = FailureDetector()
        self.channels = channels
        self.is_up = is_up
        self._learn = learn
        self._turn = 0

    def address(self, node: int, request: Request) -> Address:
        """Where to ask: only a node of this client's cluster takes a request, except for who it is."""
        return address_of(node, "" if type(request) is WhoLeads else self.identity)

    def address_for(self, step: Ask) -> Address:
        """Where to ask what a conversation asks."""
        return relay_of(step.node) if step.relayed else self.address(step.node, step.request)

    def belongs(self, told: LeaderIs) -> bool:
        """Is the node that says this of the client's cluster, which is that of the first one that says?"""
        self.identity = self.identity or told.identity
        return told.identity in ("", self.identity)

    def foreign(self, node: int, told: LeaderIs) -> Undeliverable:
        """That node is of another cluster: it is not asked again, unless there is no other."""
        self.lost(node)
        endpoint = self.endpoints.get(node, "")
        if len(self.endpoints) > 1:
            self.endpoints.pop(node, None)
        return Undeliverable(
            f"node {node} of cluster {told.identity} listens at {endpoint}, and this client is one of "
            f"cluster {self.identity}"
        )

    def prompt_leader(self, now: float) -> int:
        """The leader, if it is known, has not gone silent, and left no command unanswered, else 0."""
        leader = self.leader
        return 0 if leader in self._doubted or self.detector.lost_with(leader, now) else leader

    def choose(self, avoid: int, now: float) -> int:
        """The leader if it is known, answers and is not to be avoided, else the best other one in turn."""
        leader = self.prompt_leader(now)
        if leader and leader != avoid:
            return leader
        faults = {
            node: (
                not self.is_up(node),
                self.detector.lost_with(node, now) or node in self._doubted,
                node == avoid,
                node in self._strangers,
            )
            for node in sorted(self.endpoints)
        }
        fewest = min(faults.values())
        best = [node for node, found in faults.items() if found == fewest]
        self._turn += 1
        return best[self._turn % len(best)]

    def redirected(self, answer: NotLeader) -> None:
        """A node says who leads; 0 is nobody."""
        self.leader = answer.leader
        if answer.leader and answer.endpoint:
            self.met(answer.leader, answer.endpoint)

    def met(self, node: int, endpoint: str) -> None:
        """A node listens there, by what another one says. One that cannot be spoken to is left out."""
        if self._learn(node, endpoint) is False:
            return
        if node not in self._configured or node not in self.endpoints:
            self.endpoints[node] = endpoint

    def members_are(self, endpoints: Mapping[int, str]) -> None:
        """These are the members; others are forgotten, but for those that were configured: they come last."""
        for node, endpoint in endpoints.items():
            if endpoint:
                self.met(node, endpoint)
        for node in self.endpoints.keys() - endpoints.keys() - self._configured:
            del self.endpoints[node]
            self.lost(node)
            self._forget(node)
        self._strangers = set(self._configured - endpoints.keys())

    def must_relay(self, node: int, answer: Outcome) -> bool:
        """Does that node follow a leader that this client could not reach, and cannot now?"""
        if not isinstance(answer, NotLeader) or answer.leader in (0, node):
            return False
        return answer.leader in self._unreached and not self.is_up(answer.leader)

    def doubts(self, node: int) -> bool:
        """Has a node left a command unanswered, and answered nothing since?"""
        return node in self._doubted

    def doubt(self, node: int) -> None:
        """A node has left a command unanswered: it may be unable to hear. It is asked that first."""
        self._doubted.add(node)
        self.lost(node)

    def lost(self, node: int) -> None:
        """That node was not the right one to ask."""
        if self.leader == node:
            self.leader = 0

    def expects(self, node: int, now: float) -> float:
        """That node is asked now; how soon it should answer. One without a connection is not silent yet."""
        if not self.is_up(node):
            return PATIENCE_SECONDS_MAX
        self.detector.asked(node, now)
        return self.detector.seconds

    def heard(self, node: int, outcome: Outcome, asked_at: float, now: float) -> None:
        """That came of what a node was asked then."""
        if not isinstance(outcome, AskFailed):
            self.detector.answered(node, asked_at, now)
            self._doubted.discard(node)
            self._unreached.discard(node)
        elif not isinstance(outcome, AskTimeout):
            self.detector.gone(node)
            self._doubted.discard(node)
            self._unreached.add(node)


class RetryBudget:
    """The time given to one request, what was tried, and the error it ends with if all fails."""

    def __init__(
        self, now: Callable[[], float], timeout_seconds: float, began_at: float | None = None
    ) -> None:
        self.now = now
        self._deadline = (now() if began_at is None else began_at) + timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._last_seconds = min(LAST_SECONDS_MAX, timeout_seconds / 10)
        self._tried = False
        self._wait_seconds = WAIT_SECONDS_FIRST
        self._redirected = False
        self._failed_at = 0
        self._stretched = 1
        self.error: type[ClientError] = Unreachable
        self.reason = "no node was asked"

    @property
    def left_seconds(self) -> float:
        """The time that is left."""
        return max(0.0, self._deadline - self.now())

    def begin(self) -> int:
        """Begin a try: which node to pass over this time; raises the error when no time is left for one."""
        if self.left_seconds <= (self._last_seconds if self._tried else 0.0):
            raise self.error(f"{self.reason} (tried for {self._timeout_seconds:g} s)")
        failed_at, self._failed_at = self._failed_at, 0
        return failed_at

    def note(self, error: type[ClientError], reason: str, node: int = 0) -> None:
        """Remember why the last try failed, and at which node."""
        self.error, self.reason, self._failed_at = error, reason, node
        self._tried = True

    def may_follow(self) -> bool:
        """May a redirection be followed at once? One may; two nodes could send us to and fro for ever."""
        before, self._redirected = self._redirected, True
        return not before and self.left_seconds > 0

    def stretch(self, seconds: float) -> float:
        """How long to wait for one node: longer each time, as one may be slow and not silent."""
        return min(self._stretched * seconds, PATIENCE_SECONDS_MAX)

    def unanswered(self) -> None:
        """Wait for twice as long next time."""
        self._stretched *= 2

    def pause(self) -> Wait:
        """The wait before the next try: twice the last one, or all that is left if that is the end."""
        self._redirected = False
        seconds, left_seconds = self._wait_seconds, self.left_seconds
        self._wait_seconds = min(2 * seconds, WAIT_SECONDS_MAX)
        return Wait(seconds if left_seconds - seconds > self._last_seconds else left_seconds)


def ask(
    view: ClusterView, node: int, request: Request, budget: RetryBudget, *, elsewhere: bool = True
) -> Generator[Step, Outcome, Outcome]:
    """Ask what is answered soon, and note whether it is; not for long if it may be asked elsewhere then."""
    asked_at, seconds = budget.now(), budget.left_seconds
    soon_seconds = view.expects(node, asked_at)
    if elsewhere:
        seconds = min(seconds, budget.stretch(soon_seconds))
    outcome = yield Ask(node, request, seconds)
    view.heard(node, outcome, asked_at, budget.now())
    if isinstance(outcome, AskTimeout):
        budget.unanswered()
    outcome = yield from explained(view, node, outcome, budget)
    return (yield from relayed(view, node, request, outcome, budget))


def relayed(
    view: ClusterView, node: int, request: Request, answer: Outcome, budget: RetryBudget
) -> Generator[Step, Outcome, Outcome]:
    """If a node names a leader that cannot be reached from here, have it pass the request on to that."""
    if not view.must_relay(node, answer):
        return answer
    passed_on = yield Ask(node, request, budget.left_seconds, relayed=True)
    return answer if isinstance(passed_on, Undeliverable) else passed_on


def explained(
    view: ClusterView, node: int, outcome: Outcome, budget: RetryBudget
) -> Generator[Step, Outcome, Outcome]:
    """If a node takes no requests for this client's cluster, ask it which one it is of, for the error."""
    if isinstance(outcome, Undeliverable) and view.identity and NO_SUCH_ACTOR in str(outcome):
        told = yield Ask(node, WhoLeads(), min(view.detector.seconds, budget.left_seconds))
        if isinstance(told, LeaderIs) and not view.belongs(told):
            return view.foreign(node, told)
    return outcome


def command(
    view: ClusterView, body: bytes, budget: RetryBudget, tried: Tried | None = None
) -> Generator[Step, Outcome, Committed]:
    """Have a command committed, once; every way out but the result is a ClientError.

    Goes on from the first try, if that was made already.
    """
    while True:
        if tried is None:
            node = view.choose(budget.begin(), budget.now())
            if view.doubts(node) and not (yield from hears(view, node, budget)):
                continue
            tried = node, (yield from ask(view, node, Command(body), budget, elsewhere=False))
        (node, answer), tried = tried, None
        if isinstance(answer, TakesLong):
            answer = yield from worked_on(node, answer, budget)
        if isinstance(answer, Committed):
            view.leader = node
            yield from keep_up(view, node, answer, budget)
            return answer
        if isinstance(answer, AskTimeout):
            view.doubt(node)
        if isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable):
            view.lost(node)
            raise OutcomeUnknown(f"node {node} may or may not have taken the command: {answer}")
        if isinstance(answer, Unknown):
            view.lost(node)
            raise OutcomeUnknown(answer.reason)
        if not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)


def query(
    view: ClusterView, request: Query, budget: RetryBudget, tried: Tried | None = None
) -> Generator[Step, Outcome, QueryResult]:
    """Have a query answered; as it changes nothing, any failure is tried again elsewhere.

    Goes on from the first try, if that was made already.
    """
    while True:
        if tried is None:
            node = view.choose(budget.begin(), budget.now())
            tried = node, (yield from ask(view, node, request, budget))
        (node, answer), tried = tried, None
        if isinstance(answer, TakesLong):
            answer = yield from worked_on(node, answer, budget)
            if not budget.left_seconds and not isinstance(answer, QueryResult):
                raise Rejected(f"node {node} was still working on the query when the time was up")
        if isinstance(answer, QueryResult):
            yield from keep_up(view, node, answer, budget)
            return answer
        if not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)


def worked_on(node: int, answer: Outcome, budget: RetryBudget) -> Generator[Step, Outcome, Outcome]:
    """A node works on the request, and said so: wait for its answer, and ask no other node meanwhile."""
    while isinstance(answer, TakesLong):
        seconds = min(budget.left_seconds, WORKING_SECONDS_MAX + PATIENCE_SECONDS_MAX)
        if not seconds:
            return AskTimeout(f"node {node} was still working on it")
        answer = yield Ask(node, AwaitAnswer(answer.ticket), seconds)
    return answer


def who_leads(view: ClusterView, budget: RetryBudget) -> Generator[Step, Outcome, LeaderIs]:
    """Find a node that knows of a leader."""
    while True:
        node = view.choose(budget.begin(), budget.now())
        answer = yield from ask(view, node, WhoLeads(), budget)
        if isinstance(answer, LeaderIs) and not view.belongs(answer):
            answer = view.foreign(node, answer)
        if isinstance(answer, LeaderIs):
            view.members_are(answer.endpoints)
            view.leader = answer.leader
            if answer.leader:
                return answer
            budget.note(NoLeader, f"node {node} knows of no leader", node)
            yield from rest(view, budget)
        elif not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)


def hears(view: ClusterView, node: int, budget: RetryBudget) -> Generator[Step, Outcome, bool]:
    """Does a node answer that has left a command unanswered? A command is not risked to find out."""
    answer = yield from ask(view, node, WhoLeads(), budget)
    if not isinstance(answer, AskFailed):
        return True
    budget.note(Unreachable, f"node {node} has left a command unanswered, and answers nothing", node)
    return False


def rest(view: ClusterView, budget: RetryBudget) -> Generator[Step, Outcome, None]:
    """Let some time pass before the next try; with a silent leader, by asking whether it is there."""
    pause, now = budget.pause(), budget.now()
    if not view.leader or view.prompt_leader(now):
        yield pause
        return
    seconds = min(view.detector.seconds, budget.left_seconds)
    view.heard(view.leader, (yield Ask(view.leader, WhoLeads(), seconds)), now, budget.now())


def keep_up(
    view: ClusterView, node: int, answer: Committed | QueryResult, budget: RetryBudget
) -> Generator[Step, Outcome, None]:
    """Learn who belongs to the cluster if that has changed, before all whom we know have left it."""
    if answer.configuration <= view.configuration:
        return
    known = yield from ask(view, node, WhoLeads(), budget)
    if isinstance(known, LeaderIs) and view.belongs(known):
        view.configuration = answer.configuration
        view.members_are(known.endpoints)


def take_refusal(view: ClusterView, node: int, answer: Outcome, budget: RetryBudget) -> bool:
    """Learn from an answer that was no result; whether to ask again at once. Raises CommandRefused."""
    if isinstance(answer, NotLeader):
        view.redirected(answer)
        budget.note(NoLeader, f"node {node} knows of no leader", node)
        # A leader that is silent is not asked for more until it answers, or another one is named.
        return view.prompt_leader(budget.now()) not in (0, node) and budget.may_follow()
    view.lost(node)
    if isinstance(answer, client.OutOfSpace):
        raise OutOfSpace(
            f"the cluster is out of space: {answer.used_bytes} of {answer.quota_bytes} bytes are in use; "
            "delete keys, or set a larger quota_bytes"
        )
    if isinstance(answer, client.TooNew):
        raise UnsupportedVersion(answer.reason, answer.needed, answer.agreed)
    if isinstance(answer, Refused):
        budget.note(Rejected, f"node {node} refused: {answer.reason}")
    elif isinstance(answer, Invalid | Failed):
        raise CommandRefused(answer.reason)
    elif isinstance(answer, AskFailed):
        budget.note(Unreachable, f"node {node} could not be asked: {answer}", node)
    else:
        budget.note(Rejected, f"node {node} gave an answer that does not fit: {type(answer).__name__}", node)
    return False
