"""A machine of the user's own in real node processes: its commands, its mistakes, and replicas that part."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from examples.replicated_counter import Add, Reset, Value
from raft.client import Client, CommandRefused
from raft.node.config import EXIT_DIVERGED
from tests.processes.shell import Shell, finish, until

pytestmark = pytest.mark.processes

COUNTER = """
from raft.machines.machine import MachineError

class Counter:
    def __init__(self):
        self.count = 0
    def apply(self, index, command):
        if command == b"refuse":
            raise MachineError("I would rather not")
        self.count += int(command)
        return b"%d" % self.count
    def query(self, query):
        return b"%d" % self.count
    def snapshot(self):
        return b"%d" % self.count
    def restore(self, data):
        self.count = int(data or b"0")
"""

FICKLE = COUNTER.replace("class Counter:", "import os\n\nclass Fickle:").replace(
    'b"%d" % self.count\n    def query', 'b"%d" % os.getpid()\n    def query'
)


def client_of(shell: Shell) -> Client:
    record = shell.record()
    return Client({node["id"]: node["endpoint"] for node in record["nodes"]}, cluster=record["cluster"])


def test_a_machine_of_ones_own_is_replicated_beside_the_store_and_survives_kills_and_snapshots() -> None:
    with Shell() as shell:
        (shell.home / "mine.py").write_text(COUNTER)
        up = shell.up("--nodes 3 --machine mine:Counter")
        with client_of(shell) as client:
            assert client.command(b"1").result == b"1"
            for refused in (b"refuse", b"no number"):
                with pytest.raises(CommandRefused):
                    client.command(refused)
            assert "machine mine:Counter  version 1\n" in shell.ok("status")
            assert {node["machine_version"] for node in shell.status()["nodes"]} == {1}
            client.put("beside", "the store")
            shell.ok("snapshot all")
            assert client.command(b"2").result == b"3"
            shell.ok("restart all --rolling")
            assert client.query(b"").result == b"3"
            assert client.get("beside") == b"the store"
        assert finish(up).code == 0


def test_a_typed_machine_answers_a_blocking_program_in_types() -> None:
    with Shell() as shell:
        up = shell.up("--nodes 3 --machine examples.replicated_counter:Counters")
        with client_of(shell) as client, client.session() as session:
            assert [client.execute(Add("a", 2)), session.execute(Add("a", 3))] == [2, 5]
            with pytest.raises(CommandRefused, match="there is no counter 'b'"):
                session.execute(Reset("b"))
            assert session.execute(Reset("a")) == 0
            assert client.evaluate(Value("a")) == 0
            assert client.evaluate(Value("a"), stale=True) in {0, 2, 5}
        assert finish(up).code == 0


def test_replicas_whose_machine_is_not_deterministic_stop_for_good_and_say_why() -> None:
    with Shell() as shell:
        (shell.home / "mine.py").write_text(FICKLE)
        up = shell.up("--nodes 3 --machine mine:Fickle")
        with client_of(shell) as client:
            client.command(b"1")

        def parted() -> bool:
            exits = [event for event in shell.events() if event["event"] == "node-exited"]
            return [event.get("code") for event in exits] == [EXIT_DIVERGED] * 2

        until(parted, 20.0)
        gone = [event for event in shell.events() if event["event"] == "node-exited"]
        assert all("is the machine deterministic?" in event["traceback"] for event in gone)
        assert [node["state"] for node in shell.status()["nodes"]].count("gave-up") == 2
        finish(up)


SLOW = """
import time

class Slow:
    def _work(self, request):
        ends_at = time.monotonic() + 1.0
        while time.monotonic() < ends_at:
            if request == b"wait":
                time.sleep(0.1)
        return b"done"
    def apply(self, index, command):
        return self._work(command)
    def query(self, query):
        return self._work(query)
    def snapshot(self):
        return b""
    def restore(self, data):
        pass
"""


def test_a_slow_machine_costs_neither_the_leader_nor_a_lease() -> None:
    """Each request takes two election timeouts; meanwhile a lease that lasts as long is kept alive."""
    with Shell() as shell:
        (shell.home / "mine.py").write_text(SLOW)
        up = shell.up("--nodes 3 --machine mine:Slow")
        with client_of(shell) as client, client_of(shell) as slow, ThreadPoolExecutor() as pool:
            lease = client.grant("1s")
            work: Future[Any] = pool.submit(
                lambda: [slow.query(b"wait"), slow.query(b"busy"), slow.command(b"busy")]
            )
            while not work.done():
                assert client.keep_alive(lease), "the lease has ended"
                client.put("beside", "the store")
            assert [answer.result for answer in work.result()] == [b"done"] * 3
        events = [event["event"] for event in shell.events()]
        assert (events.count("leader-elected"), events.count("node-exited")) == (1, 0)
        assert finish(up).code == 0
