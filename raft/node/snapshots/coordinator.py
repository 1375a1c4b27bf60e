"""All that a node does about snapshots, from the messages that ask for it to the parts that do it.

Owns the three parts and how they hang together: taking, sending, receiving. Knows nothing of how any of
them is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from raft.core.messages import InstallSnapshot
from raft.core.raft import Raft
from raft.core.types import Index, Snapshot
from raft.node.applier import Applier
from raft.node.config import NodeConfig
from raft.node.reporter import Journal
from raft.node.snapshots.contents import State
from raft.node.snapshots.receiver import Receiver
from raft.node.snapshots.sender import Transfers
from raft.node.snapshots.taker import SnapshotCallback, SnapshotLog, Snapshotter
from raft.node.worker import Worker
from raft.protocol.admin import CannotDo, SnapshotTaken
from raft.protocol.registry import SnapshotChunk, address_of
from raft.storage.errors import SnapshotDamaged

if TYPE_CHECKING:
    from actors.context import Context


class Requester(Protocol):
    """Who waits for an answer."""

    def send(self, message: object) -> None:
        """Answer, once."""
        ...


class SnapshotCoordinator:
    """One for each life of a node; `step` hands a whole snapshot to the core."""

    def __init__(
        self,
        config: NodeConfig,
        raft: Raft,
        context: Context,
        journal: Journal,
        *,
        log: SnapshotLog,
        applier: Applier,
        worker: Worker,
        state: Callable[[], State],
        step: Callable[[InstallSnapshot], None],
        tight: Callable[[], bool],
    ) -> None:
        self.transfers = Transfers(
            raft,
            context,
            journal,
            resend_seconds=config.election_seconds_min,
            give_up_seconds=20 * config.election_seconds_max,
            damaged=self.note_damage,
        )
        self._receiver = Receiver(
            raft.id,
            log=log,
            worker=worker,
            tell=lambda progress: context.tell(address_of(progress.to), progress),
            step=step,
            failed=lambda reason: journal.event("snapshot-failed", reason),
        )
        self._snapshotter = Snapshotter(
            raft=raft,
            log=log,
            applier=applier,
            worker=worker,
            state=state,
            held=lambda: self.transfers.oldest,
            policy=config.snapshots,
            journal=journal,
            now=context.now,
            tight=tight,
        )
        self._has_own_machine = applier.has_own_machine
        self._raft = raft
        self._log = log
        self._worker = worker
        self._journal = journal
        self.is_damaged = self._snapshotter.is_damaged

    def note_damage(self, snapshot: Snapshot) -> None:
        """Log that a stored snapshot is damaged; it is not sent."""
        error = SnapshotDamaged(snapshot.index, "before it was sent")
        self._journal.event("snapshot-damaged", str(error), index=snapshot.index)
        self._snapshotter.replace(snapshot)

    def want(self) -> None:
        """A peer needs a snapshot of now."""
        self._snapshotter.want()

    def take(self, asker: Requester) -> None:
        """Somebody wants a snapshot now, and is answered when there is one."""

        def told(index: Index, failure: str) -> None:
            asker.send(CannotDo(failure) if failure else SnapshotTaken(index))

        self._snapshotter.take(told)

    def take_now(self, told: SnapshotCallback) -> None:
        """Take a snapshot of a state that is no older than now; `told` is called when it is durable."""
        self._snapshotter.take(told)

    def last(self, told: SnapshotCallback) -> None:
        """The node is about to end: take a last snapshot; `told` is called when it is there, or cannot be.

        It spares another version of the user's own machine to go through the commands of this one. Where
        there is no such machine none is taken, and `told` is called at once.
        """
        if self._has_own_machine:
            self._snapshotter.take(told)
        else:
            told(0, "")

    def close(self) -> None:
        """The node ends: a snapshot that is not there by now is given up, and the worker ends."""
        self._snapshotter.abandon()
        self._worker.close()

    def chunk(self, chunk: SnapshotChunk) -> None:
        """Part of a snapshot from the leader, who hears how far it has got."""
        self._receiver.take(chunk, self._raft.log.committed)

    def installed(self) -> None:
        """A snapshot of the leader's has replaced the log: let go of what was there, little by little."""
        self._worker.submit(self._log.sweep, lambda _result, _error: None)

    def turn_ended(self) -> None:
        """Nothing is half done: look whether something is due."""
        self._receiver.forget_before(self._raft.term)
        self._snapshotter.consider()
