"""The examples do what they say, run as their users would run them."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.bank import Audit, Deposit, Transfer
from examples.billing import ORDERS
from examples.replicated_counter import Add, Reset, Value
from examples.scheduler import JOBS as JOBS_SCHEDULED
from examples.scheduler import written
from examples.work_queue import JOBS
from raft.client import Client
from raft.lab.simulation.determinism import check_machine
from raft.machines.typed import body_of
from tests.examples.hosts import PATIENCE_SECONDS, ROOT, environment, running
from tests.processes.clusters import wait_until


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rx", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.processes
def test_the_cron_job_ticks_on_one_host_and_goes_on_on_another(directory: Path) -> None:
    with running("cron_on_one_host.py", directory) as hosts:
        ticks = [hosts.hear(r"tick (\d+) on host (\d)") for _ in range(3)]
        assert [int(tick[1]) for tick in ticks] == [1, 2, 3]
        (first,) = {int(tick[2]) for tick in ticks}
        hosts.signal(first, signal.SIGKILL)
        after = [hosts.hear(r"tick (\d+) on host (\d)")]
        while int(after[-1][2]) == first:
            after.append(hosts.hear(r"tick (\d+) on host (\d)"))
        numbers = [int(tick[1]) for tick in (*ticks, *after)]
        assert numbers == sorted(set(numbers)), "a tick was run twice"


@pytest.mark.processes
def test_a_worker_that_slept_through_its_lease_is_turned_down_by_the_database(directory: Path) -> None:
    with running("singleton_worker.py", directory) as hosts:
        paid = hosts.hear(r"worker (\d) paid, token (\d+)")
        sleeper, token = int(paid[1]), int(paid[2])
        hosts.signal(sleeper, signal.SIGSTOP)
        others = "".join(str(number) for number in (1, 2, 3) if number != sleeper)
        successor = hosts.hear(rf"worker ([{others}]) paid, token (\d+)")
        assert int(successor[2]) > token
        hosts.signal(sleeper, signal.SIGCONT)
        said = hosts.hear(rf"worker {sleeper} (paid|stopped).*")
        assert said[1] == "stopped"
        with closing(sqlite3.connect(directory / "shared.db")) as database:
            query = "SELECT worker, fencing_token FROM accounts"
            worker, newest = database.execute(query).fetchone()
        assert worker != sleeper
        assert newest > token


@pytest.mark.processes
def test_one_host_of_the_service_works_in_the_background_and_all_answer(directory: Path) -> None:
    ports = {number: free_port() for number in (1, 2, 3)}
    arguments = {number: [str(port)] for number, port in ports.items()}
    with httpx.Client(trust_env=False) as web, running("leader_only_task.py", directory, arguments) as hosts:

        def status(number: int) -> dict[str, Any]:
            try:
                found: dict[str, Any] = web.get(f"http://127.0.0.1:{ports[number]}/").json()
            except httpx.TransportError:
                return {"working": False, "heartbeats": -1}
            return found

        def working() -> list[int]:
            return [number for number in ports if status(number)["working"]]

        wait_until(lambda: all(status(number)["heartbeats"] >= 0 for number in ports), PATIENCE_SECONDS)
        wait_until(lambda: len(working()) == 1, PATIENCE_SECONDS)
        (first,) = working()
        hosts.signal(first, signal.SIGKILL)
        wait_until(lambda: len(working()) == 1 and working() != [first], PATIENCE_SECONDS)


@pytest.mark.processes
def test_each_job_of_the_queue_has_one_result_though_workers_die_and_sleep(directory: Path) -> None:
    with running("work_queue.py", directory) as hosts:
        dead = int(hosts.hear(r"host (\d) has done job \d+")[1])
        hosts.signal(dead, signal.SIGKILL)
        sleeper = int(hosts.hear(rf"host ([^{dead}]) begins job \d+")[1])
        hosts.signal(sleeper, signal.SIGSTOP)
        (awake,) = {1, 2, 3} - {dead, sleeper}
        hosts.hear(r"all jobs are done")  # What the two had taken, too.
        with Client({awake: f"ipc://{directory}/{awake}.sock"}) as client:
            wait_until(lambda: len(list(client.leases())) == 1, PATIENCE_SECONDS)
            hosts.signal(sleeper, signal.SIGCONT)
            hosts.hear(rf"host {sleeper} begins anew: .*")
            results = {item.key: item.version for item in client.items("results/", keys_only=True)}
            assert results == {b"results/%d" % number: 1 for number in range(JOBS)}, "one was written twice"
            assert not client.count("jobs/")


@pytest.mark.processes
def test_invoices_have_no_gap_and_no_double_though_hosts_sleep_and_die(directory: Path) -> None:
    with running("billing.py", directory) as hosts:
        sleeper = int(hosts.hear(r"host (\d) bills order \d+")[1])
        hosts.signal(sleeper, signal.SIGSTOP)
        second = int(hosts.hear(rf"host ([^{sleeper}]) bills order \d+")[1])
        hosts.signal(sleeper, signal.SIGCONT)
        hosts.hear(rf"host {second} bills order \d+")
        hosts.signal(second, signal.SIGKILL)
        hosts.hear(r"all orders are billed")
    with closing(sqlite3.connect(directory / "shared.db")) as database:
        invoices = database.execute("SELECT number, customer FROM invoices ORDER BY rowid").fetchall()
    assert invoices == [(number, number) for number in range(1, ORDERS + 1)]


@pytest.mark.processes
def test_each_job_of_the_schedule_is_done_at_its_time_with_one_result_though_leaders_sleep_and_die(
    directory: Path,
) -> None:
    now = datetime.now(UTC)
    tomorrow = f"due/{written(now + timedelta(days=1))}/job 99".encode()
    with running("scheduler.py", directory) as hosts:
        sleeper = int(hosts.hear(r"host (\d) begins job \d+")[1])
        with Client({sleeper: f"ipc://{directory}/{sleeper}.sock"}) as client:
            client.put(tomorrow, "")
            hosts.signal(sleeper, signal.SIGSTOP)
            second = int(hosts.hear(rf"host ([^{sleeper}]) has done job \d+")[1])
            hosts.signal(sleeper, signal.SIGCONT)
            hosts.hear(rf"host {second} begins job \d+")
            hosts.signal(second, signal.SIGKILL)
            hosts.hear(r"all jobs are done")
            client.put(f"due/{written(now)}/job {JOBS_SCHEDULED}", "")
            hosts.hear(rf"host \d has done job {JOBS_SCHEDULED}")
            results = list(client.items("done/"))
            assert [item.key for item in client.items("due/")] == [tomorrow], "done before its time"
    jobs = {f"job {number}" for number in range(JOBS_SCHEDULED + 1)}
    assert {result.key.decode().split("/")[2] for result in results} == jobs
    assert {result.version for result in results} == {1}, "one was done twice"


def said_by(example: str) -> list[str]:
    """The lines of an example that runs by itself, to its end."""
    done = subprocess.run(
        [sys.executable, f"examples/{example}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.processes
def test_the_counter_survives_its_leader() -> None:
    assert said_by("replicated_counter.py") == [
        "alice is visitor 1",
        "bob is visitor 2",
        "carol is visitor 3",
        "the leader is dead, and there were 3 visitors",
        "dave is visitor 4",
    ]


@pytest.mark.processes
def test_each_deposit_in_the_bank_counts_once_though_its_leaders_are_killed_and_paused() -> None:
    assert said_by("bank.py") == [
        "the leader was killed, and another one leads",
        "the leader was paused, and another one leads",
        "192 deposits, 76 transfers, 116 refused",
        "1920 cents in the bank, 1900 in savings",
    ]


@pytest.mark.processes
def test_each_job_of_the_pool_has_a_result_though_one_worker_is_killed_and_one_hangs() -> None:
    *lost, done, again = said_by("worker_pool.py")
    # A worker that is killed between two jobs has none in its hands.
    assert {line.split()[0] for line in lost} & {"ann", "ben"}
    assert done == "60 jobs are done, and the sum of their results is 70210"
    assert int(again.removesuffix(" workers were started again")) >= 2


def test_the_counters_are_a_sound_machine() -> None:
    commands = [Add("a", 1), Add("b", 5), Reset("a"), Reset("missing"), Add("a", -2), Add("c", 2**40)]
    log = [*map(body_of, commands), b"no command"]
    queries = [body_of(Value("a")), body_of(Value("missing")), b"\xff"]
    check_machine("examples.replicated_counter:Counters", log, queries)


def test_the_bank_is_a_sound_machine() -> None:
    commands = [Deposit("a", 5), Transfer("a", "b", 6), Transfer("a", "b", 5), Deposit("0", 1)]
    check_machine("examples.bank:Bank", [*map(body_of, commands)], [body_of(Audit())])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
