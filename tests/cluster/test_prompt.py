"""The launcher's prompt: keys, questions, history, completion, and what is refused there."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from raft.cli import main
from raft.cli.app import Session, run_verb
from raft.cli.terminal.completion import candidates
from raft.cli.terminal.line_editor import Editor
from raft.cli.terminal.prompt import attend, overview, starts_a_cluster, unwrapped
from raft.cluster.failures import ExitCode

CTRL_C, CTRL_D = "\x03", "\x04"
assert main.VERB_MODULES  # All verbs are known.


@contextmanager
def editor(
    history: Path | None = None, write: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[Editor, PipeInput]]:
    with create_pipe_input() as keys:
        yield Editor(candidates, history, write, terminal_in=keys, terminal_out=DummyOutput()), keys


def verb_handler(typed: str, history: Path | None = None) -> list[str]:
    """The lines that were carried out, until the end was confirmed."""
    lines: list[str] = []
    with editor(history) as (lines_of, keys):
        keys.send_text(typed)
        attend(lines_of, lambda line: lines.append(line) is None, "end? ")
    return lines


def test_ctrl_c_clears_the_line_and_on_an_empty_one_asks() -> None:
    assert verb_handler(f"half{CTRL_C}whole\r{CTRL_C}n\rmore\r{CTRL_C}{CTRL_C}") == ["whole", "more"]


@pytest.mark.parametrize("answer", ["y\r", "Y\r", "yes\r", CTRL_C, CTRL_D])
def test_the_question_is_confirmed_by_yes_or_by_asking_again(answer: str) -> None:
    assert verb_handler(f"{CTRL_D}\rone\r{CTRL_C}{answer}") == ["one"]


def test_several_lines_that_are_pasted_are_carried_out_one_by_one() -> None:
    assert verb_handler(f"\x1b[200~one\ntwo\x1b[201~\r{CTRL_C}y\r") == ["one", "two"]


def test_the_history_is_a_private_file_that_the_next_session_reads(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    verb_handler(f"put a 1\r{CTRL_C}{CTRL_C}", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(FileHistory(str(path)).load_history_strings()) == ["put a 1"]
    verb_handler(f"get a\r{CTRL_C}n\r{CTRL_C}{CTRL_C}", path)
    assert list(FileHistory(str(path)).load_history_strings()) == ["get a", "put a 1"]


def test_a_history_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert verb_handler(f"one\r{CTRL_C}{CTRL_C}", tmp_path / "state" / "history") == ["one"]


def test_lines_are_written_while_another_one_is_typed_and_between_lines() -> None:
    written: list[str] = []
    with editor(write=written.append) as (lines_of, keys):
        lines_of.print("before")
        typed: list[str] = []
        reading = threading.Thread(target=lambda: typed.append(lines_of.read("> ")))
        reading.start()
        keys.send_text("ha")
        lines_of.print("meanwhile")
        keys.send_text("lf\r")
        reading.join()
        lines_of.print("afterwards")
    assert (typed, written) == (["half"], ["before", "meanwhile", "afterwards"])


def test_closing_ends_a_line_that_is_being_typed() -> None:
    with editor() as (lines_of, keys):
        ended = threading.Event()

        def read() -> None:
            with pytest.raises(EOFError):
                lines_of.read("> ")
            ended.set()

        reading = threading.Thread(target=read)
        reading.start()
        keys.send_text("half")
        lines_of.close()
        reading.join()
        assert ended.is_set()
        with pytest.raises(EOFError):
            lines_of.read("> ")


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("sta", {"start", "status"}),
        ("member re", {"remove", "replace"}),
        ("kill --re", {"--restart-after"}),
        ("kill fol", {"followers"}),
        ("kill 1,lea", {"1,leader"}),
        ("status -o ", {"table", "json"}),
        ("events --kind leader-l", {"leader-lost"}),
        ("put 'open", set()),
    ],
)
def test_verbs_selectors_options_and_values_are_completed(before: str, expected: set[str]) -> None:
    assert {word for word, _ in candidates(before)} == expected


@pytest.mark.parametrize(
    "line",
    [
        "kill leader",
        "python launcher.py kill leader",
        "$ python3.12 ./launcher.py kill leader",
        "raft-actors kill leader",
        "uv run raft-actors kill leader",
    ],
)
def test_a_line_copied_from_a_shell_means_its_verb(line: str) -> None:
    assert unwrapped(line.split()) == ["kill", "leader"]


def test_a_value_that_looks_like_the_program_is_left_alone() -> None:
    assert unwrapped(["put", "launcher.py", "x"]) == ["put", "launcher.py", "x"]


def test_the_help_of_the_prompt_fits_a_screen() -> None:
    lines = overview().splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    assert "kill" in overview()
    assert "chaos" not in overview()


def test_an_error_at_the_prompt_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(cluster="none")
    for line in ("frobnicate", "kill", "kill 1 --for", "pause 1 --for 5"):
        assert run_verb(line.split(), session) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert said.startswith("error: ")


def test_a_value_from_standard_input_is_refused_where_that_is_the_prompt_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_verb(["put", "key", "-"], Session(cluster="none")) == ExitCode.USAGE
    assert "use put K - in a shell" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["--nodes 5", "--web", "--name=x"])
def test_an_option_without_a_verb_would_start_a_cluster(line: str) -> None:
    assert starts_a_cluster(line.split())


@pytest.mark.parametrize("line", ["--version", "-h", "--help", "--cluster x status", "--cluster=x status"])
def test_an_option_that_starts_no_cluster_is_carried_out_at_the_prompt(line: str) -> None:
    assert not starts_a_cluster(line.split())


def test_a_group_without_its_verb_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["member"], Session(cluster="here")) == ExitCode.USAGE
    assert capsys.readouterr().err == "error: a verb is missing (see `help member`)\n"
