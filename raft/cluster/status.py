"""The status of the whole cluster.

Owns asking every node at once, with a short time-out, and combining the answers with what the supervisor
knows. Display is the view's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import msgspec

from actors.context import Context
from raft.cluster.cluster import Cluster
from raft.cluster.processes.node_process import HAS_PROCESS, NodeProcess, NodeState
from raft.cluster.processes.usage import is_stopped
from raft.cluster.quorum import Quorum, age, best_group, seconds_without_quorum
from raft.cluster.rpc.messages import ClusterStatus, NodeView
from raft.protocol.admin import GetStatus, NodeStatus
from raft.protocol.registry import address_of

ANSWER_SECONDS_MAX = 0.1


class StatusRound:
    """One question to all nodes; `then` gets the status when all have answered or time is up."""

    def __init__(self, context: Context, cluster: Cluster, then: Callable[[ClusterStatus], None]) -> None:
        self._context = context
        self._cluster = cluster
        self._then = then
        self._said: dict[int, NodeStatus] = {}
        self._open = 0

    def begin(self) -> None:
        """Ask."""
        asked = self._cluster.in_state({NodeState.RUNNING, NodeState.STARTING})
        self._open = len(asked)
        if not asked:
            self._then(self._whole())
        for node in asked:
            pending = self._context.ask(address_of(node.id), GetStatus(), ANSWER_SECONDS_MAX)
            pending.then(partial(self._answered, node), lambda _: self._closed())

    def _answered(self, node: NodeProcess, said: NodeStatus) -> None:
        self._said[node.id] = said
        self._closed()

    def _closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._then(self._whole())

    def _whole(self) -> ClusterStatus:
        cluster, leader = self._cluster, self._cluster.history.leader
        told = self._said.get(leader.node) if leader is not None else None
        ids = told.voters if told is not None and told.voters else [*cluster.nodes]
        views = [self._view(node, votes=node.id in ids) for node in cluster.nodes.values()]
        voters = len(ids)
        alive = sum(view.state == NodeState.RUNNING.value and view.votes for view in views)
        group = self._group(views)
        quorum = self._quorum(ids, sum(view.votes and view.id in group for view in views))
        views = [msgspec.structs.replace(view, in_quorum=view.id in group) for view in views]
        return ClusterStatus(
            cluster=cluster.spec.name,
            leader=leader.node if leader is not None else None,
            term=max([cluster.history.term, *(said.term for said in self._said.values())]),
            voters=voters,
            alive=alive,
            can_lose=max(quorum.reachable - quorum.needed, 0),
            nodes=views,
            out_of_space=cluster.out_of_space,
            quorum=quorum,
            machine=cluster.spec.machine or "",
        )

    @property
    def _ages(self) -> dict[int, dict[int, float]]:
        return {node: said.heard_seconds for node, said in self._said.items()}

    def _group(self, views: list[NodeView]) -> set[int]:
        """The largest group of nodes that hear each other, counted by voters."""
        running = [view.id for view in views if view.state == NodeState.RUNNING.value]
        voters = [view.id for view in views if view.votes and view.id in running]
        leaders = {view.id for view in views if view.role == "leader"}
        seconds_max = self._cluster.spec.election_seconds_max
        group = best_group(voters, leaders, self._ages, seconds_max)
        learners = {
            node
            for node in running
            if node not in voters and any(age(self._ages, node, other) <= seconds_max for other in group)
        }
        return group | learners

    def _quorum(self, voters: Collection[int], reachable: int) -> Quorum:
        needed = len(voters) // 2 + 1
        history = self._cluster.history
        since: float | None = None
        if reachable < needed:
            since = seconds_without_quorum(voters, self._ages)
        elif history.leader is not None:  # Without a quorum it would not lead.
            since = self._context.now() - history.elected_seconds
        return Quorum(needed, reachable, None if since is None else round(since, 3))

    def _view(self, node: NodeProcess, *, votes: bool) -> NodeView:
        now = self._context.now()
        said = self._said.get(node.id)
        if said is None and node.state is NodeState.RUNNING and node.pid and is_stopped(node.pid):
            node.state = NodeState.PAUSED  # From outside.
        usage = node.usage(now)
        view = NodeView(
            id=node.id,
            pid=node.pid,
            state=node.state.value,
            votes=votes,
            restarts=node.restarts,
            uptime_s=round(now - node.started_seconds, 3) if node.state in HAS_PROCESS else None,
            cpu_percent=None if usage is None else usage.cpu_percent,
            rss_bytes=None if usage is None else usage.rss_bytes,
            faults=[str(fault) for fault in self._cluster.faults.of_node(node.id)],
        )
        seconds_max = self._cluster.spec.election_seconds_max
        return view if said is None else with_answer(view, said, seconds_max)


def with_answer(view: NodeView, said: NodeStatus, hears_seconds_max: float) -> NodeView:
    """A node's row with what the node itself says."""
    contact = said.contact_seconds
    return msgspec.structs.replace(
        view,
        role=said.role,
        term=said.term,
        leader=said.leader or None,
        commit=said.commit,
        applied=said.applied,
        last=said.last,
        used_bytes=said.used_bytes,
        quota_bytes=said.quota_bytes,
        hears=sorted(peer for peer, silent in said.heard_seconds.items() if silent <= hears_seconds_max),
        contact_ms=None if contact is None else round(1000 * contact, 1),
        machine_version=said.version,
        cluster_version=said.cluster_version,
        vote=said.vote or None,
        heard_ms={peer: round(1000 * silent, 1) for peer, silent in said.heard_seconds.items()},
        match=said.match,
        log_terms=said.log_terms,
        next=said.next,
        log_start=said.log_start,
        timeout_ratio=said.timeout_ratio,
        leases=said.leases,
        leases_count=said.leases_count if said.role == "leader" else 0,
        release=said.release or None,
        alarms=said.alarms,
    )
