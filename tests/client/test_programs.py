"""Programs under a lease: they end with whoever has started them, whenever that is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import psutil
import pytest

from raft.client.programs import end_group, run_program
from tests.processes.shell import until

GRACE_SECONDS = 1.0
# Killed as soon as the program's process is there, before anything else can be done about it.
KILLED_AT_ONCE = """
import asyncio, os, signal, sys
from raft.client import programs

spawn, spawned = asyncio.create_subprocess_exec, []

async def spawn_and_die(*arguments, **options):
    spawned.append(await spawn(*arguments, **options))
    if len(spawned) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return spawned[-1]

asyncio.create_subprocess_exec = spawn_and_die
asyncio.run(programs.run_program(["sh", "-c", sys.argv[1]], {**os.environ}, 1.0))
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
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert not [child for child in children if Path(f"/proc/{child}/comm").read_text() == "sh\n"]


@pytest.mark.processes
def test_the_exit_code_is_the_programs() -> None:
    assert asyncio.run(run_program(["sh", "-c", "exit 7"], {**os.environ}, GRACE_SECONDS)) == 7


class Deaf:
    """A process that has ended, and whose child takes a while."""

    pid = 4711

    async def wait(self) -> int:
        return -signal.SIGKILL


@pytest.mark.parametrize("answer", [None, PermissionError()], ids=["ours", "another user's"])
def test_a_program_has_ended_when_nobody_of_its_group_is_left(
    monkeypatch: pytest.MonkeyPatch, answer: Exception | None
) -> None:
    sent: list[int] = []

    def killpg(group: int, number: int) -> None:
        assert group == Deaf.pid
        sent.append(number)
        if sent.count(0) == 3:
            raise ProcessLookupError
        if answer is not None:
            raise answer

    monkeypatch.setattr(os, "killpg", killpg)
    asyncio.run(end_group(cast(asyncio.subprocess.Process, Deaf()), GRACE_SECONDS))
    assert sent == [signal.SIGTERM, signal.SIGKILL, 0, 0, 0]
