"""Snapshots of a node: taking, sending and receiving them.

Theory of operation. The snapshotter (`taker`) saves the machine's state at an applied index, with a checksum,
and then compacts the log. When the core asks for a snapshot to be sent (InstallSnapshot), a transfer begins:

- The sender reads the data in chunks, few of which are unacknowledged, or more where they are acknowledged
  quickly. While it reads, it recomputes the checksum, and withholds the last chunk of a damaged snapshot.
- The receiver writes chunks in order to a draft file, and acknowledges what is written. Duplicates and
  chunks out of order only repeat the acknowledgement. A newer snapshot, or a higher term, replaces the draft.
- When all bytes are written, the receiver syncs the draft, reads it back and compares the checksum. Only then
  it passes the snapshot to its core, which makes it the log's new beginning.
- After a lost connection, or without an acknowledgement for a while, the sender repeats from what was
  acknowledged; a restarted receiver acknowledges 0, and the transfer starts over. The transfer ends when all
  is acknowledged, when the receiver reports damage, when this node no longer leads, or after a long silence.
  The core is always informed (`report_snapshot`), so that it can try again.

What can never happen: a snapshot takes effect in part; damaged data are restored; the loop waits for a disk.

Owns the three parts and their connections. Knows nothing of how each of them works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from raft.core.messages import InstallSnapshot
from raft.core.raft import Raft
from raft.core.types import Index, Snapshot, Term
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
    """The reply handle of a request."""

    def send(self, message: object) -> None:
        """Answer, once."""
        ...


class SnapshotCoordinator:
    """`step` passes a complete snapshot to the core."""

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
        self.taker = Snapshotter(
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
        self.is_damaged = self.taker.is_damaged

    def note_damage(self, snapshot: Snapshot) -> None:
        """Log that a stored snapshot is damaged; it is not sent."""
        error = SnapshotDamaged(snapshot.index, "before it was sent")
        self._journal.event("snapshot-damaged", str(error), index=snapshot.index)
        self.taker.replace(snapshot)

    def want(self) -> None:
        """Take a snapshot soon: a peer needs a current one, or will."""
        self.taker.want()

    def take(self, asker: Requester) -> None:
        """Take a snapshot on request, and answer when it is durable."""

        def done(index: Index, failure: str) -> None:
            asker.send(CannotDo(failure) if failure else SnapshotTaken(index))

        self.taker.take(done)

    def take_now(self, done: SnapshotCallback) -> None:
        """Take a snapshot of the current or a later state; `done` is called when it is durable."""
        self.taker.take(done)

    def last(self, done: SnapshotCallback) -> None:
        """Before the node ends: take a last snapshot; `done` is called when it is durable, or has failed.

        So another version of the user's own machine need not apply the commands of this one again. Without
        such a machine no snapshot is taken, and `done` is called at once.
        """
        if self._has_own_machine:
            self.taker.take(done)
        else:
            done(0, "")

    def close(self) -> None:
        """Abandon an unfinished snapshot, and stop the worker."""
        self.taker.abandon()
        self._worker.close()

    def chunk(self, chunk: SnapshotChunk) -> None:
        """A chunk of a snapshot from the leader."""
        self._receiver.take(chunk, self._raft.log.committed)

    def installed(self) -> None:
        """A snapshot of the leader has replaced the log: free the old one in small steps."""
        self.taker.installed()
        self._worker.submit(self._log.sweep, lambda _result, _error: None)

    def term_is(self, term: Term) -> None:
        """The term has changed: what a leader of an earlier one was sending will not be completed."""
        self._receiver.forget_before(term)
