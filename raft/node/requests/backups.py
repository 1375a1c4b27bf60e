"""Backups of a running cluster: a client takes the state from one node, piece by piece.

Owns the way from the request to the snapshot that is read, and how long a node keeps that. Knows nothing of
how a snapshot is taken, or of what the client does with it.

The node lets a quorum confirm the commit index, as for a linearizable read, waits until it has applied that,
and takes a snapshot then. So everything acknowledged before the request is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from actors.asks import Answerable
from raft.core.types import Index, Snapshot
from raft.machines.state import agreement_in
from raft.node.applier import Applier
from raft.node.requests.reads import Reads
from raft.node.requests.slow_requests import SlowRequests
from raft.node.snapshots.contents import unpack_state
from raft.protocol.client import BackupPiece, BackupTaken, ReadBackup, Refused, TakeBackup, Unknown
from raft.storage.snapshots import encode_head

BackupRequest = TakeBackup | ReadBackup
BACKUP_REQUESTS: Final = (TakeBackup, ReadBackup)

CHUNK_BYTES: Final = 256 * 1024  # As much as a snapshot's: a heartbeat may have to wait behind one.
KEPT_MAX: Final = 2
KEEP_SECONDS: Final = 10.0  # Without a request for a piece.

NOT_HERE: Final = Unknown("this node does not have that backup any more: begin again")
TOO_MANY: Final = Refused(f"{KEPT_MAX} backups are being read from this node already")
OVERTAKEN: Final = Refused("a snapshot of the leader's came in between: ask again")


class Snapshots(Protocol):
    """Takes snapshots; see `SnapshotCoordinator`."""

    def take_now(self, done: Callable[[Index, str], None]) -> None:
        """Take one, and call back with its index, or with the reason why there is none."""
        ...


class SnapshotSource(Protocol):
    """Holds snapshots; see `Store`."""

    def snapshot(self) -> Snapshot:
        """The newest."""
        ...


class _Kept(Struct):
    head: bytes
    snapshot: Snapshot
    read_at: float


class Backups:
    """All backups that are being read from a node."""

    def __init__(
        self,
        cluster: str,
        log: SnapshotSource,
        applier: Applier,
        reads: Reads,
        snapshots: Snapshots,
        slow_requests: SlowRequests,
    ) -> None:
        self._cluster = cluster
        self._log = log
        self._applier = applier
        self._reads = reads
        self._snapshots = snapshots
        self._slow_requests = slow_requests
        self._kept: dict[int, _Kept] = {}
        self._begun = 0

    def take(self, request: BackupRequest, reply_handle: Callable[[], Answerable]) -> object | None:
        """Take a request in, to be answered through its handle; or return the answer."""
        if isinstance(request, ReadBackup):
            return self._piece(request)
        if self._begun + len(self._kept) >= KEPT_MAX:
            return TOO_MANY
        self._begun += 1
        reply = self._slow_requests.take(reply_handle())
        self._reads.add(lambda: self._applier.applied, _Confirmed(self, reply), self._slow_requests.now())
        return None

    def confirmed(self, index: Index, reply: Answerable) -> None:
        """All that was committed when the client asked is applied here, up to that index."""

        def done(taken: Index, failure: str) -> None:
            self._begun -= 1
            if failure or taken < index:
                reply.send(Refused(failure) if failure else OVERTAKEN)
            else:
                reply.send(self._keep(self._log.snapshot()))

        self._snapshots.take_now(done)

    def refused(self, answer: object, reply: Answerable) -> None:
        """That was not confirmed."""
        self._begun -= 1
        reply.send(answer)

    def _keep(self, snapshot: Snapshot) -> BackupTaken:
        header, description = encode_head(snapshot, len(snapshot.data), snapshot.checksum or 0)
        state, conf_state = unpack_state(snapshot.data), snapshot.conf_state
        ticket = self._slow_requests.new_ticket()
        self._kept[ticket] = _Kept(header + description, snapshot, self._slow_requests.now())
        self._slow_requests.after(KEEP_SECONDS, self._check)
        return BackupTaken(
            ticket=ticket,
            index=snapshot.index,
            term=snapshot.term,
            size=len(header) + len(description) + len(snapshot.data),
            cluster=self._cluster,
            identity=state.identity,
            voters=conf_state.voters,
            learners=(*conf_state.learners, *conf_state.learners_next),
            endpoints=state.members,
            machine_version=agreement_in(state.machine).version,
        )

    def _piece(self, request: ReadBackup) -> BackupPiece | Unknown:
        kept = self._kept.get(request.ticket)
        if kept is None:
            return NOT_HERE
        kept.read_at = self._slow_requests.now()
        offset, head = request.offset, kept.head
        chunk = head[offset : offset + CHUNK_BYTES]
        begin = offset + len(chunk) - len(head)
        chunk += memoryview(kept.snapshot.data)[begin : begin + CHUNK_BYTES - len(chunk)]
        if not chunk:  # All of it is read: the node need not keep it.
            del self._kept[request.ticket]
        return BackupPiece(offset, chunk)

    def _check(self) -> None:
        oldest = self._slow_requests.now() - KEEP_SECONDS
        self._kept = {ticket: kept for ticket, kept in self._kept.items() if kept.read_at > oldest}


class _Confirmed:
    """The answer to the read that a backup begins with."""

    def __init__(self, backups: Backups, reply: Answerable) -> None:
        self._backups = backups
        self._reply = reply

    def send(self, message: object) -> None:
        """The index, or why there is none."""
        if isinstance(message, int):
            self._backups.confirmed(message, self._reply)
        else:
            self._backups.refused(message, self._reply)
