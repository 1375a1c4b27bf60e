"""A node's data directory at its start: whether the node may begin, continue, or has to rejoin.

Owns the rule that an id begins with an empty directory only once, the incarnation number, and the setting
aside of a damaged log. Knows nothing of how a log is laid out, or of how a cluster is joined; who permits a
beginning is in permit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from actors.processes.private_files import replace_file, sync_directory
from raft.core.types import HardState
from raft.node.config import BadConfig, NodeConfig
from raft.node.environment import bootstrap
from raft.node.process.permit import PERMIT
from raft.protocol.client import Members
from raft.storage.device import CrashPoint
from raft.storage.errors import CorruptLog, DirectoryUnusable, LogRolledBack
from raft.storage.files import FileSystem
from raft.storage.record import Identity
from raft.storage.segment import SEGMENT_SUFFIX
from raft.storage.snapshots import SNAPSHOT_SUFFIX
from raft.storage.store import Store

INCARNATION = "incarnation"
REPAIR = ".repair"  # Says how far a repair has come.
ROLLED_BACK = ".rolled-back"  # Says why the log can't be believed, though nothing in it is damaged.
UNFINISHED = ".unfinished"  # Says how far a restore or a recovery has come; see `replacement`.
RESTORED, RECOVERED = "restored.json", "recovered.json"  # What a restore or a recovery has done.
LEAVING, JOINED = "leaving", "joined"

Rejoin = Callable[[NodeConfig], Members]
"""Leaves the cluster and joins it as a learner; the configuration then."""


def open_store(config: NodeConfig, files: FileSystem, crash_point: CrashPoint, rejoin: Rejoin) -> Store:
    """The node's log, ready for use. Raises StoreError, BadConfig, or what `rejoin` does."""
    directory = Path(config.data_dir)
    permit = directory / PERMIT
    if (directory / UNFINISHED).exists():
        raise DirectoryUnusable(f"{directory} was not restored or recovered to the end: run that verb again")
    try:
        # An incarnation has been counted here, so a log was made: without one it is lost, not new.
        has_run = (directory / INCARNATION).exists()
        may_begin = (config.first_start or permit.exists()) and not has_run
        try:
            if repair_of(directory) == LEAVING:
                return _begin_anew(config, files, crash_point, rejoin)
            check_not_rolled_back(directory)
            store = _open(config, files, crash_point, create=may_begin)
        except (CorruptLog, LogRolledBack):
            if not config.repair_from_peers:
                raise
            return _begin_anew(config, files, crash_point, rejoin)
        bootstrap(store, config)
        if permit.exists():
            permit.unlink()
            sync_directory(directory)
    except OSError as error:
        raise DirectoryUnusable(f"{directory} can't be used: {error.strerror}. Check its owner.") from error
    return store


def mark_rolled_back(directory: Path, reason: str) -> None:
    """Mark this log as unusable for later processes: it lacks acknowledged entries. Durable."""
    replace_file(directory / ROLLED_BACK, reason.encode(), sync=True)


def check_not_rolled_back(directory: Path) -> None:
    """Raise LogRolledBack if an earlier process has marked the log."""
    try:
        reason = (directory / ROLLED_BACK).read_text()
    except FileNotFoundError:
        return
    raise LogRolledBack(reason)


def repair_of(directory: Path) -> str:
    """The step of an unfinished repair of this directory; "" without one. Raises CorruptLog."""
    path = directory / REPAIR
    try:
        step = read_word(path)
    except FileNotFoundError:
        return ""
    if step not in (LEAVING, JOINED):
        raise CorruptLog(path, 0, "it does not say how far the repair of this node has come")
    return step


def end_repair(directory: Path) -> None:
    """The node votes again."""
    (directory / REPAIR).unlink(missing_ok=True)
    sync_directory(directory)


def _open(config: NodeConfig, files: FileSystem, crash_point: CrashPoint, *, create: bool) -> Store:
    return Store.open(
        Path(config.data_dir),
        identity=Identity(config.cluster, config.node),
        sync=config.sync,
        files=files,
        create=create,
        beside=(INCARNATION,),
        crash_point=crash_point,
    )


def _begin_anew(config: NodeConfig, files: FileSystem, crash_point: CrashPoint, rejoin: Rejoin) -> Store:
    """Set the damaged log aside, and continue as a learner with an empty log.

    This is safe because everything that the node acknowledged belongs to a membership that has ended: its
    removal was committed without it, by a majority of the others, each of whom was at most in the leader's
    term when it took that entry. The winner of a later term needs one of their votes, so it has the entry. In
    the leader's term and before it the node votes for no other node: its new log begins with that vote.
    """
    directory = Path(config.data_dir)
    lock = files.lock_directory(directory)
    try:
        replace_file(directory / REPAIR, checked_word(LEAVING).encode(), sync=config.sync)
        set_aside(directory)
        (directory / ROLLED_BACK).unlink(missing_ok=True)
    finally:
        lock.close()
    members = rejoin(config)
    store = _open(config, files, crash_point, create=True)
    store.save(HardState(term=members.term, vote=members.leader), (), None)
    replace_file(directory / REPAIR, checked_word(JOINED).encode(), sync=config.sync)
    return store


def set_aside(directory: Path, prefix: str = ".damaged") -> None:
    """Move log and snapshots into a separate directory, which is never read."""
    names = sorted(
        path.name for path in directory.iterdir() if path.suffix in (SEGMENT_SUFFIX, SNAPSHOT_SUFFIX)
    )
    if not names:
        return
    number = 1
    while (aside := directory / f"{prefix}-{number}").exists():
        number += 1
    aside.mkdir(mode=0o700)
    for name in names:
        (directory / name).rename(aside / name)
    sync_directory(aside)
    sync_directory(directory)


def count_incarnation(path: Path, *, sync: bool) -> int:
    """The incarnation number of this process, one more than the last; durable before a peer sees it."""
    try:
        last = int(read_word(path))
    except FileNotFoundError:
        last = 0
    except ValueError:
        raise BadConfig(
            f"{path} holds no number, or a damaged one: write one into it that is higher than any before"
        ) from None
    replace_file(path, checked_word(str(last + 1)).encode(), sync=sync)
    return last + 1


def note_incarnation(path: Path, incarnation: int, *, sync: bool) -> None:
    """Raise the stored incarnation number to this one, if it is lower."""
    if int(read_word(path) or 0) < incarnation:
        replace_file(path, checked_word(str(incarnation)).encode(), sync=sync)


def checked_word(word: str) -> str:
    """A word with its checksum, as a small file holds it."""
    return f"{word} crc32:{crc32(word.encode()):08x}\n"


def read_word(path: Path) -> str:
    """The word in a small file, "" if it is damaged. One without a checksum is of an older version."""
    words = path.read_text(errors="replace").split()
    is_sound = len(words) == 1 or (len(words) == 2 and checked_word(words[0]).split() == words)
    return words[0] if is_sound else ""
