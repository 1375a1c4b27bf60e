"""What a client knows of its cluster: where nodes listen, who leads, who is reachable, who is suspected.

Owns the choice of the node for a request. Knows nothing of requests, retries or connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from actors.address import Address
from actors.errors import AskFailed, AskTimeout, Undeliverable
from raft.client.calls.steps import Ask, Outcome, Request
from raft.client.failure_detector import ANSWER_SECONDS_MAX, FailureDetector
from raft.client.watches.channels import Channels
from raft.protocol.client import (
    LeaderIs,
    NotLeader,
    WhoLeads,
)
from raft.protocol.registry import address_of, relay_of


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
        if not leader or leader in self._doubted or self.detector.is_suspected(leader, now):
            return 0
        return leader

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

    def is_another_up(self, node: int) -> bool:
        """Is any node connected besides that one?"""
        return any(self.is_up(other) for other in self.endpoints if other != node)

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

    def note_command(self, node: int, now: float) -> None:
        """The node is being asked. An unconnected one is not suspected."""
        if self.is_up(node):
            self.detector.asked(node, now)

    def note_request(self, node: int, now: float) -> float:
        """As `note_command`; returns how soon the node should answer."""
        if not self.is_up(node):
            return ANSWER_SECONDS_MAX
        self.detector.asked(node, now)
        return self.detector.seconds

    def note_outcome(self, node: int, outcome: Outcome, asked_at: float, now: float) -> None:
        """Note the outcome of a request that a node was asked at that time."""
        if not isinstance(outcome, AskFailed):
            self.detector.answered(node, asked_at, now)
            if self._doubted or self._unreachable:
                self._doubted.discard(node)
                self._unreachable.discard(node)
        elif not isinstance(outcome, AskTimeout):
            self.detector.gone(node)
            self._doubted.discard(node)
            self._unreachable.add(node)
