"""Programs under a lease: they end with the process that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from raft.client.child_program import Program, run_program
from tests.processes.shell import until

GRACE_SECONDS = 1.0
# Killed as soon as the program's process is there, before anything else can be done about it.
KILLED_AT_ONCE = """
import asyncio, os, signal, sys
from raft.client import child_program

spawn, spawned = asyncio.create_subprocess_exec, []

async def spawn_and_die(*arguments, **options):
    spawned.append(await spawn(*arguments, **options))
    os.kill(os.getpid(), signal.SIGKILL)
    return spawned[-1]

asyncio.create_subprocess_exec = spawn_and_die
asyncio.run(child_program.run_program(["sh", "-c", sys.argv[1]], {**os.environ}, 1.0))
"""


def is_running(mark: str) -> bool:
    """Has any process that mark among its arguments?"""
    for process in psutil.process_iter():
        try:
            if any(mark in word for word in process.cmdline()):
                return True
        except psutil.Error:
            continue
    return False


@pytest.mark.processes
def test_a_program_ends_though_its_starter_is_killed_in_the_moment_of_the_start(tmp_path: Path) -> None:
    script = f": {tmp_path}; sleep 60; :"
    starter = subprocess.run([sys.executable, "-c", KILLED_AT_ONCE, script], timeout=30, check=False)
    assert starter.returncode < 0
    until(lambda: not is_running(str(tmp_path)))


@pytest.mark.processes
def test_a_program_that_is_not_there_is_an_error_and_leaves_no_guard() -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(run_program(["/no/such/program"], {**os.environ}, GRACE_SECONDS))
    assert [child.cmdline() for child in psutil.Process().children() if "guard" in str(child.cmdline())] == []


@pytest.mark.processes
def test_the_exit_code_is_the_programs() -> None:
    assert asyncio.run(run_program(["sh", "-c", "exit 7"], {**os.environ}, GRACE_SECONDS)) == 7


def run(script: str, tmp_path: Path, **options: Any) -> int:
    """Run a script in `sh`, with a mark by which its processes are found."""
    return asyncio.run(run_program(["sh", "-c", f": {tmp_path}; {script}"], {**os.environ}, 0.2, **options))


@pytest.mark.processes
def test_what_a_program_has_started_ends_with_it_even_in_a_session_of_its_own(tmp_path: Path) -> None:
    background = f"setsid sh -c ': {tmp_path}; trap \"\" TERM; touch {tmp_path}/up; sleep 60; :' &"
    assert run(f"{background} while ! test -e {tmp_path}/up; do :; done; exit 3", tmp_path) == 3
    assert not is_running(str(tmp_path))


@pytest.mark.processes
def test_a_program_ends_at_its_deadline_whatever_its_starter_does(tmp_path: Path) -> None:
    """The starter's event loop stands still, so it can tell the guard nothing more."""
    script = f": {tmp_path}; trap '' TERM; sleep 60; :"

    async def stand_still() -> int:
        programs: list[Program] = []
        running = asyncio.ensure_future(
            run_program(["sh", "-c", script], {**os.environ}, 0.2, started=programs.append)
        )
        await asyncio.to_thread(until, lambda: is_running(str(tmp_path)))
        programs[0].until(time.monotonic())
        until(lambda: not is_running(str(tmp_path)))
        programs[0].until(time.monotonic())  # The guard no longer reads; its last lines are still to be read.
        return await running

    assert asyncio.run(stand_still()) == -signal.SIGKILL


@pytest.mark.processes
def test_a_stopped_program_ends_at_its_deadline(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run("kill -STOP $$", tmp_path, until=lambda: started + 1.0) == -signal.SIGKILL


@pytest.mark.processes
def test_a_cancelled_program_may_clean_up_for_its_grace_period(tmp_path: Path) -> None:
    script = f"trap 'touch {tmp_path}/clean; exit' TERM; touch {tmp_path}/up; while :; do sleep 0.01; done"

    async def cancel_it() -> None:
        running = asyncio.ensure_future(run_program(["sh", "-c", script], {**os.environ}, 10.0))
        await asyncio.to_thread(until, (tmp_path / "up").exists)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel_it())
    assert (tmp_path / "clean").exists()


@pytest.mark.processes
def test_signals_reach_the_whole_group_of_a_program(tmp_path: Path) -> None:
    script = f"trap 'exit 5' USR1; touch {tmp_path}/up; while :; do sleep 0.01; done"

    async def signal_it() -> int:
        programs: list[Program] = []
        running = asyncio.ensure_future(
            run_program(["sh", "-c", script], {**os.environ}, 1.0, started=programs.append)
        )
        await asyncio.to_thread(until, (tmp_path / "up").exists)
        programs[0].signal(signal.SIGUSR1)
        return await running

    assert asyncio.run(signal_it()) == 5


@pytest.mark.processes
def test_a_signal_that_comes_before_the_program_is_passed_on_to_it(tmp_path: Path) -> None:
    def signal_it(program: Program) -> None:
        program.signal(signal.SIGTERM)

    assert run("while :; do sleep 0.01; done", tmp_path, started=signal_it) == -signal.SIGTERM
