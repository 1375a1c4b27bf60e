"""A node without memory: it stops at a committed command, and refuses a query."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from raft.client import Client, OutcomeUnknown
from raft.machines.application import Application
from raft.node.config import EXIT_OUT_OF_MEMORY
from raft.protocol.client import Invalid
from tests.node.cluster import Cluster, value_in


class Scarce(Application):
    """Has no memory for some commands and questions, as long as it is short of it."""

    short = False

    def begin(self, index: int, command: bytes, decoded: Any = None) -> Any:
        if self.short and b"huge" in command:
            raise MemoryError
        return super().begin(index, command, decoded)

    def look_up(self, query: bytes) -> Any:
        if self.short:
            raise MemoryError
        return super().look_up(query)


class Hungry:
    """A machine of one's own, with a command that it has no memory for."""

    def apply(self, index: int, command: bytes) -> bytes:
        if command == b"huge":
            raise MemoryError
        return b""

    def query(self, body: bytes) -> bytes:
        return b""

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        """It has no state."""


def test_a_node_without_memory_for_a_committed_command_stops_and_the_others_go_on() -> None:
    cluster = Cluster(3, machine=Scarce)
    leader = cluster.elect()
    node = cluster.followers()[0]
    cluster[node].machine.short = True  # type: ignore[attr-defined]
    cluster.put(leader, b"k", b"huge")
    assert cluster.network.run_until(lambda: bool(cluster.crashes), 2.0)
    assert cluster.crashes.pop().error.startswith("MemoryError")
    cluster.put(leader, b"k2", b"v")
    assert cluster.leaders() == [leader]
    cluster[node].kill()
    cluster[node].start()  # With memory again: what it could not apply then it applies now.
    cluster.until(lambda: cluster[node].actor.components.applier.applied == cluster[leader].raft.log.last)
    assert value_in(cluster.get(node, b"k")) == b"huge"


def test_a_query_without_memory_is_refused_and_the_node_continues() -> None:
    cluster = Cluster(3, machine=Scarce)
    leader = cluster.elect()
    cluster.put(leader, b"k", b"v")
    cluster[leader].machine.short = True  # type: ignore[attr-defined]
    answer = cluster.get(leader, b"k")
    assert isinstance(answer, Invalid)
    assert "no memory left" in answer.reason
    cluster[leader].machine.short = False  # type: ignore[attr-defined]
    assert value_in(cluster.get(leader, b"k")) == b"v"


@pytest.mark.processes
def test_a_node_process_without_memory_ends_with_its_exit_code_and_message() -> None:
    with tempfile.TemporaryDirectory(prefix="rn") as name:
        directory = Path(name)
        at = f"ipc://{directory}/n1"
        command = [sys.executable, "-m", "raft.node", "--id", "1", "--listen", at]
        command += ["--data-dir", f"{directory}/data", "--machine", f"{__name__}:Hungry"]
        node = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        with Client([at], timeout_seconds=60.0) as client:
            client.put("k", "v")
            with pytest.raises(OutcomeUnknown):
                client.command(b"huge")
        _, said = node.communicate(timeout=60)
    assert node.returncode == EXIT_OUT_OF_MEMORY
    assert said.splitlines()[-1].startswith("the node has stopped: there is no memory left")
    assert "Traceback" not in said
