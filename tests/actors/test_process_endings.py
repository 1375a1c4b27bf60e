"""How systems of processes end, and what is said when something in them does."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import Backoff, CrashReport, ProcessSystem, RestartPolicy, Runtime
from actors.errors import (
    ActorsError,
    BadAddress,
    GaveUp,
    RuntimeStopped,
    TargetDown,
    TransportError,
    Undeliverable,
)
from actors.processes.child import process_alive
from tests.actors.players import TAGS, Ask, Hopeless, Order, Player
from tests.actors.world import REGISTRY, World
from tests.processes.shell import until

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[2]


def descriptors() -> int:
    gc.collect()  # What other tests have left to be collected.
    return len(list(Path("/proc/self/fd").iterdir()))


def thread_count() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_closing_lets_every_actor_say_goodbye(tmp_path: Path) -> None:
    goodbye = tmp_path / "goodbye"
    with ProcessSystem(TAGS) as system:
        for name in ("alice", "bob"):
            system.ask(system.spawn_process(Player, name, arguments={"goodbye": str(goodbye)}), Ask())
    assert goodbye.read_text() == "goodbye\n" * 2
    with pytest.raises(RuntimeStopped, match="closed"):
        system.ask(system.runtime.office.itself, Ask())


def test_a_name_can_be_used_again_and_its_next_process_is_heard_at_once() -> None:
    with ProcessSystem(TAGS) as system:
        bob = system.spawn_process(Player, "bob")
        for _ in range(20):
            assert system.ask(bob, Ask()).incarnation == 1
        system.stop_process("bob")
        assert system.run_until(lambda: "bob" not in system.processes)
        with pytest.raises(Undeliverable, match="exited with code 0, and is not started again"):
            system.ask(bob, Ask())
        assert system.ask(system.spawn_process(Player, "bob"), Ask()).incarnation == 2


def test_sys_exit_in_a_handler_is_told_to_the_asker_and_costs_no_process() -> None:
    crashes: list[CrashReport] = []
    with ProcessSystem(TAGS, on_crash=crashes.append) as system:
        bob = system.spawn_process(Player, "bob")
        pid = system.ask(bob, Ask()).pid
        with pytest.raises(TargetDown, match="SystemExit"):
            system.ask(bob, Order("sys.exit"), timeout_seconds=60.0)
        assert system.ask(bob, Ask()).pid == pid
        assert system.run_until(lambda: bool(crashes))
        assert crashes[0].error == "SystemExit: 0"
        with pytest.raises(TargetDown, match="Unregistered has no tag"):
            system.ask(bob, Order("fly"), timeout_seconds=60.0)


def test_a_process_that_cannot_begin_is_given_up_with_its_exit_code_and_last_words() -> None:
    policy = RestartPolicy(max_restarts=1, backoff=Backoff(first_seconds=0.01))
    with ProcessSystem(TAGS, supervision=policy, on_crash=lambda report: None) as system:
        system.spawn_process(Hopeless, "bob")
        with pytest.raises(GaveUp, match=r"exited with code 7, after saying: no licence for this machine"):
            system.run_until(lambda: False, 60.0)


def test_a_process_that_hangs_is_killed_and_started_again() -> None:
    policy = RestartPolicy(backoff=Backoff(first_seconds=0.01))
    with ProcessSystem(TAGS, supervision=policy, unresponsive_seconds=0.5) as system:
        bob = system.spawn_process(Player, "bob")
        system.tell(bob, Order("hang"))
        assert system.run_until(lambda: system.runtime.peers.get("bob") == 2)


def test_a_bad_argument_is_refused_at_once_and_the_name_stays_free() -> None:
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"arguments": {"nmae": "x"}}, ActorsError, "unexpected keyword argument 'nmae'"),
        ({"arguments": {"name": object()}}, ActorsError, "cannot be sent"),
        ({"connect": "alice"}, TypeError, "a tuple"),
    ]
    with ProcessSystem(TAGS) as system:
        for more, error, said in cases:
            with pytest.raises(error, match=said):
                system.spawn_process(Player, "bob", **more)
            assert system.processes == ()
        with pytest.raises(Undeliverable, match="no process of that name was started"):
            system.wait_for("bob")
        system.spawn_process(Player, "bob")


def test_another_thread_is_told_at_once_to_whom_a_system_belongs() -> None:
    said: list[str] = []

    def use(call: Callable[[], object]) -> None:
        with pytest.raises(ActorsError, match="belongs to the thread") as raised:
            call()
        said.append(str(raised.value))

    with ProcessSystem(TAGS) as system:
        bob = system.spawn_process(Player, "bob")
        calls = [lambda: system.ask(bob, Ask()), lambda: system.tell(bob, Ask()), system.close]
        threads = [threading.Thread(target=use, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
        assert len(said) == 3
        assert "runtime.post" in said[0]
        assert system.ask(bob, Ask()).incarnation == 1


def test_a_turn_within_a_turn_is_an_error_and_no_hang() -> None:
    world = World()
    runtime = world.process("a")
    address, _ = world.probe(runtime)
    raised: list[str] = []

    def turn(probe: object) -> None:
        try:
            runtime.run_turn()
        except ActorsError as error:
            raised.append(str(error))

    world.do(runtime, address, turn)
    assert "in the middle of a turn" in raised[0]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"tags": {0: Ask}}, ValueError),
        ({"tags": {1: type("Local", (), {"__qualname__": "f.<locals>.Local"})}}, ActorsError),
        ({"name": "a b"}, BadAddress),
        ({"supervision": "all"}, TypeError),
        ({"log_directory": Path("/nowhere")}, TransportError),
        ({"on_crash": "print"}, TypeError),
        ({"unresponsive_seconds": 0}, ValueError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_system_that_is_refused_has_started_nothing(
    arguments: dict[str, Any], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = descriptors()
    with pytest.raises(error):
        ProcessSystem(**{"tags": TAGS, **arguments})
    gc.collect()
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_a_system_whose_fork_server_cannot_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        ProcessSystem(TAGS)
    gc.collect()
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_a_system_without_descriptors_is_refused_with_a_reason_and_not_by_an_abort() -> None:
    code = (
        "import os, resource; from actors import ProcessSystem; from actors.errors import TransportError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "try: ProcessSystem({})\n"
        "except TransportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ulimit -n" in done.stdout


def test_nothing_leaks_over_many_systems_with_children_that_live() -> None:
    counts, pids = [], []
    threads = thread_count()
    for _ in range(3):
        with ProcessSystem(TAGS) as system:
            pids.append(system.ask(system.spawn_process(Player, "bob"), Ask()).pid)
        counts.append(descriptors())
    assert len(set(counts)) == 1
    assert not any(process_alive(pid) for pid in pids)
    # The system still lists a thread for a moment after it has been joined.
    until(lambda: thread_count() <= threads)


def test_systems_that_are_never_closed_end_when_they_are_collected() -> None:
    code = (
        "import gc, os, sys; from actors import ProcessSystem; from tests.actors.players import *\n"
        "pids = []\n"
        "def forget():\n"
        "    system = ProcessSystem(TAGS)\n"
        "    pids.append(system.ask(system.spawn_process(Player, 'bob'), Ask()).pid)\n"
        "count = lambda: len(os.listdir('/proc/self/fd'))\n"
        "before = count()\n"
        "forget(); gc.collect()\n"
        "print(before, count(), *pids)\n"
    )
    command = [sys.executable, "-W", "always", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    before, after, *pids = (int(word) for word in done.stdout.split())
    assert before == after
    assert len(re.findall("a ProcessSystem was never closed", done.stderr)) == 1
    # Their fork server has ended them when it ends itself, for which a collection does not wait.
    until(lambda: not any(process_alive(pid) for pid in pids))


def test_a_runtime_that_is_never_closed_hangs_no_collection(tmp_path: Path) -> None:
    from actors.transport.zeromq import ZeroMqTransport

    tmp_path.chmod(0o700)
    before = descriptors()

    def forget() -> None:
        transport = ZeroMqTransport("n1", 1, cluster="test", endpoint=f"ipc://{tmp_path}/n1")
        transport.connect("n2", f"ipc://{tmp_path}/n2")
        runtime = Runtime("n1", transport=transport, registry=REGISTRY)
        transport.add_reader(os.eventfd(0), runtime.stop)

    with pytest.warns(ResourceWarning, match="never closed"):
        forget()
        gc.collect()
    assert descriptors() == before + 1, "but for the reader's own"
