"""The file operations that storage needs, as a protocol, and the operating system's version of them.

Owns the interface that a simulated or a faulty disk replaces. Knows nothing of logs, records or
snapshots, and decides nothing about errors: they leave here as OSError.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")

# Enough for a rotation of the log and a snapshot at the same time.
DESCRIPTORS_RESERVED = 8
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}


def _nothing() -> None:
    """Do nothing."""


class File(Protocol):
    """An open file. Offsets and sizes are in bytes."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of data at offset. After an error any part of it may have been written."""

    def allocate(self, size: int) -> None:
        """Reserve space so that the file is at least size bytes long; new bytes read as zero."""

    def truncate(self, size: int) -> None:
        """Cut the file to size bytes."""

    def sync(self) -> None:
        """Return when contents and length are durable. After an error the contents are unknown."""

    def close(self) -> None:
        """Close the descriptor; makes nothing durable."""


class DirectoryLock(Protocol):
    """Proof that this process alone uses a directory; ends with the process at the latest."""

    def close(self) -> None:
        """Release the lock."""


class FileSystem(Protocol):
    """Files by path. A new, renamed or removed name is durable only after `sync_directory`."""

    def make_directory(self, path: Path) -> None:
        """Create path and its parents where missing, private to this user, each name made durable."""

    def lock_directory(self, path: Path) -> DirectoryLock:
        """Lock an existing directory without leaving a file; BlockingIOError when another process holds it.

        PermissionError if another user could change what is in it.
        """

    def names(self, directory: Path) -> list[str]:
        """Sorted names in a directory."""

    def read(self, path: Path) -> bytes:
        """The whole file."""

    def contents(self, path: Path) -> memoryview:
        """The whole file, mapped into memory; it must not be written to afterwards, but may be removed."""

    def create(self, path: Path) -> File:
        """Open a new, empty file for writing; an old one of that name is emptied."""

    def open(self, path: Path) -> File:
        """Open an existing file for writing."""

    def rename(self, source: Path, target: Path) -> None:
        """Give source the name target, atomically."""

    def remove(self, path: Path) -> None:
        """Unlink a file."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in path are durable."""


class RealFile:
    """A descriptor of the operating system; `closed` is called when it is free again."""

    __slots__ = ("_closed", "_descriptor")

    def __init__(self, descriptor: int, closed: Callable[[], None] = _nothing) -> None:
        self._descriptor = descriptor
        self._closed = closed

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, offset: int, data: bytes) -> None:
        """See `File.write`; continues after a short write."""
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)

    def allocate(self, size: int) -> None:
        """See `File.allocate`."""
        os.posix_fallocate(self._descriptor, 0, size)

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """See `File.sync`; fdatasync flushes a changed length too, only times are left out."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """See `File.close`."""
        os.close(self._descriptor)
        self._closed()


class RealLock:
    """flock on the directory's own descriptor: the kernel drops it when the process dies."""

    __slots__ = ("_closed", "_descriptor")

    def __init__(self, descriptor: int, closed: Callable[[], None] = _nothing) -> None:
        self._descriptor = descriptor
        self._closed = closed

    def close(self) -> None:
        """See `DirectoryLock.close`."""
        os.close(self._descriptor)
        self._closed()


class _Reserve:
    """Descriptors held in reserve for when the process, or the machine, has no more.

    Connections may use up all others. The reserve is filled again when a file is closed.
    """

    def __init__(self) -> None:
        self.size = 0
        self.held: list[int] = []

    def fill(self) -> None:
        """Open descriptors up to the size of the reserve, or as many as possible."""
        while len(self.held) < self.size:
            try:
                self.held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def give_up(self) -> None:
        """Release the whole reserve."""
        self.size = 0
        while self.held:
            os.close(self.held.pop())

    def retry(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; while it fails for lack of a descriptor, release one and retry."""
        while True:
            try:
                return call()
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR:
                    raise
                try:
                    spare = self.held.pop()
                except IndexError:
                    raise error from None
                os.close(spare)


class RealFiles:
    """The operating system's file system. While a directory is locked, it keeps descriptors in reserve."""

    def __init__(self) -> None:
        self._reserve = _Reserve()
        self._locked: dict[Path, int] = {}

    @property
    def descriptors_held(self) -> int:
        """How many descriptors are kept for when there are no others."""
        return len(self._reserve.held)

    def make_directory(self, path: Path) -> None:
        """See `FileSystem.make_directory`."""
        if path.is_dir():
            return
        self.make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_directory(path.parent)

    def lock_directory(self, path: Path) -> RealLock:
        """See `FileSystem.lock_directory`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _check_owner(path, os.fstat(descriptor))
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        self._locked[path] = descriptor
        self._reserve.size = DESCRIPTORS_RESERVED
        self._reserve.fill()
        return RealLock(descriptor, lambda: self._unlocked(path))

    def names(self, directory: Path) -> list[str]:
        """See `FileSystem.names`."""
        # Names are wanted, not paths.
        return sorted(self._reserve.retry(lambda: os.listdir(directory)))  # noqa: PTH208

    def read(self, path: Path) -> bytes:
        """See `FileSystem.read`."""
        return self._reserve.retry(path.read_bytes)

    def contents(self, path: Path) -> memoryview:
        """See `FileSystem.contents`; an empty file cannot be mapped."""

        def mapped() -> memoryview:
            with path.open("rb") as file:
                if not path.stat().st_size:
                    return memoryview(b"")
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

        return self._reserve.retry(mapped)

    def create(self, path: Path) -> RealFile:
        """See `FileSystem.create`."""
        return self._open(path, os.O_CREAT | os.O_TRUNC)

    def open(self, path: Path) -> RealFile:
        """See `FileSystem.open`."""
        return self._open(path, 0)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem.rename`."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """See `FileSystem.remove`."""
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        """See `FileSystem.sync_directory`."""
        if path in self._locked:  # Needs no other descriptor.
            os.fsync(self._locked[path])
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _open(self, path: Path, flags: int) -> RealFile:
        descriptor = self._reserve.retry(lambda: os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600))
        return RealFile(descriptor, self._reserve.fill)

    def _unlocked(self, path: Path) -> None:
        del self._locked[path]
        if not self._locked:
            self._reserve.give_up()


def _check_owner(path: Path, found: os.stat_result) -> None:
    user, mode = os.geteuid(), stat.S_IMODE(found.st_mode)
    if found.st_uid != user:
        reason = f"it belongs to user {found.st_uid}, and this process runs as user {user}"
    elif mode & stat.S_IWOTH:
        reason = f"every user may write to it (mode {mode:o}): make it private with chmod 700"
    else:
        return
    raise PermissionError(errno.EPERM, reason, str(path))
