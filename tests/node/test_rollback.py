"""A node whose disk was rolled back while it was down."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from actors.address import Address
from actors.errors import GaveUp
from actors.failures.crash_reports import CrashReport
from actors.transport.base import IncarnationUsed
from actors.transport.log import log_by_loguru
from raft.node.process.data_dir import ROLLED_BACK
from raft.node.process.log import Crashes
from tests.node.cluster import Cluster


def test_a_node_with_a_rolled_back_disk_stops_at_the_leaders_first_heartbeat() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    node = cluster.followers()[0]
    cluster[node].kill()
    earlier = deepcopy(cluster[node].log)
    cluster[node].start()
    cluster.advance(0.2)
    for number in range(5):
        cluster.put(leader, b"k%d" % number, b"v")
    cluster.advance(0.2)
    cluster[node].kill()
    cluster[node].log = earlier
    cluster[node].start()
    assert cluster.network.run_until(lambda: bool(cluster.crashes), 2.0)
    assert cluster.crashes[0].error.startswith("RolledBack: this node had acknowledged entries up to")
    assert cluster.leaders() == [leader]


def test_a_node_whose_incarnation_was_used_stops_and_raises_its_number() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    node, peer = cluster.followers()
    counted: list[int] = []
    cluster[node].actor.components.handshakes.note_incarnation = counted.append
    cluster[node].transport.inner.accept(IncarnationUsed(f"n{peer}", 9))  # type: ignore[attr-defined]
    assert cluster.network.run_until(lambda: bool(cluster.crashes), 2.0)
    assert cluster.crashes[0].error.startswith(f"RolledBack: n{peer} has seen incarnation 9 of this node")
    assert counted == [9]
    assert cluster.leaders() == [leader]


def test_a_node_without_acknowledgements_only_has_to_start_again() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    blank = cluster.join(4, leader)
    counted: list[int] = []
    blank.actor.components.handshakes.note_incarnation = counted.append
    blank.transport.inner.accept(IncarnationUsed(f"n{leader}", 9))  # type: ignore[attr-defined]
    assert cluster.network.run_until(lambda: bool(cluster.crashes), 2.0)
    assert cluster.crashes[0].error.startswith(
        f"IncarnationAlreadyUsed: n{leader} has seen incarnation 9 of this node"
    )
    assert counted == [9]


@pytest.mark.parametrize(("kind", "marked"), [("IncarnationAlreadyUsed", False), ("RolledBack", True)])
def test_only_a_log_that_lacks_acknowledged_entries_is_refused_from_then_on(
    kind: str, marked: bool, tmp_path: Path
) -> None:
    crashes = Crashes(log_by_loguru)
    crashes.report(CrashReport(Address("n1", "raft"), "IncarnationUsed", f"{kind}: used before", "", ""))
    verdict = crashes.verdict(GaveUp("raft"), tmp_path)
    assert type(verdict).__name__ == kind
    assert (tmp_path / ROLLED_BACK).exists() == marked


def test_an_impossible_incarnation_number_is_ignored() -> None:
    cluster = Cluster(3)
    cluster.elect()
    node, peer = cluster.followers()
    cluster[node].transport.inner.accept(IncarnationUsed(f"n{peer}", 2**63))  # type: ignore[attr-defined]
    cluster.advance(1.0)
    assert not cluster.crashes
