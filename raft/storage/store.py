"""What a node keeps: the log, hard state and snapshots of one data directory, on disk and in memory.

Owns the directory: its lock, its opening and recovery, and the order between disk and memory. Reads are
served from memory. Knows nothing of the layout of segments and snapshot files.

Disk and memory are separate calls, because a disk blocks:

    on disk, from any thread                  write, draft, check_room, write_snapshot, release
    in memory, from the thread of the reads   accept, accept_snapshot, accept_compaction, distrust
    both                                      save, save_snapshot, compact
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from raft.core.types import ConfState, Entry, HardState, Index, Snapshot, Term
from raft.storage.device import CrashPoint, Device, no_crash
from raft.storage.drafts import Draft
from raft.storage.errors import StoreFull
from raft.storage.files import DirectoryLock, FileSystem, RealFiles
from raft.storage.memory import MemoryStorage
from raft.storage.opening import Opened, Recovery, lock_directory, open_directory
from raft.storage.record import Identity, Marker
from raft.storage.snapshots import no_rest, purge_snapshots, write_snapshot

SEGMENT_BYTES = 4 * 1024 * 1024


class Store:
    """The durable storage of one node, and the core's `Storage`.

    After StoreFailed every call that touches the disk raises it again: what the device holds is not known.
    `recovery` describes what opening found.
    """

    def __init__(
        self, device: Device, directory: Path, lock: DirectoryLock, opened: Opened, recovery: Recovery
    ) -> None:
        self.device = device
        self._directory = directory
        self._lock = lock
        self._log = opened.log
        self._log_turn = threading.Lock()
        self.memory = MemoryStorage()
        self._draft: Draft | None = None
        self._replaced: list[Entry] = []
        self._distrusted: Index = 0  # A snapshot whose copy here is damaged.
        if opened.snapshot is not None:
            self.memory.apply_snapshot(opened.snapshot)
        self.memory.set_hard_state(opened.hard_state)
        self.memory.append(opened.entries)
        self.recovery = recovery

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        identity: Identity,
        sync: bool = True,
        files: FileSystem | None = None,
        create: bool = True,
        beside: Collection[str] = (),
        segment_bytes: int = SEGMENT_BYTES,
        crash_point: CrashPoint = no_crash,
        now: Callable[[], float] = time.perf_counter,
    ) -> Store:
        """Lock the directory, create it if missing, and recover its contents.

        Without `create` a directory without a log is refused; files named in `beside` may be in it anyway.
        With sync off (`ephemeral`) what was saved survives the process, but not a power cut.

        Raises LogMissing, DirectoryInUse, DirectoryUnusable, ForeignDirectory, NewerFormat, CorruptLog,
        StoreFull, StoreFailed.
        """
        start = now()
        device = Device(files or RealFiles(), sync=sync, crash_point=crash_point)
        lock = lock_directory(device, data_dir)
        with contextlib.ExitStack() as unless_opened:
            unless_opened.callback(lock.close)
            opened = open_directory(
                device, data_dir, identity, segment_bytes=segment_bytes, create=create, beside=beside
            )
            unless_opened.pop_all()
        return cls(device, data_dir, lock, opened, opened.report(now() - start))

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """`write`, then `accept`."""
        self.write(hard_state, entries, snapshot)
        self.accept(hard_state, entries, snapshot)

    def write(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        """Make all of it durable, as a whole or not at all; a power cut after the return loses none of it.

        Entries stored earlier from entries[0].index on are replaced; a snapshot, which is one that the
        leader sent, replaces the whole log. A hard state alone that only moves the commit index waits for
        the next write, because no acknowledgement depends on it. Raises StoreFull, and then nothing counts
        and a later try may succeed, or StoreFailed, which is final.
        """
        marker = None
        if snapshot is not None:
            if self._draft is None or not self._draft.publish(snapshot):
                write_snapshot(self.device, self._directory, snapshot)
            marker = Marker(snapshot.index, snapshot.term, installed=True)
        with self._log_turn:
            self._log.append(hard_state, entries, marker)
            if snapshot is not None:
                self.device.crash_point("snapshot.marked")
                self._forget_before(snapshot.index)

    def draft(self, head: Snapshot, size: int) -> Draft:
        """Begin to receive a snapshot of the leader, whose data arrive in chunks; from any thread.

        The draft before is discarded, unless it was written as a whole. Raises StoreFull or StoreFailed.
        """
        if self._draft is not None:
            self._draft.discard()
        self._draft = Draft(self.device, self._directory, head, size)
        return self._draft

    def check_room(self) -> None:
        """Raise StoreFull if a small `write` would now; nothing changes."""
        with self._log_turn:
            self._log.check_room()

    def accept(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        """Show readers what `write` made durable."""
        if snapshot is not None:
            self._replaced += self.memory.apply_snapshot(snapshot)
        if entries:
            self.memory.append(entries)
        if hard_state is not None:
            self.memory.set_hard_state(hard_state)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """`write_snapshot`, then `accept_snapshot`."""
        self.write_snapshot(snapshot)
        self.accept_snapshot(snapshot)

    def write_snapshot(self, snapshot: Snapshot, rest: Callable[[], None] = no_rest) -> None:
        """Make a snapshot of this node's own state durable; the last two are kept. It rests after each step.

        The file is written beside the log: `write` may go on meanwhile on another thread. A snapshot that
        is not newer than the newest is left out, unless that is distrusted: one of the same index then
        replaces its file. Raises StoreFull or SnapshotDamaged, and then nothing changed, or StoreFailed.
        """
        if self._is_outdated(snapshot):
            return
        write_snapshot(self.device, self._directory, snapshot, rest)
        with self._log_turn:
            if not self._is_outdated(snapshot):  # Unless a snapshot of the leader was installed meanwhile.
                self._log.append(None, (), Marker(snapshot.index, snapshot.term))
                self.device.crash_point("snapshot.marked")
            self._purge()

    def accept_snapshot(self, snapshot: Snapshot) -> None:
        """Show readers what `write_snapshot` made durable."""
        newest = self.memory.snapshot().index
        if snapshot.index > newest:
            self.memory.create_snapshot(snapshot.index, snapshot.conf_state, snapshot.data, snapshot.checksum)
        elif snapshot.index == newest == self._distrusted:
            self.memory.repair_snapshot(snapshot)
            self._distrusted = 0

    def distrust(self, index: Index) -> None:
        """The newest snapshot is damaged if that is its index: let one of the same index replace it."""
        self._distrusted = index

    def compact(self, index: Index) -> None:
        """Forget the entries up to index, which a snapshot has to cover, in memory and on disk."""
        self.accept_compaction(index)
        self.release(index)

    def accept_compaction(self, index: Index) -> None:
        """Forget the entries up to index in memory. What is forgotten already stays so."""
        newest = self.memory.snapshot().index
        assert index <= newest, f"entries up to {index} can't go: the newest snapshot is at {newest}"
        if index >= self.memory.first_index():
            self.memory.compact(index)

    @property
    def unswept(self) -> int:
        """How many entries an installed snapshot has replaced that `sweep` has not freed yet."""
        return len(self._replaced)

    def sweep(self) -> None:
        """Free the entries that an installed snapshot has replaced, from any thread; all others can run."""
        while self._replaced:  # One by one, for to free them all is one long step.
            self._replaced.pop()

    def release(self, index: Index) -> int:
        """Drop segments needed neither for entries above index nor for a kept snapshot; returns how many."""
        with self._log_turn:
            return self._log.release(index)

    def close(self) -> None:
        """Close the files and release the lock; no calls after that."""
        with self._log_turn:
            self._log.close()
        self._lock.close()

    @property
    def size_bytes(self) -> int:
        """The total size of the entries in memory."""
        return self.memory.size_bytes

    def initial_state(self) -> tuple[HardState, ConfState]:
        """The hard state, and the configuration as of the newest snapshot."""
        return self.memory.initial_state()

    def entries(self, lo: Index, hi: Index, max_bytes: int) -> list[Entry]:
        """Entries in [lo, hi), at least one, as many as max_bytes allow. Raises Compacted, Unavailable."""
        return self.memory.entries(lo, hi, max_bytes)

    def term(self, index: Index) -> Term:
        """The term of the entry at index. Raises Compacted, Unavailable."""
        return self.memory.term(index)

    def first_index(self) -> Index:
        """The first index that `entries` may be asked for."""
        return self.memory.first_index()

    def last_index(self) -> Index:
        """The index of the last entry."""
        return self.memory.last_index()

    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        return self.memory.snapshot()

    def _is_outdated(self, snapshot: Snapshot) -> bool:
        markers = self._log.markers
        if not markers or snapshot.index > markers[-1].index:
            return False
        return not snapshot.index == markers[-1].index == self._distrusted

    def _purge(self) -> None:
        # Another thread may be about to name a newer one.
        kept = [marker.index for marker in self._log.markers]
        with contextlib.suppress(StoreFull):  # The write stands; surplus files are removed the next time.
            purge_snapshots(self.device, self._directory, kept, up_to=kept[-1])
        self.device.crash_point("snapshot.purged")

    def _forget_before(self, index: Index) -> None:
        self._purge()
        with contextlib.suppress(StoreFull):
            self._log.release(index)
