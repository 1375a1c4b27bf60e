"""One node is left of a cluster: what becomes of its directory, and of what it held."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from raft.client.calls.application import decode_or_raise
from raft.machines.application import Application
from raft.machines.commands import Campaign, Grant
from raft.node.process import replacement
from raft.node.process.data_dir import RECOVERED, count_incarnation, mark_rolled_back
from raft.node.process.recovery import Recovered, Survivor
from raft.node.process.restore import INDEX_STEP
from raft.node.snapshots.policy import SnapshotPolicy
from raft.protocol.client import Committed
from raft.storage.errors import DirectoryInUse, LogMissing
from raft.storage.record import Identity
from raft.storage.store import Store
from tests.backup.test_restore import command_of
from tests.node.cluster import Cluster, value_in

NOW = 2_000_000_000.0


class DurableCluster(Cluster):
    """Simulated nodes over real directories."""

    def __init__(self, directory: Path, nodes: int = 3, **options: Any) -> None:
        self.directories = [directory / f"{node}" for node in range(1, nodes + 1)]
        self.stores: list[Store] = []
        super().__init__(nodes, **options)

    def make_log(self) -> Any:
        node = len(self.stores) + 1
        beside = ("incarnation", "recovered.json")
        self.stores.append(
            Store.open(self.directories[node - 1], identity=Identity("default", node), beside=beside)
        )
        return self.stores[-1]

    def end(self) -> None:
        for member in self.alive():
            member.kill()
        for store in self.stores:
            store.close()


@pytest.fixture(params=[True, False], ids=["with snapshots", "without"])
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """That of node 1 of a cluster of three; it was a follower when the others were lost."""
    policy = SnapshotPolicy(entries_max=10 if request.param else 0, bytes_max=0, entries_kept=2)
    cluster = DurableCluster(tmp_path, snapshots=policy)
    while cluster.elect() == 1:
        cluster[1].kill()
        cluster.until(lambda: cluster.agree())
        cluster[1].start()
    leader = cluster.leaders()[0]
    for number in range(25):
        cluster.put(leader, b"k%d" % number, b"v%d" % number)
    lease = decode_or_raise(cluster.answer(leader, command_of(Grant(60_000))).result).lease
    cluster.answer(leader, command_of(Campaign("boss", lease)))
    cluster.advance(1.0)
    # The next one gets to node 1, which dies before it hears that it is committed.
    follower = next(node for node in cluster.followers() if node != 1)
    cluster[follower].kill()
    cluster.put(leader, b"last", b"acknowledged")
    cluster.end()
    count_incarnation(tmp_path / "1" / "incarnation", sync=False)
    return tmp_path / "1"


def recover(directory: Path) -> Recovered:
    with Survivor(directory, Application()) as survivor:
        return survivor.recover(now=NOW)


def test_it_becomes_a_cluster_of_one_with_all_of_its_log(directory: Path) -> None:
    record = recover(directory)
    assert record.old_voters == (1, 2, 3)
    cluster = DurableCluster(directory.parent, nodes=1)
    assert cluster.elect() == 1
    assert value_in(cluster.get(1, b"last")) == b"acknowledged"
    assert value_in(cluster.get(1, b"k24")) == b"v24"
    assert isinstance(cluster.put(1, b"new", b"1"), Committed)
    member = cluster[1]
    assert member.actor.components.handshakes.origin.identity == record.identity != record.old_identity
    assert member.raft.log.last > record.old_last_index + INDEX_STEP
    cluster.end()


def test_the_old_log_is_kept_and_what_was_done_is_written_down(directory: Path) -> None:
    before = {
        path.name: path.read_bytes() for path in directory.glob("*.*") if path.suffix in (".wal", ".snap")
    }
    record = recover(directory)
    kept = {path.name: path.read_bytes() for path in (directory / ".replaced-1").iterdir()}
    assert kept == before
    assert msgspec.json.decode((directory / RECOVERED).read_bytes(), type=Recovered) == record
    assert (directory / "incarnation").read_text().startswith("1 ")  # Incarnations go on.


class Cut(BaseException):
    """The process ends here."""


def test_a_recovery_that_is_cut_at_any_step_is_ended_by_the_next_one(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = cut_at = 0

    def counted(name: str) -> None:
        original = getattr(replacement, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == cut_at:
                raise Cut(name)
            return original(*arguments, **named)

        monkeypatch.setattr(replacement, name, wrapper)

    for name in ("replace_file", "set_aside", "sync_directory"):
        counted(name)
    resumed = 0
    for cut_at in range(1, 100):
        steps = 0
        copy = tmp_path / f"cut{cut_at}" / "1"
        shutil.copytree(directory, copy)
        try:
            recover(copy)
            break
        except Cut:
            steps = 100
        with Survivor(copy, Application()) as survivor:
            resumed += survivor.resumed
            if not survivor.resumed:
                survivor.recover(now=NOW)
        check_recovered(copy)
    assert cut_at > 6
    assert resumed > 3


def check_recovered(directory: Path) -> None:
    cluster = DurableCluster(directory.parent, nodes=1)
    assert cluster.elect() == 1
    assert value_in(cluster.get(1, b"last")) == b"acknowledged"
    cluster.end()


def test_a_majority_counts_this_node_and_both_halves_of_a_change(directory: Path) -> None:
    with Survivor(directory, Application()) as survivor:
        assert not survivor.is_quorum(set())
        assert survivor.is_quorum({2})
        assert survivor.is_quorum({2, 3})
        survivor.halves = [frozenset({1, 2, 3}), frozenset({4, 5, 6})]
        assert not survivor.is_quorum({2, 3})
        assert survivor.is_quorum({2, 4, 5})


def test_a_node_that_had_not_heard_its_clusters_identity_takes_the_others_for_members(
    directory: Path, tmp_path: Path
) -> None:
    with Survivor(directory, Application()) as survivor:
        assert survivor.may_be_of(survivor.old_identity)
        assert survivor.may_be_of("")
        assert not survivor.may_be_of("abcd")
    cluster = DurableCluster(tmp_path / "young", nodes=3)  # Nothing has been said yet.
    cluster.end()
    with Survivor(tmp_path / "young" / "1", Application()) as survivor:
        assert survivor.may_be_of("abcd")
        assert survivor.voters == (1, 2, 3)


def test_a_log_that_is_known_to_be_rolled_back_is_said_to_be(directory: Path) -> None:
    mark_rolled_back(directory, "an older copy")
    with Survivor(directory, Application()) as survivor:
        assert survivor.was_rolled_back
        survivor.recover(now=NOW)
    check_recovered(directory)
    with Survivor(directory, Application()) as survivor:
        assert not survivor.was_rolled_back


def test_a_directory_in_use_or_without_a_log_is_not_recovered(directory: Path, tmp_path: Path) -> None:
    store = Store.open(directory, identity=Identity("default", 1), create=False, beside=("incarnation",))
    with pytest.raises(DirectoryInUse):
        Survivor(directory, Application())
    store.close()
    for empty in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(LogMissing):
            Survivor(empty, Application())


def test_lost_members_that_come_back_are_not_heard(directory: Path) -> None:
    recover(directory)
    cluster = DurableCluster(directory.parent)
    cluster.advance(5.0)
    assert set(cluster.leaders()) >= {1}
    answer = cluster.put(1, b"x", b"y")
    assert isinstance(answer, Committed)
    assert cluster[2].machine.store.get(b"x").item is None
    assert "turned-away" in cluster[1].events.names
    cluster.end()
