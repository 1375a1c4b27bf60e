"""A supervisor with no process and no second spent: a fork server that pretends, a clock moved by hand."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

from actors.address import Address
from actors.clock import ManualClock
from actors.codec import Registry
from actors.failures.crash_reports import CrashReport
from actors.runtime import Runtime
from actors.transport.loopback import LoopbackNetwork
from raft.cluster.cluster import Cluster
from raft.cluster.records.events import Event, EventLog
from raft.cluster.records.journal import Journal
from raft.cluster.rpc import messages
from raft.cluster.rundir import RunDirectory
from raft.cluster.spec import ClusterRecord, ClusterSpec, NodeRecord
from raft.cluster.supervisor import Ending, SupervisorActor
from raft.protocol.admin import Alive, BecameLeader, NodeUp, Report, SawLeader
from raft.protocol.registry import SUPERVISOR, TAGS

NODES = 3


class FakeChild:
    """A process that does what it is told, and nothing else."""

    def __init__(self, server: FakeForkServer, pid: int) -> None:
        self._server = server
        self._pid = pid
        self.pid: int | None = None
        self.returncode: int | None = None
        self.error: Exception | None = None
        self.signals: list[int] = []
        self.ends_on = {signal.SIGKILL, signal.SIGTERM}

    def born(self) -> None:
        self.pid = self._pid
        self._server.tell(self)

    def kill(self, number: int = signal.SIGKILL) -> bool:
        if self.returncode is not None:
            return False
        self.signals.append(number)
        if number in self.ends_on:
            self.end(-number if number == signal.SIGKILL else 0)
        return True

    def end(self, returncode: int) -> None:
        self.returncode = returncode
        self._server.tell(self)

    def close(self) -> None:
        pass


class FakeForkServer:
    """Answers in the order of asking; its descriptor is readable while there are answers."""

    ended = False

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._answers: list[FakeChild] = []
        self.children: list[FakeChild] = []

    def fileno(self) -> int:
        return self._read

    def tell(self, child: FakeChild) -> None:
        self._answers.append(child)
        os.write(self._write, b".")

    def receive(self) -> list[FakeChild]:
        answers, self._answers = self._answers, []
        if answers:
            os.read(self._read, 4096)
        return answers

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> FakeChild:
        child = FakeChild(self, 4_000_000 + len(self.children))
        self.children.append(child)
        return child

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class FakeRoster:
    """The record of the members, without a disk."""

    def __init__(self) -> None:
        self.last_id = NODES
        self.members: list[int] = []

    def reserve_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def change_members(self, members: list[int]) -> None:
        self.members = members


class Lab:
    """A supervisor, a process that sends it verbs, and a clock that is moved by hand."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(100.0)
        self.network = LoopbackNetwork(self.clock)
        self.crashes: list[CrashReport] = []
        self._senders: dict[int, Runtime] = {}
        self.fork_server = FakeForkServer()
        self.ending = Ending()
        self.roster = FakeRoster()
        run_directory = RunDirectory(directory)
        self.journal = Journal(EventLog(directory / "events.jsonl"), started_seconds=100.0)
        nodes = [NodeRecord(id=node, endpoint=f"ipc:///n{node}", log="") for node in range(1, NODES + 1)]
        record = ClusterRecord(
            name="lab",
            cluster="lab",
            pid=1,
            started_seconds=100.0,
            data_dir=str(directory),
            log_dir=str(directory),
            events="",
            spec=ClusterSpec(nodes=NODES),
            nodes=nodes,
        )
        self.cluster = Cluster(record, run_directory, self.journal, random.Random(1))
        self.registry = Registry({**TAGS, **messages.VERB_TAGS})
        self.runtime = self.join("launcher", self.registry)
        self.asker = self.join("asker", self.registry)
        self.asker.transport.connect("launcher", "")
        self.runtime.spawn(
            lambda: SupervisorActor(
                self.cluster,
                self.fork_server,
                lambda _node: b"",
                self.runtime.stop,
                self.ending,
                self.roster,
            ),
            SUPERVISOR.actor,
        )
        self.turn()

    def join(self, name: str, registry: Registry) -> Runtime:
        transport = self.network.transport(name)
        return self.network.join(
            Runtime(
                name,
                transport=transport,
                registry=registry,
                clock=self.clock,
                random=random.Random(1),
                on_crash=self.crashes.append,
            )
        )

    def turn(self, seconds: float = 0.0) -> None:
        """Let everything happen that is due, answers of the fork server included."""
        for _ in range(3):
            if not self.runtime.stopped:
                self.runtime.run_turn(0.0)
            self.network.settle()
        if seconds:
            self.network.advance(seconds)
            self.turn()

    def tell(self, report: Report) -> None:
        """Let the node itself report."""
        self.sender_of(report.node).tell(SUPERVISOR, report)
        self.turn()

    def sender_of(self, node: int) -> Runtime:
        if node not in self._senders:
            self._senders[node] = self.join(f"n{node}", self.registry)
            self._senders[node].transport.connect("launcher", "")
        return self._senders[node]

    def ask(self, verb: object) -> Any:
        pending = self.asker.ask(Address("launcher", "supervisor"), verb, 100.0)
        self.turn()
        return pending.result() if pending.done else None

    def child(self, node: int) -> FakeChild:
        child = self.cluster.nodes[node].child
        assert isinstance(child, FakeChild)
        return child

    def bring_up(self, node: int) -> None:
        self.child(node).born()
        self.turn()
        pid = self.child(node).pid
        assert pid is not None
        self.tell(NodeUp(node, 1, pid, self.clock.now()))

    def alive(self, node: int, term: int = 0, leader: int = 0) -> None:
        now = self.clock.now()
        self.tell(Alive(node, 1, self.child(node).pid or 0, term, leader, now, now))

    def lead(self, node: int, term: int) -> None:
        self.tell(BecameLeader(node, term, 0, 2, NODES, 0.01, "timeout", self.clock.now()))
        for follower in self.cluster.nodes:
            self.tell(SawLeader(follower, term, node, self.clock.now()))

    def live(self, seconds: float, *silent: int) -> None:
        """Time passes, and all that are up but the silent say that they are alive."""
        for _ in range(round(seconds / 0.5)):
            self.turn(0.5)
            for node in self.cluster.nodes.values():
                if node.id not in silent and node.child is not None and node.is_up:
                    self.alive(node.id)

    def states(self) -> list[str]:
        return [node.state.value for node in self.cluster.nodes.values()]

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.journal.events if type(event).__struct_config__.tag == kind]
