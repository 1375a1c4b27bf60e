"""Clusters across hosts: network namespaces with addresses, cables and name servers of their own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from raft.client import Client, OutcomeUnknown
from raft.cluster.namespaces import why_unavailable
from raft.cluster.records.events import LeaderElected
from tests.processes.clusters import ROOT, running, wait_until
from tests.processes.hosts import HostCluster, cluster_on_hosts

_MISSING = why_unavailable()
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(bool(_MISSING), reason=f"no hosts of our own here: {_MISSING}"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostCluster]:
    with cluster_on_hosts(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture
def client(cluster: HostCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """One to whom the members' names mean nothing; all members are there, and hear each other."""

    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with cluster.client() as made:
        made.put("begun", "")
        wait_until(lambda: have_caught_up(made))
        yield made


def have_caught_up(client: Client) -> bool:
    members = client.members()
    return set(members.match.values()) == {members.commit}


def other_leader(client: Client, before: int) -> int:
    """Who leads once a write was acknowledged; what was under way to the leader before is unknown."""
    with suppress(OutcomeUnknown):
        client.put("written", "before")
    client.put("written", "since")
    leader = client.leader().leader
    assert leader != before
    return leader


def test_nodes_with_keys_find_each_other_by_name_and_serve_a_client_that_cannot_resolve_them(
    cluster: HostCluster, client: Client
) -> None:
    client.put("k", "v")
    assert client.get("k") == b"v"
    assert client.members().endpoints == {node: f"tcp://n{node}.raft.test:7000" for node in cluster.nodes}


def test_a_node_that_dies_while_the_name_server_is_silent_does_not_stop_the_majority(
    cluster: HostCluster, client: Client
) -> None:
    before = client.leader().leader
    cluster.names.silent = True
    asked = cluster.names.asked
    cluster.kill(before)
    other_leader(client, before)
    wait_until(lambda: cluster.names.asked > asked)  # They look for it, and get no answer.
    for number in range(20):
        client.put("k", str(number))
    cluster.names.silent = False
    cluster.start(before, "--existing")
    wait_until(lambda: have_caught_up(client))


@contextmanager
def following(cluster: HostCluster, *words: str) -> Iterator[Iterator[Any]]:
    """What a verb prints that runs on, and reaches the nodes by their addresses."""
    at = ",".join(f"{node}={cluster.endpoint(node)}" for node in cluster.nodes)
    where = ("--endpoints", at, "--keys", str(cluster.directory / "keys" / "client.toml"))
    command = [sys.executable, "launcher.py", *words, *where, "-o", "jsonl"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.terminate()


def test_watch_observe_and_events_go_on_over_the_end_of_a_leader(
    cluster: HostCluster, client: Client
) -> None:
    before = client.leader().leader
    first = client.put("job", "1")
    with (
        following(cluster, "watch", "job", "--revision", str(first)) as changes,
        following(cluster, "observe", "boss") as leaders,
        following(cluster, "events", "-f", "-n", "1", "--kind", "leader-elected") as events,
        client.election("boss", value="here"),
    ):
        assert next(changes)["value"] == "1"
        assert next(leaders)["value"] == "here"
        term = next(event["term"] for event in events if event["event"] == "leader-elected")
        cluster.kill(before)
        other_leader(client, before)
        client.put("job", "2")
        assert next(changes)["value"] == "2"
        elected = next(event for event in events if event["event"] == "leader-elected")
        assert elected["node"] != before and elected["term"] > term
        cluster.start(before, "--existing")
        wait_until(lambda: have_caught_up(client))


def test_a_leader_that_hears_and_is_not_heard_is_replaced(cluster: HostCluster, client: Client) -> None:
    before = client.leader().leader
    cluster.hosts.cut({before: [node for node in cluster.nodes if node != before]})
    other_leader(client, before)
    cluster.hosts.cut({})
    wait_until(lambda: have_caught_up(client))


def test_a_leader_that_one_follower_cannot_reach_leads_on(cluster: HostCluster, client: Client) -> None:
    before = client.leader()
    follower = next(node for node in cluster.nodes if node != before.leader)
    cluster.hosts.cut({before.leader: [follower], follower: [before.leader]})
    for number in range(50):
        client.put("k", str(number))
    after = client.leader()
    assert (after.leader, after.term) == (before.leader, before.term)
    cluster.hosts.cut({})
    wait_until(lambda: have_caught_up(client))


def test_a_host_that_vanishes_without_a_word_is_replaced_and_comes_back(
    cluster: HostCluster, client: Client
) -> None:
    before = client.leader().leader
    cluster.hosts.pull_cable(before)
    with cluster.client() as later:  # It has no connection whose heartbeats it would have to miss first.
        assert other_leader(later, before)
        cluster.hosts.plug_cable(before)
        wait_until(lambda: have_caught_up(later))


def test_a_member_that_has_moved_is_found_at_the_address_that_it_was_given(
    cluster: HostCluster, client: Client
) -> None:
    moved = next(node for node in cluster.nodes if node != client.leader().leader)
    cluster.kill(moved)
    cluster.hosts.change_address(moved, 100 + moved)
    assert client.update_member(moved, cluster.endpoint(moved)).endpoints[moved] == cluster.endpoint(moved)
    cluster.start(moved, "--existing", advertise=cluster.endpoint(moved))
    wait_until(lambda: have_caught_up(client))


def test_a_launched_cluster_on_hosts_of_its_own_is_steered_and_cut_between_them_by_the_same_verbs() -> None:
    with running(3, "--hosts", "netns") as cluster:
        cluster.verb("put", "k", "v")
        endpoints = {node.endpoint for node in cluster.record.nodes}
        assert len({endpoint.rpartition(":")[0] for endpoint in endpoints}) == 3
        so_far = len(cluster.read_events())
        assert "isolate#" in cluster.verb("isolate", "leader")
        after = cluster.await_event(LeaderElected, after=so_far)
        assert cluster.verb("get", "k", "--via", str(after.node)).strip() == "v"
        assert "cleared" in cluster.verb("heal")
        assert cluster.verb("faults").strip() == "no faults"
        here = next(node.endpoint for node in cluster.record.nodes if node.id == after.node)
        assert "start it there" in cluster.verb("member", "update", f"n{after.node}", here)
        cluster.verb("member", "update", "9", "tcp://198.18.0.9:7", code=1)
    assert cluster.process.returncode == 0
