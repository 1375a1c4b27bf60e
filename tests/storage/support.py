"""What the storage tests share: short ways to make entries, stores and crashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from raft.core.types import ConfState, Entry, HardState, Index, Snapshot, Term
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.device import no_crash
from raft.storage.files import FileSystem
from raft.storage.record import Identity
from raft.storage.snapshots import sealed
from raft.storage.store import Store

ME = Identity("test", 1)
HERE = Path("/data")
VOTERS = ConfState(voters=(1, 2, 3))


class Crash(Exception):
    """The process ends here."""


def entry(term: Term, index: Index, data: bytes | None = None) -> Entry:
    return Entry(term, index, data=f"{index} in {term}".encode() if data is None else data)


def entries(term: Term, first: Index, last: Index, size: int = 0) -> list[Entry]:
    return [
        entry(term, index, bytes([index % 255 + 1]) * size if size else None)
        for index in range(first, last + 1)
    ]


def snapshot(index: Index, term: Term = 1, data: bytes = b"state") -> Snapshot:
    return sealed(Snapshot(index, term, VOTERS, data))


def open_store(
    files: FileSystem,
    directory: Path = HERE,
    *,
    identity: Identity = ME,
    segment_bytes: int = 16 * 1024,
    crash_point: Callable[[str], None] = no_crash,
    sync: bool = True,
) -> Store:
    return Store.open(
        directory,
        identity=identity,
        files=files,
        segment_bytes=segment_bytes,
        crash_point=crash_point,
        sync=sync,
    )


def log_of(store: Store) -> list[Entry]:
    first, last = store.first_index(), store.last_index()
    return store.entries(first, last + 1, 1 << 60) if last >= first else []


def segments(files: FileSystem, directory: Path = HERE) -> list[Path]:
    return [directory / name for name in files.names(directory) if name.endswith(".wal")]


def snapshots(files: FileSystem, directory: Path = HERE) -> list[Path]:
    return [directory / name for name in files.names(directory) if name.endswith(".snap")]


def filled(last: Index = 10, *, files: SimulatedFiles | None = None, size: int = 0) -> SimulatedFiles:
    """A closed store with a hard state and entries up to last, one write each."""
    files = files or SimulatedFiles()
    store = open_store(files)
    store.save(HardState(1, 1, 0), [], None)
    for each in entries(1, 1, last, size):
        store.save(HardState(1, 1, each.index), [each], None)
    store.close()
    return files
