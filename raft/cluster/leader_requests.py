"""The launcher's requests to the leader about the members.

Owns how long the launcher waits for a leader, and what it says when there is none. Which node is asked, and
what is retried, is as for any other client: see raft.client.calls.membership.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.context import Context
from raft.client.calls import membership
from raft.client.calls.callbacks import CallbackDriver
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Outcome, RetryBudget
from raft.client.errors import ClientError, NoLeader
from raft.cluster.cluster import Cluster
from raft.cluster.processes.node_process import NodeState
from raft.protocol.client import ListMembers, MemberChange, Members

ATTEMPT_SECONDS_MAX = 2.0
LEADERLESS_SECONDS_MAX = 5.0  # A node may catch up slowly, but an election may not take long.

NO_LEADER = "the cluster has no leader"


def ask_leader(
    context: Context,
    cluster: Cluster,
    request: MemberChange | ListMembers,
    seconds_max: float,
    done: Callable[[Members], None],
    failed: Callable[[str], None],
) -> None:
    """Ask until the request is answered or the time is up; one of the two callbacks gets the end."""
    leader, nodes = cluster.history.leader, cluster.nodes
    view = ClusterView(
        {node: cluster.endpoint_of(node) for node in nodes},
        lambda node: node in nodes and nodes[node].state is NodeState.RUNNING,
        lambda node, _endpoint: node in nodes,
    )
    view.leader = 0 if leader is None else leader.node
    budget = LeaderBudget(context.now, seconds_max, lambda: cluster.history.leader is not None)
    steps = (
        membership.members(view, budget)
        if isinstance(request, ListMembers)
        else membership.change(view, request, budget)
    )

    def ask(
        step: Ask, answered: Callable[[Outcome], object], unanswered: Callable[[Outcome], object]
    ) -> None:
        pending = context.ask(view.address_for(step), step.request, step.timeout_seconds)
        pending.then(answered, unanswered)

    CallbackDriver(ask, context.after).run_call(steps, done, lambda error: failed(budget.explain(error)))


class LeaderBudget(RetryBudget):
    """The time of one request, which ends early when the cluster has had no leader for too long."""

    def __init__(
        self, now: Callable[[], float], timeout_seconds: float, has_leader: Callable[[], bool]
    ) -> None:
        super().__init__(now, timeout_seconds, attempt_seconds_max=ATTEMPT_SECONDS_MAX)
        self._has_leader = has_leader
        self._led_at = now()
        self._before = ""  # Why an earlier attempt failed, if not for want of a leader.

    def begin_attempt(self) -> int:
        """See RetryBudget; raises NoLeader, too."""
        if self._has_leader():
            self._led_at = self.now()
        elif self.now() - self._led_at >= LEADERLESS_SECONDS_MAX:
            raise NoLeader(NO_LEADER)
        return super().begin_attempt()

    def note_failure(self, error: type[ClientError], reason: str, node: int = 0) -> None:
        """See RetryBudget."""
        super().note_failure(error, reason, node)
        if error is not NoLeader and self._has_leader():
            self._before = reason

    def explain(self, error: ClientError) -> str:
        """Why the request failed, for the user."""
        if not isinstance(error, NoLeader):
            return str(error)
        return f"{NO_LEADER}; before, {self._before}" if self._before else NO_LEADER
