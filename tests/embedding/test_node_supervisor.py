"""When a node is restarted, given up or stopped; without processes or real time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.clock import ManualClock
from actors.failures.supervision import Backoff, RestartPolicy
from actors.runtime import Runtime
from actors.transport.loopback import LoopbackNetwork
from raft.embedding.errors import NodeError, NodeFailed, NodeRefused, NodeRemoved
from raft.embedding.node_supervisor import Leader, NodeSupervisor, Stop
from raft.embedding.settings import plan_of
from raft.node.config import (
    EXIT_CORRUPT,
    EXIT_FAILED,
    EXIT_LOG_MISSING,
    EXIT_REFUSED,
    EXIT_REMOVED,
    NodeConfig,
)
from raft.protocol.admin import Alive, NodeUp, SawLeader
from raft.protocol.registry import REGISTRY, SUPERVISOR
from tests.cluster.supervisor_lab import FakeChild, FakeForkServer

RESTARTS = RestartPolicy(max_restarts=2, window_seconds=30.0, backoff=Backoff(first_seconds=1.0, jitter=0.0))


class RememberingForkServer(FakeForkServer):
    """Keeps what its children were told."""

    def __init__(self) -> None:
        super().__init__()
        self.configs: list[NodeConfig] = []

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> FakeChild:
        self.configs.append(NodeConfig.decode(argument))
        return super().spawn(target, argument, log_path=log_path)


class Rig:
    """A supervisor, its listener, and a clock that is moved by hand."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(100.0)
        self.network = LoopbackNetwork(self.clock)
        self.fork_server = RememberingForkServer()
        self.output_path = directory / "n1.log.out"
        plan = plan_of(
            1,
            "tcp://127.0.0.1:7001",
            directory / "n1",
            {"restarts": RESTARTS, "log_path": directory / "n1.log"},
        )
        self.ups = 0
        self.leaders: list[Leader | None] = []
        self.ends: list[NodeError | None] = []
        self.supervisor = NodeSupervisor(plan, self.fork_server, self)
        self.runtime = self.join(SUPERVISOR.process)
        self.node = self.join("n1")
        self.node.transport.connect(SUPERVISOR.process, "")
        self.runtime.spawn(lambda: self.supervisor, SUPERVISOR.actor)
        self.turn()

    def join(self, name: str) -> Runtime:
        transport = self.network.transport(name)
        return self.network.join(Runtime(name, transport=transport, registry=REGISTRY, clock=self.clock))

    def up(self) -> None:
        self.ups += 1

    def leader_changed(self, leader: Leader | None) -> None:
        self.leaders.append(leader)

    def ended(self, error: NodeError | None) -> None:
        self.ends.append(error)

    def turn(self, seconds: float = 0.0) -> None:
        for _ in range(3):
            self.runtime.run_turn(0.0)
            self.network.settle()
        if seconds:
            self.network.advance(seconds)
            self.turn()

    @property
    def child(self) -> FakeChild:
        return self.fork_server.children[-1]

    def come_up(self) -> None:
        self.child.born()
        self.turn()
        self.tell(NodeUp(1, 1, 4711, self.clock.now()))

    def alive(self, term: int = 0, leader: int = 0) -> None:
        now = self.clock.now()
        self.tell(Alive(1, 1, 4711, term, leader, now, now))

    def tell(self, report: object) -> None:
        self.node.tell(SUPERVISOR, report)
        self.turn()

    def end(self, code: int) -> None:
        self.child.end(code)
        self.turn()

    def stop(self) -> None:
        self.runtime.tell(SUPERVISOR, Stop())
        self.turn()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.fork_server.close()


def test_a_node_that_died_is_started_again_after_a_wait(rig: Rig) -> None:
    rig.come_up()
    rig.end(-signal.SIGKILL)
    rig.turn(0.9)
    assert len(rig.fork_server.children) == 1
    rig.turn(0.2)
    assert len(rig.fork_server.children) == 2
    rig.come_up()
    assert (rig.ups, rig.ends) == (2, [])


def test_a_node_that_dies_repeatedly_is_given_up_with_its_last_output(rig: Rig) -> None:
    rig.come_up()
    for _ in range(RESTARTS.max_restarts):
        rig.end(EXIT_FAILED)
        rig.turn(5.0)
    rig.output_path.write_text("something\nthe node has failed: it is raining in\n")
    rig.end(EXIT_FAILED)
    (error,) = rig.ends
    assert isinstance(error, NodeFailed)
    assert str(error) == (
        "node 1 was given up after 2 restarts within 30 s: the node has failed: it is raining in"
    )
    rig.turn(60.0)
    assert len(rig.fork_server.children) == 1 + RESTARTS.max_restarts


def test_a_node_that_refuses_its_first_start_is_not_restarted(rig: Rig) -> None:
    rig.child.born()
    rig.output_path.write_text("the node cannot start: the port is taken\n")
    rig.end(EXIT_REFUSED)
    (error,) = rig.ends
    assert isinstance(error, NodeRefused)
    assert str(error) == "the node cannot start: the port is taken"


def test_a_node_that_was_up_and_then_refuses_is_restarted_as_the_port_may_become_free(rig: Rig) -> None:
    rig.come_up()
    rig.end(-signal.SIGKILL)
    rig.turn(2.0)
    rig.end(EXIT_REFUSED)
    rig.turn(5.0)
    assert len(rig.fork_server.children) == 3
    assert rig.ends == []


@pytest.mark.parametrize("code", [EXIT_CORRUPT, EXIT_LOG_MISSING])
def test_a_node_with_lost_or_damaged_data_is_not_restarted(rig: Rig, code: int) -> None:
    rig.come_up()
    rig.end(code)
    (error,) = rig.ends
    assert isinstance(error, NodeRefused)


def test_a_member_that_was_removed_ends_for_good(rig: Rig) -> None:
    rig.come_up()
    rig.end(EXIT_REMOVED)
    (error,) = rig.ends
    assert isinstance(error, NodeRemoved)


def test_only_the_first_start_may_find_an_empty_directory(rig: Rig) -> None:
    rig.come_up()
    rig.end(-signal.SIGKILL)
    rig.turn(2.0)
    assert [config.first_start for config in rig.fork_server.configs] == [True, False]


def test_the_listener_gets_each_leader_and_none_once_the_node_is_dead(rig: Rig) -> None:
    rig.come_up()
    rig.tell(SawLeader(1, 3, 2, rig.clock.now()))
    rig.tell(SawLeader(1, 3, 2, rig.clock.now()))
    rig.tell(SawLeader(1, 4, 1, rig.clock.now()))
    rig.end(-signal.SIGKILL)
    assert rig.leaders == [Leader(2, 3), Leader(1, 4), None]


def test_a_lost_report_is_made_up_for_by_the_next_alive(rig: Rig) -> None:
    rig.child.born()
    rig.turn()
    rig.alive(3, 2)
    rig.alive(3, 2)
    assert rig.ups == 1
    rig.alive(4, 0)
    assert rig.leaders == [Leader(2, 3), None]


def test_reports_of_an_earlier_process_are_ignored(rig: Rig) -> None:
    rig.come_up()
    late = SawLeader(1, 3, 2, rig.clock.now())
    rig.end(-signal.SIGKILL)
    rig.turn(2.0)
    rig.tell(late)
    assert rig.leaders == []


def test_a_node_is_asked_to_end_and_killed_only_if_it_does_not(rig: Rig) -> None:
    rig.come_up()
    child = rig.child
    child.kill = lambda number=signal.SIGKILL: child.signals.append(number) is None  # type: ignore[method-assign]
    rig.stop()
    rig.stop()
    assert child.signals == [signal.SIGTERM]
    rig.turn(5.1)
    assert child.signals == [signal.SIGTERM, signal.SIGKILL]
    rig.end(-signal.SIGKILL)
    assert rig.ends == [None]


def test_a_node_that_is_asked_to_end_before_it_exists_ends_when_it_does(rig: Rig) -> None:
    rig.stop()
    assert rig.ends == []
    rig.child.born()
    rig.turn()
    assert rig.child.signals == [signal.SIGTERM]
    assert rig.ends == [None]


def test_a_node_that_waits_to_be_started_again_ends_at_once_and_stays_ended(rig: Rig) -> None:
    rig.come_up()
    rig.end(-signal.SIGKILL)
    rig.stop()
    assert rig.ends == [None]
    rig.turn(60.0)
    assert len(rig.fork_server.children) == 1


def test_a_hung_node_is_killed_and_restarted(rig: Rig) -> None:
    rig.come_up()
    for _ in range(20):
        rig.turn(0.5)
        rig.alive()
    assert rig.fork_server.children[0].signals == []
    for _ in range(7):
        rig.turn(1.0)
    assert rig.fork_server.children[0].signals == [signal.SIGKILL]
    assert len(rig.fork_server.children) == 2


def test_a_stall_of_the_program_itself_does_not_kill_the_node(rig: Rig) -> None:
    rig.come_up()
    rig.turn(1.0)
    rig.clock.advance(60.0)
    rig.turn()
    assert rig.fork_server.children[0].signals == []


def test_a_node_that_recovers_a_long_log_is_given_the_time(rig: Rig) -> None:
    rig.child.born()
    for _ in range(60):
        rig.turn(1.0)
    assert rig.fork_server.children[0].signals == []


def test_without_its_fork_server_a_node_is_given_up(rig: Rig) -> None:
    rig.come_up()
    rig.fork_server.ended = True
    rig.fork_server.tell(FakeChild(rig.fork_server, 1))
    rig.turn()
    (error,) = rig.ends
    assert isinstance(error, NodeFailed)
