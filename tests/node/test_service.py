"""A node under a service manager: one command line for all starts, ready when it is, ended for a reason."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.client import Client
from raft.client.survey import ask_each
from raft.cluster.processes import processes
from raft.embedding import node_supervisor
from raft.node import config
from raft.node.process.exit_codes import DATA_NEED_A_DECISION, ENDINGS, RESTART_IS_OF_NO_USE
from raft.node.process.permit import permit_first_start
from raft.node.process.readiness import notify
from raft.protocol.client import LeaderIs, WhoLeads
from tests.processes.clusters import PATIENCE_SECONDS, ROOT

DOCUMENT = ROOT / "docs" / "operations.md"


class Manager:
    """Starts nodes as a service manager does, and hears what they say."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.heard = {node: self._socket(node) for node in (1, 2)}
        self.running: dict[int, subprocess.Popen[str]] = {}

    def _socket(self, node: int) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(str(self.directory / f"notify{node}"))
        made.settimeout(PATIENCE_SECONDS)
        return made

    def start(self, node: int) -> subprocess.Popen[str]:
        at, other = self.at(1, 2), 3 - node
        words = ["--id", str(node), "--listen", at[node], "--peer", f"{other}={at[other]}"]
        words += ["--data-dir", str(self.directory / f"data{node}"), "--existing"]
        self.running[node] = subprocess.Popen(
            [sys.executable, "-m", "raft.node", *words],
            cwd=ROOT,
            env={"PATH": "", "NOTIFY_SOCKET": str(self.directory / f"notify{node}"), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.running[node]

    def at(self, *nodes: int) -> dict[int, str]:
        return {node: f"ipc://{self.directory}/s{node}" for node in nodes}

    def client(self, *nodes: int) -> Client:
        return Client(self.at(*nodes), timeout_seconds=PATIENCE_SECONDS)

    def ended(self, node: int, *, by_signal: bool = False) -> tuple[int, str]:
        process = self.running.pop(node)
        if by_signal:
            process.terminate()
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, said

    def close(self) -> None:
        for node in list(self.running):
            self.running[node].kill()
            self.ended(node)
        for each in self.heard.values():
            each.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.mark.processes
def test_one_command_line_serves_each_start_and_a_node_is_ready_when_it_has_joined(manager: Manager) -> None:
    directory = manager.directory
    for node in (1, 2):
        permit_first_start(directory / f"data{node}")
    manager.start(1)
    answers = ask_each(manager.at(1), WhoLeads(), cluster="default", timeout_seconds=PATIENCE_SECONDS)
    assert isinstance(answers[1], LeaderIs)  # It is alive, and alone of two.
    manager.heard[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.heard[1].recv(100)
    manager.heard[1].settimeout(PATIENCE_SECONDS)
    manager.start(2)
    assert manager.heard[1].recv(100) == manager.heard[2].recv(100) == b"READY=1"
    with manager.client(1, 2) as client:
        client.put("k", "v")
    assert manager.ended(1, by_signal=True)[0] == 0
    assert manager.heard[1].recv(100) == b"STOPPING=1"
    manager.start(1)
    assert manager.heard[1].recv(100) == b"READY=1"
    with manager.client(1) as client:
        assert client.get("k") == b"v"
    assert manager.ended(1, by_signal=True)[0] == 0
    (directory / "data1").rename(directory / "not-mounted")
    (directory / "data1").mkdir(mode=0o700)
    manager.start(1)
    code, said = manager.ended(1)
    assert code == config.EXIT_LOG_MISSING, said
    assert list((directory / "data1").iterdir()) == []


def test_abstract_sockets_are_notified_too_and_an_unreachable_manager_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        name = f"raft-actors-test-{tmp_path.name}"
        heard.bind("\0" + name)
        heard.settimeout(PATIENCE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("READY=1")
        assert heard.recv(100) == b"READY=1"
    notify("READY=1")  # Nothing listens there any more.
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


@pytest.mark.processes
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_refused_and_the_same_directory_serves_the_next_start(
    tmp_path: Path, host: str
) -> None:
    data = tmp_path / "data"
    permit_first_start(data)
    with socket.create_server((host, 0)) as taken:
        endpoint = f"tcp://{host}:{taken.getsockname()[1]}"
        words = ["--id", "1", "--listen", endpoint, "--data-dir", str(data), "--existing"]
        done = subprocess.run(
            [sys.executable, "-m", "raft.node", *words], cwd=ROOT, capture_output=True, text=True
        )
    assert done.returncode == config.EXIT_REFUSED
    assert "Address already in use" in done.stderr
    with Client({1: f"ipc://{tmp_path}/n"}, timeout_seconds=PATIENCE_SECONDS) as client:
        words[3] = f"ipc://{tmp_path}/n"
        node = subprocess.Popen(
            [sys.executable, "-m", "raft.node", *words], cwd=ROOT, stderr=subprocess.DEVNULL
        )
        client.put("k", "v")
        node.terminate()
        assert node.wait(PATIENCE_SECONDS) == 0


def test_every_exit_code_is_in_the_table_once() -> None:
    named = {value for name, value in vars(config).items() if name.startswith("EXIT_")}
    assert sorted(each.code for each in ENDINGS) == sorted({0, *named})


def test_launcher_and_embedding_use_the_table() -> None:
    assert vars(processes)["DATA_NEED_A_DECISION"] is DATA_NEED_A_DECISION
    assert vars(node_supervisor)["DATA_NEED_A_DECISION"] is DATA_NEED_A_DECISION
    assert {5, 6, 7, 8, 9, 10} == DATA_NEED_A_DECISION


def test_the_page_on_operations_has_the_table() -> None:
    page = DOCUMENT.read_text()
    rows = [
        f"| {each.code} | {each.meaning} | {'yes' if each.restart_helps else 'no'} | {each.remedy} |"
        for each in ENDINGS
    ]
    assert re.findall(r"^\| \d+ \|.*$", page, re.MULTILINE)[: len(rows)] == rows
    listed = re.search(r"^RestartPreventExitStatus=(.*)$", page, re.MULTILINE)
    assert listed is not None
    assert {int(code) for code in listed.group(1).split()} == RESTART_IS_OF_NO_USE
