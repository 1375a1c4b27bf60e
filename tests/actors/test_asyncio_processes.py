"""Actors with `async def` handlers, in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import Address, Inspect, ProcessSystem
from tests.actors.awaiting import TAGS, Awaiting, Linger, Loop, Relay

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def system() -> Iterator[ProcessSystem]:
    with ProcessSystem(TAGS) as system:
        yield system


def begin_to_linger(system: ProcessSystem, actor: Address, *, swallow: bool) -> None:
    system.tell(actor, Linger(swallow))
    while system.ask(actor, Inspect()).state != "awaiting":
        pass


def test_a_process_whose_actor_awaits_has_an_asyncio_loop(system: ProcessSystem) -> None:
    one = system.spawn_process(Awaiting, "one")
    two = system.spawn_process(Awaiting, "two", connect=("one",))
    assert system.ask(one, Loop()) in ("asyncio", "uvloop")
    assert system.ask(two, Relay(one)) in ("via asyncio", "via uvloop")


def test_a_coroutine_cleans_up_when_its_process_is_stopped(system: ProcessSystem, tmp_path: Path) -> None:
    goodbye = tmp_path / "goodbye"
    lingering = system.spawn_process(Awaiting, "kind", arguments={"goodbye": str(goodbye)})
    begin_to_linger(system, lingering, swallow=False)
    system.stop_process("kind")
    assert system.run_until(lambda: "kind" not in system.processes)
    assert goodbye.read_text() == "cleaned up"


def test_a_coroutine_that_swallows_its_cancellation_is_left_behind(tmp_path: Path) -> None:
    with ProcessSystem(TAGS, log_directory=tmp_path) as system:
        begin_to_linger(system, system.spawn_process(Awaiting, "deaf"), swallow=True)
        system.stop_process("deaf")
        assert system.run_until(lambda: "deaf" not in system.processes)
    assert "swallowed its cancellation, and is left behind" in (tmp_path / "deaf.log").read_text()
