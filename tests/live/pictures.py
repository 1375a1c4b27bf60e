"""Statuses of a made-up cluster, for tests of what is shown of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from raft.cluster.quorum import Quorum
from raft.cluster.rpc.messages import ClusterStatus, FaultEntry, FaultList, NodeView
from raft.live.feed import Feed, Picture


def node(node: int, **values: Any) -> NodeView:
    known: dict[str, Any] = {
        "pid": 1000 + node, "state": "running", "role": "follower", "term": 1, "leader": 1, "commit": 5,
        "applied": 5, "last": 5, "log_terms": [(1, 1)],
    }  # fmt: skip
    return NodeView(id=node, **{**known, **values})


def status(nodes: Iterable[NodeView], leader: int | None = 1, **values: Any) -> ClusterStatus:
    views = list(nodes)
    known: dict[str, Any] = {
        "cluster": "test", "term": 1, "voters": len(views), "alive": len(views), "can_lose": 1,
        "quorum": Quorum(len(views) // 2 + 1, len(views)),
    }  # fmt: skip
    return ClusterStatus(leader=leader, nodes=views, **{**known, **values})


def picture_of(seen: ClusterStatus, faults: Iterable[FaultEntry] = (), t: float = 10.0) -> Picture:
    return Feed(0.5, "run").picture(seen, FaultList(list(faults)), t)


def three(**leader: Any) -> ClusterStatus:
    return status([node(1, role="leader", match={2: 5, 3: 5}, **leader), node(2), node(3)])
