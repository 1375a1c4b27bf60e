"""raft-actors.toml: defaults of options, and what is said of a wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from raft.cli.entry import run
from raft.cli.main import app
from raft.cli.verbs.lab import chaos
from raft.cluster.failures import ExitCode, VerbFailed
from raft.lab.chaos.order import Order
from raft.lab.chaos.run import Summary
from tests.cluster.test_command_line import every_command

Write = Callable[[str], Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home and working directory with nothing in them."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TERM", "dumb")
    for name in ("RAFT_CONFIG", "RAFT_OUTPUT", "RAFT_CLUSTER", "RAFT_TIME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config" / "raft-actors").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def verb(line: str) -> int:
    return run(line.split(), None, 0.0, -1)


def here(text: str) -> None:
    Path("raft-actors.toml").write_text(text)


def of_user(home: Path, text: str) -> None:
    (home / "config" / "raft-actors" / "config.toml").write_text(text)


def test_a_default_at_the_top_is_for_all_verbs_that_take_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here('output = "json"\n')
    assert verb("ls") == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"v": 1, "clusters": []}


def test_options_come_before_the_environment_before_the_nearer_file_before_the_user_s(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cluster_meant(line: str = "status") -> str:
        assert verb(line) == ExitCode.UNREACHABLE
        return capsys.readouterr().err.split("'")[1]

    of_user(home, 'cluster = "of-user"\n[leader]\nwait = "1ms"\n')
    assert cluster_meant() == "of-user"
    here('cluster = "here"\n')
    assert cluster_meant() == "here"
    here('cluster = "here"\n[status]\ncluster = "of-verb"\n')
    assert cluster_meant() == "of-verb"
    assert cluster_meant("leader") == "here"
    monkeypatch.setenv("RAFT_CLUSTER", "environment")
    assert cluster_meant() == "environment"
    assert cluster_meant("status --cluster option") == "option"
    assert cluster_meant("--cluster option status") == "option"


def test_what_a_file_switches_on_is_switched_off_by_an_option(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    here("[completion]\ninstall = true\n")
    assert verb("completion bash --no-install") == ExitCode.OK
    assert "complete -o default" in capsys.readouterr().out
    assert not list(home.rglob("*completion*"))


def test_each_flag_has_an_opposite() -> None:
    left = {}
    for name, command in every_command(get_command(app)):
        for flag in command.params:
            option = max(flag.opts, key=len)
            if getattr(flag, "is_flag", False) and not hasattr(command, "commands"):
                opposite = option.replace("--no-", "--") if "--no-" in option else f"--no-{option[2:]}"
                parser = command.make_parser(command.context_class(command))
                left[f"{name} {opposite}"] = parser.parse_args([option, opposite])[0][flag.name]
    assert set(left.values()) == {False}
    assert {"up --no-keep", "up --pre-vote", "status --no-watch", "ls --no-quiet"} <= set(left)


def test_another_file_or_none_is_named_by_the_environment(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here('output = "json"\n')
    monkeypatch.setenv("RAFT_CONFIG", "")
    assert verb("ls") == ExitCode.OK
    assert "no cluster runs" in capsys.readouterr().out
    monkeypatch.setenv("RAFT_CONFIG", "gone.toml")
    assert verb("ls") == ExitCode.USAGE
    assert "gone.toml cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('outputt = "json"\n', "ls", ":1: 'outputt' is not known at the top: did you mean output?"),
        ("\n[staus]\nwatch = true\n", "ls", ":2: 'staus' is not known at the top: did you mean status?"),
        ("[up]\nnode = 1\n", "ls", ":2: 'node' is not known in [up]: did you mean nodes?"),
        ("[up]\ndetach = true\n", "ls", ":2: 'detach' is not known in [up]: it is for the command line only"),
        ("[lease]\ngarnt = {}\n", "ls", ":2: 'garnt' is not known in [lease]: did you mean grant?"),
        ("[lease.grant]\nttl = 3\n", "ls", ":2: 'ttl' is not known in [lease.grant]: there are"),
        ("[status]\ninterval = 5\n", "status", ":2: interval: '5' has no unit: write 5ms or 5s"),
        ("[up]\nnodes = 'five'\n", "up", ":2: nodes: 'five' is not a valid int"),
        ("[status]\nwatch = 1\n", "status", ":2: watch is true or false"),
        ("[status]\ninterval = true\n", "status", ":2: interval takes text or a number"),
        ("[status]\ninterval = ['1s']\n", "status", ":2: interval takes one value, not a list"),
        ("[status]\noutput = 'xml'\n", "status", ":2: output: 'xml' is not a format of this verb"),
        ("output = \n", "ls", " is not valid TOML: Invalid value (at line 1"),
    ],
)
def test_what_is_wrong_is_refused_with_its_file_line_and_key(
    text: str, line: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here(text)
    assert verb(line) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert f"raft-actors.toml{said}" in captured.err
    assert captured.out == ""


def test_chaos_breaks_no_running_cluster_that_only_a_default_names(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Order] = []

    def run_no_chaos(_context: object, order: Order, _directory: Path) -> Summary:
        asked.append(order)
        raise VerbFailed("not in this test")

    monkeypatch.setattr(chaos, "run_and_judge", run_no_chaos)
    here('cluster = "precious"\n')
    monkeypatch.setenv("RAFT_CLUSTER", "precious")
    assert verb("chaos --seed 3") == ExitCode.FAILURE
    assert [order.cluster for order in asked] == [None]
    here('[chaos]\nduration = "5"\n')
    assert verb("chaos") == ExitCode.USAGE
    assert ":2: duration: '5' has no unit" in capsys.readouterr().err


@pytest.mark.parametrize("of_home", ["XDG_CONFIG_HOME", "HOME"])
def test_a_file_that_may_not_be_looked_for_is_none(
    of_home: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(of_home, "/" + "x" * 300)  # As another user's home, this cannot be searched.
    if of_home == "HOME":
        monkeypatch.delenv("XDG_CONFIG_HOME")
    assert verb("ls") == ExitCode.OK


@pytest.mark.parametrize(
    ("text", "table"),
    [("up = 3\n", "[up]"), ("[lease]\ngrant = 3\n", "[lease.grant]"), ("[[up]]\nnodes = 3\n", "[up]")],
)
def test_a_verb_with_a_value_is_told_to_be_a_table(
    text: str, table: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here(text)
    assert verb("ls") == ExitCode.USAGE
    assert f"its options stand in a table, {table}" in capsys.readouterr().err


def test_a_file_that_is_nested_too_deeply_is_a_usage_error(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("output = " + "[" * 5000 + "]" * 5000)
    assert verb("ls") == ExitCode.USAGE
    assert "nested too deeply" in capsys.readouterr().err
