"""A node whose disk went back to an earlier state while it was down."""

from __future__ import annotations

from copy import deepcopy

from tests.node.cluster import Cluster


def test_a_node_whose_disk_went_back_stops_at_the_leaders_first_heartbeat() -> None:
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
