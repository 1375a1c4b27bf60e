"""A group of members in a real Ray of several raylets, each of which stands for a host.

The raylets share this machine, so members listen on loopback, and a killed raylet takes its workers along.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="Ray (the extra [ray]) is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils", reason="this Ray cannot run several raylets")

from raft.client import Client, OutcomeUnknown  # noqa: E402
from raft.engines.ray import GroupError, Member, MemberPlan, RayGroup  # noqa: E402  Needs Ray.
from tests.examples.test_examples import free_port  # noqa: E402
from tests.processes.clusters import wait_until  # noqa: E402

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),  # Ray's own.
]
PATIENCE_SECONDS = 90.0
NAME = "billing"


class Hosts:
    """Raylets by the name of the host that they stand for."""

    def __init__(self) -> None:
        self._cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        self._raylets = {host: self._raylet(host) for host in ("host-a", "host-b", "host-c", "host-d")}
        ray.init(address=self._cluster.address, log_to_driver=False)

    def _raylet(self, host: str) -> Any:
        return self._cluster.add_node(num_cpus=1, resources={host: 1})

    def kill(self, host: str) -> None:
        """SIGKILL to the raylet: its workers see it go, and end."""
        raylet, *_ = self._raylets[host].all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)

    def start(self, host: str) -> None:
        self._cluster.remove_node(self._raylets[host], allow_graceful=False)
        self._raylets[host] = self._raylet(host)

    def close(self) -> None:
        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with contextlib.closing(Hosts()) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def group(hosts: Hosts) -> Iterator[RayGroup]:
    with tempfile.TemporaryDirectory(prefix="rr", ignore_cleanup_errors=True) as root:
        made = RayGroup(
            NAME, hosts={1: "host-a", 2: "host-b", 3: "host-c"}, data_root=root,
            endpoints={node: f"tcp://127.0.0.1:{free_port()}" for node in (1, 2, 3)},
        )  # fmt: skip
        made.ensure()
        yield made


def leader(group: RayGroup) -> int:
    with group.client(timeout_seconds=30) as client:
        return client.members().leader


def write(client: Client) -> None:
    """Write until it is done; a value that is put twice is the same."""
    while True:
        with contextlib.suppress(OutcomeUnknown):
            client.put(b"k", b"after")
            return


def pid_of(group: RayGroup, node: int) -> int:
    pid: int = ray.get(group.handle_of(node).__ray_call__.remote(lambda _: os.getpid()))
    return pid


def test_ensuring_a_group_twice_changes_nothing(group: RayGroup) -> None:
    before = {node: pid_of(group, node) for node in group.hosts}
    group.ensure()
    assert {node: pid_of(group, node) for node in group.hosts} == before
    told = group.status()
    assert all(status is not None and status.voters == [1, 2, 3] for status in told.values())


def test_a_second_actor_of_the_same_identity_is_refused_by_the_directory_s_lock(group: RayGroup) -> None:
    plan = MemberPlan(
        node=2, endpoint=f"tcp://127.0.0.1:{free_port()}", data_dir=group.directory_of(2),
        settings={"cluster": NAME, "peers": {1: group.endpoints[1]}}, patience_seconds=0.5,
    )  # fmt: skip
    twin = ray.remote(Member).options(num_cpus=0, max_restarts=-1, resources={"host-b": 0.001}).remote(plan)
    with pytest.raises(ray.exceptions.ActorDiedError, match="in use by another process"):
        ray.get(twin.status.remote())
    assert group.status()[2] is not None


@pytest.mark.parametrize("how", ["os._exit", "ray.kill", "SIGKILL of the worker", "SIGKILL of the raylet"])
def test_writes_go_on_when_the_leader_s_actor_is_lost_and_ray_brings_it_back_on_its_data(
    group: RayGroup, hosts: Hosts, how: str
) -> None:
    node = leader(group)
    handle, pid, host = group.handle_of(node), pid_of(group, node), group.hosts[node]

    def strike() -> None:
        match how:
            case "os._exit":
                handle.__ray_call__.remote(lambda _: os._exit(1))
            case "ray.kill":
                ray.kill(handle, no_restart=False)
            case "SIGKILL of the worker":
                os.kill(pid, signal.SIGKILL)
            case _:
                hosts.kill(host)

    def is_back() -> bool:
        told = group.status()[node]
        return told is not None and told.incarnation > before.incarnation

    before = group.status()[node]
    assert before is not None
    with group.client(timeout_seconds=30) as client:
        write(client)
        begun = time.monotonic()
        strike()
        while True:  # The blow may take its time; what counts is the first write under another leader.
            write(client)
            if client.members().leader != node:
                break
        gap_seconds = time.monotonic() - begun
    if how == "SIGKILL of the raylet":
        hosts.start(host)
    wait_until(is_back, PATIENCE_SECONDS)
    back_seconds = time.monotonic() - begun
    print(f"{how}: written {1000 * gap_seconds:.0f} ms later, the actor back after {back_seconds:.1f} s")


def test_a_member_whose_data_are_lost_does_not_begin_anew_and_is_replaced_on_request(group: RayGroup) -> None:
    ray.kill(group.handle_of(2), no_restart=True)
    wait_until(lambda: group.handle_of(2) is None, PATIENCE_SECONDS)
    kept = Path(group.directory_of(2))
    kept.rename(kept.with_name("lost"))
    with pytest.raises(GroupError, match=r"replace\(2, with_=ANOTHER_ID"):
        group.ensure()
    with pytest.raises(GroupError, match="has a member 3 already"):
        group.replace(2, with_=3, host="host-d")
    with pytest.raises(GroupError, match="has no member 7"):
        group.replace(7, with_=8, host="host-d")
    hosts_now = group.replace(2, with_=4, host="host-d", endpoint=f"tcp://127.0.0.1:{free_port()}")
    assert hosts_now == {1: "host-a", 3: "host-c", 4: "host-d"}
    told = group.status()
    assert set(told) == {1, 3, 4}
    with group.client(timeout_seconds=30) as client:
        assert sorted(client.members().voters) == [1, 3, 4]
        assert client.get(b"k") == b"after"
    group.ensure()
