"""When a node is started again, given up or told to end, with no process and no second spent."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.clock import ManualClock
from actors.runtime import Runtime
from actors.supervision import Backoff, RestartPolicy
from actors.transport.loopback import LoopbackNetwork
from raft.embedding.errors import NodeError, NodeFailed, NodeRefused, NodeRemoved
from raft.embedding.node_supervisor import Keeper, Leader, Stop
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
from tests.cluster.test_supervisor import FakeChild, FakeForkServer

RESTARTS = RestartPolicy(max_restarts=2, window_seconds=30.0, backoff=Backoff(first_seconds=1.0, jitter=0.0))


class RememberingForkServer(FakeForkServer):
    """Keeps what its children were told."""

    def __init__(self) -> None:
        super().__init__()
        self.configs: list[NodeConfig] = []

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> FakeChild:
        self.configs.append(NodeConfig.decode(argument))
        return super().spawn(target, argument, log_path=log_path)


class Desk:
    """A keeper, whoever listens to it, and a clock that is moved by hand."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(100.0)
        self.network = LoopbackNetwork(self.clock)
        self.fork_server = RememberingForkServer()
        self.words_path = directory / "n1.log.out"
        plan = plan_of(
            1,
            "tcp://127.0.0.1:7001",
            directory / "n1",
            {"restarts": RESTARTS, "log_path": directory / "n1.log"},
        )
        self.ups = 0
        self.leaders: list[Leader | None] = []
        self.ends: list[NodeError | None] = []
        self.keeper = Keeper(plan, self.fork_server, self)
        self.runtime = self._join(SUPERVISOR.process)
        self.node = self._join("n1")
        self.node.transport.connect(SUPERVISOR.process, "")
        self.runtime.spawn(lambda: self.keeper, SUPERVISOR.actor)
        self.turn()

    def _join(self, name: str) -> Runtime:
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
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.fork_server.close()


def test_a_node_that_died_is_started_again_after_a_wait(desk: Desk) -> None:
    desk.come_up()
    desk.end(-signal.SIGKILL)
    desk.turn(0.9)
    assert len(desk.fork_server.children) == 1
    desk.turn(0.2)
    assert len(desk.fork_server.children) == 2
    desk.come_up()
    assert (desk.ups, desk.ends) == (2, [])


def test_one_that_dies_again_and_again_is_given_up_with_its_last_words(desk: Desk) -> None:
    desk.come_up()
    for _ in range(RESTARTS.max_restarts):
        desk.end(EXIT_FAILED)
        desk.turn(5.0)
    desk.words_path.write_text("something\nthe node has failed: it is raining in\n")
    desk.end(EXIT_FAILED)
    (error,) = desk.ends
    assert isinstance(error, NodeFailed)
    assert str(error) == (
        "node 1 was given up after 2 restarts within 30 s: the node has failed: it is raining in"
    )
    desk.turn(60.0)
    assert len(desk.fork_server.children) == 1 + RESTARTS.max_restarts


def test_one_that_refuses_its_first_start_is_not_started_again(desk: Desk) -> None:
    desk.child.born()
    desk.words_path.write_text("the node cannot start: the port is taken\n")
    desk.end(EXIT_REFUSED)
    (error,) = desk.ends
    assert isinstance(error, NodeRefused)
    assert str(error) == "the node cannot start: the port is taken"


def test_one_that_was_up_and_then_refuses_is_tried_again_for_the_port_may_come_free(desk: Desk) -> None:
    desk.come_up()
    desk.end(-signal.SIGKILL)
    desk.turn(2.0)
    desk.end(EXIT_REFUSED)
    desk.turn(5.0)
    assert len(desk.fork_server.children) == 3
    assert desk.ends == []


@pytest.mark.parametrize("code", [EXIT_CORRUPT, EXIT_LOG_MISSING])
def test_lost_or_damaged_data_is_nobody_s_to_try_again(desk: Desk, code: int) -> None:
    desk.come_up()
    desk.end(code)
    (error,) = desk.ends
    assert isinstance(error, NodeRefused)


def test_a_member_that_was_removed_ends_for_good(desk: Desk) -> None:
    desk.come_up()
    desk.end(EXIT_REMOVED)
    (error,) = desk.ends
    assert isinstance(error, NodeRemoved)


def test_only_the_first_start_may_find_an_empty_directory(desk: Desk) -> None:
    desk.come_up()
    desk.end(-signal.SIGKILL)
    desk.turn(2.0)
    assert [config.first_start for config in desk.fork_server.configs] == [True, False]


def test_the_listener_hears_of_each_leader_and_of_none_once_the_node_is_dead(desk: Desk) -> None:
    desk.come_up()
    desk.tell(SawLeader(1, 3, 2, desk.clock.now()))
    desk.tell(SawLeader(1, 3, 2, desk.clock.now()))
    desk.tell(SawLeader(1, 4, 1, desk.clock.now()))
    desk.end(-signal.SIGKILL)
    assert desk.leaders == [Leader(2, 3), Leader(1, 4), None]


def test_what_was_lost_on_its_way_is_learnt_from_the_next_sign_of_life(desk: Desk) -> None:
    desk.child.born()
    desk.turn()
    desk.alive(3, 2)
    desk.alive(3, 2)
    assert desk.ups == 1
    desk.alive(4, 0)
    assert desk.leaders == [Leader(2, 3), None]


def test_what_an_earlier_life_has_said_does_not_count(desk: Desk) -> None:
    desk.come_up()
    late = SawLeader(1, 3, 2, desk.clock.now())
    desk.end(-signal.SIGKILL)
    desk.turn(2.0)
    desk.tell(late)
    assert desk.leaders == []


def test_a_node_is_asked_to_end_and_killed_only_if_it_does_not(desk: Desk) -> None:
    desk.come_up()
    child = desk.child
    child.kill = lambda number=signal.SIGKILL: child.signals.append(number) is None  # type: ignore[method-assign]
    desk.stop()
    desk.stop()
    assert child.signals == [signal.SIGTERM]
    desk.turn(5.1)
    assert child.signals == [signal.SIGTERM, signal.SIGKILL]
    desk.end(-signal.SIGKILL)
    assert desk.ends == [None]


def test_a_node_that_is_asked_to_end_before_it_exists_ends_when_it_does(desk: Desk) -> None:
    desk.stop()
    assert desk.ends == []
    desk.child.born()
    desk.turn()
    assert desk.child.signals == [signal.SIGTERM]
    assert desk.ends == [None]


def test_a_node_that_waits_to_be_started_again_ends_at_once_and_stays_ended(desk: Desk) -> None:
    desk.come_up()
    desk.end(-signal.SIGKILL)
    desk.stop()
    assert desk.ends == [None]
    desk.turn(60.0)
    assert len(desk.fork_server.children) == 1


def test_a_node_whose_loop_stands_still_is_killed_and_started_again(desk: Desk) -> None:
    desk.come_up()
    for _ in range(20):
        desk.turn(0.5)
        desk.alive()
    assert desk.fork_server.children[0].signals == []
    for _ in range(7):
        desk.turn(1.0)
    assert desk.fork_server.children[0].signals == [signal.SIGKILL]
    assert len(desk.fork_server.children) == 2


def test_a_program_that_stood_still_itself_does_not_blame_the_node(desk: Desk) -> None:
    desk.come_up()
    desk.turn(1.0)
    desk.clock.advance(60.0)
    desk.turn()
    assert desk.fork_server.children[0].signals == []


def test_a_node_that_recovers_a_long_log_is_given_the_time(desk: Desk) -> None:
    desk.child.born()
    for _ in range(60):
        desk.turn(1.0)
    assert desk.fork_server.children[0].signals == []


def test_without_its_fork_server_a_node_is_given_up(desk: Desk) -> None:
    desk.come_up()
    desk.fork_server.ended = True
    desk.fork_server.tell(FakeChild(desk.fork_server, 1))
    desk.turn()
    (error,) = desk.ends
    assert isinstance(error, NodeFailed)
