"""Out of descriptors or memory: not now, as a full disk is, and never a failed device."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raft.core.types import HardState, Snapshot
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.errors import StoreFailed, StoreFull
from raft.storage.files import DESCRIPTORS_RESERVED, RealFiles
from raft.storage.snapshots import sealed
from tests.storage.support import VOTERS, entries, filled, log_of, open_store, segments, snapshot

USED_UP = [errno.EMFILE, errno.ENFILE, errno.ENOMEM]


class Scarce(SimulatedFiles):
    """Raises an error from the operations that are named, instead of what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.errno = 0
        self.operations: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "__dict__").get("operations", ()):

            def refuse(*_: object) -> None:
                raise OSError(self.errno, os.strerror(self.errno))

            return refuse
        return super().__getattribute__(name)


@pytest.mark.parametrize("number", USED_UP)
@pytest.mark.parametrize("operation", ["create", "rename"])
def test_a_segment_that_cannot_be_made_now_is_made_later(number: int, operation: str) -> None:
    files = Scarce()
    filled(10, files=files)
    store = open_store(files)
    files.errno, files.operations = number, {operation}
    large = entries(1, 11, 20, 2000)
    for _ in range(2):
        with pytest.raises(StoreFull, match=r"has to wait: .*ulimit -n"):
            store.save(HardState(1, 1, 10), large, None)
    store.save(HardState(1, 1, 10), entries(1, 11, 11), None)
    files.operations = set()
    store.save(HardState(1, 1, 11), entries(1, 12, 20, 2000), None)
    store.close()
    assert log_of(open_store(files))[-1].index == 20


@pytest.mark.parametrize("number", USED_UP)
def test_a_snapshot_that_cannot_be_written_now_is_written_later(number: int) -> None:
    files = Scarce()
    filled(10, files=files)
    store = open_store(files)
    files.errno, files.operations = number, {"create"}
    with pytest.raises(StoreFull):
        store.save_snapshot(snapshot(5))
    with pytest.raises(StoreFull):
        store.draft(snapshot(20), 5)
    files.operations = {"contents"}
    whole = sealed(Snapshot(20, 2, VOTERS, b"12345"))
    draft = store.draft(Snapshot(20, 2, VOTERS, checksum=whole.checksum), 5)
    draft.add(b"12345")
    with pytest.raises(StoreFull):
        draft.finish()
    draft.discard()
    files.operations = set()
    store.save_snapshot(snapshot(5))
    store.save(HardState(2, 0, 20), [], whole)


@pytest.mark.parametrize("operation", ["names", "remove"])
def test_a_durable_write_stands_although_old_files_cannot_be_removed(operation: str) -> None:
    files = Scarce()
    filled(300, files=files, size=200)
    store = open_store(files)
    store.save_snapshot(snapshot(100))
    files.errno, files.operations = errno.EMFILE, {operation}
    store.save_snapshot(snapshot(200))
    store.save(HardState(2, 0, 400), [], snapshot(400, 2))
    files.operations = set()
    store.save(HardState(2, 0, 400), entries(2, 401, 401), None)
    store.close()
    again = open_store(files)
    assert (again.snapshot().index, again.last_index()) == (400, 401)


def test_a_failed_read_or_rename_for_any_other_reason_is_final() -> None:
    files = Scarce()
    filled(10, files=files)
    store = open_store(files)
    files.errno, files.operations = errno.EIO, {"create"}
    with pytest.raises(StoreFailed):
        store.save_snapshot(snapshot(5))
    files.operations = set()
    with pytest.raises(StoreFailed):
        store.save_snapshot(snapshot(5))


# -- the reserve ------------------------------------------------------------------------------------


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    """All below the limit are in use."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, limits[1]))
    taken: list[int] = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_log_and_snapshots_work_when_no_descriptors_are_left(tmp_path: Path) -> None:
    files = RealFiles()
    store = open_store(files, tmp_path)
    with no_free_descriptor():
        for each in entries(1, 1, 400, 200):
            store.save(HardState(1, 1, each.index), [each], None)
        store.save_snapshot(snapshot(300))
        store.compact(300)
        whole = sealed(Snapshot(500, 2, VOTERS, b"12345"))
        draft = store.draft(Snapshot(500, 2, VOTERS, checksum=whole.checksum), 5)
        draft.add(b"12345")
        store.save(HardState(2, 0, 500), [], draft.finish())
    store.close()
    again = open_store(RealFiles(), tmp_path)
    assert again.snapshot() == whole
    assert len(segments(RealFiles(), tmp_path)) >= 1
    again.close()


def test_the_reserve_is_filled_again_when_there_are_descriptors_and_ends_with_the_lock(
    tmp_path: Path,
) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    files = RealFiles()
    lock = files.lock_directory(tmp_path)
    assert files.descriptors_held == DESCRIPTORS_RESERVED
    with no_free_descriptor():
        opened = [files.create(tmp_path / str(number)) for number in range(DESCRIPTORS_RESERVED)]
        with pytest.raises(OSError, match="Too many open files"):
            files.create(tmp_path / "one too many")
    for file in opened:
        file.close()
    assert files.descriptors_held == DESCRIPTORS_RESERVED
    lock.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
