"""Real nodes on disks that fill up, fail, are wiped or damaged; and the power cut that all of them share."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.client.client import Client
from raft.client.errors import ClientError
from raft.cluster.failures import VerbFailed
from raft.cluster.records.events import (
    FaultCleared,
    LeaderElected,
    LeaderLost,
    NodeExited,
    NodeGaveUp,
    NodeStarted,
)
from raft.cluster.rpc.messages import (
    AddMember,
    BreakDisk,
    ClusterStatus,
    Done,
    GetClusterStatus,
    Kill,
    MendDisk,
    RemoveMember,
    Start,
    Stop,
)
from raft.node.config import EXIT_CORRUPT, EXIT_DISK_FAILED, EXIT_LOG_MISSING
from tests.processes.clusters import Cluster, running, wait_until

pytestmark = pytest.mark.processes

# 50 on request; each takes a third of a second.
ROUNDS = int(os.environ.get("RAFT_POWER_CUTS", "10"))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(3, "--keep") as cluster:
        yield cluster
    shutil.rmtree(cluster.record.data_dir, ignore_errors=True)


def leader_of(cluster: Cluster) -> int:
    elected = [event for event in cluster.read_events() if isinstance(event, LeaderElected)]
    return elected[-1].node


def put(cluster: Cluster, *keys: str) -> None:
    """Until it is done: a write whose outcome is unknown is written again."""

    def written(client: Client, key: str) -> bool:
        try:
            client.put(key, key)
        except ClientError:
            return False
        return True

    with cluster.client(1.0) as client:
        for key in keys:
            wait_until(lambda key=key: written(client, key))


def has(cluster: Cluster, *keys: str) -> bool:
    with cluster.client() as client:
        return all(client.get(key) == key.encode() for key in keys)


def status(cluster: Cluster) -> ClusterStatus:
    with cluster.launcher() as launcher:
        return launcher.ask(GetClusterStatus(), ClusterStatus)


def caught_up(cluster: Cluster) -> bool:
    seen = status(cluster)
    return len({node.applied for node in seen.nodes}) == 1 and all(
        node.state == "running" for node in seen.nodes
    )


def lost_by_a_full_disk(cluster: Cluster) -> list[int]:
    """The nodes that have lost leadership by it."""
    lost = [event for event in cluster.read_events() if isinstance(event, LeaderLost)]
    return [event.node for event in lost if event.reason == "disk-full"]


def directory_of(cluster: Cluster, node: int) -> Path:
    return Path(cluster.record.data_dir) / f"n{node}"


def test_a_leader_whose_disk_is_full_loses_leadership_and_returns_without_a_restart(cluster: Cluster) -> None:
    broken: list[int] = []
    with cluster.launcher() as launcher:

        def has_lost_leadership() -> bool:
            # On a slow machine another node may have come to lead meanwhile.
            if not broken or (leader_of(cluster) != broken[-1] and not lost_by_a_full_disk(cluster)):
                launcher.ask(MendDisk("all"), Done)
                broken.append(leader_of(cluster))
                launcher.ask(BreakDisk(str(broken[-1]), full=True), Done)
            put(cluster, "meanwhile")
            return bool(lost_by_a_full_disk(cluster))

        wait_until(has_lost_leadership)
        old = lost_by_a_full_disk(cluster)[-1]
        wait_until(lambda: leader_of(cluster) != old)
        launcher.ask(MendDisk("all"), Done)
        wait_until(lambda: caught_up(cluster))
        assert cluster.verb("transfer", str(old)).startswith(f"n{old} leads")
    put(cluster, "after")
    assert has(cluster, "meanwhile", "after")
    assert not [event for event in cluster.read_events() if isinstance(event, NodeExited)]


def test_a_failed_fsync_ends_the_node_with_a_code_and_it_comes_back_from_its_disk(cluster: Cluster) -> None:
    put(cluster, "before")
    node = leader_of(cluster)
    with cluster.launcher() as launcher:
        launcher.ask(BreakDisk(str(node), fail_fsync=True), Done)
    put(cluster, "meanwhile")
    exited = cluster.await_event(NodeExited)
    assert (exited.node, exited.code, exited.cause) == (node, EXIT_DISK_FAILED, "crash")
    assert "Input/output error" in str(exited.traceback)
    cluster.await_event(FaultCleared)
    wait_until(lambda: caught_up(cluster))
    assert has(cluster, "before", "meanwhile")


def test_a_node_with_a_wiped_directory_is_refused_until_it_is_removed_and_another_added(
    cluster: Cluster,
) -> None:
    put(cluster, "before")
    with cluster.launcher() as launcher:
        launcher.ask(Kill("3"), Done)
        shutil.rmtree(directory_of(cluster, 3))
        with pytest.raises(VerbFailed, match="holds no log"):
            launcher.ask(Start("3"), Done)
        assert cluster.await_event(NodeGaveUp).node == 3
        exits = [event for event in cluster.read_events() if isinstance(event, NodeExited)]
        assert [event.code for event in exits[1:]] == [EXIT_LOG_MISSING], "one try, and no other"
        with pytest.raises(VerbFailed, match="holds no log"):
            launcher.ask(Start("3"), Done)
        launcher.ask(RemoveMember("3"), Done)
        launcher.ask(AddMember(), Done)
    assert [node.id for node in status(cluster).nodes] == [1, 2, 4]
    assert has(cluster, "before")


def test_a_node_with_a_damaged_log_is_refused_until_its_peers_have_repaired_it(cluster: Cluster) -> None:
    put(cluster, "a", "b", "c")
    with cluster.launcher() as launcher:
        launcher.ask(Stop("2"), Done)
        log = next(directory_of(cluster, 2).glob("*.wal"))
        raw = bytearray(log.read_bytes())
        raw[200] ^= 1
        log.write_bytes(raw)
        with pytest.raises(VerbFailed, match="is damaged at byte"):
            launcher.ask(Start("2"), Done)
        exits = [event for event in cluster.read_events() if isinstance(event, NodeExited)]
        assert exits[-1].code == EXIT_CORRUPT
        assert "damaged" in cluster.verb("wal", "2")
        put(cluster, "meanwhile")
        launcher.ask(Start("2", repair_from_peers=True), Done)
        wait_until(lambda: not (directory_of(cluster, 2) / ".repair").exists())
        wait_until(lambda: caught_up(cluster))
        launcher.ask(Kill("1"), Done)
    put(cluster, "after")
    assert has(cluster, "a", "b", "c", "meanwhile", "after")
    assert (directory_of(cluster, 2) / ".damaged-1" / log.name).read_bytes() == raw


def test_a_node_without_enough_peers_to_repair_it_gives_no_vote(cluster: Cluster) -> None:
    put(cluster, "a")
    with cluster.launcher() as launcher:
        launcher.ask(Stop("2"), Done)
        put(cluster, "b")
        launcher.ask(Kill("1"), Done)
        log = next(directory_of(cluster, 2).glob("*.wal"))
        raw = bytearray(log.read_bytes())
        raw[200] ^= 1
        log.write_bytes(raw)
        after = len(cluster.read_events())
        with pytest.raises(VerbFailed):
            launcher.ask(Start("2", repair_from_peers=True), Done, 5.0)
        assert not [event for event in cluster.read_events()[after:] if isinstance(event, LeaderElected)]
        launcher.ask(Start("1"), Done)
    wait_until(lambda: caught_up(cluster))
    assert has(cluster, "a", "b")


@pytest.mark.parametrize("point", ["save.begun", "save.written", "save.synced"])
def test_a_node_dies_at_the_point_that_was_armed_and_comes_back(cluster: Cluster, point: str) -> None:
    node = leader_of(cluster)
    cluster.verb("kill", str(node), "--at", point, "--restart-after", "0s")
    put(cluster, "k")
    exited = cluster.await_event(NodeExited)
    assert (exited.node, exited.signal, exited.cause) == (node, "SIGKILL", "injected")
    cluster.await_event(NodeStarted, lambda event: event.node == node and event.incarnation == 2)
    wait_until(lambda: caught_up(cluster))
    assert has(cluster, "k")


class Load(threading.Thread):
    """Writes one key after the other, and notes which writes were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(name="load")
        self._client = cluster.client(2.0)
        self._ended = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        number = 0
        with self._client as client:
            while not self._ended.wait(0.002):
                number += 1
                try:
                    client.put(f"k{number}", f"k{number}")
                except ClientError:
                    continue
                self.acknowledged.append(f"k{number}")

    def finish(self) -> None:
        self._ended.set()
        self.join()


def test_all_nodes_killed_at_once_again_and_again_lose_no_acknowledged_write(cluster: Cluster) -> None:
    load = Load(cluster)
    load.start()
    try:
        with cluster.launcher() as launcher:
            for number in range(1, ROUNDS + 1):
                before = len(load.acknowledged)
                wait_until(lambda before=before: len(load.acknowledged) > before + 20)
                launcher.ask(Kill("all", restart_after_seconds=0.0), Done)
                wait_until(
                    lambda number=number: (
                        sum(isinstance(event, NodeStarted) for event in cluster.read_events())
                        == 3 * (number + 1)
                    )
                )
    finally:
        load.finish()
    wait_until(lambda: caught_up(cluster))
    with cluster.client() as reader:
        lost = [key for key in load.acknowledged if reader.get(key) != key.encode()]
    assert not lost, f"acknowledged and lost: {lost[:10]}"
    assert len(load.acknowledged) > 20 * ROUNDS


@pytest.fixture
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """A tmpfs in place of a node's directory, holding what that held."""
    directory = directory_of(cluster, 3)
    with cluster.launcher() as launcher:
        launcher.ask(Stop("3"), Done)
        aside = directory.with_name("aside")
        directory.rename(aside)
        directory.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(directory)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        try:
            shutil.copytree(aside, directory, dirs_exist_ok=True)
            launcher.ask(Start("3"), Done)
            yield directory
            launcher.ask(Stop("3"), Done)
        finally:
            subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_disk_that_really_fills_up_stops_the_node_only_until_there_is_room(
    cluster: Cluster, small_disk: Path
) -> None:
    value = "v" * 100_000
    with cluster.client() as client:
        for number in range(80):
            client.put(f"big{number % 4}", value)
    entry = next(node for node in cluster.record.nodes if node.id == 3)
    wait_until(lambda: "disk-full" in Path(entry.log).read_text())
    assert {node.state for node in status(cluster).nodes} == {"running"}
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    wait_until(lambda: caught_up(cluster))
    assert "disk-has-room" in Path(entry.log).read_text()
    assert not [event for event in cluster.read_events() if isinstance(event, NodeExited)][1:]


def test_a_read_only_disk_is_refused_in_words(cluster: Cluster, small_disk: Path) -> None:
    with cluster.launcher() as launcher:
        launcher.ask(Stop("3"), Done)
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with pytest.raises(VerbFailed, match="Read-only file system"):
            launcher.ask(Start("3"), Done, 60.0)
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        launcher.ask(Start("3"), Done)


def test_nodes_that_run_out_of_descriptors_live_on_and_go_on_when_there_are_some(cluster: Cluster) -> None:
    """First none is free, and the log's next segment takes one in reserve; then the limit is below all."""
    pids = {node.id: node.pid for node in status(cluster).nodes if node.pid is not None}
    limit, hard = resource.prlimit(pids[1], resource.RLIMIT_NOFILE)
    assert limit == hard, "it was raised when the node started"
    with cluster.client(2.0) as client:
        put_large(client)
        for pid in pids.values():
            used = [int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(used) + 1, hard))
        for _ in range(5):
            put_large(client)
        assert all(len([*directory_of(cluster, node).glob("*.wal")]) > 1 for node in pids)
        assert lost_by_a_full_disk(cluster) == []

        def has_lost_leadership() -> bool:
            leader = leader_of(cluster)  # On a slow machine it may be another one each time.
            for node, pid in pids.items():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (3 if node == leader else limit, hard))
            put_large(client)
            return bool(lost_by_a_full_disk(cluster))

        wait_until(has_lost_leadership)
    for pid in pids.values():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
    wait_until(lambda: caught_up(cluster))
    assert not [event for event in cluster.read_events() if isinstance(event, NodeExited)]


def put_large(client: Client) -> None:
    """A mebibyte, written until it is done."""

    def written() -> bool:
        try:
            client.put("large", bytes(1 << 20))
        except ClientError:
            return False
        return True

    wait_until(written)
