"""Giving a node's data directory a new log as a whole: for a restore and for a recovery.

Owns the steps, of which each is durable before the next, and a mark that keeps the node from starting until
the last one is done. Knows nothing of what the new log holds, or why it is wanted.

    prepare   the new log is written into a directory of its own; the old one, if there is one, is untouched
    aside     the old log is moved away, and kept
    install   the new files are moved into place
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from actors.processes.private_files import replace_file, sync_directory
from raft.core.types import HardState, Snapshot
from raft.node.process.data_dir import (
    REPAIR,
    ROLLED_BACK,
    UNFINISHED,
    checked_word,
    read_word,
    set_aside,
)
from raft.node.process.permit import PERMIT
from raft.storage.record import Identity
from raft.storage.store import Store

DRAFT = ".new-log"
PREPARE, ASIDE, INSTALL = "prepare", "aside", "install"
REPLACED = ".replaced"  # Begins the names of the directories that old logs are kept in.
MARKS = (PERMIT, REPAIR, ROLLED_BACK)  # Of the old log.


def replace_log(directory: Path, identity: Identity, snapshot: Snapshot, beside: Mapping[str, str]) -> None:
    """Let a node's log begin with this snapshot; `beside` are small files of its directory, by name.

    The caller holds the directory's lock. Raises StoreError or OSError, and then either nothing is
    changed or `resume` goes on with it.
    """
    draft = directory / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    _mark(directory, PREPARE)
    try:
        store = Store.open(draft, identity=identity)
        try:
            store.write(HardState(term=snapshot.term, commit=snapshot.index), (), snapshot)
        finally:
            store.close()
        for name, text in beside.items():
            replace_file(draft / name, text.encode(), sync=True)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        (directory / UNFINISHED).unlink(missing_ok=True)
        raise
    _mark(directory, ASIDE)
    resume(directory)


def resume(directory: Path) -> bool:
    """Go on where a replacement was interrupted; whether there was one that could be ended."""
    step = unfinished_step(directory)
    if step not in (ASIDE, INSTALL):
        return False
    if step == ASIDE:
        set_aside(directory, REPLACED)
        _mark(directory, INSTALL)
    draft = directory / DRAFT
    if draft.exists():
        for path in sorted(draft.iterdir()):
            path.replace(directory / path.name)
        sync_directory(directory)
        draft.rmdir()
    for name in MARKS:
        (directory / name).unlink(missing_ok=True)
    sync_directory(directory)
    (directory / UNFINISHED).unlink()
    sync_directory(directory)
    return True


def unfinished_step(directory: Path) -> str:
    """The step that a replacement has come to; "" where there is none."""
    try:
        return read_word(directory / UNFINISHED)
    except FileNotFoundError:
        return ""


def _mark(directory: Path, step: str) -> None:
    replace_file(directory / UNFINISHED, checked_word(step).encode(), sync=True)
