"""Backups of simulated clusters, and clusters that begin with what was restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raft.node.process.restore import NewCluster, Token, first_index, planned, restore
from raft.protocol.client import AwaitAnswer, BackupPiece, BackupTaken, ReadBackup, StillRunning, TakeBackup
from raft.storage.backup import Backup, BackupHead, BackupWriter
from raft.storage.record import Identity
from raft.storage.store import Store
from tests.node.cluster import Cluster

SAVED_AT = 1_000_000.0


def save(cluster: Cluster, node: int, path: Path, **changes: Any) -> Backup:
    """The state of a cluster as one of its nodes gives it, in a file."""
    taken = cluster.answer(node, TakeBackup())
    assert isinstance(taken, BackupTaken), taken
    writer = BackupWriter(path)
    head = BackupHead(
        cluster=taken.cluster,
        identity=taken.identity,
        index=taken.index,
        term=taken.term,
        voters=taken.voters,
        learners=taken.learners,
        endpoints=taken.endpoints,
        machine_version=taken.machine_version,
        saved_at=SAVED_AT,
        **changes,
    )
    writer.begin(head, taken.size)
    offset = 0
    while offset < taken.size:
        piece = cluster.answer(node, ReadBackup(taken.ticket, offset))
        assert isinstance(piece, BackupPiece)
        writer.add(piece.data)
        offset += len(piece.data)
    assert cluster.answer(node, ReadBackup(taken.ticket, offset)) == BackupPiece(offset, b"")
    return writer.finish()


def take(cluster: Cluster, node: int) -> Any:
    """What a node answers that is asked for a backup."""
    answer = cluster.answer(node, TakeBackup())
    while isinstance(answer, StillRunning):
        answer = cluster.answer(node, AwaitAnswer(answer.ticket))
    return answer


def plan(backup: Backup, nodes: int = 3, age_seconds: float = 0.0) -> NewCluster:
    """A new cluster of nodes 1 to N."""
    token = Token.draw(first_index(backup.head.index, age_seconds))
    return planned(backup, {node: f"ipc:///n{node}" for node in range(1, nodes + 1)}, token)


class RestoredCluster(Cluster):
    """Simulated nodes over the directories that a backup was restored into."""

    def __init__(self, directory: Path, backup: Backup, new: NewCluster, **options: Any) -> None:
        self.stores: list[Store] = []
        for node in new.members:
            restore(backup, directory / f"{node}", new, cluster="default", node=node, now=SAVED_AT + 60)
            identity = Identity("default", node)
            beside = ("incarnation", "restored.json")
            self.stores.append(
                Store.open(directory / f"{node}", identity=identity, create=False, beside=beside)
            )
        self._left = list(self.stores)
        super().__init__(len(new.members), **options)

    def make_log(self) -> Any:
        return self._left.pop(0)

    def close(self) -> None:
        for store in self.stores:
            store.close()
