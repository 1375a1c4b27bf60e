"""What a node run by a program refuses, and the error texts."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raft.embedding import AsyncNode, Node, NodeRefused
from raft.embedding.settings import plan_of
from tests.embedding.hosts import ROOT, alone, refusal, run

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"listen": "http://127.0.0.1:1"}, "an endpoint is ipc:///absolute/path or tcp://host:port"),
        ({"listen": "tcp://10.0.0.1:7001"}, "needs CURVE keys"),
        ({"peers": {1: "tcp://127.0.0.1:7002"}}, "listed among its own peers"),
        ({"peers": {2: "tcp://127.0.0.1:7001"}}, "two members share the endpoint"),
        ({"heartbeat": "soon"}, "write one like 500ms, 5s, 2m or 1d"),
        ({"heartbeat": "1s"}, "less than two heartbeats"),
        ({"election_timeout": "500ms-250ms"}, "leaves no room to draw from"),
        ({"heartbeat": 5j}, "a duration is a number of seconds"),
        ({"log_level": "LOUD"}, "log_level is one of DEBUG, INFO"),
        ({"peers": {1: "tcp://127.0.0.1:7002"}}, r"give peers=\.\.\. for the others only"),
        ({"machine": "counter"}, "a machine is written package.module:Class"),
        ({"id": 0}, "a node's id is a number from 1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_created(
    directory: Path, settings: dict[str, Any], says: str
) -> None:
    given = {"id": 1, "listen": "tcp://127.0.0.1:7001", "data_dir": directory / "data", **settings}
    for kind in (AsyncNode, Node):
        with pytest.raises(NodeRefused, match=says):
            kind(**given)
    assert not list(directory.iterdir())


def test_all_hosts_may_use_the_same_list_of_members(directory: Path) -> None:
    members = {1: "tcp://127.0.0.1:7001", 2: "tcp://127.0.0.1:7002"}
    plan = plan_of(1, members[1], directory / "data", {"peers": members})
    assert plan.config.peers == {2: members[2]}
    assert plan.endpoints == members


def test_refusals_name_arguments_and_not_command_line_options() -> None:
    said = NodeRefused("give --data-dir; with --existing, --repair-from-peers or --peer N; a--b -- c")
    assert str(said) == (
        "give data_dir=...; with existing=True, repair_from_peers=True or peers=... N; a--b -- c"
    )


def test_a_misspelt_setting_is_an_error(directory: Path) -> None:
    with pytest.raises(TypeError, match="no setting 'heart_beat'"):
        alone(directory, heart_beat="50ms")


def test_a_taken_port_a_foreign_directory_and_one_in_use_are_named(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = "tcp://127.0.0.1:%d" % taken.getsockname()[1]  # noqa: UP031 - an address is a tuple
        assert "in use" in refusal(AsyncNode(1, listen=endpoint, data_dir=directory / "data"))
    (directory / "foreign").mkdir()
    (directory / "foreign" / "letters.txt").touch()
    foreign = AsyncNode(1, listen=f"ipc://{directory}/n1", data_dir=directory / "foreign")
    assert "holds something else" in refusal(foreign)

    async def body() -> None:
        async with alone(directory):
            with pytest.raises(NodeRefused, match="in use by another process"):
                await AsyncNode(1, listen=f"ipc://{directory}/n2", data_dir=directory / "data").__aenter__()

    run(body())


def test_a_data_directory_of_another_node_is_refused(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory):
            pass

    run(body())
    assert "belongs to" in refusal(AsyncNode(2, listen=f"ipc://{directory}/n2", data_dir=directory / "data"))


def test_a_node_that_has_run_before_refuses_an_empty_directory(directory: Path) -> None:
    assert "holds no log" in refusal(alone(directory, existing=True))


def test_a_disk_that_is_lost_while_the_program_runs_is_noticed_at_the_next_start(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory) as node:
            shutil.rmtree(directory / "data")
            os.kill(node.pid or 0, signal.SIGKILL)
            await asyncio.Event().wait()

    with pytest.raises(NodeRefused, match="holds no log"):
        run(body())


def test_a_class_that_is_not_a_machine_is_refused(directory: Path) -> None:
    assert "cannot be had" in refusal(alone(directory, machine="no.such.module:Machine"))
    assert "is no machine" in refusal(alone(directory, machine="random:Random"))


def test_a_machine_that_only_this_process_can_import_is_refused(directory: Path) -> None:
    class Local:
        apply = query = snapshot = restore = None

    with pytest.raises(NodeRefused, match="local to a function"):
        alone(directory, machine=Local)
    at_a_prompt = (
        "import asyncio, sys; from raft.embedding import Node\n"
        "class Machine: apply = query = snapshot = restore = None\n"
        f"Node(1, listen='ipc://{directory}/n1', data_dir='{directory}/data', machine=Machine).__enter__()"
    )
    done = subprocess.run([sys.executable, "-c", at_a_prompt], cwd=ROOT, capture_output=True, text=True)
    assert "the machine __main__:Machine cannot be had" in done.stderr.splitlines()[-1]


UNGUARDED = """
import asyncio, sys
from raft.embedding import AsyncNode, Node

class Machine:
    def apply(self, index, command): return command
    def query(self, query): return query
    def snapshot(self): return b""
    def restore(self, data): pass

settings = dict(listen=f"ipc://{sys.argv[1]}/n1", data_dir=f"{sys.argv[1]}/data", machine=Machine)

async def main():
    async with AsyncNode(1, **settings) as node:
        await node.wait_for_leader()

def run_blocking():
    with Node(1, **settings):
        pass

"""


@pytest.mark.parametrize("start", ["asyncio.run(main())", "run_blocking()"])
def test_a_program_without_a_guard_whose_machine_a_node_imports_is_refused_with_what_to_do(
    directory: Path, start: str
) -> None:
    program = directory / "unguarded.py"
    for guard, refused in (("", True), ("if __name__ == '__main__': ", False)):
        program.write_text(f"{UNGUARDED}{guard}{start}\n")
        command = [sys.executable, str(program), str(directory)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ("forgotten to use the proper idiom in the main module" in done.stderr) == refused, done.stderr
        assert (done.returncode != 0) == refused, done.stderr
