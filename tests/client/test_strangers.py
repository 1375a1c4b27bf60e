"""Clients that were told wrong: another cluster's name, swapped ids, a list of other nodes, addresses."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from raft.client import Client, OutcomeUnknown, Unreachable
from raft.client.connection import Connection
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("told", "name", "expected"),
    [
        ({1: 1}, "elsewhere", "n1 of cluster 'default' listens at .*, not n1 of cluster 'elsewhere'"),
        ({1: 2, 2: 1}, "default", "n. listens at .*, not n. of cluster 'default'"),
        ([3, 1, 2], "default", "n. listens at .*, not n. of cluster 'default'"),
    ],
)
def test_nothing_is_sent_to_another_node_than_is_meant_and_the_error_names_both(
    nodes: Nodes, told: dict[int, int] | list[int], name: str, expected: str
) -> None:
    at = nodes.endpoints
    endpoints = [at[node] for node in told] if isinstance(told, list) else {n: at[m] for n, m in told.items()}
    with Client(endpoints, cluster=name, timeout_seconds=2.0) as client:
        with pytest.raises(Unreachable, match=expected) as caught:
            client.put("astray", "1")
        assert caught.value.retry_is_safe
    with Client(at) as client:
        assert client.get("astray") is None


def test_a_client_of_one_member_knows_them_all_after_its_first_call(nodes: Nodes) -> None:
    with Client({1: nodes.endpoints[1]}) as client:
        client.get("anything")
        assert client.view.endpoints == nodes.endpoints
        nodes.kill(1)
        with suppress(OutcomeUnknown):  # That it is gone may be heard only after the command was sent there.
            client.put("without the first", "1")
        client.put("without the first", "2")


def test_a_client_keeps_its_own_address_of_a_member_that_works(nodes: Nodes) -> None:
    with tempfile.TemporaryDirectory(prefix="rc") as name:
        own = {node: f"ipc://{name}/{node}" for node in nodes.endpoints}
        for node, endpoint in own.items():
            Path(endpoint.removeprefix("ipc://")).symlink_to(nodes.endpoints[node].removeprefix("ipc://"))
        with Client(own) as client:
            client.put("through links", "1")
            client.leader()
            assert client.view.endpoints == own
            assert client.connection.present == own


def test_what_is_told_of_a_member_never_breaks_a_client(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configured = f"ipc://{tmp_path}/n1"
    connection = Connection({1: configured}, cluster="default", keys=None)
    with caplog.at_level(logging.WARNING, "raft.client"):
        assert not connection.learn_endpoint(2, "tcp://192.0.2.1:7000"), (
            "without keys only loopback is spoken to"
        )
        assert not connection.learn_endpoint(2, "nonsense")
    assert len(caplog.records) == 2 and "left out" in caplog.text
    assert connection.learn_endpoint(1, "tcp://192.0.2.1:7000") and connection.present == {1: configured}
    connection.tried_at[1] -= 10.0
    assert connection.learn_endpoint(1, "tcp://192.0.2.1:7000") and connection.present == {1: configured}
    connection.tried_at[1] -= 10.0
    assert connection.learn_endpoint(1, f"ipc://{tmp_path}/moved") and connection.present == {
        1: f"ipc://{tmp_path}/moved"
    }
    assert connection.learn_endpoint(1, f"ipc://{tmp_path}/moved"), "it has its time to answer there"
    connection.tried_at[1] -= 10.0
    assert connection.learn_endpoint(1, f"ipc://{tmp_path}/moved") and connection.present == {1: configured}
    connection.forget(1)
    connection.close()


def test_a_client_that_is_cut_off_from_the_leader_alone_writes_and_leads_all_the_same(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as observer:
        leader = observer.leader().leader
        with tempfile.TemporaryDirectory(prefix="rc") as name:
            own = {**nodes.endpoints, leader: f"ipc://{name}/no-node"}
            with Client(own) as client:
                client.connection.unusable[leader] = {nodes.endpoints[leader]}  # Nor by what others tell.
                client.put("around", "1")
                lease = client.grant("10s")
                assert client.keep_alive(lease) > 0.0
                assert client.members().leader == leader
                assert not client.connection.is_up(leader)
        assert observer.get("around") == b"1"
