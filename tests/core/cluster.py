"""A few servers and a network under the test's control, for tests that proceed step by step.

Owns which servers are cut off. Messages keep their order, and equal tests run equally.
"""

from collections.abc import Iterable
from contextlib import suppress
from random import Random

from raft.core.config import Config
from raft.core.errors import ProposalDropped, StepRefused
from raft.core.messages import Message
from raft.core.types import ConfState, Entry, EntryKind, Index, NodeId, Role, Snapshot, Term
from tests.core.servers import Server

ELECTION_TICKS = 5
START_INDEX = 2


def start_snapshot(voters: Iterable[NodeId], learners: Iterable[NodeId] = ()) -> Snapshot:
    """The common first state: index 2 of term 1, no data."""
    return Snapshot(START_INDEX, 1, ConfState(voters=tuple(voters), learners=tuple(learners)))


def new_server(
    node: NodeId = 1, voters: Iterable[NodeId] = (1, 2, 3), learners: Iterable[NodeId] = (), **options: object
) -> Server:
    """One server of a cluster whose others exist only as senders of messages."""
    options.setdefault("election_ticks", ELECTION_TICKS)
    config = Config(id=node, **options)  # type: ignore[arg-type]
    return Server(config, start_snapshot(voters, learners), Random(1))


def newcomer(node: NodeId, **options: object) -> Server:
    """A server that has never heard of any cluster."""
    options.setdefault("election_ticks", ELECTION_TICKS)
    return Server(Config(id=node, **options), Snapshot(), Random(1))  # type: ignore[arg-type]


def entry(term: Term, index: Index, data: bytes = b"x") -> Entry:
    return Entry(term, index, EntryKind.NORMAL, data)


class Cluster:
    """Servers by id, and the messages between them."""

    def __init__(self, *voters: NodeId, learners: Iterable[NodeId] = (), **options: object) -> None:
        learners = tuple(learners)
        self.servers = {each: new_server(each, voters, learners, **options) for each in (*voters, *learners)}
        self.wire: list[Message] = []
        self.delivered: list[Message] = []
        self.cut_off: set[NodeId] = set()

    def __getitem__(self, node: NodeId) -> Server:
        return self.servers[node]

    def add(self, server: Server) -> None:
        self.servers[server.id] = server

    def collect(self) -> list[Message]:
        """Let every server do its work; the new messages go on the wire and are returned."""
        fresh = [message for server in self.servers.values() for message in server.run_until_idle()]
        self.wire += fresh
        return fresh

    def deliver(self) -> None:
        """Deliver what is on the wire; what goes to or comes from a server that is cut off is lost."""
        batch, self.wire = self.wire, []
        for message in batch:
            self.deliver_one(message)

    def deliver_one(self, message: Message) -> None:
        if {message.sender, message.to} & self.cut_off or message.to not in self.servers:
            return
        self.delivered.append(message)
        with suppress(StepRefused, ProposalDropped):
            self.servers[message.to].core.step(message)

    def settle(self) -> None:
        """Deliver message by message, each server doing its work at once, until nothing is left to do."""
        self.collect()
        while self.wire:
            self.deliver_one(self.wire.pop(0))
            self.collect()

    def elect(self, node: NodeId) -> Server:
        """Make one server the leader, by an election of its own."""
        self[node].core.campaign()
        self.settle()
        assert self[node].core.role is Role.LEADER, f"{node} was not elected"
        return self[node]

    def propose(self, node: NodeId, *commands: bytes) -> None:
        for command in commands:
            self[node].core.propose(command)
        self.settle()

    def tick(self, ticks: int, *nodes: NodeId) -> None:
        """Let time pass at some servers, at all if none are named, one tick at a time."""
        for _ in range(ticks):
            for node in nodes or self.servers:
                self[node].core.tick()
            self.settle()

    def cut(self, *nodes: NodeId) -> None:
        self.cut_off |= set(nodes)

    def heal(self) -> None:
        self.cut_off.clear()

    def leaders(self) -> list[NodeId]:
        return [node for node, server in self.servers.items() if server.core.role is Role.LEADER]


def sent(messages: Iterable[Message], kind: type, to: NodeId | None = None) -> list[Message]:
    """The messages of one kind, perhaps only those to one node."""
    return [each for each in messages if isinstance(each, kind) and to in (None, each.to)]
