"""Data directories that are copied back while their nodes are down: an old backup, a restored machine."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.client.client import Client
from raft.client.errors import ClientError
from raft.node.config import EXIT_BROKEN_PROMISE, EXIT_ROLLED_BACK
from tests.processes.clusters import wait_until
from tests.processes.test_repair import NODES, Nodes, put

pytestmark = pytest.mark.processes

# Long, so that a busy machine changes no leader: a new one knows nothing of what a follower had acknowledged.
PATIENT = "--election-timeout=3s-6s"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    tmp_path.chmod(0o700)
    nodes = Nodes(tmp_path)
    for node in NODES:
        nodes.start(node, PATIENT)
    try:
        yield nodes
    finally:
        for node in [*nodes.processes]:
            nodes.stop(node)


def copied(nodes: Nodes, *which: int) -> dict[int, Path]:
    """Copies of the data directories of these nodes, made while they are down."""
    copies = {}
    for node in which:
        wait_until(lambda node=node: has(nodes, node, "before4"))  # type: ignore[misc]
        nodes.stop(node)
        copies[node] = nodes.directory / f"copy-of-n{node}"
        shutil.copytree(nodes.data_of(node), copies[node])
    return copies


def copy_back(nodes: Nodes, copies: dict[int, Path]) -> None:
    for node, copy in copies.items():
        nodes.stop(node)
        data = nodes.data_of(node)
        shutil.rmtree(data)
        shutil.copytree(copy, data)


def put_many(nodes: Nodes, prefix: str) -> None:
    for number in range(5):
        wait_until(lambda number=number: put(nodes, f"{prefix}{number}"))  # type: ignore[misc]


def has(nodes: Nodes, node: int, key: str) -> bool:
    """Has this node applied the write of a key?"""
    keys = nodes.keys / "app.toml"
    with Client({node: nodes.endpoints[node]}, keys=keys, timeout_seconds=2.0) as client:
        try:
            return client.get(key) == key.encode()
        except ClientError:
            return False


def test_the_healthy_third_does_not_follow_a_majority_that_was_copied_back(nodes: Nodes) -> None:
    put_many(nodes, "before")
    copies = copied(nodes, 1, 2)
    for node in copies:
        nodes.start(node, PATIENT, "--existing")
    put_many(nodes, "meanwhile")
    wait_until(lambda: has(nodes, 3, "meanwhile4"))
    third = nodes.processes[3]
    third.send_signal(signal.SIGSTOP)
    copy_back(nodes, copies)
    for node in copies:
        nodes.start(node, PATIENT, "--existing")
    put_many(nodes, "other")  # A majority has lost what it acknowledged: no other node can know yet.
    third.send_signal(signal.SIGCONT)
    wait_until(lambda: any(process.poll() is not None for process in nodes.processes.values()), 90.0)
    ended = {process.poll() for process in nodes.processes.values()} - {None}
    assert ended <= {EXIT_BROKEN_PROMISE, EXIT_ROLLED_BACK}


def test_one_node_that_was_copied_back_stops_is_refused_and_is_repaired_by_its_peers(nodes: Nodes) -> None:
    put_many(nodes, "before")
    with nodes.client() as client:
        leader = client.leader().leader
    follower = next(node for node in NODES if node != leader)
    copies = copied(nodes, follower)
    nodes.start(follower, PATIENT, "--existing")
    put_many(nodes, "meanwhile")
    wait_until(lambda: has(nodes, follower, "meanwhile4"))
    copy_back(nodes, copies)
    process = nodes.start(follower, PATIENT, "--existing")
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == EXIT_ROLLED_BACK
    process = nodes.start(follower, PATIENT, "--existing")
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == EXIT_ROLLED_BACK
    nodes.start(follower, PATIENT, "--existing", "--repair-from-peers")
    wait_until(lambda: (nodes.data_of(follower) / ".damaged-1").exists())
    wait_until(lambda: not (nodes.data_of(follower) / ".repair").exists())
    assert put(nodes, "after")
