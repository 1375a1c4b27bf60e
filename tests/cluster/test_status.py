"""What the status says of who hears whom, and of a quorum."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import pytest

from raft.cli.views import Paint, status_table
from raft.cluster.quorum import Quorum, age, best_group, seconds_without_quorum
from raft.cluster.rpc.messages import ClusterStatus, NodeView

FIVE = (1, 2, 3, 4, 5)
LONG = 30.0


def all_hear(leader: int, nodes: Collection[int]) -> dict[int, dict[int, float]]:
    """A leader and its followers, who hear nothing of each other."""
    ages: dict[int, dict[int, float]] = {node: {leader: 0.02} for node in nodes if node != leader}
    return {**ages, leader: {node: 0.02 for node in nodes if node != leader}}


def group(ages: Mapping[int, Mapping[int, float]], running: Collection[int], leaders: set[int]) -> set[int]:
    return best_group(running, leaders, ages, 0.5)


def test_followers_that_hear_their_leader_are_one_group_with_it() -> None:
    assert group(all_hear(1, FIVE), FIVE, {1}) == {*FIVE}


def test_a_partition_leaves_the_greater_side() -> None:
    ages = {**all_hear(3, (3, 4, 5)), 1: {2: 0.4, 3: LONG}, 2: {1: 0.4, 3: LONG}}
    assert group(ages, FIVE, {3}) == {3, 4, 5}


def test_what_followers_heard_before_a_cut_does_not_outweigh_what_the_leader_hears_now() -> None:
    ages = all_hear(5, (3, 4, 5))
    ages |= {1: {2: 0.7, 3: 0.7, 4: 0.7, 5: 0.7}, 2: {1: 0.7, 5: 0.7}}
    for node in (3, 4, 5):
        ages[node] |= {1: 0.7, 2: 0.7}
    assert group(ages, FIVE, {5}) == {3, 4, 5}


@pytest.mark.parametrize(("way_to", "way_back"), [(LONG, 0.01), (0.01, LONG)])
def test_a_way_that_is_cut_in_one_direction_is_cut(way_to: float, way_back: float) -> None:
    ages = all_hear(1, (1, 2, 3))
    ages[1][2], ages[2][1] = way_to, way_back
    assert group(ages, (1, 2, 3), {1}) == {1, 3}


def test_of_a_node_that_did_not_answer_in_time_the_others_tell() -> None:
    ages = all_hear(1, FIVE)
    del ages[2], ages[1]
    assert group(ages, FIVE, set()) == {1, 3, 4, 5}
    assert age(ages, 1, 2) == float("inf")
    assert age(ages, 1, 3) == 0.02


def test_processes_that_live_and_hear_nothing_are_no_quorum() -> None:
    ages: dict[int, dict[int, float]] = {node: {} for node in FIVE}
    assert len(group(ages, FIVE, set())) == 1
    assert seconds_without_quorum(FIVE, ages) is None


def test_a_quorum_was_lost_when_the_last_voter_lost_its_majority() -> None:
    ages = {1: {2: 0.1, 3: 7.0, 4: 9.0}, 2: {1: 0.1, 3: 5.0, 4: 9.0}}
    assert seconds_without_quorum(FIVE, ages) == 5.0
    assert seconds_without_quorum((1,), {1: {}}) is None


def status(reachable: int, apart: Collection[int] = (), **values: Any) -> ClusterStatus:
    nodes = [
        NodeView(
            id=node,
            pid=1234567,
            state="running",
            role="pre-candidate",
            term=12,
            leader=3,
            commit=1234567,
            applied=1234567,
            last=1234567,
            contact_ms=1234.0,
            cpu_percent=12.3,
            rss_bytes=31_000_000,
            used_bytes=5,
            quota_bytes=10,
            in_quorum=node not in apart,
            faults=["partition#12"],
        )
        for node in FIVE
    ]
    quorum = Quorum(needed=3, reachable=reachable, since_s=12.3)
    known: dict[str, Any] = {"cluster": "c", "leader": 3, "term": 12, "voters": 5, "alive": 5, "can_lose": 2}
    return ClusterStatus(**{**known, **values}, nodes=nodes, quorum=quorum)


def test_no_quorum_is_said_in_red_and_since_when() -> None:
    said = status_table(status(2, apart=(1, 2, 5)), Paint(True)).splitlines()
    assert "\x1b[1;31mNO QUORUM 2/5, 3 needed, for 12.3s\x1b[0m" in said[0]
    assert said[1] == "\x1b[1;31mcut off, though running: n1 n2 n5\x1b[0m"


def test_a_quorum_that_lacks_nodes_names_them() -> None:
    said = status_table(status(4, apart=(2,), can_lose=1), Paint(False)).splitlines()
    assert said[0].endswith("quorum 4/5, can lose 1")
    assert said[1] == "cut off, though running: n2"


def test_the_version_of_a_machine_is_shown_and_which_nodes_have_another_one() -> None:
    versions = [(3, 2), (2, 2), (2, 1), (2, 2), (None, None)]
    shown = status(5, machine="mine:Counter")
    shown.nodes[:] = [
        msgspec.structs.replace(node, machine_version=own, cluster_version=agreed)
        for node, (own, agreed) in zip(shown.nodes, versions, strict=True)
    ]
    said = status_table(shown, Paint(False)).splitlines()
    assert said[1] == "machine mine:Counter  version 2 (n1 has 3)"
    assert not [line for line in status_table(status(5), Paint(False)).splitlines() if "version" in line]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_status_fits_a_terminal(columns: int) -> None:
    lines = status_table(status(5), Paint(False), columns).splitlines()
    assert max(map(len, lines)) <= columns
    for title in ("NODE", "ROLE", "TERM", "LEADER", "LAG", "CONTACT", "FAULTS"):
        assert title in lines[1].split()


def test_programs_that_read_the_table_get_every_column() -> None:
    titles = status_table(status(5), Paint(False)).splitlines()[1].split()
    assert {"PID", "COMMIT", "APPLIED", "RESTARTS", "CPU", "RSS", "SPACE"} <= set(titles)


def test_nodes_that_were_asked_themselves_show_what_they_know_instead_of_what_a_launcher_does() -> None:
    shown = status(5)
    shown.nodes[:] = [
        msgspec.structs.replace(node, pid=None, hears=[1, 2], release="1.2.3", alarms=[])
        for node in shown.nodes
    ]
    titles = status_table(shown, Paint(False), by_nodes=True).splitlines()[1].split()
    assert {"HEARS", "RELEASE", "SPACE"} <= set(titles)
    assert not {"PID", "RESTARTS", "CPU", "RSS", "ALARMS"} & set(titles)


@pytest.mark.parametrize("by_nodes", [True, False])
def test_an_alarm_has_a_column_and_only_then(by_nodes: bool) -> None:
    shown = status(5)
    assert "ALARMS" not in status_table(shown, Paint(False), by_nodes=by_nodes)
    shown.nodes[2] = msgspec.structs.replace(shown.nodes[2], alarms=["disk-full", "out-of-space"])
    said = status_table(shown, Paint(False), by_nodes=by_nodes).splitlines()
    assert "ALARMS" in said[1]
    assert [number for number, line in enumerate(said) if "disk-full out-of-space" in line] == [4]


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (200, "partition#1 isolate#2 link#3 link#4 disk#5 clock#6"),
        (80, "#1 #2 #3 #4 #5 #6"),
        (58, "#1 #2 +4"),
    ],
)
def test_many_faults_are_shortened_to_their_ids_where_they_do_not_fit(columns: int, shown: str) -> None:
    faults = ["partition#1", "isolate#2", "link#3", "link#4", "disk#5", "clock#6"]
    found = status(5)
    found.nodes[0] = msgspec.structs.replace(found.nodes[0], faults=faults)
    lines = status_table(found, Paint(False), columns).splitlines()[1:]
    assert lines[1].endswith(f"  {shown}")
    assert max(map(len, lines)) <= columns
