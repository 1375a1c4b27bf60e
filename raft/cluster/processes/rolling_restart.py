"""Restarting nodes one after the other without losing the quorum.

Owns when the next node may be restarted: the others must be a quorum without it, up and following the
leader, and the previous node must have caught up with the leader's commit of when it returned. Knows
nothing of how a process is ended or started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from actors.context import Context
from actors.errors import AskFailed
from raft.cluster.cluster import Cluster
from raft.cluster.processes.node_process import HAS_PROCESS, NodeProcess, NodeState
from raft.cluster.processes.process_control import ProcessControl
from raft.cluster.rpc.messages import ClusterStatus, ForceSnapshot, NodeView
from raft.cluster.rpc.replies import Answer
from raft.cluster.status import StatusRound
from raft.protocol.admin import SnapshotTaken, TakeSnapshot
from raft.protocol.registry import address_of

POLL_SECONDS = 0.03
HEALTH_SECONDS_MAX = 15.0
CATCH_UP_SECONDS_MAX = 120.0


class RollingRestart:
    """One rolling restart of `nodes`."""

    def __init__(
        self,
        context: Context,
        cluster: Cluster,
        process_control: ProcessControl,
        nodes: Sequence[NodeProcess],
        answer: Answer,
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._process_control = process_control
        self._left = list(nodes)
        self._lines: list[str] = []
        self._answer = answer

    def next(self) -> None:
        """Continue with the next node; the leader comes last, so that leadership moves only once."""
        self._left = [node for node in self._left if self._is_member(node)]
        if not self._left:
            self._answer.done(self._lines)
            return
        leader = self._cluster.history.leader
        followers = [node for node in self._left if leader is None or node.id != leader.node]
        node = (followers or self._left)[0]
        self._left.remove(node)
        self._poll_until(
            lambda status: why_not_without(node.id, status), HEALTH_SECONDS_MAX, lambda: self._restart(node)
        )

    def _is_member(self, node: NodeProcess) -> bool:
        """It may have been removed since it was selected."""
        return self._cluster.nodes.get(node.id) is node

    def _restart(self, node: NodeProcess) -> None:
        if not self._is_member(node):
            self.next()
            return
        running = [node] if node.state in HAS_PROCESS else []
        failed = self._fail
        self._process_control.terminate(
            running, lambda: self._process_control.begin([node], back, failed), failed
        )

        def back() -> None:
            self._lines.append(f"{node.name} restarted (pid {node.pid})")
            goal = Goal(node.id)
            self._poll_until(goal.why_not_reached, CATCH_UP_SECONDS_MAX, self.next)

    def _poll_until(
        self, why_not: Callable[[ClusterStatus], str], seconds_max: float, then: Callable[[], None]
    ) -> None:
        until_seconds = self._context.now() + seconds_max

        def seen(status: ClusterStatus) -> None:
            reason = why_not(status)
            if not reason:
                then()
            elif status.voters <= 2 or self._context.now() >= until_seconds:
                self._fail(reason)
            else:
                self._context.after(POLL_SECONDS, look)

        def look() -> None:
            StatusRound(self._context, self._cluster, seen).begin()

        look()

    def _fail(self, reason: str) -> None:
        done = "; ".join(self._lines) or "no node was restarted"
        self._answer.failed(f"{reason} ({done})")


class Goal:
    """What a restarted node must have applied: everything committed when it was first seen again."""

    def __init__(self, node: int) -> None:
        self._node = node
        self._index: int | None = None

    def why_not_reached(self, status: ClusterStatus) -> str:
        """What is missing, in words; "" if nothing is."""
        leader = _leader_of(status)
        if leader is None or leader.commit is None:
            return "the cluster has no leader"
        if self._index is None:
            self._index = leader.commit
        view = next((view for view in status.nodes if view.id == self._node), None)
        if view is None:
            return ""  # It has left the cluster: there is nothing to wait for.
        if not _follows(view, status):
            return f"n{self._node} does not follow the leader yet"
        if (view.applied or 0) < self._index:
            return f"n{self._node} has applied {view.applied} of {self._index} entries"
        return ""


def why_not_without(node: int, status: ClusterStatus) -> str:
    """Why this node cannot be spared now; "" if it can."""
    needed = status.voters // 2 + 1
    view = next((view for view in status.nodes if view.id == node), None)
    if view is None or not view.votes:
        return ""  # It does not count for the quorum.
    others = [view.id for view in status.nodes if view.votes and view.id != node and _follows(view, status)]
    if len(others) >= needed:
        return ""
    return (
        f"without n{node} only {len(others)} of {status.voters} voters would be up, and {needed} are needed"
    )


def _follows(view: NodeView, status: ClusterStatus) -> bool:
    running = view.state == NodeState.RUNNING.value
    return running and view.role is not None and status.leader is not None and view.leader == status.leader


def _leader_of(status: ClusterStatus) -> NodeView | None:
    return next((view for view in status.nodes if view.id == status.leader), None)


SNAPSHOT_SECONDS_MAX = 60.0


class ForcedSnapshots:
    """One request for snapshots."""

    def __init__(self, context: Context, cluster: Cluster, verb: ForceSnapshot, answer: Answer) -> None:
        self._answer = answer
        self._lines: dict[int, str] = {}
        self._failures: list[str] = []
        chosen = cluster.choose(verb.selector, {NodeState.RUNNING})
        self._left = len(chosen)
        for node in chosen:
            pending = context.ask(address_of(node.id), TakeSnapshot(), SNAPSHOT_SECONDS_MAX)
            pending.then(partial(self._answered, node.id), partial(self._silent, node.id))

    def _answered(self, node: int, message: object) -> None:
        if isinstance(message, SnapshotTaken):
            self._lines[node] = f"n{node} has a snapshot at {message.index}"
        else:
            self._failures.append(f"n{node}: {getattr(message, 'reason', message)}")
        self._one_less()

    def _silent(self, node: int, failure: AskFailed) -> None:
        self._failures.append(f"n{node}: {failure}")
        self._one_less()

    def _one_less(self) -> None:
        self._left -= 1
        if self._left:
            return
        if self._failures:
            self._answer.failed("no snapshot: " + "; ".join(self._failures))
        else:
            self._answer.done([line for _, line in sorted(self._lines.items())])
