"""What a person types wrongly, and what comes back."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command

from raft.cli.app import Session, app, completed, run_verb
from raft.cli.entry import HOMES
from raft.cli.main import VERB_MODULES
from raft.cli.verbs.cluster import lifecycle, membership
from raft.cluster.failures import ExitCode, Unreachable
from raft.version import VERSION
from tests.processes.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
VERBS = [
    "up",
    "status",
    "leader",
    "report",
    "events",
    "logs",
    "kill",
    "disk",
    "wal",
    "stop",
    "start",
    "restart",
    "pause",
    "resume",
    "partition",
    "isolate",
    "heal",
    "link",
    "faults",
    "transfer",
    "step-down",
    "put",
    "get",
    "del",
    "cas",
    "txn",
    "elect",
    "lock",
    "observe",
    "watch",
    "down",
    "simulate",
    "snapshot",
    "chaos",
    "clock",
    "judge",
    "timeline",
    "ls",
    "health",
    "metrics",
    "web",
    "top",
    "tour",
    "tune",
    "doctor",
    "completion",
    "init",
    "recover",
]


CHECK_VERBS = ["check", "check perf"]
MEMBER_VERBS = [
    "member",
    "member list",
    "member add",
    "member promote",
    "member remove",
    "member replace",
    "member update",
]
KEYS_VERBS = ["keys", "keys make", "keys add", "keys rotate", "keys retire", "keys remove", "keys list"]
BACKUP_VERBS = ["backup", "backup save", "backup show", "backup restore"]
RENDER_VERBS = [
    "render", "render dashboard", "render alerts", "render systemd", "render kubernetes",
    "render containerfile",
]  # fmt: skip
ACTORS_VERBS = ["actors", "actors top", "actors trace"]
LEASE_VERBS = ["lease", "lease grant", "lease keep", "lease revoke", "lease left"]


@pytest.fixture(autouse=True)
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")


def test_up_may_be_left_out() -> None:
    assert completed(["--nodes", "5"]) == ["up", "--nodes", "5"]
    assert completed(["status"]) == ["status"]
    assert completed(["--help"]) == ["--help"]
    assert completed([]) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--nodes", "3", "--web"], ["up", "--nodes", "3", "--web", "0"]),
        (["up", "--web", "--detach"], ["up", "--web", "0", "--detach"]),
        (["--web", "8080"], ["up", "--web", "8080"]),
        (["put", "--", "--web", "x"], ["put", "--", "--web", "x"]),
    ],
)
def test_the_port_of_the_page_may_be_left_out(typed: list[str], meant: list[str]) -> None:
    assert completed(typed) == meant


def test_every_verb_is_there() -> None:
    named = [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]
    assert sorted(named) == sorted(VERBS)
    groups = sorted(str(group.name) for group in app.registered_groups)
    assert groups == ["actors", "backup", "check", "keys", "lease", "member", "render"]
    assert membership in VERB_MODULES


@pytest.mark.parametrize(
    "verb",
    [
        *VERBS,
        *ACTORS_VERBS,
        *CHECK_VERBS,
        *MEMBER_VERBS,
        *LEASE_VERBS,
        *BACKUP_VERBS,
        *RENDER_VERBS,
        *KEYS_VERBS,
    ],
)
def test_every_verb_has_help_with_an_example_that_fits_80_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_verb([*verb.split(), "--help"], Session()) == ExitCode.OK
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert "Example: launcher.py " in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kill", "SELECTOR"),
        ("member remove", "SELECTOR"),
        ("member promote 1-3", "is not a selector"),
        ("member frobnicate", "frobnicate"),
        ("kill 1-3", "is not a selector"),
        ("kill leader --restart-after 5", "5ms or 5s"),
        ("pause 1 --for 0s", "more than 0"),
        ("pause 1 --for soon", "not a duration"),
        ("leader --wait 5", "5ms or 5s"),
        ("link 1 2 --drop 5", "not a share"),
        ("link 1 2 --drop 101%", "between 0% and 100%"),
        ("link 1 2", "--delay"),
        ("partition", "GROUP"),
        ("faults mend", "faults clear"),
        ("faults clear x", "valid int"),
        ("logs --level loud", "not a level"),
        ("logs --grep (", "regular expression"),
        ("status -o xml", "xml"),
        ("status --frobnicate", "--frobnicate"),
        ("frobnicate", "frobnicate"),
        ("transfer 1,", "empty place"),
        ("status --cluster ../x", "not a valid cluster name"),
        ("check perf --duration 5", "5ms or 5s"),
        ("check perf --clients 0", "1<=x<=4096"),
        ("check perf --size -1", "0<=x<=1048576"),
        ("lease grant 0s", "more than 0"),
        ("lease keep x", "valid int"),
        ("put k v --fence x", "valid int"),
        ("simulate --seeds 0", "0"),
        ("simulate --seeds -3", "-3"),
        ("clock 1 --rate 1", "faults clear"),
        ("timeline --open", "--to FILE"),
        ("up --nodes 0", "1 to 64"),
        ("up --nodes 4000", "1 to 64"),
        ("up --nodes five", "valid int"),
        ("up --heartbeat 50", "50ms or 50s"),
        ("up --heartbeat 0ms", "more than 0"),
        ("up --heartbeat 200ms", "too slow"),
        ("up --election-timeout 500ms-250ms", "no room"),
        ("up --duration 0s", "more than 0"),
        ("up --machine nonsense", "package.module:Class"),
        ("up --machine no.such:Machine", "No module"),
        ("up --lease-reads --no-check-quorum", "--lease-reads"),
        ("up --name a/b", "not a valid cluster name"),
        ("up --metrics 9100", "HOST:PORT"),
        ("metrics --endpoints h1:7001", "1=tcp://host:port"),
        ("metrics --endpoints 1=tcp://127.0.0.1:7001 --listen nowhere", "HOST:PORT"),
    ],
)
def test_wrong_usage_is_said_clearly_and_ends_with_2(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(line.split(), Session()) == ExitCode.USAGE
    words = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert said in words
    assert "Traceback" not in words


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "member list",
        "member add",
        "leader",
        "report",
        "events",
        "logs",
        "kill 1",
        "heal",
        "faults",
        "down",
        "get k",
        "put k v",
        "check perf",
    ],
)
def test_without_a_cluster_every_verb_says_so_and_ends_with_4(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(line.split(), Session()) == ExitCode.UNREACHABLE
    captured = capsys.readouterr()
    assert "python launcher.py --nodes 5" in captured.err
    assert captured.out == ""


def test_keys_are_private_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["keys", str(tmp_path / "keys"), "--nodes", "2"], Session()) == ExitCode.OK
    made = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert made
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in made)


def test_keys_are_added_rotated_retired_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dir", str(tmp_path / "keys")]

    def done(*words: str) -> str:
        assert run_verb(["keys", *words, *where], Session()) == ExitCode.OK
        return capsys.readouterr().out

    run_verb(["keys", str(tmp_path / "keys"), "--nodes", "1"], Session())
    capsys.readouterr()
    assert "n4.toml" in done("add", "n4")
    done("add", "shop", "--role", "client", "--below", "shop/")
    listed = {row["name"]: row for row in json.loads(done("list", "-o", "json"))["keys"]}
    assert {name: row["role"] for name, row in listed.items()} == {
        "client": "operator", "n1": "member", "n4": "member", "shop": "client"
    }  # fmt: skip
    assert listed["shop"]["below"] == "shop/"
    assert "SIGHUP" in done("rotate", "n4")
    newest, oldest = json.loads(done("list", "-o", "json"))["keys"][2]["keys"]
    assert oldest == listed["n4"]["keys"][0]
    assert "1 older key of n4 retired" in done("retire", "n4")
    assert newest in done("list") and oldest not in done("list")
    done("remove", "shop")
    assert "shop" not in done("list")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "n1"), "is there already"),
        (("add", "shop", "--role", "boss"), "no role"),
        (("add", "n9", "--role", "client"), "no other process"),
        (("rotate", "n9"), "no key of n9"),
        (("remove", "n9"), "no key of n9"),
    ],
)
def test_what_cannot_be_done_to_keys_is_refused_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    directory = tmp_path / "keys"
    run_verb(["keys", str(directory), "--nodes", "1"], Session())
    before = {path.name: path.read_text() for path in directory.iterdir()}
    assert run_verb(["keys", *words, "--dir", str(directory)], Session()) == ExitCode.FAILURE
    assert why in capsys.readouterr().err
    assert {path.name: path.read_text() for path in directory.iterdir()} == before


@pytest.mark.parametrize("verb", HOMES)
def test_the_quick_way_to_a_verb_leads_to_its_home(verb: str) -> None:
    homes = [
        command.callback.__module__
        for command in app.registered_commands
        if command.callback and verb in (command.name, command.callback.__name__)
    ]
    assert homes == [HOMES[verb]]


def test_a_cluster_may_be_named_before_the_verb() -> None:
    assert completed(["--cluster", "c", "kill", "1", "3"]) == ["kill", "--cluster", "c", "1", "3"]
    assert completed(["--cluster=c", "member", "add"]) == ["member", "add", "--cluster=c"]
    assert completed(["--cluster", "c", "lock", "l", "--", "x"]) == ["lock", "--cluster", "c", "l", "--", "x"]
    assert run_verb(["--cluster", "c"], Session()) == ExitCode.USAGE
    assert run_verb(["--cluster", "c", "--nodes", "3"], Session()) == ExitCode.USAGE


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["--version"], Session()) == ExitCode.OK
    assert re.fullmatch(r"raft-actors \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_without_a_cluster_the_list_is_empty_and_says_where_it_looked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_verb(["ls"], Session()) == ExitCode.OK
    assert str(tmp_path) in capsys.readouterr().out
    assert run_verb(["ls", "-o", "json"], Session()) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"v": 1, "clusters": []}


def test_the_doctor_names_what_should_be_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (16, 16))
    assert run_verb(["doctor"], Session()) == ExitCode.FAILURE
    said = capsys.readouterr().out
    assert "look  open files: up to 16 in a process (raise the hard limit to 1024: ulimit -Hn)" in said
    assert "ok    clock" in said


def every_command(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, one in getattr(command, "commands", {}).items():
        yield from every_command(one, f"{name} {inner}".strip())


def test_the_readme_names_every_verb() -> None:
    table = "\n".join(row for row in (ROOT / "README.md").read_text().splitlines() if row.startswith("| `"))
    named = set(re.findall(r"`([a-z][a-z -]*)`", table))
    verbs = [name for name, command in every_command(get_command(app)) if not hasattr(command, "commands")]
    assert [verb for verb in verbs if not named & {verb, verb.split()[-1]}] == []


def test_a_default_is_shown_as_it_would_be_typed() -> None:
    shown = [
        (name, parameter.name, parameter.default)
        for name, command in every_command(get_command(app))
        for parameter in command.params
        if isinstance(parameter.default, float)
        and parameter.metavar in ("DURATION", "TTL")
        and getattr(parameter, "show_default", False) is True
    ]
    assert shown == []


def test_a_picture_is_not_written_to_a_terminal_but_to_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text("")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run_verb(["timeline", str(events)], Session()) == ExitCode.USAGE
    said = capsys.readouterr()
    assert "--to FILE" in said.err
    assert "<html" not in said.out
    assert run_verb(["timeline", str(events), "--to", str(tmp_path / "now.html")], Session()) == ExitCode.OK
    assert "<html" in (tmp_path / "now.html").read_text()
    assert run_verb(["timeline", str(events), "--to", str(tmp_path)], Session()) == ExitCode.FAILURE


def test_help_has_no_bold_and_no_dim_where_no_colours_are_wanted(tmp_path: Path) -> None:
    env = {**os.environ, "NO_COLOR": "1", "TERM": "xterm"}
    terminal = Terminal([sys.executable, str(ROOT / "launcher.py"), "status", "--help"], env, tmp_path)
    try:
        shown = terminal.rest()
    finally:
        terminal.close()
    assert "Example" in shown
    assert "\x1b" not in shown


def test_the_version_is_that_of_the_project_s_description() -> None:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert described["project"]["version"] == VERSION


def test_a_python_without_the_packages_is_told_the_command_that_installs_them() -> None:
    bare = [sys.executable, "-E", "-S", str(ROOT / "launcher.py")]
    for arguments in (["--nodes", "3"], ["status"]):
        ended = subprocess.run([*bare, *arguments], capture_output=True, text=True)
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert "pip install -e ." in ended.stderr


@pytest.mark.parametrize("ends", [True, False])
def test_down_of_a_launcher_that_gives_no_answer_succeeds_only_if_it_ends(
    ends: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Silent:
        record = SimpleNamespace(pid=os.getpid(), events=str(tmp_path / "none"), name="c")

        def __enter__(self) -> Silent:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def ask(self, *_: object) -> None:
            raise Unreachable("cluster 'c' cannot be reached: connection closed")

    monkeypatch.setattr(Session, "launcher", lambda *_: Silent())
    monkeypatch.setattr(lifecycle, "has_ended", lambda _: ends)
    assert run_verb(["down"], Session()) == (ExitCode.OK if ends else ExitCode.UNREACHABLE)


def test_a_file_that_holds_something_else_is_no_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("something else\n" + '{"a":' * 5000 + "\n")
    assert run_verb(["timeline", str(other)], Session()) == ExitCode.USAGE
    assert "holds no events" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--report", "--trace"])
@pytest.mark.parametrize("place", ["nowhere/file", "", "x" * 300])
def test_a_file_that_could_not_be_written_at_the_end_is_refused_at_the_start(
    option: str, place: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_verb(["up", option, str(tmp_path / place)], Session()) == ExitCode.USAGE
    assert f"error: {option} {tmp_path}" in capsys.readouterr().err


def test_a_file_that_the_system_refuses_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    named = str(tmp_path / ("x" * 300))
    for line in (["backup", "show", named], ["keys", "list", "--dir", named], ["chaos", "--report", named]):
        assert run_verb(line, Session()) in (ExitCode.FAILURE, ExitCode.USAGE), line
        said = capsys.readouterr().err
        assert said.startswith("error: /") and said.endswith(": File name too long\n"), said
    assert run_verb(["lock", "door", "--", f"/{'x' * 300}"], Session()) == ExitCode.COMMAND_NOT_FOUND


def test_a_name_that_is_no_text_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["lock", os.fsdecode(b"\xff"), "--", "true"], Session()) == ExitCode.USAGE
    assert "is not text in UTF-8" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "line", ["clock 1 --rate nan", "chaos --rate nan", "chaos --rate inf", "check perf --at-least nan"]
)
def test_a_number_that_is_none_is_a_usage_error(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(line.split(), Session()) == ExitCode.USAGE
    assert "is no number to go by" in " ".join(capsys.readouterr().err.split())
