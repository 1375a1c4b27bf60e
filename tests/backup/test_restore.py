"""A backup of a cluster, and the new cluster that is made of it; simulated nodes over real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_call
from raft.machines.commands import Call, Campaign, Grant, OpenSession, Put, WatchKeys
from raft.machines.machine import WrongVersion
from raft.machines.results import Campaigned, Compacted, Granted
from raft.node.config import BadConfig, NodeConfig
from raft.node.members.versions import check_version
from raft.node.process import replacement
from raft.node.process.data_dir import open_store
from raft.node.process.permit import permit_first_start
from raft.node.process.restore import INDEX_STEP, Token, first_index, planned, restore
from raft.protocol.client import (
    Command,
    Committed,
    NotLeader,
    Query,
    ReadBackup,
    Refused,
    Unknown,
)
from raft.storage.device import no_crash
from raft.storage.errors import DirectoryInUse, DirectoryUnusable, ForeignDirectory
from raft.storage.files import RealFiles
from raft.storage.record import Identity
from raft.storage.store import Store
from tests.backup.saved import SAVED_AT, RestoredCluster, plan, save, take
from tests.machines.banks import Bank, Deposit, OldBank
from tests.node.cluster import Cluster, value_in
from tests.node.test_versions import call, cluster_of, until_agreed


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(3)
    cluster.elect()
    for number in range(20):
        cluster.put(cluster.leaders()[0], b"k%d" % number, b"v%d" % number)
    return cluster


def test_every_node_gives_a_backup_that_has_what_was_acknowledged_before_it_was_asked_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    for node in (1, 2, 3):
        done = cluster.put(cluster.leaders()[0], b"last", b"%d" % node)
        backup = save(cluster, node, tmp_path / f"{node}.backup")
        assert backup.head.index >= done.index
        assert backup.head.voters == (1, 2, 3)
        assert backup.head.endpoints == {1: "ipc:///n1", 2: "ipc:///n2", 3: "ipc:///n3"}


def test_a_node_that_no_quorum_confirms_gives_no_backup(cluster: Cluster) -> None:
    leader = cluster.leaders()[0]
    cluster[leader].cut(*cluster.followers())
    for node in cluster.followers():
        cluster[node].cut(leader)
    assert isinstance(take(cluster, leader), Refused | NotLeader)


def test_a_node_keeps_two_backups_at_a_time_and_none_for_ever(cluster: Cluster) -> None:
    first = take(cluster, 1)
    take(cluster, 1)
    assert isinstance(take(cluster, 1), Refused)
    cluster.advance(11.0)
    assert isinstance(cluster.answer(1, ReadBackup(first.ticket, 0)), Unknown)
    take(cluster, 1)


def test_a_restored_cluster_has_all_of_it_and_works(cluster: Cluster, tmp_path: Path) -> None:
    cluster[3].kill()
    backup = save(cluster, cluster.followers()[0], tmp_path / "b")
    restored = RestoredCluster(tmp_path / "nodes", backup, plan(backup))
    leader = restored.elect()
    for number in range(20):
        assert value_in(restored.get(leader, b"k%d" % number)) == b"v%d" % number
    assert isinstance(restored.put(leader, b"new", b"1"), Committed)
    hashes = set()
    for member in restored.alive():
        restored.until(lambda: member.raft.log.applied == restored[leader].raft.log.applied)  # noqa: B023
        hashes.add(member.machine.state_hash())
    assert len(hashes) == 1
    restored.close()


def test_a_backup_of_three_nodes_becomes_a_cluster_of_one_to_which_nodes_are_added(
    cluster: Cluster, tmp_path: Path
) -> None:
    backup = save(cluster, 1, tmp_path / "b")
    restored = RestoredCluster(tmp_path / "nodes", backup, plan(backup, nodes=1))
    restored.elect()
    assert value_in(restored.get(1, b"k3")) == b"v3"
    assert restored[1].raft.tracker.progress.keys() == {1}
    restored.close()


def test_a_node_of_the_old_cluster_is_neither_heard_in_the_restored_one_nor_added_to_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    backup = save(cluster, 1, tmp_path / "b")
    new = plan(backup)
    assert new.identity != backup.head.identity
    restored = RestoredCluster(tmp_path / "nodes", backup, new)
    leader = restored.elect()
    old_log = cluster[3].log
    restored[3].kill()
    restored[3].log = old_log  # Its host was forgotten, and comes back with its old data.
    restored[3].start()
    restored.advance(5.0)
    assert isinstance(restored.put(leader, b"x", b"y"), Committed)
    old = restored[3]
    assert old.machine.store.get(b"x").item is None
    assert old.raft.leader == 0
    assert "turned-away" in restored[leader].events.names
    assert "turned-away" in old.events.names
    restored.close()


def test_tokens_sessions_and_leases_of_a_restored_cluster_are_none_that_the_old_one_gave_out(
    cluster: Cluster, tmp_path: Path
) -> None:
    leader = cluster.leaders()[0]
    backup = save(cluster, leader, tmp_path / "b")
    lease = cluster.answer(leader, command_of(Grant(5_000)))
    after = cluster.answer(leader, command_of(Campaign("boss", decode_or_raise(lease.result).lease)))
    old_token = decode_or_raise(after.result).token
    session = cluster.answer(leader, command_of(OpenSession(60_000)))
    old_session = decode_or_raise(session.result).session
    restored = RestoredCluster(tmp_path / "nodes", backup, plan(backup))
    leader = restored.elect()
    lease = restored.answer(leader, command_of(Grant(5_000)))
    assert isinstance(decode_or_raise(lease.result), Granted)
    standing = restored.answer(leader, command_of(Campaign("boss", decode_or_raise(lease.result).lease)))
    told = decode_or_raise(standing.result)
    assert isinstance(told, Campaigned)
    assert told.token > old_token + INDEX_STEP // 2
    restored.answer(leader, command_of(OpenSession(60_000)))
    stale = restored.answer(leader, in_session(old_session, Put(b"k", b"v")))
    with pytest.raises(Exception, match=str(old_session)) as expired:
        decode_or_raise(stale.result)
    assert "session" in str(expired.value)
    restored.close()


def test_a_second_restore_of_one_file_begins_behind_all_that_the_first_one_can_have_done() -> None:
    at, later = first_index(1_000, 60.0), first_index(1_000, 3660.0)
    assert later - at == 3600 * 100_000
    assert first_index(1_000, -5.0) == 1_000 + INDEX_STEP


def test_leases_and_their_keys_are_in_a_backup_and_end_if_their_holders_do_not_come_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    leader = cluster.leaders()[0]
    lease = decode_or_raise(cluster.answer(leader, command_of(Grant(5_000))).result).lease
    cluster.answer(leader, command_of(Put(b"host", b"up", lease)))
    cluster.answer(leader, command_of(Campaign("boss", lease)))
    backup = save(cluster, leader, tmp_path / "b")
    restored = RestoredCluster(tmp_path / "nodes", backup, plan(backup))
    leader = restored.elect()
    assert value_in(restored.get(leader, b"host")) == b"up"
    restored.advance(7.0)
    assert value_in(restored.get(leader, b"host")) is None
    assert len(restored[leader].machine.leases) == 0
    restored.close()


def test_a_watcher_that_goes_on_in_the_restored_cluster_is_told_that_it_missed_events(
    cluster: Cluster, tmp_path: Path
) -> None:
    backup = save(cluster, 1, tmp_path / "b")
    seen = cluster.put(cluster.leaders()[0], b"k1", b"lost").index
    restored = RestoredCluster(tmp_path / "nodes", backup, plan(backup))
    leader = restored.elect()
    restored.put(leader, b"k1", b"new")
    watch = question_bytes(WatchKeys(seen + 1, b"k", b"l"))
    answer = restored.answer(leader, Query(watch))
    assert isinstance(meaning_of(answer.result), Compacted)
    restored.close()


def test_hosts_that_restore_with_one_token_make_one_cluster_and_others_do_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    backup = save(cluster, 1, tmp_path / "b")
    members = {node: f"ipc:///n{node}" for node in (1, 2, 3)}
    token = Token.draw(first_index(backup.head.index, 0))
    assert Token.parse(str(token), backup.head.index) == token
    first, second = planned(backup, members, token), planned(backup, members, token)
    assert first == second
    other = Token.draw(token.index)
    assert planned(backup, members, other).identity != first.identity
    assert planned(backup, {**members, 3: "ipc:///n4"}, token).identity != first.identity
    for wrong in ("", "x", f"{10**19}-ab", "12-ab", f"{token.index}", f"{token.index}-"):
        with pytest.raises(BadConfig, match="no token"):
            Token.parse(wrong, backup.head.index)


def test_a_restore_needs_a_new_directory_that_nothing_uses(cluster: Cluster, tmp_path: Path) -> None:
    backup = save(cluster, 1, tmp_path / "b")
    new = plan(backup)
    full = tmp_path / "full"
    full.mkdir(mode=0o700)
    (full / "something").touch()
    with pytest.raises(ForeignDirectory, match="something"):
        restore(backup, full, new, cluster="default", node=1, now=SAVED_AT)
    assert [path.name for path in full.iterdir()] == ["something"]
    used = tmp_path / "used"
    permit_first_start(used)  # By `init`; that is no hindrance.
    restore(backup, used, new, cluster="default", node=1, now=SAVED_AT)
    with pytest.raises(ForeignDirectory):
        restore(backup, used, new, cluster="default", node=1, now=SAVED_AT)
    store = Store.open(used, identity=Identity("default", 1), create=False)
    with pytest.raises(DirectoryInUse):
        restore(backup, used, new, cluster="default", node=1, now=SAVED_AT)
    store.close()


def test_a_node_does_not_start_from_a_half_restored_directory(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = save(cluster, 1, tmp_path / "b")
    directory = tmp_path / "n1"

    def interrupted(_directory: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(replacement, "resume", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore(backup, directory, plan(backup), cluster="default", node=1, now=SAVED_AT)
    config = NodeConfig(node=1, listen="ipc:///n1", data_dir=str(directory), first_start=True)
    with pytest.raises(DirectoryUnusable, match="not restored or recovered to the end"):
        open_store(config, RealFiles(), no_crash, lambda _config: pytest.fail("it joins"))
    with pytest.raises(ForeignDirectory, match="interrupted"):
        restore(backup, directory, plan(backup), cluster="default", node=1, now=SAVED_AT)


def command_of(operation: object) -> object:
    return Command(plain(operation))  # type: ignore[arg-type]


def in_session(session: int, operation: object) -> object:
    return Command(encode_call(Call(session, 1, 0, operation)))  # type: ignore[arg-type]


def meaning_of(answer: bytes) -> object:
    return decode_answer(answer)


def test_a_machine_of_ones_own_and_the_clusters_version_of_it_are_in_a_backup(tmp_path: Path) -> None:
    cluster = cluster_of(Bank, Bank, Bank)
    until_agreed(cluster, 2)
    assert call(cluster, Deposit("alice", 500)).balance == 500
    backup = save(cluster, cluster.followers()[0], tmp_path / "b")
    assert backup.head.machine_version == 2
    new = plan(backup)
    restored = RestoredCluster(tmp_path / "nodes", backup, new, machine=lambda: Application(Bank()))
    restored.elect()
    assert {member.machine.agreement.version for member in restored.alive()} == {2}
    assert call(restored, Deposit("alice", 1)).balance == 501
    with pytest.raises(WrongVersion):
        check_version(restored[1].log, Application(OldBank()))
    restored.close()
