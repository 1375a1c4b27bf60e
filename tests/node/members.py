"""Short ways to change the members of a cluster of node actors."""

from __future__ import annotations

from typing import Any

from raft.protocol.client import (
    AddLearner,
    Members,
    NotLeader,
    Promote,
    Refused,
)
from tests.node.cluster import Cluster


def endpoint(node: int) -> str:
    return f"ipc:///n{node}"


def asked(cluster: Cluster, request: Any) -> Any:
    """The answer that is no mere "later" or "ask another one"."""
    answers: list[Any] = []

    def settled() -> bool:
        cluster.until(lambda: bool(cluster.leaders()))
        answers.append(cluster.answer(cluster.leaders()[-1], request))
        return not isinstance(answers[-1], Refused | NotLeader)

    for _ in range(100):
        if settled():
            return answers[-1]
        cluster.advance(0.02)
    raise AssertionError(f"still {answers[-1]}")


def voters_of(cluster: Cluster, node: int) -> set[int]:
    return set(cluster[node].raft.tracker.configuration.voters)


def grow(cluster: Cluster, *nodes: int) -> None:
    for node in nodes:
        cluster.join(node)
        assert isinstance(asked(cluster, AddLearner(node, endpoint(node))), Members)
        assert isinstance(asked(cluster, Promote(node)), Members)
