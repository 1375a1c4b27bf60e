"""What Tab offers, and that bash, zsh and fish offer it once the completion is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.cli.entry import run
from raft.cli.terminal.completion import candidates, completions
from raft.cluster.failures import ExitCode
from tests.processes.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
BY_NAME, BY_PYTHON = "raft-actors", f"python3 {ROOT}/launcher.py"


def offered(line: str) -> list[str]:
    return [word for word, _ in candidates(line)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kil", ["kill"]),
        ("kill le", ["leader"]),
        ("kill followers,le", ["followers,leader"]),
        ("kill leader --restart", ["--restart-after"]),
        ("kill leader --at save.w", ["save.written"]),
        ("partition fo", ["followers"]),
        ("link leader fo", ["followers"]),
        ("transfer ra", ["random"]),
        ("member pro", ["promote"]),
        ("member promote le", ["leader"]),
        ("status -o j", ["json"]),
        ("events -o ", ["jsonl", "line"]),
        ("events --kind leader-e", ["leader-elected"]),
        ("logs --time w", ["wall"]),
        ("chaos --faults kill,par", ["kill,partition"]),
        ("chaos --workload re", ["register"]),
        ("completion f", ["fish"]),
        ("--nod", ["--nodes"]),
        ("--nodes 3 --dur", ["--duration"]),
        ("--cluster x kil", ["kill"]),
        ("put 'open", []),
    ],
)
def test_what_may_come_next_is_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_the_word_that_is_begun_may_be_empty() -> None:
    assert "kill" in [word for word, _ in completions([], "")]
    assert "leader" in [word for word, _ in completions(["kill"], "")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which the program is installed."""
    program = tmp_path / "bin" / "raft-actors"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/launcher.py "$@"\n')
    program.chmod(0o755)
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    return tmp_path


def environment(home: Path, shell: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ZDOT"))}
    paths = f"{home / 'bin'}:{os.environ['PATH']}"
    return {
        **kept,
        "HOME": str(home),
        "SHELL": shell,
        "PATH": paths,
        "TERM": "dumb",
        "PYTHONPATH": module_path(),
    }


def module_path() -> str:
    """A link to an interpreter does not know the environment that it is of."""
    return os.pathsep.join(sys.path)


def program_of(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell} here")
    return found


def install(home: Path, shell: str) -> str:
    program = program_of(shell)
    command = [str(home / "bin" / "raft-actors"), "completion", "--install"]
    for _ in range(2):  # Twice does not harm.
        subprocess.run(command, env=environment(home, program), check=True, capture_output=True)
    return program


@pytest.fixture
def typed(home: Path) -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


@pytest.mark.processes
@pytest.mark.parametrize(("shell", "start"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_bash_and_zsh_complete_selectors_by_either_name(
    shell: str, start: str, home: Path, typed: list[Terminal]
) -> None:
    program = install(home, shell)
    assert (home / start).read_text().count("source") == 1
    with (home / start).open("a") as file:
        file.write("PS1='$ '\nset -x\n")
    (home / "seen").touch()
    terminal = Terminal([program, "-i"], environment(home, program), home)
    typed.append(terminal)
    for name in (BY_NAME, BY_PYTHON):
        terminal.type(f"{name} kill lead\t\n")
        terminal.expect(f"{name} kill leader")  # As the shell says, once it runs it.
    terminal.type("python3 see\t\n")  # Python's other programs keep the names of files.
    terminal.expect("python3 seen")


@pytest.mark.processes
def test_fish_completes_selectors_by_either_name(home: Path) -> None:
    program = install(home, "fish")
    for name in (BY_NAME, BY_PYTHON):
        asked = [program, "-c", f'complete -C "{name} kill lea"']
        done = subprocess.run(
            asked, env=environment(home, program), capture_output=True, text=True, check=True
        )
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["leader"], done


def test_a_shell_without_a_script_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion"], None, 0.0, -1) == ExitCode.USAGE
    assert "no completion for tcsh: name one of bash, zsh, fish" in capsys.readouterr().err
