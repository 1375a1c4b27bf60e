"""The verbs of what programs hold, with three real nodes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from raft.cluster.failures import ExitCode
from tests.processes.shell import LAUNCHER, Shell, finish, has_process, until
from tests.processes.terminal import Terminal

pytestmark = pytest.mark.processes


def test_programs_run_while_they_lead_and_tell_how_they_ended() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        shell.ok("leader --wait 60s")
        assert shell.run("elect job --ttl 2s -- false").code == 1
        tokens = [int(shell.ok("elect job -- printenv FENCING_TOKEN")) for _ in range(2)]
        assert 0 < tokens[0] < tokens[1]
        assert shell.ok("lock door -- echo in") == "in"
        held = shell.run("get no-lock-was-asked-for")
        assert held.code == ExitCode.NOT_FOUND
        assert finish(up).code == 0


def test_changes_are_watched_and_a_program_ends_with_the_verb_that_runs_it() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        shell.ok("leader --wait 60s")
        with begun(shell, "observe job") as observer, begun(shell, "elect job -- sleep 60") as elected:
            assert observer.stdout is not None
            _, led, token = observer.stdout.readline().split()
            assert led == "led"
            sleeper = program_of(elected.pid, "sleep")
            elected.send_signal(signal.SIGTERM)
            assert elected.wait(60) == 128 + signal.SIGTERM
            assert not Path(f"/proc/{sleeper}").exists()
            _, left, former = observer.stdout.readline().split()
            assert (left, former) == ("left", token)
            observer.terminate()
            assert observer.wait(60) == 128 + signal.SIGTERM
            assert observer.stderr is not None
            assert observer.stderr.readline().split() == ["REVISION", "EVENT", "TOKEN", "VALUE"]
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
        assert "never existed" in shell.run("lease left 999999").err
        assert shell.run(f"put k v --lease {lease}").code == ExitCode.NOT_FOUND
        assert shell.ok("get k") == "led"
        assert finish(up).code == 0


@contextmanager
def begun(shell: Shell, line: str) -> Iterator[subprocess.Popen[str]]:
    command = [*LAUNCHER, *line.split()]
    with subprocess.Popen(
        command,
        env=shell.env,
        cwd=shell.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def program_of(pid: int, name: str) -> int:
    """The descendant of that process which has become that program."""
    found: list[int] = []

    def look() -> bool:
        with suppress(psutil.Error):
            below = psutil.Process(pid).children(recursive=True)
            found[:] = [child.pid for child in below if child.name() == name]
        return bool(found)

    until(look)
    return found[0]


def test_a_program_that_cannot_be_run_is_refused_before_the_lock_is_asked_for() -> None:
    with Shell() as shell:
        (shell.home / "text").write_text("no program\n")
        missing = shell.run("lock door -- /no/such/program")
        assert (missing.code, "not found" in missing.err) == (127, True)
        assert shell.run("lock door -- no-such-program-anywhere").code == 127
        assert shell.run("lock door -- ./text").code == 126


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
def test_a_program_cleans_up_after_any_ending_signal_while_the_lock_is_kept(number: signal.Signals) -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        name = number.name.removeprefix("SIG")
        (shell.home / "work").write_text(
            f"trap 'while ! test -e go; do sleep 0.01; done; echo clean; exit 9' {name}; echo up\n"
            "while :; do sleep 0.01; done\n"
        )
        with begun(shell, "lock door --ttl 60s --grace 60s -- sh work") as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "up\n"
            holder.send_signal(number)
            assert shell.run("lock door --no-wait -- true").code == ExitCode.REJECTED
            (shell.home / "go").touch()
            assert holder.stdout.readline() == "clean\n"
            assert holder.wait(60) == 9
            assert shell.run("lock door --no-wait -- true").code == 0
        assert finish(up).code == 0


def test_a_program_that_does_not_end_is_killed_after_its_grace_period() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        (shell.home / "work").write_text("trap '' TERM; echo up; while :; do sleep 0.01; done\n")
        with begun(shell, "lock door --grace 200ms -- sh work") as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "up\n"
            holder.terminate()
            assert holder.wait(60) == 128 + signal.SIGKILL
        assert finish(up).code == 0


def test_a_stopped_holder_s_program_has_ended_before_the_next_one_begins() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        (shell.home / "work").write_text("echo $$; while :; do sleep 0.01; done\n")
        with begun(shell, "lock door --ttl 1s -- sh work") as holder:
            assert holder.stdout is not None
            program = int(holder.stdout.readline())
            holder.send_signal(signal.SIGSTOP)
            script = f"test -e /proc/{program} && echo both || echo alone"
            (shell.home / "next").write_text(script)
            assert shell.ok("lock door -- sh next") == "alone"
            holder.send_signal(signal.SIGCONT)
            assert holder.wait(60) in (ExitCode.LEADERSHIP_LOST, 128 + signal.SIGKILL)
        assert finish(up).code == 0


def stop_continue_and_interrupt(terminal: Terminal) -> None:
    """Ctrl-Z, `fg` and Ctrl-C while the program, a sleep, has the terminal."""
    until(lambda: terminal.foreground() == "sleep")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.type("echo the shell is back; fg\n")
    terminal.expect("the shell is back")
    until(lambda: terminal.foreground() == "sleep")
    terminal.type("\x03")


def test_a_program_keeps_the_terminal_and_ctrl_z_stops_it_with_its_holder() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        (shell.home / "work").write_text(
            'read line </dev/tty; echo "heard $line"; echo waiting; exec sleep 600\n'
        )
        terminal = shell.bash(f"{' '.join(LAUNCHER)} lock door --ttl 60s -- sh work")
        terminal.expect("is held")
        terminal.type("hello\n")
        terminal.expect("heard hello")
        terminal.expect("waiting")
        stop_continue_and_interrupt(terminal)
        terminal.type("echo code $?\n")
        terminal.expect("code 130")
        terminal.type("exit\n")
        assert finish(up).code == 0


def test_a_program_begun_in_the_background_gets_the_terminal_when_its_job_is_in_the_foreground() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        (shell.home / "work").write_text('read line; echo "heard $line"\n')
        terminal = shell.bash(f"{' '.join(LAUNCHER)} lock door --ttl 60s -- sh work &")
        terminal.expect("is held")
        terminal.type("jobs\n")
        while True:  # The program is stopped for reading, and so its job is.
            terminal.expect("[1]+  ")
            if terminal.next_word() == "Stopped":
                break
            terminal.type("jobs\n")
        terminal.type("fg\n")
        terminal.expect("sh work")
        terminal.type("hello\n")
        terminal.expect("heard hello")
        terminal.type("exit\n")
        assert finish(up).code == 0


def test_a_program_whose_input_is_a_pipe_may_ask_at_the_terminal_and_ctrl_z_stops_the_whole_job() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        (shell.home / "work").write_text(
            'read line; read answer </dev/tty; echo "$line, $answer"; exec sleep 600\n'
        )
        (shell.home / "job").write_text(f"echo piped | {' '.join(LAUNCHER)} lock door --ttl 60s -- sh work\n")
        terminal = shell.bash("sh job | cat")
        terminal.expect("is held")
        terminal.type("typed\n")
        terminal.expect("piped, typed")
        stop_continue_and_interrupt(terminal)
        terminal.type("echo ended\n")
        terminal.expect("ended")
        terminal.type("exit\n")
        assert finish(up).code == 0


def test_ctrl_z_stops_nothing_where_no_shell_could_continue_it() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 1")
        # It starts no process of its own: a shell that waits for one to exec cannot be stopped meanwhile.
        (shell.home / "work").write_text("echo up; read word <pipe; echo $word\n")
        os.mkfifo(shell.home / "pipe")
        pipe = os.open(shell.home / "pipe", os.O_RDWR)
        terminal = shell.at_terminal("lock door --ttl 60s -- sh work")
        terminal.expect("up")
        terminal.type("\x1a")
        terminal.expect("^Z")
        os.write(pipe, b"down\n")
        terminal.expect("down")
        os.close(pipe)
        assert terminal.wait() == 0
        assert finish(up).code == 0
