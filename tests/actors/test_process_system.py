"""Actors in processes of their own, started, killed, restarted and given up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import Backoff, CrashReport, Inspect, ProcessSystem, RestartPolicy, Strategy
from actors.errors import ActorsError, AskFailed, GaveUp, NameTaken, TransportError, UnknownActor
from actors.processes.child import process_alive
from tests.actors.players import TAGS, Ask, Hopeless, Order, Player, State

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[2]
QUICK = RestartPolicy(backoff=Backoff(first_seconds=0.01))


@pytest.fixture
def crashes() -> list[CrashReport]:
    return []


@pytest.fixture
def system(crashes: list[CrashReport]) -> Iterator[ProcessSystem]:
    with ProcessSystem(TAGS, supervision=QUICK, on_crash=crashes.append) as system:
        yield system


def test_the_example_of_two_processes_runs() -> None:
    command = [sys.executable, str(ROOT / "examples" / "two_processes.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    before, after = (re.findall(r"\d+", line) for line in run.stdout.splitlines())
    assert len(before) == len(after) == 2
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert run.stderr == ""


def test_a_process_that_is_killed_is_started_again_under_its_address(system: ProcessSystem) -> None:
    bob = system.spawn_process(Player, "bob", arguments={"name": "Bob"})
    first: State = system.ask(bob, Ask())
    assert first.pid != os.getpid()
    assert (first.name, first.incarnation) == ("Bob", 1)
    system.kill_process("bob")
    second: State = system.ask(bob, Ask())
    assert second.pid != first.pid
    assert (second.name, second.incarnation, second.starts) == ("Bob", 2, 1)
    assert not process_alive(first.pid)


def test_a_process_that_exits_badly_is_started_again(system: ProcessSystem) -> None:
    bob = system.spawn_process(Player, "bob")
    system.tell(bob, Order("exit"))
    assert system.run_until(lambda: system.runtime.peers.get("bob") == 2)
    assert system.ask(bob, Ask()).incarnation == 2


def test_an_ask_ends_as_soon_as_its_process_dies(system: ProcessSystem) -> None:
    bob = system.spawn_process(Player, "bob")
    system.wait_for("bob")
    with pytest.raises(AskFailed, match="bob"):
        system.ask(bob, Order("exit"), timeout_seconds=30.0)


def test_an_actor_that_crashes_is_restarted_in_its_process_and_its_parent_hears_why(
    system: ProcessSystem, crashes: list[CrashReport]
) -> None:
    bob = system.spawn_process(Player, "bob")
    pid = system.ask(bob, Ask()).pid
    system.tell(bob, Order("crash"))
    assert system.run_until(lambda: bool(crashes))
    assert (crashes[0].address, crashes[0].error) == (bob, "RuntimeError: as ordered")
    state: State = system.ask(bob, Ask())
    assert (state.pid, state.incarnation, state.starts) == (pid, 1, 2)


def test_an_actor_that_fails_too_often_takes_its_process_along_and_both_begin_anew(
    system: ProcessSystem,
) -> None:
    bob = system.spawn_process(Player, "bob")
    for _ in range(6):
        system.tell(bob, Order("crash"))
    assert system.run_until(lambda: system.runtime.peers.get("bob") == 2)
    assert system.ask(bob, Ask()).starts == 1


def test_a_process_ends_with_its_actor_and_stays_ended(system: ProcessSystem, tmp_path: Path) -> None:
    goodbye = tmp_path / "goodbye"
    bob = system.spawn_process(Player, "bob", arguments={"goodbye": str(goodbye)})
    pid = system.ask(bob, Ask()).pid
    system.tell(bob, Order("stop"))
    assert system.run_until(lambda: not process_alive(pid))
    assert goodbye.read_text() == "goodbye\n"
    # The name is free again as soon as the end is known here.
    assert system.run_until(lambda: "bob" not in system.processes)


def test_a_process_is_stopped_kindly(system: ProcessSystem, tmp_path: Path) -> None:
    goodbye = tmp_path / "goodbye"
    bob = system.spawn_process(Player, "bob", arguments={"goodbye": str(goodbye)})
    pid = system.ask(bob, Ask()).pid
    system.stop_process("bob")
    assert system.run_until(lambda: "bob" not in system.processes)
    assert not process_alive(pid)
    assert goodbye.read_text() == "goodbye\n"


def test_one_for_all_restarts_every_process() -> None:
    policy = RestartPolicy(strategy=Strategy.ONE_FOR_ALL, backoff=Backoff(first_seconds=0.01))
    with ProcessSystem(TAGS, supervision=policy) as system:
        addresses = [system.spawn_process(Player, name) for name in ("alice", "bob")]
        for address in addresses:
            system.ask(address, Ask())
        system.kill_process("bob")
        assert system.run_until(lambda: dict(system.runtime.peers) == {"alice": 2, "bob": 2})


def test_a_process_that_fails_too_often_is_given_up(crashes: list[CrashReport]) -> None:
    policy = RestartPolicy(max_restarts=2, backoff=Backoff(first_seconds=0.01))
    with ProcessSystem(TAGS, supervision=policy, on_crash=crashes.append) as system:
        hopeless = system.spawn_process(Hopeless, "bob")
        with pytest.raises(GaveUp, match="bob ended after 2 restarts"):
            system.run_until(lambda: False)
        with pytest.raises(GaveUp):
            system.ask(hopeless, Ask())


def test_an_actor_can_be_inspected_in_its_process(system: ProcessSystem) -> None:
    bob = system.spawn_process(Player, "bob")
    system.ask(bob, Ask())  # Before that it might still be starting.
    info = system.ask(bob, Inspect())
    assert (info.address, info.state, info.behaviour) == (bob, "running", ("Ask", "Order"))


def test_nothing_is_left_when_a_system_is_closed() -> None:
    with ProcessSystem(TAGS) as system:
        pid = system.ask(system.spawn_process(Player, "bob"), Ask()).pid
        directory = system.directory
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not process_alive(pid)
    assert not directory.exists()
    system.close()


def test_nothing_is_left_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os; from actors import ProcessSystem; from tests.actors.players import *\n"
        "system = ProcessSystem(TAGS)\n"
        "bob = system.spawn_process(Player, 'bob')\n"
        "print(system.ask(bob, Ask()).pid, system._fork_server.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT)
    deadline = time.monotonic() + 10.0
    while any(process_alive(int(pid)) for pid in run.stdout.split()) and time.monotonic() < deadline:
        os.sched_yield()
    assert time.monotonic() < deadline
    assert list(tmp_path.iterdir()) == []


def test_a_directory_whose_name_is_too_long_for_sockets_is_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(TransportError):
        ProcessSystem(TAGS)
    assert list(long.iterdir()) == []


def test_what_cannot_be_started_is_refused(system: ProcessSystem) -> None:
    class Local(Player):
        pass

    with pytest.raises(ActorsError, match="local to a function"):
        system.spawn_process(Local, "bob")
    system.spawn_process(Player, "bob")
    for name in ("bob", "parent"):
        with pytest.raises(NameTaken):
            system.spawn_process(Player, name)
    with pytest.raises(ActorsError):
        system.spawn_process(Player, "b/o/b")
    with pytest.raises(UnknownActor):
        system.stop_process("alice")
