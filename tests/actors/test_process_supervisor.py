"""Which processes are stopped, started and given up, with a fork server that is played by the test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import CrashReport, Restart, RestartPolicy, Strategy
from actors.errors import ActorsError, GaveUp, TransportError, UnknownActor
from actors.processes.child import SpawnFailed
from actors.processes.supervisor import LocalPlaces, ProcessPlan, ProcessSupervisor
from tests.actors.world import AT_ONCE, World


class PlayedChild:
    """A process that ends when the test says so."""

    def __init__(self, server: PlayedForkServer, name: str, incarnation: int) -> None:
        self.server = server
        self.name = name
        self.incarnation = incarnation
        self.stopped = False
        self.signals: list[int] = []
        self.returncode: int | None = None
        self.error: Exception | None = None
        self.closed = False

    def stop(self, kill_after_seconds: float) -> None:
        self.stopped = True

    def kill(self, signal_number: int) -> bool:
        self.signals.append(signal_number)
        return True

    def wait_started(self, timeout_seconds: float) -> int:
        return 1

    def close(self) -> None:
        self.closed = True

    def end(self, returncode: int) -> None:
        self.returncode = returncode
        self.server.tell(self)


class PlayedForkServer:
    gone = False

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._changed: list[PlayedChild] = []
        self.children: list[PlayedChild] = []

    def fileno(self) -> int:
        return self._bell

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> PlayedChild:
        import msgspec

        told = msgspec.msgpack.decode(argument)
        self.children.append(PlayedChild(self, told["process"], told["incarnation"]))
        return self.children[-1]

    def tell(self, child: PlayedChild) -> None:
        self._changed.append(child)
        os.eventfd_write(self._bell, 1)

    def receive(self) -> list[PlayedChild]:
        os.eventfd_read(self._bell)
        changed, self._changed = self._changed, []
        return changed

    def close(self) -> None:
        os.close(self._bell)

    @property
    def alive(self) -> list[str]:
        """Who runs: name and incarnation, in the order in which they were started."""
        return [f"{child.name}{child.incarnation}" for child in self.children if child.returncode is None]

    def last(self, name: str) -> PlayedChild:
        return [child for child in self.children if child.name == name][-1]


class House:
    """A supervisor of played processes."""

    def __init__(self, directory: Path, policy: RestartPolicy, **more: Any) -> None:
        self.world = World()
        self.server = PlayedForkServer()
        self.directory = directory
        self.crashes: list[CrashReport] = []
        self.supervisor = ProcessSupervisor(
            self.server,  # type: ignore[arg-type]
            LocalPlaces(directory, "parent"),
            directory,
            {},
            policy,
            self.crashes.append,
            **more,
        )
        self.runtime = self.world.process("parent")
        self.runtime.spawn(lambda: self.supervisor, "processes", restart=Restart.TEMPORARY)
        self.world.settle()

    def add(self, *names: str) -> None:
        for name in names:
            self.supervisor.add(ProcessPlan(name=name, actor="x:Y", arguments={}, connect=()))

    def end(self, name: str, returncode: int) -> None:
        self.server.last(name).end(returncode)
        self.turn()

    def turn(self) -> None:
        for _ in range(3):
            self.runtime.run_turn()
        self.world.settle()


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    policy, more = getattr(request, "param", (RestartPolicy(backoff=AT_ONCE), {}))
    house = House(tmp_path, policy, **more)
    yield house
    house.server.close()


def strategy(which: Strategy) -> tuple[RestartPolicy, dict[str, Any]]:
    return RestartPolicy(strategy=which, backoff=AT_ONCE), {}


@pytest.mark.parametrize("house", [strategy(Strategy.ONE_FOR_ALL)], indirect=True)
def test_one_for_all_starts_none_before_all_have_ended(house: House) -> None:
    house.add("a", "b", "c")
    house.end("b", 1)
    assert house.server.alive == ["a1", "c1"]
    assert all(house.server.last(name).stopped for name in "ac")
    house.end("a", 0)
    assert house.server.alive == ["c1"]
    house.end("c", -signal.SIGKILL)
    assert house.server.alive == ["a2", "b2", "c2"]


@pytest.mark.parametrize("house", [strategy(Strategy.REST_FOR_ONE)], indirect=True)
def test_rest_for_one_starts_none_before_those_behind_it_have_ended(house: House) -> None:
    house.add("a", "b", "c")
    house.end("b", 1)
    assert house.server.alive == ["a1", "c1"]
    assert [house.server.last(name).stopped for name in "ac"] == [False, True]
    house.end("c", 0)
    assert house.server.alive == ["a1", "b2", "c2"]


@pytest.mark.parametrize("house", [strategy(Strategy.REST_FOR_ONE)], indirect=True)
def test_a_second_failure_while_others_still_end_waits_for_all_of_them(house: House) -> None:
    house.add("a", "b", "c", "d")
    house.end("c", 1)
    house.end("b", 1)
    assert house.server.alive == ["a1", "d1"]
    house.end("d", 0)
    assert house.server.alive == ["a1", "b2", "c2", "d2"]


@pytest.mark.parametrize("house", [strategy(Strategy.ONE_FOR_ALL)], indirect=True)
def test_a_process_that_is_stopped_for_good_while_all_are_restarted_stays_away(house: House) -> None:
    house.add("a", "b", "c")
    house.end("b", 1)
    house.supervisor.remove("a")
    house.supervisor.remove("b")
    house.end("a", 0)
    house.end("c", 0)
    assert house.server.alive == ["c2"]
    assert house.supervisor.processes == ("c",)


def test_incarnations_go_on_counting_for_a_name(house: House) -> None:
    house.add("a")
    house.supervisor.remove("a")
    house.end("a", 0)
    assert house.supervisor.processes == ()
    house.add("a")
    house.end("a", 1)
    assert [child.incarnation for child in house.server.children] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "plan", "error"),
    [
        ("a", {"arguments": {"x": object()}}, ActorsError),
        ("a", {"arguments": {"x": "\ud800"}}, ActorsError),
        ("a" * 64, {"connect": ("b" * 64,)}, TransportError),
    ],
)
def test_nothing_is_left_of_a_process_that_is_refused(
    tmp_path: Path, name: str, plan: dict[str, Any], error: type[Exception]
) -> None:
    long = tmp_path / ("x" * max(0, 60 - len(str(tmp_path))))
    house = House(long, RestartPolicy())
    with pytest.raises(error):
        house.supervisor.add(
            ProcessPlan(**{"name": name, "actor": "x:Y", "arguments": {}, "connect": (), **plan})
        )
    assert house.supervisor.processes == ()
    assert house.server.children == []
    if name == "a":
        house.add(name)
        assert house.server.alive == ["a1"]
    house.server.close()


def test_giving_up_says_how_the_last_incarnation_ended_and_what_it_said(tmp_path: Path) -> None:
    house = House(tmp_path, RestartPolicy(max_restarts=1, backoff=AT_ONCE))
    log = tmp_path / "a.log"
    log.write_text("of an earlier incarnation\n")
    house.add("a")
    house.end("a", -signal.SIGSEGV)
    with log.open("a") as written:
        written.write("ImportError: no such module\n")
    house.end("a", 7)
    (crash,) = house.world.crashes
    assert "a ended after 1 restarts" in crash.error
    assert "exited with code 7, after saying: ImportError: no such module" in crash.error
    assert isinstance(GaveUp(crash.error), GaveUp)
    house.server.close()


def test_a_process_that_cannot_be_forked_is_tried_again_as_one_that_failed(house: House) -> None:
    house.add("a", "b")
    child = house.server.last("a")
    child.error = SpawnFailed("OSError: out of memory")
    child.server.tell(child)
    house.turn()
    assert house.server.alive == ["a1", "b1", "a2"]
    assert "out of memory" in house.supervisor.explain("a")


def test_it_is_known_how_a_process_has_ended(house: House) -> None:
    assert house.supervisor.explain("a") == "no process of that name was started"
    house.add("a", "b")
    assert house.supervisor.explain("a") == "it is still starting"
    house.end("a", 0)
    assert house.supervisor.explain("a") == "it exited with code 0, and is not started again"
    with pytest.raises(UnknownActor, match="exited with code 0"):
        house.supervisor.remove("a")
    house.end("b", -signal.SIGKILL)
    assert house.supervisor.explain("b") == "it was killed by SIGKILL; it was started 2 times"


def test_the_end_of_the_supervisor_stops_every_process(house: House) -> None:
    house.add("a", "b")
    house.runtime.stop()
    house.world.settle()
    assert all(child.stopped for child in house.server.children)


@pytest.mark.parametrize(
    "house", [(RestartPolicy(backoff=AT_ONCE), {"unresponsive_seconds": 8.0})], indirect=True
)
def test_a_process_that_answers_nothing_for_so_long_is_killed_and_started_again(house: House) -> None:
    house.add("a")
    for _ in range(3):
        house.world.advance(2.0)
    child = house.server.last("a")
    assert child.signals == []
    house.world.advance(2.0)
    assert child.signals == [signal.SIGKILL]
    child.end(-signal.SIGKILL)
    house.turn()
    assert house.server.alive == ["a2"]
    assert "as it did not answer for 8 seconds" in house.supervisor.explain("a")


@pytest.mark.parametrize(
    "house", [(RestartPolicy(backoff=AT_ONCE), {"unresponsive_seconds": 8.0})], indirect=True
)
def test_a_supervisor_that_stood_still_itself_blames_no_process(house: House) -> None:
    house.add("a")
    house.world.clock.advance(60.0)
    house.world.settle()
    house.world.advance(6.0)
    assert house.server.last("a").signals == []


def test_a_process_that_answers_is_left_alone(tmp_path: Path) -> None:
    house = House(tmp_path, RestartPolicy(), unresponsive_seconds=8.0)
    house.add("a")
    peer = house.world.process("a", "parent")
    house.world.probe(peer, "main")
    house.world.advance(60.0)
    assert house.server.last("a").signals == []
    house.server.close()
