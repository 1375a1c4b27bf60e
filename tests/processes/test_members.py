"""Real clusters whose members change while a client writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest

from actors.processes.child import ForkServer
from raft.client import Client, ClientError, OutcomeUnknown, Rejected
from raft.node.config import EXIT_REMOVED, NodeConfig
from tests.processes.shell import Shell, finish, until

pytestmark = pytest.mark.processes


PACE_SECONDS = 0.005  # Between two writes, so that there is time for the nodes to do the rest.


class Writer:
    """Writes one key after another until the block is left; remembers which writes were acknowledged."""

    def __init__(self, shell: Shell, name: str = "default") -> None:
        record = shell.record(name)
        self.endpoints = {node["id"]: node["endpoint"] for node in record["nodes"]}
        self.cluster = record["cluster"]
        self.acknowledged: list[str] = []
        self.unknown = 0
        self._end = threading.Event()
        self._failures: list[ClientError] = []
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        until(lambda: len(self.acknowledged) > 20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            # It continues to write, to the present members.
            count = len(self.acknowledged)
            until(lambda: len(self.acknowledged) > count + 20 or not self._thread.is_alive())
        self._end.set()
        self._thread.join()
        assert not self._failures, self._failures

    def _write(self) -> None:
        with Client(self.endpoints, cluster=self.cluster) as client:
            number = 0
            while not self._end.wait(PACE_SECONDS):
                number += 1
                key = f"k{number}"
                try:
                    client.put(key, str(number))
                except OutcomeUnknown:
                    self.unknown += 1
                except Rejected as failure:
                    self._failures.append(failure)
                    return
                else:
                    self.acknowledged.append(key)

    def check(self, shell: Shell, name: str = "default") -> None:
        """Every acknowledged write is there, read from the members of now alone."""
        record = shell.record(name)
        endpoints = {node["id"]: node["endpoint"] for node in record["nodes"]}
        with Client(endpoints, cluster=self.cluster) as client:
            lost = [key for key in self.acknowledged if client.get(key) != key[1:].encode()]
        assert not lost, f"of {len(self.acknowledged)} acknowledged writes {len(lost)} are lost: {lost[:5]}"


@pytest.fixture
def shell() -> Iterator[Shell]:
    with Shell() as shell:
        yield shell


def members(shell: Shell) -> dict[int, Any]:
    return {member["id"]: member for member in json.loads(shell.ok("member list -o json"))["members"]}


def test_a_cluster_grows_from_three_to_five_and_shrinks_again_under_a_writing_client(shell: Shell) -> None:
    up = shell.up("--nodes 3")
    with Writer(shell) as writer:
        assert "4 voters" in shell.ok("member add")
        assert "as a learner" in shell.ok("member add --learner")
        # It learns from the leader what it is.
        until(lambda: {view["id"]: view["role"] for view in shell.status()["nodes"]}[5] == "learner")
        until(lambda: (shell.status()["voters"], shell.status()["can_lose"]) == (4, 1))
        assert "5 voters" in shell.ok("member promote n5")
        assert {member["role"] for member in members(shell).values()} == {"voter"}
        until(lambda: (shell.status()["voters"], shell.status()["can_lose"]) == (5, 2))
        assert "4 voters" in shell.ok("member remove 1")
        assert "3 voters" in shell.ok("member remove leader")
    writer.check(shell)
    left = set(members(shell))
    assert len(left) == 3
    assert 1 not in left
    assert {view["id"] for view in shell.status()["nodes"]} == left
    for node in range(1, 6):
        assert f"n{node}" in shell.ok(f"logs {node} -n 1"), "also of those that have left"
    assert json.loads(shell.ok("report -o json"))["violations"] == []
    assert finish(up).code == 0


def test_replacing_every_member_under_a_writing_client_loses_nothing(shell: Shell) -> None:
    up = shell.up("--nodes 3")
    with Writer(shell) as writer:
        for node in (1, 2, 3):
            assert f"replaced n{node}" in shell.ok(f"member replace {node}")
    writer.check(shell)
    assert set(members(shell)) == {4, 5, 6}
    ended = {event["node"]: event for event in shell.events() if event["event"] == "node-exited"}
    assert {node: (event["cause"], event["code"]) for node, event in ended.items()} == {
        1: ("stopped", ended[1]["code"]), 2: ("stopped", ended[2]["code"]), 3: ("stopped", ended[3]["code"]),
    }  # fmt: skip
    assert finish(up).code == 0


def test_removing_the_leader_hands_over_at_once(shell: Shell) -> None:
    up = shell.up("--nodes 4")
    removed = int(shell.ok("leader"))
    with Writer(shell) as writer:
        shell.ok("member remove leader")
    writer.check(shell)
    events = shell.events()
    lost = next(event for event in events if event["event"] == "leader-lost")
    won = next(
        event for event in events if event["event"] == "leader-elected" and event["term"] > lost["term"]
    )
    assert (lost["node"], lost["reason"]) == (removed, "removed")
    assert won["reason"] == "transfer", "no node waited for its election timeout"
    assert removed not in members(shell)
    assert finish(up).code == 0


def test_a_rolling_restart_under_a_writing_client_never_takes_two_nodes_at_once(shell: Shell) -> None:
    up = shell.up("--nodes 3")
    begun = len(shell.events())
    with Writer(shell) as writer:
        assert shell.ok("restart all --rolling").count("restarted") == 3
    writer.check(shell)
    happened = [
        event for event in shell.events()[begun:] if event["event"] in ("node-exited", "node-started")
    ]
    assert [event["event"] for event in happened] == ["node-exited", "node-started"] * 3
    assert len({event["node"] for event in happened}) == 3
    assert finish(up).code == 0


def test_a_rolling_restart_that_would_take_the_quorum_away_is_refused(shell: Shell) -> None:
    up = shell.up("--nodes 2")
    refused = shell.run("restart all --rolling")
    assert refused.code == 1
    assert "2 are needed" in refused.err
    assert not [event for event in shell.events() if event["event"] == "node-exited"]
    assert finish(up).code == 0


def test_a_durable_cluster_comes_back_with_the_members_that_it_had(shell: Shell) -> None:
    data = shell.home / "data"
    up = shell.up(f"--nodes 3 --data-dir {data}")
    shell.ok("put a 1")
    shell.ok("member replace leader")
    shell.ok("member add")
    before = set(members(shell))
    assert finish(up).code == 0
    refused = shell.run(f"up --nodes 3 --data-dir {data}")
    assert (refused.code, "--nodes 4" in refused.err) == (2, True)
    # Under another name its sockets are elsewhere, too.
    up = shell.up(f"--nodes 4 --data-dir {data} --name other")
    assert shell.ok("get a") == "1"
    assert set(members(shell)) == before
    assert "n6 joined" in shell.ok("member add")
    assert finish(up).code == 0


def test_a_node_that_a_client_removes_stops_by_itself_and_is_not_started_again(shell: Shell) -> None:
    up = shell.up("--nodes 3")
    record = shell.record()
    endpoints = {node["id"]: node["endpoint"] for node in record["nodes"]}
    removed = next(view["id"] for view in shell.status()["nodes"] if view["role"] == "follower")
    with Client(endpoints, cluster=record["cluster"]) as client:
        assert removed not in client.remove_member(removed).voters
        assert sorted(client.members().endpoints) == [node for node in (1, 2, 3) if node != removed]
    until(lambda: len(shell.status()["nodes"]) == 2)
    ended = [event for event in shell.events() if event["event"] == "node-exited"]
    assert [(event["node"], event["cause"], event["code"]) for event in ended] == [
        (removed, "stopped", EXIT_REMOVED)
    ]
    assert finish(up).code == 0


def test_a_node_without_a_launcher_joins_through_the_client_library(shell: Shell) -> None:
    directory = shell.runtime
    server = ForkServer.start(["raft.node.process.main"])
    at = {node: f"ipc://{directory}/s{node}" for node in (1, 2)}
    try:
        for node in at:
            config = NodeConfig(
                first_start=True,
                node=node, listen=at[node], data_dir=str(directory / f"n{node}"), join=node == 2,
                log_path=str(directory / f"n{node}.log"),
            )  # fmt: skip
            out = directory / f"n{node}.out"
            server.spawn("raft.node.process.main:main", config.encode(), log_path=out).wait_started(10)
        with Client({1: at[1]}, timeout_seconds=20.0) as client:
            client.put("a", "1")
            assert client.add_member(2, at[2]).voters == (1, 2)
        with Client({2: at[2]}, timeout_seconds=20.0) as client:
            assert client.get("a", stale=True) in (None, b"1")
            assert client.get("a") == b"1"
            assert client.remove_member(1).voters == (2,)
            client.put("b", "2")
    finally:
        server.close()


def test_a_trace_of_three_nodes_is_well_formed_and_in_the_order_of_its_clock(shell: Shell) -> None:
    trace = shell.home / "trace.jsonl"
    up = shell.up(f"--nodes 3 --no-pre-vote --no-check-quorum --trace {trace}")
    shell.ok("put a 1")
    shell.ok("kill leader")
    shell.ok("leader --wait 60s")
    shell.ok("put b 2")
    assert finish(up).code == 0
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert all(list(line) == ["level", "ts", "caller", "msg", "tag", "event"] for line in lines)
    assert {line["event"]["nid"] for line in lines} == {"1", "2", "3"}
    assert {"InitState", "BecomeLeader", "Replicate", "Commit", "Ready"} <= {
        line["event"]["name"] for line in lines
    }
    unmatched = receptions_without_cause(sorted(lines, key=lambda line: line["ts"]))
    assert not unmatched, unmatched[0]


def receptions_without_cause(lines: list[Any]) -> list[Any]:
    """What was received before it was sent, of lines in the order of their clock."""
    sent: set[str] = set()
    early = []
    for line in lines:
        name, message = line["event"]["name"], json.dumps(line["event"].get("msg"), sort_keys=True)
        if name.startswith("Send"):
            sent.add(name.removeprefix("Send") + message)
        elif name.startswith("Receive") and name.removeprefix("Receive") + message not in sent:
            early.append(line)
    return early
