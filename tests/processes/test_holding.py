"""The verbs of what programs hold, with three real nodes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raft.cluster.failures import ExitCode
from tests.processes.shell import LAUNCHER, Shell, finish, until

pytestmark = pytest.mark.processes


def test_programs_run_while_they_lead_and_tell_how_they_ended() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        shell.ok("leader --wait 5s")
        assert shell.run("elect job --ttl 2s -- false").code == 1
        tokens = [int(shell.ok("elect job -- printenv FENCING_TOKEN")) for _ in range(2)]
        assert 0 < tokens[0] < tokens[1]
        assert shell.ok("lock door -- echo in") == "in"
        assert shell.run("elect job -- /no/such/program").code == ExitCode.USAGE
        assert finish(up).code == 0


def test_changes_are_watched_and_a_program_ends_with_the_verb_that_runs_it() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        shell.ok("leader --wait 5s")
        with begun(shell, "observe job") as observer, begun(shell, "elect job -- sleep 60") as elected:
            assert observer.stdout is not None
            _, led, token = observer.stdout.readline().split()
            assert led == "led"
            (sleeper,) = children_of(elected.pid)
            elected.send_signal(signal.SIGTERM)
            assert elected.wait(10) == 128 + signal.SIGTERM
            assert not Path(f"/proc/{sleeper}").exists()
            _, left, former = observer.stdout.readline().split()
            assert (left, former) == ("left", token)
            observer.terminate()
            assert observer.wait(10) == 128 + signal.SIGTERM
        assert finish(up).code == 0


@contextmanager
def begun(shell: Shell, line: str) -> Iterator[subprocess.Popen[str]]:
    command = [*LAUNCHER, *line.split()]
    with subprocess.Popen(
        command, env=shell.env, cwd=shell.home, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def children_of(pid: int) -> list[int]:
    found: list[int] = []

    def look() -> bool:
        found[:] = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return bool(found)

    until(look)
    return found
