"""A cluster of node actors in one process: loopback network, manual clock, disks that wait on request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from actors.actor import Actor
from actors.asks import Pending
from actors.clock import ManualClock
from actors.failures.supervision import RestartPolicy
from actors.runtime import Runtime
from actors.transport.faults import Fault, FaultyTransport
from actors.transport.loopback import LoopbackNetwork
from raft.client.calls import store
from raft.core.raft import Raft
from raft.core.types import Role, Snapshot
from raft.machines.application import Application
from raft.node.config import NodeConfig
from raft.node.environment import NodeEnvironment, bootstrap
from raft.node.leadership.peer_processes import Pledge
from raft.node.local import Leave
from raft.node.node import Node
from raft.node.requests.recent import LINES_KEPT, Ring
from raft.node.requests.relay import Relay
from raft.node.worker import InlineWorker, WorkDone
from raft.protocol.admin import Report
from raft.protocol.client import Command, Consistency, Query
from raft.protocol.registry import REGISTRY, RELAY_ACTOR, Process, address_of, process_of
from raft.storage.errors import SnapshotDamaged
from raft.storage.memory import MemoryStorage
from raft.storage.snapshots import is_sound


class MemoryLog(MemoryStorage):
    """A log that survives a node's process in these tests, if it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[Any, Any, Any]] = []
        self.fail: Exception | None = None

    def write(self, hard_state: Any, entries: Any, snapshot: Any) -> None:
        if self.fail is not None:
            raise self.fail
        self.writes.append((hard_state, list(entries), snapshot))

    def check_room(self) -> None:
        if self.fail is not None:
            raise self.fail

    def draft(self, head: Snapshot, size: int) -> MemoryDraft:
        if self.fail is not None:
            raise self.fail
        return MemoryDraft(head)

    def sweep(self) -> None:
        """Nothing is kept."""

    def write_snapshot(self, snapshot: Snapshot, rest: Callable[[], None]) -> None:
        if self.fail is not None:
            raise self.fail
        rest()

    def accept_snapshot(self, snapshot: Snapshot) -> None:
        if snapshot.index > self.snapshot().index:
            self.create_snapshot(snapshot.index, snapshot.conf_state, snapshot.data, snapshot.checksum)

    def distrust(self, index: int) -> None:
        """What is in memory does not change."""

    def accept_compaction(self, index: int) -> None:
        if index >= self.first_index():
            self.compact(index)

    def release(self, index: int) -> None:
        """Nothing is kept on a disk."""

    def accept(self, hard_state: Any, entries: Any, snapshot: Any) -> None:
        if snapshot is not None:
            self.apply_snapshot(snapshot)
        if entries:
            self.append(entries)
        if hard_state is not None:
            self.set_hard_state(hard_state)


class MemoryDraft:
    """A snapshot that comes in pieces."""

    def __init__(self, head: Snapshot) -> None:
        self.head = head
        self.data = b""
        self.discarded = False

    def add(self, data: bytes) -> None:
        self.data += data

    def finish(self) -> Snapshot:
        head = self.head
        snapshot = Snapshot(head.index, head.term, head.conf_state, self.data, head.checksum)
        if not is_sound(snapshot):
            raise SnapshotDamaged(head.index, "when all of it had arrived")
        return snapshot

    def discard(self) -> None:
        self.discarded = True


class Events:
    """A journal that keeps what is written."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.texts: list[str] = []

    def event(self, event: str, message: str, **values: object) -> None:
        self.names.append(event)
        self.texts.append(message)


class WatchedProcess:
    """One process of a member, on the same machine; its end can be seen as long as `proofs` says so."""

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process

    def has_ended(self, wait_milliseconds: int = 0) -> bool:
        member = self._cluster.members[self._process.pid]
        goes_on = member.incarnation == self._process.incarnation and self._cluster.is_up(member)
        return self._cluster.proofs and not goes_on

    def close(self) -> None:
        """Nothing is held."""


class Endings:
    """What one member's machine knows of the others' processes."""

    def __init__(self, cluster: Cluster, node: int) -> None:
        self._cluster = cluster
        self._node = node

    def own(self, incarnation: int) -> Process | None:
        machine = self._cluster.machine_of(self._node)
        return Process(machine, self._node, incarnation, incarnation) if machine else None

    def watch(self, process: Process) -> WatchedProcess | None:
        same = process.machine == self._cluster.machine_of(self._node)
        return WatchedProcess(self._cluster, process) if same else None


class Record:
    """What a member has written down of its last pledge."""

    def __init__(self) -> None:
        self.pledge: Pledge | None = None
        self.full = False

    def read(self) -> Pledge | None:
        return self.pledge

    def write(self, pledge: Pledge) -> bool:
        if not self.full:
            self.pledge = pledge
        return not self.full


class Member:
    """One node's process."""

    def __init__(
        self, cluster: Cluster, node: int, *, join: bool = False, founders: Iterable[int] | None = None
    ) -> None:
        self.cluster = cluster
        self.node = node
        self.join = join
        self.founders = cluster.ids if founders is None else list(founders)
        self.log: Any = cluster.make_log()
        self.record = Record()
        self.incarnation = 0
        self.start()

    def start(self) -> None:
        self.incarnation += 1
        cluster = self.cluster
        others = [n for n in self.founders if n != self.node]
        self.config = NodeConfig(
            node=self.node,
            listen=f"ipc:///n{self.node}",
            data_dir="/nowhere",
            peers={other: f"ipc:///n{other}" for other in others},
            join=self.join,
            **{**cluster.options, **cluster.options_of.get(self.node, {})},
        )
        self.transport = FaultyTransport(
            cluster.network.transport(process_of(self.node)),
            random=Random(self.node),
            clock=cluster.clock,
        )
        self.runtime = Runtime(
            process_of(self.node),
            transport=self.transport,
            registry=REGISTRY,
            clock=cluster.clock,
            random=Random(self.node),
            supervision=RestartPolicy(max_restarts=0),
            on_crash=cluster.crashes.append,
        )
        bootstrap(self.log, self.config)
        self.machine = cluster.make_machine()
        self.events = Events()
        self.log_lines = Ring(LINES_KEPT)
        self.actor = Node(
            NodeEnvironment(
                config=self.config,
                incarnation=self.incarnation,
                store=self.log,
                machine=self.machine,
                random=Random(f"{cluster.seed}:{self.node}:{self.incarnation}"),
                journal=self.events,
                disk_worker=self._disk_worker,
                apply_worker=self._apply_worker if cluster.apply_on_worker else None,
                leave=self.runtime.stop,
                endings=Endings(cluster, self.node),
                pledges=self.record,
                log_lines=self.log_lines,
            )
        )
        self.runtime.spawn(lambda: self.actor, "raft")
        self.runtime.spawn(lambda: Relay(self.node), RELAY_ACTOR)
        cluster.network.join(self.runtime)

    def _disk_worker(self, post: Callable[[WorkDone], None]) -> InlineWorker:
        self.disk = InlineWorker(post)
        return self.disk

    def _apply_worker(self, post: Callable[[WorkDone], None]) -> InlineWorker:
        self.applying = InlineWorker(post)
        return self.applying

    @property
    def raft(self) -> Raft:
        return self.actor.components.raft

    def kill(self) -> None:
        self.cluster.network.crash(process_of(self.node))

    def stop(self) -> None:
        self.runtime.post(address_of(self.node), Leave())

    def cut(self, *others: int) -> None:
        for other in others:
            self.transport.add(Fault(to=process_of(other), cut=True))

    def heal(self) -> None:
        self.transport.clear()


class Cluster:
    """Members 1..n, one outside process that asks, and the time."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        seed: int = 1,
        machine: Callable[[], Application] = Application,
        apply_on_worker: bool = False,
        machines: dict[int, str] | None = None,
        options_of: dict[int, dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """`machines` names those on which processes can be watched, by node; without, none can."""
        self.machine_of = (lambda _node: "") if machines is None else (lambda node: machines.get(node, ""))
        self.options_of = options_of or {}
        self.proofs = True
        self.seed = seed
        self.options = options
        self.make_machine = machine
        self.apply_on_worker = apply_on_worker
        self.clock = ManualClock(1000.0)
        self.network = LoopbackNetwork(self.clock)
        self.crashes: list[Any] = []
        self.ids = list(range(1, nodes + 1))
        self.client = self.process("client")
        self.members = {node: Member(self, node) for node in self.ids}
        for node in self.ids:
            self.client.transport.connect(process_of(node), f"ipc:///n{node}")

    def make_log(self) -> Any:
        """What a member keeps; its processes come and go."""
        return MemoryLog()

    def process(self, name: str) -> Runtime:
        transport = self.network.transport(name)
        runtime = Runtime(name, transport=transport, registry=REGISTRY, clock=self.clock, random=Random(0))
        return self.network.join(runtime)

    def join(self, node: int, *known: int) -> Member:
        """Start a node that no other node knows, and that knows those that it is told of."""
        member = self.members[node] = Member(self, node, join=True, founders=known)
        self.client.transport.connect(process_of(node), f"ipc:///n{node}")
        self.network.settle()
        return member

    def begin(self, node: int, *founders: int) -> Member:
        """Start a node that begins a cluster of its own with those founders, or alone."""
        member = self.members[node] = Member(self, node, founders=founders or (node,))
        self.client.transport.connect(process_of(node), f"ipc:///n{node}")
        self.network.settle()
        return member

    def __getitem__(self, node: int) -> Member:
        return self.members[node]

    def alive(self) -> list[Member]:
        return [
            member for member in self.members.values() if not member.runtime.stopped and self.is_up(member)
        ]

    def is_up(self, member: Member) -> bool:
        return process_of(member.node) in self.network.ends

    def leaders(self) -> list[int]:
        return [member.node for member in self.alive() if member.raft.role is Role.LEADER]

    def advance(self, seconds: float) -> None:
        self.network.advance(seconds)
        assert not self.crashes, self.crashes[0].traceback

    def until(self, done: Callable[[], bool], seconds: float = 10.0) -> float:
        """The simulated seconds it took."""
        start = self.clock.now()
        assert self.network.run_until(done, seconds), f"not within {seconds} simulated seconds"
        assert not self.crashes, self.crashes[0].traceback
        return self.clock.now() - start

    def agree(self, nodes: Iterable[int] | None = None) -> bool:
        """All of them follow one living leader."""
        members = [self[node] for node in nodes] if nodes else self.alive()
        leaders = {member.raft.leader for member in members}
        return len(leaders) == 1 and leaders.issubset(member.node for member in members)

    def elect(self) -> int:
        self.until(self.agree)
        self.network.settle()
        return self.leaders()[0]

    def followers(self) -> list[int]:
        return [member.node for member in self.alive() if member.raft.role is not Role.LEADER]

    def ask(self, node: int, message: object, timeout_seconds: float = 5.0) -> Pending[Any]:
        pending = self.client.ask(address_of(node), message, timeout_seconds)
        self.network.settle()
        return pending

    def answer(self, node: int, message: object, seconds: float = 5.0) -> Any:
        pending = self.ask(node, message, seconds)
        self.until(lambda: pending.done, seconds + 0.1)
        return pending.result()

    def put(self, node: int, key: bytes, value: bytes) -> Any:
        return self.answer(node, command(key, value))

    def get(self, node: int, key: bytes, consistency: Consistency = Consistency.LINEARIZABLE) -> Any:
        return self.answer(node, query(key, consistency))


def command(key: bytes, value: bytes) -> Command:
    return Command(store.put_request(key, value))


def query(key: bytes, consistency: Consistency = Consistency.LINEARIZABLE) -> Query:
    return Query(store.get_request(key), consistency)


def value_in(answer: Any) -> bytes | None:
    return store.value_of(answer.result)


class Supervisor:
    """A stand-in for the launcher, which keeps every report."""

    def __init__(self, cluster: Cluster) -> None:
        reports: list[Report] = []

        class Keeper(Actor):
            handlers = {kind: lambda self, message: reports.append(message) for kind in Report.__args__}

        self.reports = reports
        self.runtime = cluster.process("launcher")
        self.runtime.spawn(Keeper, "supervisor")

    def of(self, kind: type) -> list[Any]:
        return [report for report in self.reports if type(report) is kind]
