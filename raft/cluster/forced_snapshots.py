"""Snapshots by request: each node that is meant takes one, and all of them are waited for.

Owns the asking and what is answered. How a node takes a snapshot is its own affair.
"""

from __future__ import annotations

from functools import partial

from actors.context import Context
from actors.errors import AskFailed
from raft.cluster.cluster import Cluster
from raft.cluster.processes.node_process import NodeState
from raft.cluster.processes.process_control import Answer
from raft.cluster.rpc.messages import ForceSnapshot
from raft.protocol.admin import SnapshotTaken, TakeSnapshot
from raft.protocol.registry import address_of

SNAPSHOT_SECONDS_MAX = 60.0


class ForcedSnapshots:
    """One request, from its beginning to its answer."""

    def __init__(self, context: Context, cluster: Cluster, verb: ForceSnapshot, answer: Answer) -> None:
        self._answer = answer
        self._lines: dict[int, str] = {}
        self._failures: list[str] = []
        chosen = cluster.choose(verb.selector, {NodeState.RUNNING})
        self._left = len(chosen)
        for node in chosen:
            pending = context.ask(address_of(node.id), TakeSnapshot(), SNAPSHOT_SECONDS_MAX)
            pending.then(partial(self._answered, node.id), partial(self._silent, node.id))

    def _answered(self, node: int, message: object) -> None:
        if isinstance(message, SnapshotTaken):
            self._lines[node] = f"n{node} has a snapshot at {message.index}"
        else:
            self._failures.append(f"n{node}: {getattr(message, 'reason', message)}")
        self._one_less()

    def _silent(self, node: int, failure: AskFailed) -> None:
        self._failures.append(f"n{node}: {failure}")
        self._one_less()

    def _one_less(self) -> None:
        self._left -= 1
        if self._left:
            return
        if self._failures:
            self._answer.failed("no snapshot: " + "; ".join(self._failures))
        else:
            self._answer.done([line for _, line in sorted(self._lines.items())])
