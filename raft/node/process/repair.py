"""How a node whose log was damaged leaves its cluster and joins it anew, under the same id.

Owns the conversation with the leader: removed first, then a learner, and a voter once it has caught up.
Knows nothing of what becomes of the log; why this order is sound is said in `opening`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from actors.actor import Actor, Handlers
from actors.errors import AskFailed
from actors.runtime import Runtime
from actors.transport import curve
from actors.transport.zeromq import ZeroMqTransport
from raft.core.types import NO_NODE, NodeId
from raft.node.config import NodeConfig
from raft.protocol.client import (
    AddLearner,
    LeaderIs,
    MemberChange,
    Members,
    NotLeader,
    Promote,
    Remove,
    WhoLeads,
)
from raft.protocol.registry import REGISTRY, address_of, process_of

REJOIN_SECONDS_MAX = 4.0
ASK_SECONDS = 1.0
AGAIN_SECONDS = 0.1


class CannotRejoin(Exception):
    """The cluster could not be asked, or did not do as asked; it may be worth another try."""


def rejoin(config: NodeConfig) -> Members:
    """Leave the cluster and join it as a learner; returns what the leader said then.

    Blocks for up to `REJOIN_SECONDS_MAX`, then raises CannotRejoin; TransportError for keys that cannot be
    used. May be repeated at any point.
    """
    # As a stranger: who speaks under the node's own name might be taken for the member that it was. Its key
    # lets it speak under names that begin like its own.
    name = f"{process_of(config.node)}.repair-{os.getpid()}"
    keys = curve.load(Path(config.keys)) if config.keys else None
    transport = ZeroMqTransport(name, 1, cluster=config.cluster, keys=keys, waits_for_welcome=True)
    runtime = Runtime(name, transport=transport, registry=REGISTRY)
    for peer, endpoint in config.peers.items():
        transport.connect(process_of(peer), endpoint)
    try:
        conversation = _Conversation(runtime, sorted(config.peers))
        conversation.have_done(Remove(config.node))
        return conversation.have_done(AddLearner(config.node, config.address, blank=True))
    finally:
        runtime.stop()
        runtime.run()


class _Conversation:
    """Try with each leader in turn, within the time limit."""

    def __init__(self, runtime: Runtime, peers: list[NodeId]) -> None:
        self._runtime = runtime
        self._peers = peers
        self._until = runtime.clock.now() + REJOIN_SECONDS_MAX
        self._turn = 0

    def have_done(self, change: MemberChange) -> Members:
        """Ask until the change is made."""
        to: NodeId | None = None
        said = "no member answers"
        while self._runtime.clock.now() < self._until:
            answer = self._ask(to or self._next_peer(), change)
            if isinstance(answer, Members):
                return answer
            to = answer.leader if isinstance(answer, NotLeader) and answer.leader in self._peers else None
            said = getattr(answer, "reason", "") or said
            if to is None:
                self._runtime.run_until(lambda: False, AGAIN_SECONDS)
        raise CannotRejoin(f"the cluster did not do {type(change).__name__} for this node: {said}")

    def _next_peer(self) -> NodeId:
        self._turn += 1
        return self._peers[self._turn % len(self._peers)]

    def _ask(self, peer: NodeId, change: MemberChange) -> object:
        pending = self._runtime.ask(address_of(peer), change, ASK_SECONDS)
        self._runtime.run_until(pending, ASK_SECONDS + AGAIN_SECONDS)
        try:
            return pending.result()
        except AskFailed:
            return None


class Promotion(Actor):
    """Asks for a vote until the node has one, and then calls `promoted` and stops."""

    def __init__(self, node: NodeId, promoted: Callable[[], None]) -> None:
        self._node = node
        self._promoted = promoted

    def on_start(self) -> None:
        """Begin to ask."""
        self._again()

    def _again(self) -> None:
        self.context.after(AGAIN_SECONDS, self._look_for_leader)

    def _look_for_leader(self) -> None:
        pending = self.context.ask(address_of(self._node), WhoLeads(), ASK_SECONDS)
        pending.then(self._ask, lambda _failure: self._again())

    def _ask(self, answer: object) -> None:
        if not isinstance(answer, LeaderIs) or answer.leader == NO_NODE:
            self._again()
            return
        pending = self.context.ask(address_of(answer.leader), Promote(self._node), ASK_SECONDS)
        pending.then(self._judge, lambda _failure: self._again())

    def _judge(self, answer: object) -> None:
        if isinstance(answer, Members) and self._node in answer.voters:
            self._promoted()
            self.context.stop()
        else:
            self._again()

    handlers: ClassVar[Handlers] = {}
