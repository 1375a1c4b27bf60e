"""A file system that misbehaves on request.

Owns four faults, switched on and off while a store is in use: slow syncs, a full device, failing syncs, and
power cuts that take what is not synced. Knows nothing of why they are switched on, or of what the files hold.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from raft.storage.files import DirectoryLock, File, FileSystem, RealFile
from raft.storage.unsynced import Unsynced


class FaultyFiles:
    """Delegates to another file system, with the faults that are set. Any thread may set them.

    `sync_delay_seconds` lengthens every sync, `full` makes whatever needs space raise ENOSPC,
    `fail_sync` makes every sync raise EIO. With `unsynced` set, writes that are not synced can be undone.
    """

    def __init__(self, inner: FileSystem, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._inner = inner
        self._sleep = sleep
        self.sync_delay_seconds = 0.0
        self.full = False
        self.fail_sync = False
        self.unsynced: Unsynced | None = None

    def clear(self) -> None:
        """Remove all faults."""
        self.sync_delay_seconds, self.full, self.fail_sync = 0.0, False, False

    def need_space(self) -> None:
        """Raise ENOSPC while `full` is set."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def pass_sync(self) -> None:
        """Wait for `sync_delay_seconds`; raise EIO while `fail_sync` is set."""
        if self.sync_delay_seconds:
            self._sleep(self.sync_delay_seconds)
        if self.fail_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def make_directory(self, path: Path) -> None:
        """See `FileSystem.make_directory`."""
        self._inner.make_directory(path)

    def lock_directory(self, path: Path) -> DirectoryLock:
        """See `FileSystem.lock_directory`."""
        return self._inner.lock_directory(path)

    def names(self, directory: Path) -> list[str]:
        """See `FileSystem.names`."""
        return self._inner.names(directory)

    def read(self, path: Path) -> bytes:
        """See `FileSystem.read`."""
        return self._inner.read(path)

    def contents(self, path: Path) -> memoryview:
        """See `FileSystem.contents`."""
        return self._inner.contents(path)

    def create(self, path: Path) -> File:
        """See `FileSystem.create`."""
        self.need_space()
        return _FaultyFile(self._inner.create(path), self)

    def open(self, path: Path) -> File:
        """See `FileSystem.open`."""
        return _FaultyFile(self._inner.open(path), self)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem.rename`."""
        self._inner.rename(source, target)

    def remove(self, path: Path) -> None:
        """See `FileSystem.remove`."""
        self._inner.remove(path)

    def sync_directory(self, path: Path) -> None:
        """See `FileSystem.sync_directory`."""
        self.pass_sync()
        self._inner.sync_directory(path)


class _FaultyFile:
    def __init__(self, inner: File, faults: FaultyFiles) -> None:
        self._inner = inner
        self._faults = faults

    def write(self, offset: int, data: bytes) -> None:
        if self._faults.full:
            self._inner.write(offset, data[: len(data) // 2])  # A device fills up in the middle of a write.
        self._faults.need_space()
        unsynced = self._faults.unsynced
        if unsynced is not None and isinstance(self._inner, RealFile):
            unsynced.write(self._inner.fileno(), offset, len(data), lambda: self._inner.write(offset, data))
        else:
            self._inner.write(offset, data)

    def allocate(self, size: int) -> None:
        self._faults.need_space()
        self._inner.allocate(size)

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def sync(self) -> None:
        self._faults.pass_sync()
        self._inner.sync()
        self._forget_unsynced()

    def close(self) -> None:
        self._forget_unsynced()
        self._inner.close()

    def _forget_unsynced(self) -> None:
        if self._faults.unsynced is not None and isinstance(self._inner, RealFile):
            self._faults.unsynced.synced(self._inner.fileno())
