"""Whose turn it is on a connection that threads share, with a runtime of which each turn is scripted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

from actors.clock import ManualClock
from raft.client.calls.steps import Outcome, Step, Wait
from raft.client.shared_connection import SharedConnection

FOR_EVER_SECONDS = 3600.0


class ScriptedRuntime:
    """`turn` is called for each turn, `wake` by each thread that comes while another one drives."""

    def __init__(self) -> None:
        self.stopped = False
        self.peers: dict[str, int] = {}
        self.clock = ManualClock()
        self.turn: Callable[[], None] = lambda: None
        self.wake: Callable[[], None] = lambda: None
        self.transport = SimpleNamespace(wake=lambda: self.wake())

    def flush(self) -> None:
        """Nothing is ever sent."""

    def run_turn(self, _seconds: float | None) -> None:
        self.turn()


def connection() -> tuple[SharedConnection, ScriptedRuntime]:
    runtime = ScriptedRuntime()
    process_connection: Any = SimpleNamespace(runtime=runtime, check_process=lambda: None)
    return SharedConnection(process_connection, lambda _ask: None), runtime  # type: ignore[arg-type, return-value]


def wait_once() -> Generator[Step, Outcome, str]:
    yield Wait(FOR_EVER_SECONDS)
    return "done"


def test_a_wait_ends_as_soon_as_a_node_can_be_reached_that_could_not() -> None:
    shared, runtime = connection()
    turns = []

    def turn() -> None:
        turns.append(runtime.clock.now())
        if len(turns) == 3:
            runtime.peers["n2"] = 1
        runtime.stopped = len(turns) > 3

    runtime.turn = turn
    assert shared.run_call(wait_once()) == "done"
    assert len(turns) == 3


def test_a_call_within_a_call_of_the_same_thread_is_an_error_and_no_hang() -> None:
    shared, runtime = connection()

    def wake() -> None:
        raise AssertionError("it would wait for itself")

    def turn() -> None:
        with pytest.raises(RuntimeError, match="signal handler or finalizer"):
            shared.run_call(wait_once())
        runtime.peers["n1"] = 1

    runtime.wake = wake
    runtime.turn = turn
    assert shared.run_call(wait_once()) == "done"


def test_who_is_interrupted_when_it_is_its_turn_to_drive_hands_the_turn_on() -> None:
    shared, runtime = connection()
    first_waits, second_waits, driver_has_ended = threading.Event(), threading.Event(), threading.Event()
    results: list[str] = []

    def be_interrupted() -> None:
        first_waits.set()
        driver_has_ended.wait(30.0)
        raise KeyboardInterrupt

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            shared.run_call(wait_once())
        results.append("interrupted")

    def second() -> None:
        results.append(shared.run_call(wait_once()))

    threads = [threading.Thread(target=target, daemon=True) for target in (first, second)]

    def turn() -> None:
        """Two others come, then what the driver waits for: it leaves, and the first of them is next."""
        if not runtime.peers:
            runtime.wake = be_interrupted
            threads[0].start()
            first_waits.wait(30.0)
            runtime.wake = second_waits.set
            threads[1].start()
            second_waits.wait(30.0)
        runtime.peers[f"n{len(runtime.peers)}"] = 1

    runtime.turn = turn
    assert shared.run_call(wait_once()) == "done"
    driver_has_ended.set()
    for thread in threads:
        thread.join(10.0)
    assert sorted(results) == ["done", "interrupted"]
