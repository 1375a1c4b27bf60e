"""Where a cluster's data is, and the cluster's shape recorded there.

Owns the difference between a durable and a throw-away directory, the recorded shape of a durable one, and
its lock. The contents of a node's own directory belong to the node.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
from msgspec import Struct

from actors.processes.private_files import check_private, make_private, replace_file
from raft.cluster import rundir
from raft.cluster.failures import BadUsage, Unreachable, VerbFailed
from raft.cluster.spec import ClusterRecord, ClusterSpec
from raft.node.process.permit import PERMIT, permit_first_start

if TYPE_CHECKING:
    from raft.node.process.restore import NewCluster
    from raft.storage.backup import Backup

VERSION = 2  # Since this one with a checksum.
_SHAPE = "cluster.json"
_PREFIX = "raft-actors-"
_THROW_AWAY = "throw-away"  # A mark: when no launcher holds this directory, it may be removed.


class Shape(Struct, frozen=True, kw_only=True):
    """What must not change between two starts on the same data."""

    v: int = VERSION
    cluster: str
    nodes: int  # The initial number of nodes: ids 1 to that.
    machine: str | None = None
    changed_members: list[int] | None = None  # The present members, once they differ from the first ones.
    last_id: int = 0  # The highest id ever assigned; no id is assigned twice.
    checksum: int = 0  # CRC-32 of the other fields, so that a change by the disk is detected.

    @property
    def members(self) -> list[int]:
        """The ids of the present nodes."""
        return list(range(1, self.nodes + 1)) if self.changed_members is None else self.changed_members


class DataDirectory:
    """A cluster's data; held by one launcher at a time."""

    def __init__(self, path: Path, shape: Shape, lock_fd: int, *, durable: bool, keep: bool) -> None:
        self.path = path
        self.cluster = shape.cluster
        self._shape = shape
        self.durable = durable
        self.keep = keep or durable
        self.lock_fd = lock_fd

    @property
    def members(self) -> list[int]:
        """The ids of the nodes that this data belongs to."""
        return self._shape.members

    @property
    def machine(self) -> str | None:
        """The custom machine that its nodes run."""
        return self._shape.machine

    def reserve_id(self) -> int:
        """A new id that no node has ever had. Durable on return."""
        node = max(self._shape.last_id, self._shape.nodes) + 1
        self._change(msgspec.structs.replace(self._shape, last_id=node))
        permit_first_start(self.of_node(node))
        return node

    def change_members(self, members: list[int]) -> None:
        """Record the nodes that a later start brings back. Durable on return."""
        if members != self.members:
            self._change(msgspec.structs.replace(self._shape, changed_members=members))

    def joins(self, node: int) -> bool:
        """Does this node, while its data is empty, learn the cluster from its leader?

        The first nodes are configured with the members, but only for the first start.
        """
        return node > self._shape.nodes or self._shape.changed_members is not None

    def _change(self, shape: Shape) -> None:
        _write_shape(self.path, shape)
        self._shape = shape

    def of_node(self, node: int) -> Path:
        """A node's own directory."""
        return self.path / f"n{node}"

    @property
    def logs(self) -> Path:
        """The directory of the nodes' logs and the cluster's events."""
        return self.path / "logs"

    def close(self) -> None:
        """Release the directory. A throw-away one is removed."""
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock_fd)


def open_data(spec: ClusterSpec) -> DataDirectory:
    """The data directory for `spec`, created if necessary, and locked.

    Raises BadUsage for data of another shape or other contents, VerbFailed if it is in use or cannot be
    created. Existing data is not changed before all of this is checked.
    """
    try:
        if spec.data_dir is None:
            rundir.check_is_text(tempfile.gettempdir(), "set TMPDIR to another directory, or use --data-dir")
            return _throw_away(spec)
        path = Path(spec.data_dir).absolute()
        rundir.check_is_text(path, "choose another --data-dir")
        return _durable(path, spec)
    except OSError as error:
        where = spec.data_dir or tempfile.gettempdir()
        raise VerbFailed(f"data cannot be kept in {where}: {error.strerror}") from error


def restored_data(path: Path, backup: Backup, new: NewCluster, machine: str | None, now: float) -> None:
    """Create a durable directory whose nodes begin with a backup: `up` continues from it.

    Raises BadUsage or VerbFailed for a directory that is not new, and the errors of `restore`.
    """
    from raft.node.process.restore import restore  # Here, so that starting a cluster does not load it.

    path = path.absolute()
    rundir.check_is_text(path, "choose another --data-dir")
    make_private(path)
    check_private(path)
    lock_fd = _lock(path)
    try:
        if _read_shape(path) is not None:
            raise BadUsage(f"{path} holds a cluster's data: choose a new directory")
        name = f"restored-{uuid.uuid4().hex[:12]}"
        shape = Shape(cluster=name, nodes=len(new.members), machine=machine)
        for node in new.members:
            restore(backup, path / f"n{node}", new, cluster=name, node=node, now=now)
        _write_shape(path, shape)  # Last: without it, this is not a cluster's data.
    finally:
        os.close(lock_fd)


@contextlib.contextmanager
def held_data(path: Path) -> Iterator[DataDirectory]:
    """A cluster's durable directory, locked against launchers. Raises BadUsage or VerbFailed."""
    path = path.absolute()
    lock_fd = _lock(path)
    try:
        shape = _read_shape(path)
        if shape is None:
            raise BadUsage(f"{path} is empty")
        yield DataDirectory(path, shape, lock_fd, durable=True, keep=True)
    finally:
        os.close(lock_fd)


def is_data_of_a_cluster(path: Path) -> bool:
    """Was that directory created by a launcher?"""
    return (path / _SHAPE).exists()


def clear_abandoned() -> None:
    """Remove throw-away data whose launcher was killed together with its fork server."""
    for directory in rundir.abandoned():
        with contextlib.suppress(Unreachable):
            _remove_abandoned(Path(ClusterRecord.read(directory.record).data_dir))
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError, VerbFailed):
        if not (path / _THROW_AWAY).exists() or path.stat().st_uid != os.getuid():
            return
        lock_fd = _lock(path)
        try:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock_fd)


def _throw_away(spec: ClusterSpec) -> DataDirectory:
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{spec.name}-"))
    lock_fd = _lock(path)  # Before the mark, by which other launchers would take it for abandoned.
    if not spec.keep:
        (path / _THROW_AWAY).touch(mode=0o600)
    shape = _new_shape(spec)
    _begin(path, shape)
    (path / "logs").mkdir(mode=0o700)
    return DataDirectory(path, shape, lock_fd, durable=False, keep=spec.keep)


def _durable(path: Path, spec: ClusterSpec) -> DataDirectory:
    make_private(path)
    check_private(path)
    lock_fd = _lock(path)
    try:
        shape = _read_shape(path)
        if shape is None:
            shape = _new_shape(spec)
            _begin(path, shape)
        _check_shape(path, shape, spec)
        (path / "logs").mkdir(mode=0o700, exist_ok=True)
    except BaseException:
        os.close(lock_fd)
        raise
    return DataDirectory(path, shape, lock_fd, durable=True, keep=True)


def _begin(path: Path, shape: Shape) -> None:
    """Allow the nodes of a new cluster to begin with empty data, each of them once."""
    for node in shape.members:
        permit_first_start(path / f"n{node}")
    _write_shape(path, shape)


def _new_shape(spec: ClusterSpec) -> Shape:
    return Shape(cluster=f"{spec.name}-{uuid.uuid4().hex[:12]}", nodes=spec.nodes, machine=spec.machine)


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise VerbFailed(f"the data in {path} is in use by another running cluster") from None
    return fd


def _read_shape(path: Path) -> Shape | None:
    """The recorded shape; None for an empty directory. Raises BadUsage for any other contents."""
    try:
        raw = (path / _SHAPE).read_bytes()
    except FileNotFoundError:
        if not all(map(_was_only_begun, path.iterdir())):
            raise BadUsage(
                f"{path} holds something other than a cluster's data: choose an empty directory"
            ) from None
        return None
    try:
        shape = msgspec.json.decode(raw, type=Shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadUsage(f"{path / _SHAPE} does not describe a cluster's data: {error}") from error
    if shape.v > VERSION:
        raise BadUsage(f"the data in {path} was written by a newer version of this program")
    if shape.v != 1 and shape.checksum != _checksum(shape):
        raise BadUsage(
            f"{path / _SHAPE} is damaged: its checksum is wrong. Restore it from a copy, or correct it, "
            "with 1 as its v and without the checksum"
        )
    return msgspec.structs.replace(shape, v=VERSION)


def _was_only_begun(path: Path) -> bool:
    """Did an interrupted start leave it: a node's directory with nothing in it but the permit to begin?"""
    if path.name == f"{_SHAPE}.new":
        return True
    return (
        re.fullmatch(r"n[0-9]+", path.name) is not None
        and path.is_dir()
        and all(inside.name.startswith(PERMIT) and not inside.stat().st_size for inside in path.iterdir())
    )


def _checksum(shape: Shape) -> int:
    return crc32(msgspec.json.encode(msgspec.structs.replace(shape, checksum=0)))


def _check_shape(path: Path, shape: Shape, spec: ClusterSpec) -> None:
    count = len(shape.members)
    if count != spec.nodes:
        raise BadUsage(
            f"the data in {path} is that of {count} nodes, not {spec.nodes}: "
            f"start it with --nodes {count}, or choose another --data-dir"
        )
    if shape.machine != spec.machine:
        raise BadUsage(
            f"the data in {path} belongs to the machine {shape.machine or 'built in'}, "
            f"not {spec.machine or 'built in'}, which cannot read its log"
        )


def _write_shape(path: Path, shape: Shape) -> None:
    """Atomically and durably."""
    shape = msgspec.structs.replace(shape, checksum=_checksum(shape))
    replace_file(path / _SHAPE, msgspec.json.format(msgspec.json.encode(shape), indent=2) + b"\n")
