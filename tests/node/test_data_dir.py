"""First starts in an empty directory, and the repair of a node with a damaged log."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.core.types import Entry, HardState
from raft.node.config import BadConfig, NodeConfig
from raft.node.process.data_dir import (
    INCARNATION,
    JOINED,
    LEAVING,
    REPAIR,
    checked_word,
    count_incarnation,
    end_repair,
    mark_rolled_back,
    note_incarnation,
    open_store,
    repair_of,
)
from raft.node.process.faults import Trap
from raft.node.process.permit import permit_first_start
from raft.node.process.repair import CannotRejoin
from raft.protocol.client import Members
from raft.storage.device import no_crash
from raft.storage.errors import CorruptLog, LogMissing, LogRolledBack
from raft.storage.files import RealFiles
from raft.storage.store import Store

LEADER, TERM = 2, 7


class Peers:
    """They take the node out and in again, or do not answer."""

    def __init__(self, *, answer: bool = True) -> None:
        self.asked = 0
        self.answer = answer

    def __call__(self, config: NodeConfig) -> Members:
        self.asked += 1
        if not self.answer:
            raise CannotRejoin("no member answers")
        return Members(LEADER, TERM, (2, 3), (config.node,), {}, {}, 5, ())


def begin(directory: Path, peers: Peers | None = None, **options: object) -> Store:
    config = NodeConfig(
        node=1, listen="ipc:///n1", data_dir=str(directory), peers={2: "ipc:///n2", 3: "ipc:///n3"}, **options
    )
    store = open_store(config, RealFiles(), no_crash, peers or Peers(answer=False))
    count_incarnation(directory / INCARNATION, sync=False)
    return store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a node that has voted, and holds two entries."""
    directory = tmp_path / "n1"
    permit_first_start(directory)
    store = begin(directory)
    store.save(HardState(5, 3, 1), [Entry(5, 2, data=b"a"), Entry(5, 3, data=b"b")], None)
    store.close()
    return directory


def damage(directory: Path) -> None:
    path = next(directory.glob("*.wal"))
    raw = bytearray(path.read_bytes())
    raw[200] ^= 1
    path.write_bytes(raw)


def test_a_permit_lets_a_node_begin_once(directory: Path) -> None:
    store = begin(directory)
    assert store.last_index() == 3
    store.close()
    for path in directory.glob("*.wal"):
        path.unlink()
    for path in directory.glob("*.snap"):
        path.unlink()
    with pytest.raises(LogMissing):
        begin(directory)


@pytest.mark.parametrize("option", [{}, {"join": True}, {"repair_from_peers": True}])
def test_an_empty_directory_without_a_permit_is_refused_and_stays_empty(
    directory: Path, option: dict[str, bool]
) -> None:
    shutil.rmtree(directory)
    for _ in range(2):
        with pytest.raises(LogMissing, match="remove the node"):
            begin(directory, **option)
    assert not list(directory.glob("*"))


def test_a_crash_before_the_first_configuration_is_durable_keeps_the_permit(tmp_path: Path) -> None:
    permit_first_start(tmp_path)

    class Crash(Exception):
        pass

    def crash(name: str) -> None:
        if name == "snapshot.begun":
            raise Crash

    config = NodeConfig(node=1, listen="ipc:///n1", data_dir=str(tmp_path))
    with pytest.raises(Crash):
        open_store(config, RealFiles(), crash, Peers())
    config = NodeConfig(node=2, listen="ipc:///n1", data_dir=str(tmp_path / "2"), first_start=True)
    open_store(config, RealFiles(), no_crash, Peers()).close()


def test_a_damaged_log_is_refused_and_left_alone_unless_repair_is_asked_for(directory: Path) -> None:
    damage(directory)
    before = {path: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    with pytest.raises(CorruptLog):
        begin(directory, Peers())
    assert {path: path.read_bytes() for path in directory.iterdir() if path.is_file()} == before


def test_a_rolled_back_log_is_refused_until_it_is_repaired(
    directory: Path,
) -> None:
    mark_rolled_back(directory, "its disk has gone back")
    for _ in range(2):
        with pytest.raises(LogRolledBack, match="gone back"):
            begin(directory, Peers())
    peers = Peers()
    begin(directory, peers, repair_from_peers=True).close()
    assert peers.asked == 1
    assert (directory / ".damaged-1").exists()
    begin(directory, peers).close()


def test_repair_does_not_set_an_intact_log_aside(directory: Path) -> None:
    peers = Peers()
    store = begin(directory, peers, repair_from_peers=True)
    assert store.last_index() == 3
    assert not peers.asked
    store.close()


def test_after_a_repair_the_node_has_voted_for_the_leader_that_added_it(directory: Path) -> None:
    damage(directory)
    store = begin(directory, Peers(), repair_from_peers=True)
    assert store.initial_state()[0] == HardState(term=TERM, vote=LEADER)
    assert store.last_index() == 0
    assert repair_of(directory) == JOINED
    store.close()
    again = begin(directory)
    assert again.initial_state()[0] == HardState(term=TERM, vote=LEADER), "and no first configuration"
    assert again.last_index() == 0
    again.close()
    end_repair(directory)
    assert repair_of(directory) == ""


def test_an_unfinished_repair_continues_first(directory: Path) -> None:
    damage(directory)
    with pytest.raises(CannotRejoin):
        begin(directory, Peers(answer=False), repair_from_peers=True)
    assert repair_of(directory) == LEAVING
    with pytest.raises(CannotRejoin):
        begin(directory, Peers(answer=False))
    peers = Peers()
    begin(directory, peers).close()
    assert peers.asked == 1
    assert repair_of(directory) == JOINED


def test_a_repair_that_ended_after_the_new_log_was_made_is_begun_again(directory: Path) -> None:
    damage(directory)
    begin(directory, Peers(), repair_from_peers=True).close()
    (directory / REPAIR).write_text(LEAVING)  # As a crash would leave it.
    peers = Peers()
    begin(directory, peers).close()
    assert peers.asked == 1
    assert sorted(path.name for path in directory.glob(".damaged-*")) == [".damaged-1", ".damaged-2"]


def test_only_the_armed_crash_point_is_fatal() -> None:
    deaths: list[bool] = []
    trap = Trap(lambda: deaths.append(True))
    trap("save.begun")
    trap.armed = {1: "save.written"}
    trap("save.begun")
    assert not deaths
    trap("save.written")
    assert deaths


def flips(path: Path) -> Iterator[None]:
    """The file with one bit changed, for each of its bits but those of the line's end; then as it was."""
    sound = path.read_bytes()
    for bit in range(8 * (len(sound) - 1)):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        yield
    path.write_bytes(sound)


def test_a_damaged_incarnation_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / INCARNATION
    assert [count_incarnation(path, sync=False) for _ in range(12)][-1] == 12
    for _ in flips(path):
        with pytest.raises(BadConfig, match="higher than any before"):
            count_incarnation(path, sync=False)
    assert count_incarnation(path, sync=False) == 13


def test_a_count_without_a_checksum_is_that_of_an_older_version(tmp_path: Path) -> None:
    path = tmp_path / INCARNATION
    path.write_text("7\n")
    assert count_incarnation(path, sync=False) == 8


@pytest.mark.parametrize("step", [LEAVING, JOINED])
def test_a_damaged_repair_note_is_refused(directory: Path, step: str) -> None:
    path = directory / REPAIR
    path.write_text(checked_word(step))
    for _ in flips(path):
        with pytest.raises(CorruptLog, match="how far the repair"):
            begin(directory)
    begin(directory, Peers(), repair_from_peers=True).close()
    assert repair_of(directory) == JOINED


def test_a_used_directory_that_holds_no_log_is_never_taken_for_a_new_one(
    directory: Path,
) -> None:
    for path in directory.glob("*.wal"):
        path.unlink()
    for path in directory.glob("*.snap"):
        path.unlink()
    for options in ({"first_start": True}, {"first_start": False}):
        with pytest.raises(LogMissing, match="all that it acknowledged is lost"):
            begin(directory, **options)


def test_incarnation_numbers_known_to_peers_are_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / INCARNATION
    assert count_incarnation(path, sync=False) == 1
    note_incarnation(path, 7, sync=False)
    note_incarnation(path, 3, sync=False)
    assert count_incarnation(path, sync=False) == 8
