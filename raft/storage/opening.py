"""Opening a data directory: its owner, its contents, and whether they are consistent.

Owns the checks between log and snapshots, and the tidying up of what a crash left. Knows nothing of how
either is laid out.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import msgspec

from raft.core.types import NO_NODE, Entry, HardState, Index, Snapshot
from raft.storage.device import TEMPORARY_SUFFIX, Device
from raft.storage.errors import (
    CorruptLog,
    DirectoryInUse,
    DirectoryUnusable,
    ForeignDirectory,
    LogMissing,
)
from raft.storage.files import DirectoryLock, FileSystem
from raft.storage.record import Identity
from raft.storage.recovery import Recovered, recover, sequences_in
from raft.storage.replay import Replay
from raft.storage.snapshots import index_of, purge_snapshots, read_snapshot
from raft.storage.wal import Log


class Recovery(msgspec.Struct, frozen=True):
    """What opening a store found. `fresh`: there was no log, so this node has never run here.

    `cut_bytes` of an unfinished last write were cut off, for the reason in `cut`; they were never
    acknowledged. `passed_over` names a damaged snapshot that an older one and the log made up for.
    """

    fresh: bool
    entries: int
    last_index: Index
    snapshot_index: Index
    segments: int
    cut_bytes: int
    cut: str | None
    passed_over: str | None
    duration_seconds: float


class Opened(NamedTuple):
    """A directory that is ready for use."""

    log: Log
    hard_state: HardState
    snapshot: Snapshot | None
    entries: list[Entry]  # those after the snapshot
    fresh: bool
    cut_bytes: int
    cut: str | None
    passed_over: str | None

    def report(self, duration_seconds: float) -> Recovery:
        """A summary for the log."""
        snapshot_index = 0 if self.snapshot is None else self.snapshot.index
        return Recovery(
            fresh=self.fresh,
            entries=len(self.entries),
            last_index=snapshot_index + len(self.entries),
            snapshot_index=snapshot_index,
            segments=self.log.segments,
            cut_bytes=self.cut_bytes,
            cut=self.cut,
            passed_over=self.passed_over,
            duration_seconds=duration_seconds,
        )


def lock_directory(device: Device, directory: Path) -> DirectoryLock:
    """Make the directory if there is none, and lock it. Raises DirectoryInUse or DirectoryUnusable."""
    try:
        device.files.make_directory(directory)
        return device.files.lock_directory(directory)
    except BlockingIOError:
        raise DirectoryInUse(
            f"{directory} is in use by another process: stop that node, or give this one its own directory"
        ) from None
    except OSError as error:
        raise _unusable(directory, error) from error


def open_directory(
    device: Device,
    directory: Path,
    identity: Identity,
    *,
    segment_bytes: int,
    create: bool = True,
    beside: Collection[str] = (),
) -> Opened:
    """Recover a locked directory, or start an empty one if that is allowed.

    Changes nothing before it knows that the directory is this node's.
    """
    try:
        sequences = sequences_in(directory, device.files)
        if sequences:
            found = recover(directory, sequences, identity, device.files)
            return _reopen(device, directory, identity, found, segment_bytes)
        _check_empty(directory, device.files, beside)
        if not create:
            raise LogMissing(
                f"{directory} holds no log, and {identity} has no permission for a first start. If it "
                f"has run before, all that it acknowledged is lost with the log: restore the directory, or "
                f"remove the node from the cluster and add another one"
            )
        _remove_temporaries(device, directory)
        log = Log.create(device, directory, identity, segment_bytes=segment_bytes)
    except OSError as error:
        raise _unusable(directory, error) from error
    return Opened(log, HardState(), None, [], True, 0, None, None)


def _reopen(
    device: Device, directory: Path, identity: Identity, found: Recovered, segment_bytes: int
) -> Opened:
    replay = found.replay
    snapshot, passed_over = _choose_snapshot(device.files, directory, replay)
    hard_state, entries = _fit_together(found, snapshot)
    _remove_temporaries(device, directory)
    log = Log.reopen(device, directory, identity, found, segment_bytes=segment_bytes)
    base = 0 if snapshot is None else snapshot.index
    log.restore(hard_state, [marker for marker in replay.markers if marker.index <= base])
    purge_snapshots(device, directory, [marker.index for marker in log.markers])
    cut = found.torn
    cut_bytes = 0 if cut is None else found.used - found.tail.end
    return Opened(log, hard_state, snapshot, entries, False, cut_bytes, cut and cut.reason, passed_over)


def _choose_snapshot(
    files: FileSystem, directory: Path, replay: Replay
) -> tuple[Snapshot | None, str | None]:
    """The newest valid snapshot of those that the log names, and why a newer one was passed over."""
    damage: CorruptLog | None = None  # of the newest
    for marker in reversed(replay.markers):
        if damage is not None and (replay.first is None or replay.first > marker.index + 1):
            break
        try:
            snapshot = read_snapshot(files, directory, marker)
        except CorruptLog as error:
            damage = damage or error
        else:
            return snapshot, None if damage is None else f"{damage.path.name}: {damage.reason}"
    if damage is not None:
        raise damage
    return None, None


def _fit_together(found: Recovered, snapshot: Snapshot | None) -> tuple[HardState, list[Entry]]:
    """The hard state and the entries after the snapshot. Raises CorruptLog when something is missing."""
    replay, path = found.replay, found.last.path
    base = 0 if snapshot is None else snapshot.index
    first = base + 1 if replay.first is None else replay.first
    if first > base + 1:
        raise CorruptLog(
            path, 0, f"the log begins at entry {first} and the snapshot before it ends at {base}"
        )
    if snapshot is None and replay.first is None:
        raise CorruptLog(
            path, 0, "the segments before it are missing, and there is no snapshot to stand in for them"
        )
    if replay.first is None and found.before > base:
        raise CorruptLog(
            path, 0, f"entries {base + 1} to {found.before} are missing with the segments before it"
        )
    entries = replay.entries[base + 1 - first :]
    state = replay.hard_state
    last = base + len(entries)
    if state.commit > last:
        raise CorruptLog(
            path, found.tail.end, f"entries up to {state.commit} were committed and the log ends at {last}"
        )
    if snapshot is not None:
        # A snapshot's state is committed and its term was reached, even if the hard state doesn't record it.
        term = max(state.term, snapshot.term)
        vote = state.vote if term == state.term else NO_NODE
        state = HardState(term=term, vote=vote, commit=max(state.commit, base))
    return state, entries


def _check_empty(directory: Path, files: FileSystem, beside: Collection[str]) -> None:
    ignored = {"lost+found", *beside}
    names = [name for name in files.names(directory) if not name.startswith(".") and name not in ignored]
    snapshots = [name for name in names if index_of(name) is not None]
    if snapshots:
        raise CorruptLog(
            directory / snapshots[0], 0, "there are snapshots, but the log that names them is gone"
        )
    foreign = [name for name in names if not name.endswith(TEMPORARY_SUFFIX)]
    if foreign:
        raise ForeignDirectory(
            f"{directory} holds something else ({', '.join(foreign[:3])}) and no log: "
            f"give this node an empty directory"
        )


def _remove_temporaries(device: Device, directory: Path) -> None:
    for name in device.files.names(directory):
        if name.endswith(TEMPORARY_SUFFIX):
            device.remove(directory / name)


def _unusable(directory: Path, error: OSError) -> DirectoryUnusable:
    return DirectoryUnusable(
        f"{directory} can't be used: {error.strerror}. Check its owner, its mode and its device."
    )
