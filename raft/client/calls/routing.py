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
   refusal, or a failure to deliver, is remembered and retried after a wait that doubles from 2 to 50 ms. But
   the first time that a node is not connected, a connected one is asked at once, unless a redirect has just
   named the first. A node that reports that it is still working is waited for.

What differs between requests is what may be repeated. A query may always be. A command outside of a session
may not once it may have reached a log: a time-out then ends it with OutcomeUnknown. A command of a session
(calls.sessions.commit_idempotent) is repeated under the same sequence number, so it is applied once.

What can never happen: a command outside of a session is sent again after an attempt whose outcome is
unknown; and `Rejected`, which says that a retry is safe, is raised after such an attempt.
"""

from __future__ import annotations

from collections.abc import Generator

from actors.errors import AskFailed, AskTimeout, Undeliverable
from actors.failures.dead_letters import Reason
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Attempt, Outcome, Request, RetryBudget, Step
from raft.client.errors import (
    CommandRefused,
    NoLeader,
    NotAllowed,
    OutcomeUnknown,
    OutOfSpace,
    Rejected,
    Unreachable,
    UnsupportedVersion,
)
from raft.client.failure_detector import ANSWER_SECONDS_MAX
from raft.protocol import client
from raft.protocol.client import (
    AwaitAnswer,
    Command,
    Committed,
    Failed,
    Invalid,
    LeaderIs,
    NotLeader,
    Query,
    QueryResult,
    Refused,
    StillRunning,
    Unknown,
    WhoLeads,
)

NO_SUCH_ACTOR = str(Reason.NO_SUCH_ACTOR)

UNKNOWN_CONFIGURATION = -1  # Older than any: the first answer makes the client ask for the members.
WORKING_SECONDS_MAX = 0.5  # A node that works on a request reports at least this often.


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
        if isinstance(answer, StillRunning):
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
        if isinstance(answer, StillRunning):
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
    while isinstance(answer, StillRunning):
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
    elif isinstance(answer, Invalid) and answer.not_allowed:
        raise NotAllowed(answer.reason)
    elif isinstance(answer, Invalid | Failed):
        raise CommandRefused(answer.reason)
    elif isinstance(answer, AskFailed):
        budget.note_failure(Unreachable, f"node {node} could not be asked: {answer}", node)
        return isinstance(answer, Undeliverable) and view.is_another_up(node) and budget.may_ask_another()
    else:
        budget.note_failure(Rejected, f"node {node} gave an unexpected answer: {type(answer).__name__}", node)
    return False
