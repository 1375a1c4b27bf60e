"""A new cluster from the state of an old one: what changes in that state, and a node's directory for it.

Owns the rules of a new beginning, and the restore of a backup into a directory. Knows nothing of how a backup
is written, or of who asks for a restore.

A restored cluster is another cluster than the one that was saved. Four things follow, and hold for a recovery
(raft.node.process.recovery) as well:

- It has a new identity, so no node and no client of the old one is heard in it, and none hears it.
- Its members are those that are named now; of former members nothing is known.
- Its log begins far behind the saved index. Tokens, leases, sessions and revisions are indices of the log,
  and the old cluster has given out some that the backup knows nothing of: none of them must be given out
  again. A token of the new cluster is greater than all of the old one's, and a session that was opened after
  the backup was taken is expired, not one of another client.
- All earlier revisions are compacted: a watcher that would go on from one of them is told so.

Leases in the backup begin anew, as under any new leader, and end if their holders do not come back.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from actors.processes.private_files import make_private
from raft.core.types import ConfState, Index, NodeId, Snapshot
from raft.machines.state import rebased
from raft.node.config import NODE_ID_MAX, BadConfig
from raft.node.process.data_dir import INCARNATION, RESTORED, UNFINISHED, checked_word
from raft.node.process.permit import PERMIT
from raft.node.process.replacement import replace_log
from raft.node.snapshots.contents import State, pack_state, unpack_state
from raft.protocol.client import MEMBERS_MAX
from raft.storage.backup import Backup
from raft.storage.errors import BackupDamaged, DirectoryInUse, ForeignDirectory
from raft.storage.files import DirectoryLock, RealFiles
from raft.storage.record import Identity
from raft.storage.snapshots import is_sound, sealed

IDENTITY_BYTES: Final = 8
INDEX_STEP: Final = 1_000_000_000
ENTRIES_PER_SECOND_MAX: Final = 100_000  # More than any cluster has committed.


class NewCluster(Struct, frozen=True, kw_only=True):
    """What a restored or recovered cluster is, alike on all of its first members."""

    identity: str
    members: dict[NodeId, str]  # Where each listens.
    index: Index  # Where its log begins.


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore notes in the directory of a node. Times are for people."""

    identity: str
    cluster: str
    node: NodeId
    members: dict[NodeId, str]
    index: Index
    backup: str
    backup_sha256: str
    backup_identity: str
    backup_index: Index
    backup_saved_at: float
    restored_at: float


class Token(Struct, frozen=True):
    """What the restores of one new cluster on several hosts must have in common, as `INDEX-DRAWN`."""

    index: Index
    drawn: str

    def __str__(self) -> str:
        return f"{self.index}-{self.drawn}"

    @classmethod
    def draw(cls, index: Index) -> Token:
        """One that no other restore has."""
        return cls(index, secrets.token_hex(IDENTITY_BYTES))

    @classmethod
    def parse(cls, text: str, above: Index) -> Token:
        """Read what a restore has printed. Raises BadConfig."""
        index, _, drawn = text.partition("-")
        is_one = index.isascii() and index.isdecimal() and drawn.isalnum() and len(index) < 19
        if not is_one or int(index) <= above:
            raise BadConfig(f"{text!r} is no token for this backup: give the one that the first restore said")
        return cls(int(index), drawn)


def first_index(last: Index, age_seconds: float) -> Index:
    """Where a new cluster's log begins: behind all that the old one can have reached since `last`.

    The age is that of the state, by a wall clock. Should that be wrong there is the step, which is as many
    entries as a busy cluster commits in a day.
    """
    return last + INDEX_STEP + ENTRIES_PER_SECOND_MAX * max(0, round(age_seconds))


def planned(backup: Backup, members: Mapping[NodeId, str], token: Token) -> NewCluster:
    """The cluster that these members make of a backup. Raises BadConfig for members that cannot be."""
    check_members(members)
    text = msgspec.msgpack.encode((backup.digest, sorted(members.items()), str(token)))
    identity = blake2b(text, digest_size=IDENTITY_BYTES).hexdigest()
    return NewCluster(identity=identity, members=dict(members), index=token.index)


def check_members(members: Mapping[NodeId, str]) -> None:
    """Raise BadConfig if no cluster can have these members."""
    if not 1 <= len(members) <= MEMBERS_MAX:
        raise BadConfig(f"a cluster has 1 to {MEMBERS_MAX} members, not {len(members)}")
    for node in members:
        if not 1 <= node <= NODE_ID_MAX:
            raise BadConfig(f"a node's id is a number from 1 to {NODE_ID_MAX}, not {node}")


def refounded(snapshot: Snapshot, new: NewCluster) -> Snapshot:
    """The state of an old cluster as that with which the new one begins: see the module's text."""
    state, voters = unpack_state(snapshot.data), tuple(sorted(new.members))
    begun = State(new.members, {}, identity=new.identity, founders=voters, configuration=new.index)
    data = pack_state(begun, rebased(state.machine, new.index))
    return sealed(Snapshot(new.index, snapshot.term, ConfState(voters=voters), data))


def restore(
    backup: Backup, directory: Path, new: NewCluster, *, cluster: str, node: NodeId, now: float
) -> Restored:
    """Make a node's data directory of a backup: the node then starts as one that has run before.

    `now` is in seconds since the epoch. Raises BadConfig, DirectoryInUse, ForeignDirectory, BackupDamaged,
    OSError or StoreError.
    """
    if node not in new.members:
        raise BadConfig(f"node {node} is none of the members {sorted(new.members)}")
    record = Restored(
        identity=new.identity,
        cluster=cluster,
        node=node,
        members=new.members,
        index=new.index,
        backup=str(backup.path),
        backup_sha256=backup.digest,
        backup_identity=backup.head.identity,
        backup_index=backup.head.index,
        backup_saved_at=backup.head.saved_at,
        restored_at=now,
    )
    make_private(directory)
    lock = lock_directory(directory)
    try:
        _check_empty(directory)
        snapshot = refounded(backup.snapshot, new)
        if not is_sound(
            backup.snapshot
        ):  # It is a mapping of the file, which another process may have changed.
            raise BackupDamaged(backup.path, "it has changed while it was read")
        beside = {
            RESTORED: msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n",
            # Other processes may have heard of incarnations of this id that are not known here. They are
            # counted by ones, so the seconds of the wall clock are ahead of all of them.
            INCARNATION: checked_word(str(int(now))),
        }
        replace_log(directory, Identity(cluster, node), snapshot, beside)
    finally:
        lock.close()
    return record


def lock_directory(directory: Path) -> DirectoryLock:
    """Hold a data directory that is there. Raises DirectoryInUse, or OSError."""
    try:
        return RealFiles().lock_directory(directory)
    except BlockingIOError:
        raise DirectoryInUse(f"{directory} is in use by another process: stop its node first") from None


def _check_empty(directory: Path) -> None:
    if (directory / UNFINISHED).exists():
        raise ForeignDirectory(
            f"{directory} holds what an interrupted restore or recovery has left: end a recovery with the "
            "recover verb; after a restore remove it, and restore again"
        )
    names = sorted(path.name for path in directory.iterdir() if path.name not in (PERMIT, "lost+found"))
    if names:
        raise ForeignDirectory(
            f"{directory} is not empty ({', '.join(names[:3])}): restore into a new directory"
        )
