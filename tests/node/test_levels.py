"""Built-in commands that came later than others: used when all members know them, and not before."""

from __future__ import annotations

import pytest

from raft.client.calls.application import plain
from raft.machines import agreement
from raft.machines.agreement import LEVEL, SINCE_LEVEL
from raft.machines.application import Application
from raft.machines.commands import DeleteRange, Operation
from raft.machines.machine import WrongVersion
from raft.node.members.versions import LOOK_SECONDS, check_version
from raft.protocol.client import Command, Committed, Refused
from tests.node.cluster import Cluster

SOON_SECONDS = 4 * LOOK_SECONDS
LATER = Command(plain(DeleteRange(b"a", b"b")))

LEVEL_1 = """
Agree Campaign Check Compact CompareAndSwap Delete DeleteRange Downgrade Expire
Grant OpenSession Own Proclaim Put Resign Revoke Transaction
"""


def application(level: int) -> Application:
    made = Application()
    made.level = level
    return made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One in whose newer release a DeleteRange is of level 2."""
    monkeypatch.setitem(agreement.SINCE_LEVEL, DeleteRange, 2)
    cluster = Cluster(3, machine=lambda: application(1))
    cluster.elect()
    return cluster


def upgrade(cluster: Cluster, node: int, level: int = 2) -> None:
    cluster[node].kill()
    cluster.make_machine = lambda: application(level)
    cluster[node].start()
    cluster.elect()
    cluster.advance(SOON_SECONDS)


def test_a_command_is_refused_before_the_log_until_the_last_member_knows_it(cluster: Cluster) -> None:
    for node in (1, 2, 3):
        last = cluster.leaders()[0]
        refused = cluster.answer(last, LATER)
        assert isinstance(refused, Refused)
        assert "DeleteRange is for clusters whose members all know it (level 2)" in refused.reason
        assert "node 3 at ipc:///n3" in refused.reason
        upgrade(cluster, node)
    assert isinstance(cluster.answer(cluster.leaders()[0], LATER), Committed)
    assert {member.machine.agreement.level for member in cluster.alive()} == {2}


def test_a_member_that_is_down_counts_as_one_that_does_not_know_it(cluster: Cluster) -> None:
    upgrade(cluster, 1)
    upgrade(cluster, 2)
    cluster[3].kill()
    cluster.elect()
    cluster.advance(SOON_SECONDS)
    assert isinstance(cluster.answer(cluster.leaders()[0], LATER), Refused)


def test_an_older_release_does_not_start_on_what_newer_ones_have_agreed_on(cluster: Cluster) -> None:
    for node in (1, 2, 3):
        upgrade(cluster, node)
    cluster.until(lambda: {member.machine.agreement.level for member in cluster.alive()} == {2})
    cluster.put(cluster.leaders()[0], b"k", b"v")
    cluster.advance(1.0)
    check_version(cluster[1].log, application(2))
    with pytest.raises(WrongVersion, match="level 2 of the built-in commands, and this release knows"):
        check_version(cluster[1].log, application(1))
    snapshot = cluster[1].machine.snapshot()
    with pytest.raises(WrongVersion):
        application(1).restore(snapshot)
    application(2).restore(snapshot)


def test_a_built_in_command_that_is_added_gets_a_level() -> None:
    known = {kind.__name__ for kind in Operation.__args__}
    later = {kind.__name__ for kind in SINCE_LEVEL}
    assert known - later == set(LEVEL_1.split()), "see raft.machines.agreement.SINCE_LEVEL"
    assert max([1, *SINCE_LEVEL.values()]) == LEVEL
