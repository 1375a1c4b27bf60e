"""The chaos verb on real processes: short runs that hold, and wrong ones that are caught."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from raft.lab.chaos.schedule_file import read_schedule
from raft.lab.checkers.records import read_history
from tests.processes.shell import LAUNCHER, Done, Shell, has_process, until


@pytest.fixture
def shell() -> Iterator[Shell]:
    with Shell() as shell:
        yield shell


def verdict(shell: Shell) -> Any:
    return json.loads((shell.home / "run-of-chaos" / "verdict.json").read_text())


def chaos(shell: Shell, line: str) -> Done:
    return shell.run(f"chaos --nodes 3 --rate 150 --report run-of-chaos {line}")


def nothing_is_left(shell: Shell) -> bool:
    left = [path for path in shell.temporary.iterdir() if not path.name.startswith("tmp")]
    return not left and not list(shell.runtime.rglob("*.json"))


FIRM = """
seed = 1
duration = "3s"

[[fault]]
at = "200ms"
kind = "kill"
nodes = "leader"
for = "500ms"

[[fault]]
at = "1200ms"
kind = "isolate"
nodes = "leader"
for = "500ms"

[[fault]]
at = "1500ms"
kind = "clock"
nodes = "1"
rate = 1.5
for = "800ms"

[[fault]]
at = "2500ms"
kind = "power-cut"
nodes = "all"
for = "300ms"
"""


def test_a_run_by_a_schedule_of_ones_own_holds_and_leaves_everything_to_look_at(shell: Shell) -> None:
    (shell.home / "firm.toml").write_text(FIRM)
    done = chaos(shell, "--schedule firm.toml")
    assert done.code == 0, done.out + done.err
    assert "legal" in done.out
    directory = shell.home / "run-of-chaos"
    summary = verdict(shell)
    assert summary["ruling"] == "legal"
    assert summary["faults"] == {"clock": 1, "isolate": 1, "kill": 1, "power-cut": 1}
    assert summary["operations"]["done"] > 100
    assert summary["machines_compared"] == summary["nodes"]
    assert f"machines    {summary['nodes']} compared" in done.out
    assert read_schedule(directory / "schedule.toml") == read_schedule(shell.home / "firm.toml")
    history = read_history(directory / "history.jsonl")
    assert history.header.workload == "register"
    assert len(history.records) == sum(summary["operations"].values())
    assert {"n1.log", "n2.log", "n3.log"} <= {path.name for path in (directory / "logs").iterdir()}
    assert "fault" in (directory / "events.jsonl").read_text()
    assert not (directory / "data").exists()
    until(lambda: nothing_is_left(shell))


@pytest.mark.parametrize("workload", ["append", "lock"])
def test_members_change_under_other_workloads_and_nothing_is_wrong(shell: Shell, workload: str) -> None:
    done = chaos(shell, f"--seed 3 --duration 2s --faults member,kill --workload {workload}")
    assert done.code == 0, done.out + done.err


def anomalies(shell: Shell) -> set[str]:
    return {anomaly["name"] for anomaly in verdict(shell)["judgement"]["anomalies"]}


APART = """
duration = "2s"

[[fault]]
at = "200ms"
kind = "isolate"
nodes = "1"
for = "1700ms"
"""


def test_stale_reads_are_caught_when_a_node_is_cut_off(shell: Shell) -> None:
    (shell.home / "apart.toml").write_text(APART)
    done = chaos(shell, "--schedule apart.toml --sabotage stale-reads")
    assert done.code == 10, done.out + done.err
    assert anomalies(shell) & {"stale-read", "not-linearizable"}


def test_a_resource_that_checks_no_token_is_caught(shell: Shell) -> None:
    done = chaos(shell, "--seed 7 --duration 2s --sabotage no-fencing")
    assert done.code == 10, done.out + done.err
    assert anomalies(shell) == {"stale-token-accepted"}


def test_a_write_that_comes_too_late_fails_the_run_though_all_answers_are_right(shell: Shell) -> None:
    done = chaos(shell, "--duration 1s --faults none --workload watch --recovery-max 1us")
    assert done.code == 10, done.out + done.err
    assert anomalies(shell) == {"unavailable"}
    summary = verdict(shell)
    assert summary["recoveries"]["count"] > 0
    assert summary["judgement"]["notes"] == []


CUT = """
duration = "1800ms"

[[fault]]
at = "1200ms"
kind = "power-cut"
nodes = "all"
for = "500ms"
"""


def test_a_log_that_is_not_synced_is_caught_when_the_power_is_cut(shell: Shell) -> None:
    (shell.home / "cut.toml").write_text(CUT)
    done = chaos(shell, "--schedule cut.toml --sabotage no-fsync")
    assert done.code == 10, done.out + done.err
    assert (shell.home / "run-of-chaos" / "data" / "n1").exists(), "kept, as a proof"


def test_a_running_cluster_can_be_tried_and_lives_on(shell: Shell) -> None:
    shell.up("up --nodes 3 --name mine")
    done = chaos(shell, "--seed 5 --duration 1s --faults kill,pause --workload set --cluster mine")
    assert done.code == 0, done.out + done.err
    assert shell.status("mine")["alive"] == 3
    assert verdict(shell)["machines_compared"] == 0
    assert "snapshot-taken" not in shell.ok("logs all --cluster mine")


def running_chaos(shell: Shell, line: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, *LAUNCHER, *f"chaos --nodes 3 {line}".split()],
        env=shell.env, cwd=shell.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_it_leaves_no_process_behind(shell: Shell, number: signal.Signals) -> None:
    process = running_chaos(shell, "--seed 5 --duration 60s --faults pause")
    record = shell.run_directory(f"chaos-{process.pid}") / "cluster.json"
    until(record.exists)
    until(lambda: all(node["pid"] for node in json.loads(record.read_text())["nodes"]))
    cluster = json.loads(record.read_text())
    pids = [cluster["pid"], *(node["pid"] for node in cluster["nodes"])]
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number is signal.SIGINT else -number)
    assert "Traceback" not in said
    until(lambda: not any(has_process(pid) for pid in pids))
    until(lambda: not record.parent.exists())


LONG = """
seed = 1
duration = "60s"

[[fault]]
at = "300ms"
kind = "pause"
nodes = "1"
for = "50s"
"""


@pytest.mark.parametrize(
    ("before", "sent", "code"),
    [
        ([], [signal.SIGINT], 130),
        ([], [signal.SIGHUP, signal.SIGHUP], 129),  # As when a window is closed: by terminal and shell.
        (["nohup"], [signal.SIGHUP, signal.SIGTERM], 143),
    ],
    ids=["ctrl-c", "closed", "nohup"],
)
def test_a_signal_ends_a_run_with_its_verdict_and_its_history(
    before: list[str], sent: list[signal.Signals], code: int, shell: Shell
) -> None:
    (shell.home / "long.toml").write_text(LONG)
    process = running_chaos(shell, "--schedule long.toml --report run-of-chaos", before)
    events = shell.home / "run-of-chaos" / "data" / "logs" / "events.jsonl"
    until(lambda: events.exists() and '"kind":"pause"' in events.read_text(), seconds=60)
    for number in sent:
        process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == code, out + said
    summary = verdict(shell)
    assert (summary["interrupted"], summary["ruling"]) == (True, "legal")
    assert summary["operations"]["done"] > 0
    assert len(read_history(shell.home / "run-of-chaos" / "history.jsonl").records) > 0
    assert "legal" in out
    until(lambda: nothing_is_left(shell))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--faults kil", "'kil' is not a kind of fault"),
        ("--workload jobs", "no workload 'jobs'"),
        ("--sabotage no-luck", "no-fencing"),
        ("--sabotage no-fencing --workload set", "lock or election"),
        ("--schedule nowhere.toml", "cannot be read"),
        ("--schedule a --seed 3", "--schedule defines all faults"),
        ("--report ..", "holds something other"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(shell: Shell, line: str, complaint: str) -> None:
    done = shell.run(f"chaos {line}")
    assert done.code == 2, done.err
    assert complaint in done.err


def test_the_kinds_of_faults_can_be_listed(shell: Shell) -> None:
    assert {"kill", "power", "clock", "member"} <= set(shell.ok("chaos --faults help").split())
