"""The verbs of what programs hold, with three real nodes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raft.cluster.failures import ExitCode
from tests.processes.shell import LAUNCHER, Shell, finish, has_process, until

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
            sleeper = program_of(elected.pid, "sleep")
            elected.send_signal(signal.SIGTERM)
            assert elected.wait(10) == 128 + signal.SIGTERM
            assert not Path(f"/proc/{sleeper}").exists()
            _, left, former = observer.stdout.readline().split()
            assert (left, former) == ("left", token)
            observer.terminate()
            assert observer.wait(10) == 128 + signal.SIGTERM
        assert finish(up).code == 0


def test_what_elect_runs_ends_with_all_its_children_when_elect_is_killed() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        work = shell.home / "work"
        work.write_text("#!/bin/sh\nsleep 60 & wait\n")
        work.chmod(0o700)
        with begun(shell, "elect job -- ./work") as elected:
            program = program_of(elected.pid, "work")
            sleeper = program_of(program, "sleep")
            elected.kill()
            until(lambda: not has_process(program) and not has_process(sleeper))
        assert finish(up).code == 0


def test_a_token_fences_and_a_lease_binds_what_is_written_from_a_shell() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        launcher = " ".join(LAUNCHER)
        (shell.home / "write").write_text(
            f"{launcher} put k $1 --fence $FENCING_TOKEN && echo $FENCING_TOKEN\n"
        )
        token = shell.ok("elect job -- sh write led").split()[-1]
        assert shell.ok("get k") == "led"
        for write in ("put k late", "del k", "cas k led late"):
            assert shell.run(f"{write} --fence {token}").code == ExitCode.REJECTED, write
        lease = shell.ok("lease grant 30s")
        assert shell.ok(f"put jobs/1 a --lease {lease}") == "OK"
        assert shell.ok(f"put jobs/2 b --lease {lease}") == "OK"
        assert shell.ok("get jobs/ --prefix").splitlines() == ["jobs/1\ta", "jobs/2\tb"]
        assert shell.ok(f"lease keep {lease} --once").endswith("s")
        assert 0.0 < float(shell.ok(f"lease left {lease}").rstrip("s")) <= 30.0
        assert shell.ok(f"lease revoke {lease}") == "OK"
        for gone in (
            "get jobs/ --prefix",
            f"lease left {lease}",
            f"lease keep {lease}",
            f"lease revoke {lease}",
        ):
            assert shell.run(gone).code == ExitCode.NOT_FOUND, gone
        assert shell.run(f"put k v --lease {lease}").code == ExitCode.NOT_FOUND
        assert shell.ok("get k") == "led"
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


def program_of(pid: int, name: str) -> int:
    """The child of that process which has become that program."""
    found: list[int] = []

    def look() -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found[:] = [
            int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == f"{name}\n"
        ]
        return bool(found)

    until(look)
    return found[0]
