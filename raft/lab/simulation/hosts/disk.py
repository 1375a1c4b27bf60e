"""A disk in memory that loses unsynced writes.

Owns the effect of a power cut on files and names: each sector and each name written since its last sync is
kept or lost at random. Owns the other faults too: a full device, failing syncs, flipped bits. Knows nothing
of the files' contents.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECTOR_BYTES = 512


class SimulatedFiles:
    """A `FileSystem` for one or many nodes. The process may die (`kill`) or the power may fail (`power_cut`).

    `capacity_bytes` limits the sizes of all files together. `fail_syncs` makes every sync raise EIO and, like
    Linux, marks the data as clean all the same: later reads show it, and no later sync writes it.
    """

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.fail_syncs = False
        self.syncs = 0
        self._names: dict[Path, _Inode] = {}
        self._durable_names: dict[Path, _Inode] = {}
        self._pending: list[_NameChange] = []
        self._directories: set[Path] = {Path("/")}
        self._locks: dict[Path, _Lock] = {}

    def kill(self) -> None:
        """All processes die: locks are released, and everything that was written stays."""
        self._locks.clear()

    def power_cut(self, dice: random.Random) -> None:
        """All processes die, and unsynced writes are kept or lost at random."""
        self._locks.clear()
        for change in self._pending:
            if dice.random() < 0.5:
                change.apply(self._durable_names)
        self._pending.clear()
        self._names = dict(self._durable_names)
        for inode in dict.fromkeys(self._names.values()):
            inode.power_cut(dice)

    def write_back(self) -> None:
        """What the kernel may do at any time: write data, but not names, to the medium."""
        for inode in dict.fromkeys(self._names.values()):
            inode.sync()

    def file_at(self, path: Path) -> object:
        """The file itself, which stays the same under another name."""
        return self._names[path]

    def flip_bit(self, path: Path, bit: int) -> None:
        """Change one bit of a file on the medium."""
        inode = self._names[path]
        for contents in (inode.data, inode.durable):
            contents[bit // 8] ^= 1 << bit % 8

    def cut(self, path: Path, size: int) -> None:
        """Truncate a file on the medium."""
        inode = self._names[path]
        del inode.data[size:], inode.durable[size:]

    def make_directory(self, path: Path) -> None:
        """See `FileSystem.make_directory`."""
        self._directories.update([path, *path.parents])

    def lock_directory(self, path: Path) -> _Lock:
        """See `FileSystem.lock_directory`."""
        if path in self._locks:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        self._locks[path] = lock = _Lock(self._locks, path)
        return lock

    def names(self, directory: Path) -> list[str]:
        """See `FileSystem.names`."""
        if directory not in self._directories:
            raise _error(errno.ENOENT)
        return sorted(path.name for path in self._names if path.parent == directory)

    def read(self, path: Path) -> bytes:
        """See `FileSystem.read`."""
        return bytes(self._inode(path).data)

    def contents(self, path: Path) -> memoryview:
        """See `FileSystem.contents`; later changes of the medium are visible, as in a mapping."""
        return memoryview(self._inode(path).data).toreadonly()

    def create(self, path: Path) -> SimulatedFile:
        """See `FileSystem.create`."""
        inode = _Inode()
        self._change(_NameChange(None, path, inode))
        return SimulatedFile(self, inode)

    def open(self, path: Path) -> SimulatedFile:
        """See `FileSystem.open`."""
        return SimulatedFile(self, self._inode(path))

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem.rename`."""
        self._change(_NameChange(source, target, self._inode(source)))

    def remove(self, path: Path) -> None:
        """See `FileSystem.remove`."""
        self._inode(path)
        self._change(_NameChange(path, None, None))

    def sync_directory(self, path: Path) -> None:
        """See `FileSystem.sync_directory`."""
        with self.syncing():
            here = [change for change in self._pending if change.is_in(path)]
            for change in here:
                change.apply(self._durable_names)
            self._pending = [change for change in self._pending if change not in here]

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Count a sync, and fail it if syncs are to fail."""
        if self.fail_syncs:
            raise _error(errno.EIO)
        self.syncs += 1
        yield

    def room_for(self, growth: int) -> int:
        """How many of `growth` more bytes fit on the device."""
        if self.capacity_bytes is None:
            return growth
        used = sum(len(inode.data) for inode in set(self._names.values()))
        return max(0, min(growth, self.capacity_bytes - used))

    def _change(self, change: _NameChange) -> None:
        change.apply(self._names)
        self._pending.append(change)

    def _inode(self, path: Path) -> _Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]


class SimulatedFile:
    """An open file of a `SimulatedFiles`."""

    def __init__(self, disk: SimulatedFiles, inode: _Inode) -> None:
        self._log_writer = disk
        self._inode = inode

    def write(self, offset: int, data: bytes) -> None:
        """See `File.write`; on a full device as much as fits is written first."""
        growth = max(0, offset + len(data) - len(self._inode.data))
        room = self._log_writer.room_for(growth)
        self._inode.write(offset, data[: len(data) - growth + room])
        if room < growth:
            raise _error(errno.ENOSPC)

    def allocate(self, size: int) -> None:
        """See `File.allocate`."""
        growth = max(0, size - len(self._inode.data))
        if self._log_writer.room_for(growth) < growth:
            raise _error(errno.ENOSPC)
        self._inode.write(len(self._inode.data), bytes(growth))

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        self._inode.truncate(size)

    def sync(self) -> None:
        """See `File.sync`."""
        try:
            with self._log_writer.syncing():
                self._inode.sync()
        except OSError:
            self._inode.dirty.clear()
            raise

    def close(self) -> None:
        """See `File.close`."""


class _Inode:
    """Contents as processes see them, contents on the medium, and the dirty sectors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()

    def write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        end = offset + len(data)
        self.data.extend(bytes(max(0, end - len(self.data))))
        self.data[offset:end] = data
        self.dirty.update(range(offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1))

    def truncate(self, size: int) -> None:
        self.dirty.update(range(size // SECTOR_BYTES, -(-len(self.data) // SECTOR_BYTES)))
        del self.data[size:]

    def sync(self) -> None:
        self._write_back(self.dirty)
        del self.durable[len(self.data) :]
        self.dirty.clear()

    def power_cut(self, dice: random.Random) -> None:
        """Write back some sectors, or all up to a byte; the rest is lost."""
        if self.dirty and dice.random() < 0.3:
            self._write_back_up_to(dice.randrange(len(self.data) + 1))
        else:
            self._write_back({sector for sector in sorted(self.dirty) if dice.random() < 0.5})
            if len(self.data) < len(self.durable) and dice.random() < 0.5:
                del self.durable[len(self.data) :]
        self.data = bytearray(self.durable)
        self.dirty.clear()

    def _write_back(self, sectors: set[int]) -> None:
        for sector in sectors:
            self._copy(sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, len(self.data)))

    def _write_back_up_to(self, stop: int) -> None:
        for sector in sorted(self.dirty):
            self._copy(sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, stop))

    def _copy(self, start: int, stop: int) -> None:
        if start < stop:
            self.durable.extend(bytes(max(0, stop - len(self.durable))))
            self.durable[start:stop] = self.data[start:stop]


class _NameChange:
    """A name that appears, disappears or moves: durable as a whole or not at all."""

    def __init__(self, source: Path | None, target: Path | None, inode: _Inode | None) -> None:
        self._source = source
        self._target = target
        self._inode = inode

    def is_in(self, directory: Path) -> bool:
        return directory in {path.parent for path in (self._source, self._target) if path is not None}

    def apply(self, names: dict[Path, _Inode]) -> None:
        if self._source is not None:
            names.pop(self._source, None)
        if self._target is not None and self._inode is not None:
            names[self._target] = self._inode


class _Lock:
    def __init__(self, locks: dict[Path, _Lock], path: Path) -> None:
        self._locks = locks
        self._path = path

    def close(self) -> None:
        if self._locks.get(self._path) is self:  # Not if the process died and another one has the lock now.
            del self._locks[self._path]


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
