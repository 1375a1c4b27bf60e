"""A node run by the user's program: a separate process, started, supervised and stopped by it."""

from __future__ import annotations

from actors.failures.supervision import RestartPolicy
from raft.embedding.asyncio_node import AsyncNode
from raft.embedding.errors import NodeError, NodeFailed, NodeRefused, NodeRemoved
from raft.embedding.node import Node
from raft.embedding.node_supervisor import Leader
from raft.embedding.settings import Settings
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import Tuning

__all__ = [
    "AsyncNode",
    "Leader",
    "Node",
    "NodeError",
    "NodeFailed",
    "NodeRefused",
    "NodeRemoved",
    "RestartPolicy",
    "Settings",
    "SnapshotPolicy",
    "Tuning",
]
