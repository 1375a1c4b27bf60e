"""Real nodes, each started by a command of its own, and what must not become a member of theirs."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.processes.child import ChildProcess, ForkServer
from actors.transport import curve
from raft.client import Client, ClientError, CommandRefused, Unreachable
from raft.node.config import NodeConfig
from tests.processes.clusters import wait_until

pytestmark = pytest.mark.processes

FOUNDERS = (1, 2, 3)
STARTED_SECONDS = 60.0


class Nodes:
    """Nodes over loopback TCP, with keys or without; any number of clusters of one name."""

    def __init__(self, directory: Path, server: ForkServer, *, keys: bool) -> None:
        self.directory = directory
        self.server = server
        self.keys = directory / "keys" if keys else None
        if self.keys is not None:
            curve.generate(self.keys, [*(f"n{node}" for node in (*FOUNDERS, 4)), "client"])
        with ExitStack() as sockets:
            held = [sockets.enter_context(socket.socket()) for _ in range(5)]
            for each in held:
                each.bind(("127.0.0.1", 0))
            self.at = {n: f"tcp://127.0.0.1:{each.getsockname()[1]}" for n, each in enumerate(held, 1)}
        self.running: dict[int, ChildProcess] = {}

    def key_of(self, name: str) -> str:
        return "" if self.keys is None else str(self.keys / f"{name}.toml")

    def start(self, node: int, founders: tuple[int, ...], data: str = "") -> None:
        config = NodeConfig(
            node=node,
            listen=self.at[node],
            peers={peer: self.at[peer] for peer in founders if peer != node},
            data_dir=str(self.directory / (data or f"n{node}")),
            keys=self.key_of(f"n{node}"),
            first_start=True,
            log_path=str(self.directory / f"n{node}.log"),
        )
        self.running[node] = self.server.spawn(
            "raft.node.process.main:main", config.encode(), log_path=self.directory / f"n{node}.out"
        )
        self.running[node].wait_started(STARTED_SECONDS)

    def kill(self, *nodes: int) -> None:
        for node in nodes:
            child = self.running.pop(node)
            assert child.kill()
            assert child.wait(STARTED_SECONDS) is not None

    def client(self, *nodes: int) -> Client:
        keys = self.key_of("client") or None
        return Client({n: self.at[n] for n in nodes}, keys=keys, timeout_seconds=20.0)


def identity_seen_by(client: Client) -> str:
    """A cluster that has just begun gets its identity a few milliseconds after its first leader."""
    wait_until(lambda: client.leader().identity != "")
    return client.leader().identity


@pytest.fixture(params=[False, True], ids=["without keys", "with keys"])
def nodes(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    server = ForkServer.start(["raft.node.process.main"])
    with tempfile.TemporaryDirectory(prefix="rf") as name:
        try:
            yield Nodes(Path(name), server, keys=request.param)
        finally:
            server.close()


def test_what_must_not_become_a_member_is_refused_and_ends_no_node(nodes: Nodes) -> None:
    for node in FOUNDERS:
        nodes.start(node, FOUNDERS)
    nodes.start(4, (4,))
    with nodes.client(4) as alone:
        alone.put("k", "foreign")
        theirs = identity_seen_by(alone)
    with nodes.client(*FOUNDERS) as client:
        client.put("k", "ours")
        ours = identity_seen_by(client)
        with pytest.raises(CommandRefused, match=f"node 4 of cluster {theirs} listens at") as history:
            client.add_member(4, nodes.at[4])
        assert ours in str(history.value)
        for endpoint in ("tcp://127.0.0.1:*", "tcp://127.0.0.1:0", "tcp://0.0.0.0:7001"):
            with pytest.raises(CommandRefused):
                client.add_member(5, endpoint)
        if nodes.keys is not None:
            with pytest.raises(CommandRefused, match="has no public key of n5"):
                client.add_member(5, nodes.at[5])
        assert client.members().voters == FOUNDERS
    assert theirs
    assert ours != theirs
    nodes.kill(*FOUNDERS)
    for node in FOUNDERS:
        nodes.start(node, FOUNDERS)
    with nodes.client(*FOUNDERS) as client:
        assert client.get("k") == b"ours"
        assert client.leader().identity == ours
    with nodes.client(4) as alone:
        assert alone.get("k") == b"foreign"


def test_a_client_does_not_follow_to_a_node_of_another_cluster(nodes: Nodes) -> None:
    nodes.start(4, (4,))
    with nodes.client(4) as client:
        client.put("k", "v")
        ours = identity_seen_by(client)
        client.timeout_seconds = 3.0
        nodes.kill(4)
        nodes.start(4, (4,), data="another")
        with nodes.client(4) as other:
            other.put("k", "foreign")
            theirs = identity_seen_by(other)
        # With a count of starts that the client has not heard, or it might say that its number was used.
        nodes.kill(4)
        nodes.start(4, (4,), data="another")

        def named() -> bool:
            try:
                client.put("k", "v")
            except Unreachable as error:
                return f"node 4 of cluster {theirs} listens at" in str(error)
            except ClientError:
                return False
            raise AssertionError("a node of another cluster has taken the write")

        wait_until(named)
        with nodes.client(4) as other:
            assert other.get("k") == b"foreign"
    assert ours != theirs
