"""The disk as storage sees it: durable steps, and what each error means.

Owns the difference between what cannot be had now, room or a descriptor (nothing happened, try again later),
and a device that failed (its contents are unknown), the order of steps that makes a new file durable, and
the named points at which a test may crash. Knows nothing of what the files hold.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from raft.storage.errors import StoreError, StoreFailed, StoreFull
from raft.storage.files import File, FileSystem

TEMPORARY_SUFFIX = ".tmp"

CrashPoint = Callable[[str], None]
"""Called with the name of each step as it is passed; it may end the process, or raise in a simulation."""

CRASH_POINTS = (
    "save.begun",  # nothing written
    "save.written",  # written, not synced
    "save.synced",  # durable, not yet acknowledged
    "segment.created",  # the temporary file exists, empty
    "segment.written",
    "segment.synced",
    "segment.renamed",  # the new name may not survive a power cut
    "segment.durable",
    "snapshot.begun",
    "snapshot.created",
    "snapshot.written",
    "snapshot.synced",
    "snapshot.renamed",
    "snapshot.durable",  # the file is durable, the log doesn't name it yet
    "snapshot.marked",  # the log names it
    "snapshot.purged",  # older snapshots are gone
    "compact.begun",
    "compact.removed",  # once for each segment
)

_FULL = {errno.ENOSPC, errno.EDQUOT}
# The process or the machine has no descriptors or no memory left: the device itself is not at fault.
_USED_UP = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def no_crash(name: str) -> None:
    """The crash point of production: does nothing."""


class Device:
    """One directory's file system. After the first failure every operation refuses: see `StoreFailed`.

    Any operation but a sync may raise StoreFull instead: then nothing happened, and it may be tried again.

    With sync off nothing is made durable: contents then survive the process, but not a power cut.
    """

    def __init__(self, files: FileSystem, *, sync: bool, crash_point: CrashPoint) -> None:
        self.files = files
        self.crash_point = crash_point
        self._sync = sync
        self._failure: str | None = None

    def check(self) -> None:
        """Raise StoreFailed when the device has failed before."""
        if self._failure is not None:
            raise StoreFailed(self._failure)

    def write(self, file: File, offset: int, data: bytes) -> None:
        """Write, not yet durably. StoreFull leaves part of data in the file: the caller clears it away."""
        self.check()
        try:
            file.write(offset, data)
        except OSError as error:
            raise self._verdict("a write", error) from error

    def allocate(self, file: File, size: int) -> None:
        """Reserve space; StoreFull when there is not enough."""
        self.check()
        try:
            file.allocate(size)
        except OSError as error:
            raise self._verdict("reserving space", error) from error

    def truncate(self, file: File, size: int) -> None:
        """Cut a file."""
        self.check()
        try:
            file.truncate(size)
        except OSError as error:
            raise self._verdict("cutting a file", error) from error

    def sync(self, file: File) -> None:
        """Make a file's contents durable. Any error is final.

        The kernel reports a failed write-back once and then calls the pages clean, so a second sync
        that succeeds proves nothing (Rebello et al., ATC'20).
        """
        self.check()
        if self._sync:
            try:
                file.sync()
            except OSError as error:
                raise self._fail("a sync", error) from error

    def sync_directory(self, directory: Path) -> None:
        """Make new, renamed and removed names durable. Any error is final."""
        self.check()
        if self._sync:
            try:
                self.files.sync_directory(directory)
            except OSError as error:
                raise self._fail("a sync of the directory", error) from error

    def publish(self, path: Path, what: str, fill: Callable[[File], None]) -> File:
        """A new file that is under its name either whole and durable or not at all.

        `what` begins the names of the crash points that are passed. StoreFull leaves nothing behind.
        """
        self.check()
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        file: File | None = None
        try:
            file = self.files.create(temporary)
            self.crash_point(f"{what}.created")
            fill(file)
            self.crash_point(f"{what}.written")
            self.sync(file)
            self.crash_point(f"{what}.synced")
            self.files.rename(temporary, path)
        except (OSError, StoreError) as error:
            self._discard(temporary, file)
            if isinstance(error, StoreError):
                raise
            raise self._verdict(f"making {path.name}", error) from error
        self.crash_point(f"{what}.renamed")
        self.sync_directory(path.parent)
        self.crash_point(f"{what}.durable")
        return file

    def create(self, path: Path) -> File:
        """A new, empty file, nothing of it durable yet."""
        self.check()
        try:
            return self.files.create(path)
        except OSError as error:
            raise self._verdict(f"making {path.name}", error) from error

    def contents(self, path: Path) -> memoryview:
        """The contents of a file that is no longer written to; it may be removed."""
        self.check()
        try:
            return self.files.contents(path)
        except OSError as error:
            raise self._verdict(f"reading {path.name}", error) from error

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, not yet durably."""
        self.check()
        try:
            self.files.rename(source, target)
        except OSError as error:
            raise self._verdict(f"naming {target.name}", error) from error

    def names(self, directory: Path) -> list[str]:
        """The names in a directory."""
        self.check()
        try:
            return self.files.names(directory)
        except OSError as error:
            raise self._verdict("reading the directory", error) from error

    def remove(self, path: Path) -> None:
        """Unlink a file, durably."""
        self.check()
        try:
            self.files.remove(path)
        except OSError as error:
            raise self._verdict(f"removing {path.name}", error) from error
        self.sync_directory(path.parent)

    def _discard(self, temporary: Path, file: File | None) -> None:
        with contextlib.suppress(OSError):  # Opening the store removes what can't be removed now.
            if file is not None:
                file.close()
            self.files.remove(temporary)

    def _verdict(self, doing: str, error: OSError) -> StoreError:
        if error.errno in _FULL:
            return StoreFull(
                f"no room for {doing}: {error.strerror}. Make room on the device; then it continues."
            )
        if error.errno in _USED_UP:
            return StoreFull(
                f"{doing} has to wait: {error.strerror}. Allow more descriptors (ulimit -n) or memory, or "
                f"find out what uses them (lsof -p {os.getpid()}); then it continues."
            )
        return self._fail(doing, error)

    def _fail(self, doing: str, error: OSError) -> StoreFailed:
        self._failure = (
            f"{doing} failed: {error.strerror}. The contents of the device are unknown now: "
            f"check it, then start the node again."
        )
        return StoreFailed(self._failure)
