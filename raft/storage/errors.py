"""The errors of the durable store.

Every message ends with what to do. Knows nothing of
how the errors are found.
"""

from __future__ import annotations

from pathlib import Path

from raft.core.errors import RaftError


class StoreError(RaftError):
    """The durable store can't do what was asked."""


class StoreFull(StoreError):
    """No room on the device, or no descriptor or memory. Nothing of the refused batch counts; try again."""


class StoreFailed(StoreError):
    """The device failed, so what it holds is no longer known. Fatal: restart the node, never retry."""


class DirectoryInUse(StoreError):
    """Another process has the directory open."""


class DirectoryUnusable(StoreError):
    """The directory can't be created, read or written: permissions, a read-only file system, a bad device."""


class ForeignDirectory(StoreError):
    """The directory belongs to another node, another cluster or another program."""


class LogMissing(StoreError):
    """The log of a node that has run before is missing."""


class LogRolledBack(StoreError):
    """The log lacks entries that its node had acknowledged, as an earlier process found out."""


class NewerFormat(StoreError):
    """A newer version of this software wrote the directory."""


class BackupExists(StoreError):
    """A backup is never written over another file unasked."""


class BackupUnusable(StoreError):
    """The file is no backup, or cannot be read or written."""


class BackupDamaged(StoreError):
    """The file was a backup once; nothing of it is used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}. Nothing of it is used: take another backup")
        self.path = path


class SnapshotDamaged(StoreError):
    """The bytes of a snapshot do not have the checksum that it was given when it was taken."""

    def __init__(self, index: int, when: str) -> None:
        super().__init__(
            f"the snapshot at {index} has changed since it was taken, which was noticed {when}. It is not "
            f"used; another copy or a new snapshot takes its place. Check the memory and the disk of this "
            f"node, and of the node that sent it."
        )
        self.index = index


class CorruptLog(StoreError):
    """Data that had been durable is damaged or missing. Opening never shortens such a log by itself."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {reason}. Entries that this node acknowledged may be lost, "
            f"so it must not vote with what is left: look with the wal verb, then let its peers rebuild it."
        )
        self.path = path
        self.offset = offset
        self.reason = reason
