"""The examples of the actor runtime do what they say, run as their users would run them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from actors.transport.curve import generate
from raft.cluster.namespaces import NamespaceHosts, why_unavailable
from tests.examples.hosts import PATIENCE_SECONDS, ROOT, environment, running, running_program
from tests.examples.test_examples import free_port

pytestmark = pytest.mark.processes
NO_CABLES = why_unavailable(packet_filter=False)


def said_by(example: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(ROOT / "examples" / example), *arguments]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=ROOT, env=environment()
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def test_the_crawler_fetches_each_page_though_a_worker_is_killed() -> None:
    (line,) = said_by("crawler.py")
    assert re.fullmatch(r"200 pages fetched, 0 lost, by [34] processes", line)


def test_each_word_of_the_stream_is_counted_once_though_the_counter_is_killed(tmp_path: Path) -> None:
    assert said_by("stateful_stream.py", str(tmp_path)) == [
        "killed the counter behind line 75",
        "killed the counter behind line 150",
        "killed the counter behind line 225",
        "300 lines: {'blue': 75, 'fish': 600, 'one': 75, 'red': 225, 'two': 225}",
    ]


def test_the_scheduler_goes_on_on_another_host_and_uses_no_number_twice() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rx", ignore_cleanup_errors=True) as directory,
        running("singleton_scheduler.py", Path(directory)) as hosts,
    ):
        runs = [hosts.hear(r"run (\d+) on host (\d), token (\d+)") for _ in range(3)]
        first = int(runs[0][2])
        hosts.signal(first, signal.SIGKILL)
        while int(runs[-1][2]) == first:
            runs.append(hosts.hear(r"run (\d+) on host (\d), token (\d+)"))
        numbers = [int(run[1]) for run in runs]
        assert numbers == sorted(set(numbers))
        assert int(runs[-1][3]) > int(runs[0][3])


def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "actors.md").read_text()
    program, _, after = text.partition("```python\n")[2].partition("```\n")
    (tmp_path / "tutorial.py").write_text(program)
    said = said_by(str(tmp_path / "tutorial.py"))
    assert said == ["balance 12", "ValueError: Alice cannot deposit -1", "balance 0", "sum 328350"]
    assert re.findall(r"`([^`]*)`", after.partition("From here on")[0]) == said


def test_a_chat_goes_on_over_three_hosts_when_one_of_them_dies_and_comes_back(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    generate(keys, ["1", "2", "3"])
    places = {number: f"tcp://127.0.0.1:{free_port()}" for number in (1, 2, 3)}
    arguments = {1: [places[1]], 2: [places[2], "1", places[1]], 3: [places[3], "2", places[2]]}
    chat = ROOT / "examples" / "chat.py"
    with running_program(chat, keys, arguments) as hosts:
        said = {hosts.hear(r"([123]): hello")[1] for _ in range(6)}  # By each to both others.
        assert said == {"1", "2", "3"}
        hosts.signal(3, signal.SIGKILL)
        for state in ("unreachable", "down"):
            for _ in range(2):
                hosts.hear(rf"3 is {state}")
        with running_program(chat, keys, {3: [places[3], "1", places[1]]}) as back:
            assert {back.hear(r"([12]): hello")[1] for _ in range(2)} == {"1", "2"}
            for _ in range(2):
                hosts.hear("3: hello")


@pytest.mark.skipif(bool(NO_CABLES), reason=f"no hosts of our own here: {NO_CABLES}")
def test_both_sides_of_a_cut_cable_go_on_and_the_host_is_back_once_it_joins_again(tmp_path: Path) -> None:
    keys, chat = tmp_path / "keys", ROOT / "examples" / "chat.py"
    generate(keys, ["1", "2", "3"])
    with NamespaceHosts(packet_filter=False) as network:
        places = {number: f"tcp://{network.add(number)}:7400" for number in (1, 2, 3)}
        arguments = {1: [places[1]], 2: [places[2], "1", places[1]], 3: [places[3], "2", places[2]]}
        with running_program(chat, keys, arguments, network.on_host) as hosts:
            assert {hosts.hear(r"([123]): hello")[1] for _ in range(6)} == {"1", "2", "3"}
            network.pull_cable(3)
            told = Counter(hosts.hear(r"([123] is (?:unreachable|down))")[1] for _ in range(8))
            for state in ("unreachable", "down"):
                seen = {number: told[f"{number} is {state}"] for number in (1, 2, 3)}
                assert seen == {1: 1, 2: 1, 3: 2}, "each side sees the other so"
            assert all(program.poll() is None for program in hosts.programs.values()), "all go on"
            network.plug_cable(3)
            hosts.signal(3, signal.SIGKILL)
            again = {3: [places[3], "1", places[1]]}
            with running_program(chat, keys, again, network.on_host) as back:
                assert {back.hear(r"([12]): hello")[1] for _ in range(2)} == {"1", "2"}
                for _ in range(2):
                    hosts.hear("3: hello")


def pool_over_hosts(directory: Path, addresses: dict[int, str]) -> tuple[Path, dict[int, list[str]]]:
    """The program, and what it is started with on each host."""
    generate(directory, ["1", "2", "3"])
    first = ["1", addresses[1]]
    arguments = {1: [addresses[1]], 2: [addresses[2], *first], 3: [addresses[3], *first]}
    return ROOT / "examples" / "pool_over_hosts.py", arguments


def test_a_pool_over_three_hosts_does_each_job_though_one_of_them_dies(tmp_path: Path) -> None:
    places = {number: f"tcp://127.0.0.1:{free_port()}" for number in (1, 2, 3)}
    program, arguments = pool_over_hosts(tmp_path / "keys", places)
    with running_program(program, tmp_path / "keys", arguments) as hosts:
        hosts.hear("6 workers")
        hosts.hear("a quarter is done")
        hosts.signal(3, signal.SIGKILL)
        assert hosts.hear(r"(\d+) jobs done by (.*)").groups() == ("600", "1 2 3")


@pytest.mark.skipif(bool(NO_CABLES), reason=f"no hosts of our own here: {NO_CABLES}")
def test_a_pool_over_three_hosts_does_each_job_though_one_of_them_is_cut_off(tmp_path: Path) -> None:
    with NamespaceHosts(packet_filter=False) as network:
        places = {number: f"tcp://{network.add(number)}:7400" for number in (1, 2, 3)}
        program, arguments = pool_over_hosts(tmp_path / "keys", places)
        with running_program(program, tmp_path / "keys", arguments, network.on_host) as hosts:
            hosts.hear("a quarter is done")
            network.pull_cable(3)
            assert hosts.hear(r"(\d+) jobs done by (.*)").groups() == ("600", "1 2 3")
