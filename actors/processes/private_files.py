"""Files and directories that only this user can read, and the replacement of a file as a whole.

Owns their modes, which are set and never inherited, the order of steps of a durable replacement, and the
refusal of directories in which another user could change files. Knows nothing of what is kept in them.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def open_private(path: str | Path, flags: int) -> int:
    """An `opener` for `open`: only its owner may read or write the file, whether it is new or an old one."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def write_private(path: Path, data: bytes) -> None:
    """Make a file of these contents, or replace those of an old one; not durable."""
    with open(path, "wb", opener=open_private) as file:
        file.write(data)


def replace_file(path: Path, data: bytes, *, sync: bool = True, private: bool = True) -> None:
    """Replace a file as a whole: a reader or a crash finds the old or the new contents.

    With `sync` the new contents, and their name, are durable on return. A `private` file can be read by its
    owner only, another one as the umask allows. Raises OSError.
    """
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb", opener=open_private if private else None) as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(directory: Path) -> None:
    """Make a directory with all its missing parents, each for its owner only."""
    if directory.is_dir():
        return
    make_private(directory.parent)
    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def check_private(directory: Path) -> None:
    """Raise PermissionError, which says why, if a user other than this one could change what is in there."""
    found, user = directory.stat(), os.geteuid()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != user:
        reason = f"it belongs to user {found.st_uid}, and this process runs as user {user}"
    elif mode & stat.S_IWOTH:
        reason = f"every user may write to it (mode {mode:o}): make it private with chmod 700"
    else:
        return
    raise PermissionError(errno.EPERM, reason, str(directory))
