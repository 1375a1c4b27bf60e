"""Backup files: the state of a whole cluster at one index, in a file that can be checked by itself.

Owns the layout, the writing piece by piece, and the verdict on a file. Knows nothing of how a node is asked
for its state, or of what becomes of a file: see raft.node.process.restore.

    24 bytes     magic, format, length of the description, length of the image
    description  a map, so that any version can read what another one says of a file
    image        a snapshot file as a node keeps it, under the checksum with which the snapshot was taken
    32 bytes     SHA-256 of all of that

The file has its name only when it is whole and durable.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec

from raft.core.types import Index, NodeId, Snapshot, Term
from raft.storage.errors import (
    BackupDamaged,
    BackupExists,
    BackupUnusable,
    CorruptLog,
    NewerFormat,
    StoreFull,
)
from raft.storage.files import RealFiles
from raft.storage.snapshots import parse_snapshot

BACKUP_FORMAT = 1
DRAFT_SUFFIX = ".partial"

_MAGIC = b"\xf1RBKUP\r\n"
_HEADER = struct.Struct("<8sIIQ")
_DESCRIPTION_BYTES_MAX = 1024 * 1024
_CHUNK_BYTES = 1 << 20
_DIGEST_BYTES = 32
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP}  # Of file systems that have none.
_FULL = {errno.ENOSPC, errno.EDQUOT}


class BackupHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. `saved_at` is for people; seconds since the epoch, by who saved it."""

    cluster: str  # The name that its nodes were started with.
    identity: str  # The one that the cluster has drawn.
    index: Index
    term: Term
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...] = ()
    endpoints: dict[NodeId, str] = {}
    machine_version: int = 1  # On which the members had agreed.
    saved_at: float = 0.0
    release: str = ""  # Of this software.


class Backup(msgspec.Struct, frozen=True):
    """A backup that was found to be whole; the data of its snapshot are read from the file when used."""

    path: Path
    head: BackupHead
    snapshot: Snapshot
    size_bytes: int  # Of the file.
    digest: str


class BackupWriter:
    """One file in the making: `begin`, then `add` until all is there, then `finish`; or else `discard`.

    `begin` may be called again, and forgets what was added. Raises BackupExists, BackupUnusable, StoreFull.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.exists() and not overwrite:
            raise BackupExists(f"{path} exists: choose another name, or replace it with --force")
        self._path = path
        self._draft = path.with_name(path.name + DRAFT_SUFFIX)
        self._overwrite = overwrite
        self._digest = sha256()
        self._missing = 0
        try:
            self._file: IO[bytes] = open(self._draft, "ab", opener=_open_private)  # noqa: SIM115
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise BackupExists(f"another process is writing a backup to {path}") from None
        except OSError as error:
            raise self._verdict(error) from error

    def begin(self, head: BackupHead, size: int) -> None:
        """A snapshot whose image is so long comes next."""
        description = msgspec.msgpack.encode(head)
        self._digest = sha256()
        self._missing = size
        try:
            self._file.truncate(0)
        except OSError as error:
            raise self._verdict(error) from error
        self._write(_HEADER.pack(_MAGIC, BACKUP_FORMAT, len(description), size) + description)

    def add(self, piece: bytes) -> None:
        """The next piece of the image."""
        self._missing -= len(piece)
        self._write(piece)

    def finish(self) -> Backup:
        """Give the file its name, durably, if it is sound; else BackupDamaged, and there is none."""
        assert self._missing == 0, f"{self._missing} bytes of the image are missing"
        try:
            self._file.write(self._digest.digest())
            self._file.flush()
            os.fsync(self._file.fileno())
            found = read_backup(self._draft)  # What came is what was taken, and the disk has it.
            self._publish()
            self._file.close()
            RealFiles().sync_directory(self._path.parent)
        except FileExistsError:
            self.discard()
            raise BackupExists(f"{self._path} was made meanwhile, and is left as it is") from None
        except BackupDamaged:
            self.discard()
            raise
        except OSError as error:
            raise self._verdict(error) from error
        return msgspec.structs.replace(found, path=self._path)

    def discard(self) -> None:
        """Leave no file behind. Idempotent."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)

    def _publish(self) -> None:
        if not self._overwrite:
            try:
                os.link(self._draft, self._path)  # Unlike a rename it replaces nothing.
            except OSError as error:
                if error.errno not in _NO_LINKS or self._path.exists():
                    raise
            else:
                self._draft.unlink()
                return
        self._draft.replace(self._path)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise self._verdict(error) from error

    def _verdict(self, error: OSError) -> StoreFull | BackupUnusable:
        if hasattr(self, "_file"):
            self.discard()
        text = f"{self._path} cannot be written: {error.strerror}"
        return StoreFull(f"{text}. Make room") if error.errno in _FULL else BackupUnusable(text)


def read_backup(path: Path) -> Backup:
    """All that a file holds, every byte of it checked.

    Raises BackupUnusable for what is no backup or cannot be read, NewerFormat, BackupDamaged.
    """
    raw = _contents(path)
    if len(raw) < _HEADER.size or raw[: len(_MAGIC)] != _MAGIC:
        if len(raw) and _MAGIC.startswith(bytes(raw[: len(_MAGIC)])):
            raise BackupDamaged(path, f"it ends after {len(raw)} bytes")
        raise BackupUnusable(f"{path} is no backup of raft-actors")
    _, written_as, description_bytes, image_bytes = _HEADER.unpack_from(raw)
    if written_as > BACKUP_FORMAT:
        raise NewerFormat(
            f"{path} was written in format {written_as}, and this version reads up to format "
            f"{BACKUP_FORMAT}: use the version that wrote it, or a newer one"
        )
    expected = _HEADER.size + description_bytes + image_bytes + _DIGEST_BYTES
    if len(raw) != expected or description_bytes > _DESCRIPTION_BYTES_MAX:
        raise BackupDamaged(path, f"it has {len(raw)} bytes, and says that it has {expected}")
    digest = _digest_of(raw[:-_DIGEST_BYTES])
    if digest != raw[-_DIGEST_BYTES:]:
        raise BackupDamaged(path, "its SHA-256 is wrong")
    at = _HEADER.size + description_bytes
    try:
        head = msgspec.msgpack.decode(raw[_HEADER.size : at], type=BackupHead)
    except msgspec.DecodeError as error:
        raise BackupDamaged(path, f"what it says of itself makes no sense: {error}") from None
    try:
        snapshot = parse_snapshot(raw[at : at + image_bytes], path)
    except CorruptLog as error:
        raise BackupDamaged(path, error.reason) from None
    if (snapshot.index, snapshot.term) != (head.index, head.term):
        raise BackupDamaged(path, f"it holds the state at {snapshot.index}, and says that of {head.index}")
    return Backup(path, head, snapshot, len(raw), digest.hex())


def _contents(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BackupUnusable(f"{path} cannot be read: {reason}") from error


def _digest_of(raw: memoryview) -> bytes:
    digest = sha256()
    for at in range(0, len(raw), _CHUNK_BYTES):
        digest.update(raw[at : at + _CHUNK_BYTES])
    return digest.digest()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
