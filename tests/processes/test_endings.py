"""However a launcher or a node ends, nothing is left behind, and what should go on does."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest

from actors.transport.sockets import Tuning
from raft.cluster.rpc.messages import GetLeader, LeaderAnswer
from tests.processes.clusters import running
from tests.processes.shell import Shell, finish, has_process, until

pytestmark = pytest.mark.processes

SILENCE_SECONDS = 1.5 * Tuning().heartbeat_timeout_milliseconds / 1000


def test_a_killed_launcher_leaves_no_process_no_socket_and_no_data() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3")
        pids = [node["pid"] for node in shell.record()["nodes"]]
        assert all(has_process(pid) for pid in pids)
        shell.ok("pause 2")  # A stopped process has to go, too.
        up.kill()
        until(lambda: not any(has_process(pid) for pid in pids), 2.0)
        until(lambda: not shell.run_directory().exists(), 2.0)
        until(lambda: not list(shell.temporary.iterdir()), 2.0)
        until(lambda: not list(shell.runtime.iterdir()), 2.0)
        again = shell.up("--nodes 3")  # Under the same name, at once.
        assert finish(again, signal.SIGTERM).code == 0


def test_a_node_killed_from_outside_is_restarted_and_one_killed_by_request_stays_down() -> None:
    with Shell() as shell:
        shell.up("--nodes 3")
        shell.ok("kill 1")
        victim = shell.record()["nodes"][1]["pid"]
        os.kill(victim, signal.SIGKILL)
        until(lambda: [node["restarts"] for node in shell.status()["nodes"]] == [0, 1, 0])
        until(lambda: shell.status()["nodes"][1]["state"] == "running")
        assert shell.status()["nodes"][0]["state"] == "down"
        exits = {event["node"]: event for event in shell.events() if event["event"] == "node-exited"}
        assert (exits[1]["cause"], exits[1]["signal"]) == ("injected", "SIGKILL")
        assert (exits[2]["cause"], exits[2]["pid"]) == ("crash", victim)
        shell.ok("kill 3 --restart-after 100ms")
        until(lambda: shell.status()["nodes"][2]["state"] == "running")


def test_a_node_stopped_from_outside_is_shown_as_paused_and_not_killed() -> None:
    with Shell() as shell:
        shell.up("--nodes 3")
        pid = shell.record()["nodes"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        until(lambda: shell.status()["nodes"][0]["state"] == "paused")
        os.kill(pid, signal.SIGCONT)
        until(lambda: shell.status()["nodes"][0]["state"] == "running")
        assert shell.record()["nodes"][0]["pid"] == pid


def test_a_launcher_that_was_stopped_with_its_machine_answers_what_it_was_asked_before() -> None:
    with running(3) as cluster, cluster.launcher() as launcher:
        cluster.process.send_signal(signal.SIGSTOP)
        # By then a node would be given up.
        waker = threading.Timer(SILENCE_SECONDS, cluster.process.send_signal, (signal.SIGCONT,))
        waker.start()
        assert launcher.ask(GetLeader(), LeaderAnswer).leader in (1, 2, 3)
        assert waker.finished.is_set()
        waker.join()


def test_a_detached_cluster_keeps_its_data_through_down_and_guards_its_shape() -> None:
    with Shell() as shell:
        data = shell.home / "data"
        assert "3 nodes up" in shell.ok(f"up --nodes 3 --detach --data-dir {data}")
        assert shell.ok("put a 1") == "OK"
        running = shell.run("up --nodes 3")
        assert (running.code, "running already" in running.err) == (1, True)
        used = shell.run(f"up --nodes 3 --name other --data-dir {data}")
        assert (used.code, "in use" in used.err) == (1, True)
        told = shell.ok("down").splitlines()
        assert told[0] == "stopping 3 nodes"
        assert told[1].split()[0] == "TERM"
        assert told[2].split()[-1] == "stopping"  # It knows of the last moment, too.
        assert list(shell.runtime.glob("*/*")) == []
        other = shell.run(f"--nodes 5 --data-dir {data}")
        assert (other.code, "--nodes 3" in other.err) == (2, True)
        report = shell.home / "report.json"
        up = shell.up(f"--nodes 3 --data-dir {data} --report {report}")
        assert shell.ok("get a") == "1"
        shell.ok("restart all --rolling")
        assert shell.ok("get a") == "1"
        assert finish(up).code == 0
        assert json.loads(report.read_text())["violations"] == []


def test_nodes_that_cannot_start_are_given_up_with_their_last_words() -> None:
    with Shell() as shell:
        done = shell.run("up --nodes 1 --machine json:JSONDecoder")
        assert done.code == 1
        assert "GAVE UP n1" in done.out
        assert "is no machine" in done.out
        assert list(shell.runtime.glob("*/*")) == []


def test_a_cluster_of_a_limited_duration_ends_by_itself_even_before_it_has_begun() -> None:
    with Shell() as shell:
        assert shell.run("--nodes 1 --duration 10ms").code == 0
        assert list(shell.runtime.glob("*/*")) == []
        assert list(shell.temporary.iterdir()) == []


def test_a_run_directory_that_cannot_be_written_is_a_clear_error() -> None:
    with Shell() as shell:
        shell.env["XDG_RUNTIME_DIR"] = "/proc"
        done = shell.run("--nodes 1")
        assert done.code == 1
        assert "cannot be used" in done.err
        assert list(shell.temporary.iterdir()) == []
