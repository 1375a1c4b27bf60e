"""A snapshot that arrives in chunks: written as they arrive, renamed to its final name when complete.

Owns the file until then. Knows nothing of where the chunks come from, nor of the log that names the
snapshot.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from zlib import crc32

from raft.core.types import Snapshot
from raft.storage.device import TEMPORARY_SUFFIX, Device
from raft.storage.errors import SnapshotDamaged, StoreError
from raft.storage.snapshots import encode_head, head_checksum, is_sound, snapshot_name

DRAFT_SUFFIX = ".draft" + TEMPORARY_SUFFIX
# Regular syncs leave little to sync at the end, and other writes don't wait long behind them.
SYNC_BYTES = 8 * 1024 * 1024


class Draft:
    """One snapshot, whose data are `size` bytes long: `add` all chunks, then `finish`.

    `head` is the snapshot without its data, with the checksum computed when it was taken.

    `add`, `finish` and `discard` come from one thread at a time, `publish` may come from another. Whatever
    raises StoreFull leaves a draft that can only be discarded.
    """

    def __init__(self, device: Device, directory: Path, head: Snapshot, size: int) -> None:
        self._device = device
        self._head = head
        self._size = size
        self._path = directory / (snapshot_name(head.index) + DRAFT_SUFFIX)
        self._target = directory / snapshot_name(head.index)
        self._turn = threading.Lock()
        self._over = False
        self._snapshot: Snapshot | None = None
        device.crash_point("snapshot.begun")
        lengths, description = encode_head(head, size)
        self._start = self._end = len(lengths) + len(description)
        self._synced = 0
        self._checksum = head_checksum(head, size)
        self._file = device.create(self._path)
        device.crash_point("snapshot.created")

    def add(self, data: bytes) -> None:
        """Write the next chunk of the data."""
        self._device.write(self._file, self._end, data)
        self._checksum = crc32(data, self._checksum)
        self._end += len(data)
        if self._end - self._synced > SYNC_BYTES:
            self._device.sync(self._file)
            self._synced = self._end

    def finish(self) -> Snapshot:
        """Make the contents durable, and return them; they stay readable even if the file is removed.

        Raises SnapshotDamaged if the received data, or the data read back, fail the checksum.
        """
        missing = self._start + self._size - self._end
        assert missing == 0, f"{missing} bytes of the snapshot are missing"
        if self._checksum != self._head.checksum:
            raise SnapshotDamaged(self._head.index, "when all of it had arrived")
        lengths, description = encode_head(self._head, self._size, self._checksum)
        self._device.write(self._file, 0, lengths + description)
        self._device.crash_point("snapshot.written")
        self._device.sync(self._file)
        self._device.crash_point("snapshot.synced")
        head, data = self._head, self._device.contents(self._path)[self._start :]
        self._file.close()
        self._snapshot = Snapshot(head.index, head.term, head.conf_state, data, head.checksum)
        if not is_sound(self._snapshot):
            raise SnapshotDamaged(head.index, "when it was read back from the disk")
        return self._snapshot

    def publish(self, snapshot: Snapshot) -> bool:
        """Rename the file to its final name, durably, if it holds this snapshot; False if not."""
        with self._turn:
            if self._over or self._snapshot is None or snapshot.data is not self._snapshot.data:
                return False
            self._over = True
            self._device.rename(self._path, self._target)
            self._device.crash_point("snapshot.renamed")
            self._device.sync_directory(self._target.parent)
            self._device.crash_point("snapshot.durable")
            return True

    def discard(self) -> None:
        """Remove the file, unless it has its final name."""
        with self._turn:
            if self._over:
                return
            self._over = True
            if self._snapshot is None:
                self._file.close()
            with contextlib.suppress(StoreError):  # Opening the store removes what can't be removed now.
                self._device.remove(self._path)
