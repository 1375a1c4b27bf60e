"""The state of a Raft node that all roles share, and the queues of what it sends.

Owns the fields, their values at a start, and `send`, `send_when_durable` and `notify`. Knows nothing of
what moves a node from one role to another, and imports no module that decides: those import this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

from raft.core import trace
from raft.core.config import Config
from raft.core.log import Log
from raft.core.messages import DurableReply, Message, ReadIndex, StorageAppendReply, StorageApplyReply
from raft.core.read_queue import ReadQueue
from raft.core.tracker import Tracker
from raft.core.types import (
    NO_NODE,
    HardState,
    Index,
    NodeId,
    ReadState,
    Role,
    SoftState,
    Storage,
    Term,
)

Handlers = Mapping[type, "Callable[[RaftState, Any], None]"]
Roles = Mapping[Role, "tuple[Handlers, Callable[[RaftState], None]]"]
"""For each role: the handler of each kind of message, and what a tick does."""


class Observer(Protocol):
    """Called for each event while the core is in the state to be recorded; must not change the core."""

    def __call__(self, event: str, raft: RaftState, detail: trace.Detail) -> None:
        """Record an event; `detail` is a message, the change or the new configuration, by the event."""
        ...


class RaftState:
    """The fields of a Raft node. Only the modules of `raft.core` write them."""

    __slots__ = (
        "_roles",
        "able_to_lead",
        "after_append",
        "config",
        "election_elapsed",
        "handlers",
        "handover_index",
        "heartbeat_elapsed",
        "held_reads",
        "id",
        "leader",
        "lease_ticks",
        "log",
        "messages",
        "observer",
        "on_tick",
        "pending_conf_index",
        "pledge_tick",
        "pledged_to",
        "previous_hard_state",
        "previous_soft_state",
        "random",
        "randomized_election_ticks",
        "read_states",
        "reads",
        "removal_known",
        "restored_index",
        "role",
        "steps_on_advance",
        "term",
        "ticks",
        "tracker",
        "transferee",
        "uncommitted_size",
        "vote",
    )

    def __init__(
        self, config: Config, storage: Storage, random: Random, observer: Observer | None, roles: Roles
    ) -> None:
        """Set every field to its value before anything is loaded: a follower in term 0."""
        self.config = config
        self.id: NodeId = config.id
        self.random = random
        self.observer = observer
        self.term: Term = 0
        self.vote: NodeId = NO_NODE
        self.leader: NodeId = NO_NODE
        self.role = Role.FOLLOWER
        self.able_to_lead = True  # Set by the caller: False keeps this node from campaigning, and no more.
        self.log = Log(storage, config.applying_size_max, applies_unstable=not config.async_storage_writes)
        self.tracker = Tracker(config.max_inflight_msgs, config.max_inflight_bytes)
        self.reads = ReadQueue()
        self.held_reads: list[ReadIndex] = []
        self.read_states: list[ReadState] = []
        self.messages: list[Message] = []
        self.after_append: list[DurableReply] = []
        self.steps_on_advance: list[DurableReply | StorageAppendReply | StorageApplyReply] = []
        self.ticks = config.election_ticks  # Not from 0, which stands for never.
        # A pledge may have been given before this start.
        self.pledge_tick = self.ticks if config.leases else 0
        self.pledged_to: NodeId = NO_NODE  # An unknown node.
        self.lease_ticks = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_ticks = 0
        self.transferee: NodeId = NO_NODE
        self.pending_conf_index: Index = 0
        # Set while this node leads without a vote: once it is applied, a quorum of the others knows that.
        self.handover_index: Index = 0
        self.removal_known = False  # This node led when it was removed, and until a quorum knew of it.
        self.uncommitted_size = 0
        self.restored_index: Index = self.log.first_index() - 1
        # What the last Ready said of them: only changes are handed out.
        self.previous_soft_state = SoftState(self.leader, self.role)
        self.previous_hard_state = HardState()
        self._roles = roles
        self.handlers: Handlers
        self.on_tick: Callable[[RaftState], None]
        self.use_role_tables()

    def use_role_tables(self) -> None:
        """Dispatch by the tables of the current role from now on."""
        self.handlers, self.on_tick = self._roles[self.role]

    def send(self, message: Message) -> None:
        """Queue a message that may leave before anything is durable."""
        self.messages.append(message)
        if self.observer is not None:
            self._notify_sent(message)

    def send_when_durable(self, message: DurableReply) -> None:
        """Queue a reply that must not leave before the state it acknowledges is durable."""
        self.after_append.append(message)
        if self.observer is not None:
            self._notify_sent(message)

    def _notify_sent(self, message: Message) -> None:
        event = trace.SEND_EVENTS.get(type(message))
        if event is not None and self.observer is not None:
            self.observer(event, self, message)

    def notify(self, event: str, detail: trace.Detail = None) -> None:
        """Call the observer, if there is one."""
        if self.observer is not None:
            self.observer(event, self, detail)
