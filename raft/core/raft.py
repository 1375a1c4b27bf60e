"""One Raft node as a value machine (signatures first; the behaviour follows)."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from raft.core.changes import AnyConfChange
from raft.core.config import Config
from raft.core.messages import Message
from raft.core.ready import Ready
from raft.core.types import ConfState, HardState, Index, NodeId, SoftState, Storage, Term

Observer = Callable[[str, "Raft", Any], None]


class ProgressStatus(msgspec.Struct, frozen=True):
    """How far a leader knows one peer to be."""

    match: Index
    next: Index
    state: str  # "probe", "replicate" or "snapshot"
    is_learner: bool
    paused: bool
    pending_snapshot: Index
    recently_active: bool
    inflight: int
    inflight_full: bool


class Status(msgspec.Struct, frozen=True):
    """What a node can tell about itself."""

    id: NodeId
    hard_state: HardState
    soft_state: SoftState
    applied: Index
    last_index: Index
    configuration: ConfState
    transferee: NodeId
    progress: dict[NodeId, ProgressStatus]


class Raft:
    """A core."""

    id: NodeId
    term: Term
    vote: NodeId
    leader: NodeId
    randomized_election_ticks: int

    def __init__(
        self,
        config: Config,
        storage: Storage,
        random: random_module.Random,
        observer: Observer | None = None,
    ) -> None: ...

    def tick(self) -> None:
        """Let one tick pass."""

    def step(self, message: Message) -> None:
        """Take a message; raises StepRefused (PeerNotFound) or, for a Propose, ProposalDropped."""

    def propose(self, data: bytes) -> None:
        """Append or forward one command; raises ProposalDropped."""

    def propose_batch(self, commands: Sequence[bytes]) -> tuple[Index, Term]:
        """Append many; returns (first index, term), (0, 0) if they were forwarded."""
        raise NotImplementedError

    def propose_conf_change(self, change: AnyConfChange, *, expected: ConfState | None = None) -> None:
        """Propose a change; raises ConfChangeRefused at once, or ProposalDropped."""

    def apply_conf_change(self, change: AnyConfChange, index: Index | None = None) -> ConfState:
        """Apply a committed change; `index` is its entry's."""
        raise NotImplementedError

    def campaign(self) -> None:
        """Start an election."""

    def transfer_leader(self, to: NodeId) -> None:
        """Hand leadership over."""

    def read_index(self, context: bytes) -> None:
        """Ask for a linearizable read; answered in Ready.read_states."""

    def forget_leader(self) -> None:
        """Forget the leader, so that a vote can be granted."""

    def report_unreachable(self, node: NodeId) -> None:
        """A message to `node` was lost."""

    def report_snapshot(self, node: NodeId, ok: bool) -> None:
        """A snapshot to `node` was delivered, or was not."""

    def has_ready(self) -> bool:
        """Whether there is anything to do."""
        raise NotImplementedError

    def ready(self) -> Ready:
        """Hand out what there is to do."""
        raise NotImplementedError

    def advance(self, ready: Ready) -> None:
        """Tell that a Ready has been dealt with (synchronous mode only)."""

    def status(self) -> Status:
        """Describe the node."""
        raise NotImplementedError
