"""Snapshots with real processes: taken as writes go on, forced by a verb, sent to who lacks the log."""

from __future__ import annotations

import json

from raft.cluster.records.events import NodeExited
from tests.processes.clusters import running, wait_until


def same_state(status: str) -> bool:
    return len({node["applied"] for node in json.loads(status)["nodes"]}) == 1


def test_a_killed_node_and_a_new_one_catch_up_by_snapshots() -> None:
    with running(3, "--snapshot-entries", "50", "--keep-entries", "5") as cluster:
        leader = int(cluster.verb("leader").strip().removeprefix("n"))
        away = next(node for node in (1, 2, 3) if node != leader)
        cluster.verb("kill", str(away))
        cluster.await_event(NodeExited)
        with cluster.client() as client:
            for number in range(200):
                client.put(f"k{number}", f"v{number}" * 100)
            cluster.verb("start", str(away))
            said = cluster.verb("snapshot", "all")
            assert [line.split()[0] for line in said.splitlines()] == ["n1", "n2", "n3"]
            cluster.verb("member", "add")
            client.put("last", "of all")
        wait_until(lambda: same_state(cluster.verb("status", "-o", "json")))
        assert f"to n{away}" in cluster.verb("logs", "--grep", "sent the snapshot")
        assert "to n4" in cluster.verb("logs", "--grep", "sent the snapshot")
