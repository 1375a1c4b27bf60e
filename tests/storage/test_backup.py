"""Backup files: whole or refused, byte by byte."""

from __future__ import annotations

import struct
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from raft.core.types import ConfState, Snapshot
from raft.storage.backup import DRAFT_SUFFIX, Backup, BackupHead, BackupWriter, read_backup
from raft.storage.errors import (
    BackupDamaged,
    BackupExists,
    BackupUnusable,
    NewerFormat,
    StoreFull,
)
from raft.storage.snapshots import encode_head, sealed

HEAD = BackupHead(
    cluster="default", identity="ab12", index=9, term=3, voters=(1, 2), endpoints={1: "ipc:///n1"}
)
SNAPSHOT = sealed(Snapshot(9, 3, ConfState(voters=(1, 2)), bytes(range(256)) * 2))


def image_of(snapshot: Snapshot) -> bytes:
    header, description = encode_head(snapshot, len(snapshot.data), snapshot.checksum or 0)
    return header + description + bytes(snapshot.data)


def write(path: Path, image: bytes | None = None, *, overwrite: bool = False) -> Backup:
    image = image_of(SNAPSHOT) if image is None else image
    writer = BackupWriter(path, overwrite=overwrite)
    writer.begin(HEAD, len(image))
    for at in range(0, len(image), 100):
        writer.add(image[at : at + 100])
    return writer.finish()


def test_a_written_backup_is_read_back_with_its_description(tmp_path: Path) -> None:
    written = write(tmp_path / "b")
    found = read_backup(tmp_path / "b")
    assert found.head == HEAD
    assert bytes(found.snapshot.data) == SNAPSHOT.data
    assert found.snapshot.checksum == SNAPSHOT.checksum
    assert found.digest == written.digest
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_that_is_torn_at_any_byte_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "torn").write_bytes(whole[:length])
        with pytest.raises((BackupDamaged, BackupUnusable)):
            read_backup(tmp_path / "torn")
    (tmp_path / "torn").write_bytes(whole + b"\0")
    with pytest.raises(BackupDamaged, match="bytes"):
        read_backup(tmp_path / "torn")


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    write(tmp_path / "b")
    whole, random = (tmp_path / "b").read_bytes(), Random(7)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << random.randrange(8)
        (tmp_path / "flipped").write_bytes(changed)
        with pytest.raises((BackupDamaged, BackupUnusable, NewerFormat)):
            read_backup(tmp_path / "flipped")


def test_a_changed_image_is_detected_before_the_file_is_published(tmp_path: Path) -> None:
    image = bytearray(image_of(SNAPSHOT))
    image[-5] ^= 8  # The file's own checksum is made of this; the snapshot's was made when it was taken.
    with pytest.raises(BackupDamaged, match="checksum of the snapshot"):
        write(tmp_path / "b", bytes(image))
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "b")
    changed = bytearray((tmp_path / "b").read_bytes())
    struct.pack_into("<I", changed, 8, 2)
    changed[-32:] = sha256(changed[:-32]).digest()
    (tmp_path / "b").write_bytes(changed)
    with pytest.raises(NewerFormat, match="format 2, and this version reads up to format 1"):
        read_backup(tmp_path / "b")


def test_other_files_are_no_backups(tmp_path: Path) -> None:
    for content in (b"", b"hello", bytes(100)):
        (tmp_path / "f").write_bytes(content)
        with pytest.raises((BackupUnusable, BackupDamaged)):
            read_backup(tmp_path / "f")
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BackupUnusable, match="cannot be read"):
            read_backup(path)


def test_another_file_is_replaced_only_when_that_is_asked_for_and_only_by_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"precious")
    with pytest.raises(BackupExists, match="--force"):
        BackupWriter(tmp_path / "b")
    writer = BackupWriter(tmp_path / "b", overwrite=True)
    writer.begin(HEAD, 100)
    writer.add(b"x" * 50)
    writer.discard()
    assert (tmp_path / "b").read_bytes() == b"precious"
    write(tmp_path / "b", overwrite=True)
    assert read_backup(tmp_path / "b").head == HEAD


def test_a_file_that_appears_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    image = image_of(SNAPSHOT)
    writer = BackupWriter(tmp_path / "b")
    writer.begin(HEAD, len(image))
    writer.add(image)
    (tmp_path / "b").write_bytes(b"precious")
    with pytest.raises(BackupExists, match="meanwhile"):
        writer.finish()
    assert (tmp_path / "b").read_bytes() == b"precious"
    assert not (tmp_path / f"b{DRAFT_SUFFIX}").exists()


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    first = BackupWriter(tmp_path / "b")
    with pytest.raises(BackupExists, match="another process"):
        BackupWriter(tmp_path / "b")
    first.discard()
    write(tmp_path / "b")


def test_a_backup_that_begins_again_forgets_what_came_before(tmp_path: Path) -> None:
    image = image_of(SNAPSHOT)
    writer = BackupWriter(tmp_path / "b")
    writer.begin(HEAD, 1_000_000)
    writer.add(b"x" * 300_000)
    writer.begin(HEAD, len(image))
    writer.add(image)
    assert writer.finish().head == HEAD


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    draft = tmp_path / f"b{DRAFT_SUFFIX}"
    draft.symlink_to("/dev/full")
    writer = BackupWriter(tmp_path / "b")
    with pytest.raises(StoreFull, match="Make room"):
        writer.add(b"x" * 100_000)
    assert not draft.is_symlink()
