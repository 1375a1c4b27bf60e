"""The run directory: the sockets of a running cluster, and how a verb finds the cluster.

Owns its place, its mode, its lock (on the directory's own descriptor, so that no lock file can be left
behind) and its removal. There is one for each cluster name, below a private directory of the user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actors.processes.private_files import make_private
from raft.cluster.failures import BadUsage, Unreachable, VerbFailed

IPC_PATH_BYTES_MAX = 107
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LOCK_TRIES = 100
_LOCK_PAUSE_SECONDS = 0.02
_REFUSALS_MAX = 5  # A verb that checks whether the cluster is alive holds the lock for microseconds only.


def run_base() -> Path:
    """The user's private directory that holds all run directories."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    parent = Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    return parent / f"raft-actors-{os.getuid()}"


def called_as() -> str:
    """This program's name as it was called, for instructions to the user."""
    return "raft-actors" if Path(sys.argv[0]).name == "raft-actors" else "python launcher.py"


def check_name(name: str) -> str:
    """Return a valid cluster name; raises BadUsage for others."""
    if not _NAME.fullmatch(name):
        raise BadUsage(f"{name!r} is not a valid cluster name: use up to 64 letters, digits, '.', '_' or '-'")
    return name


def check_is_text(path: str | Path, advice: str) -> None:
    """Raise BadUsage for a path that no record can hold, since it has bytes that are no text."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        raise BadUsage(f"{path} cannot be used, as it is not text in {encoding}: {advice}") from None


class RunDirectory:
    """The paths inside one cluster's run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = path / "cluster.json"
        self.launcher_socket = path / "launcher.sock"
        self.launcher_log = path / "launcher.log"

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.path.name

    @property
    def launcher_endpoint(self) -> str:
        """Where the launcher listens."""
        return f"ipc://{self.launcher_socket}"

    def node_endpoint(self, node: int) -> str:
        """Where a node listens."""
        return f"ipc://{self.path / f'n{node}.sock'}"

    def check_paths(self, nodes: int) -> None:
        """Raise BadUsage if a socket's path would be too long for the kernel."""
        check_is_text(self.path, "set XDG_RUNTIME_DIR to another directory")
        longest = max((self.launcher_endpoint, self.node_endpoint(nodes)), key=len).removeprefix("ipc://")
        size = len(os.fsencode(longest))
        if size > IPC_PATH_BYTES_MAX:
            raise BadUsage(
                f"{longest} is too long for a socket ({size} bytes, {IPC_PATH_BYTES_MAX} at most): "
                "set XDG_RUNTIME_DIR to a shorter path or choose a shorter --name"
            )


class RunLock:
    """The right to be the launcher of a name; ends with the process at the latest."""

    def __init__(self, directory: RunDirectory, fd: int) -> None:
        self._directory = directory
        self._fd = fd

    @property
    def is_in_place(self) -> bool:
        """Is the run directory still the one that was locked? It may have been removed and recreated."""
        return _is_same(self._fd, self._directory.path)

    def restore(self) -> None:
        """Recreate and lock the run directory after something else removed it.

        Raises VerbFailed if it cannot be created, or if another launcher has taken the name meanwhile.
        """
        try:
            _make_private(self._directory.path.parent)
            self._directory.path.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(self._directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise VerbFailed(f"it cannot be created again: {error.strerror}") from error
        if not _try_lock(fd, fcntl.LOCK_EX):
            os.close(fd)
            raise VerbFailed("another cluster has taken its name, and receives its verbs from now on")
        os.close(self._fd)
        self._fd = fd

    def release(self) -> None:
        """Release the name, and leave the directory."""
        os.close(self._fd)

    def remove(self) -> None:
        """Remove the run directory, and with the last one the user's directory; then release the name.

        A directory of another launcher in its place is left alone.
        """
        if self.is_in_place:
            shutil.rmtree(self._directory.path, ignore_errors=True)
        self.release()
        with contextlib.suppress(OSError):
            self._directory.path.parent.rmdir()


def claim(name: str, nodes: int) -> tuple[RunDirectory, RunLock]:
    """Create the run directory of a cluster that is about to start.

    Raises BadUsage for an invalid name or path, VerbFailed if a cluster of that name is running or the
    directory cannot be created.
    """
    directory = RunDirectory(run_base() / check_name(name))
    directory.check_paths(nodes)
    try:
        _make_private(directory.path.parent)
        lock = _lock(directory)
        _sweep(directory)
    except OSError as error:
        raise VerbFailed(f"the run directory {directory.path} cannot be used: {error.strerror}") from error
    return directory, lock


def running() -> list[RunDirectory]:
    """The run directories of all running clusters, by name."""
    return [RunDirectory(path) for path in sorted(_listed(run_base())) if _is_alive(path)]


def find(name: str | None) -> RunDirectory:
    """The run directory of the cluster called `name`, or of the only running one.

    Raises Unreachable if there is none, BadUsage if there are several to choose from.
    """
    if name is not None:
        directory = RunDirectory(run_base() / check_name(name))
        if not _is_alive(directory.path):
            raise Unreachable(f"no cluster called {name!r} is running: {directory.path} is not in use")
        return directory
    alive = [directory.path for directory in running()]
    if not alive:
        raise Unreachable(
            f"no cluster is running below {run_base()}: start one with `{called_as()} --nodes 5`"
        )
    if len(alive) > 1:
        names = ", ".join(path.name for path in alive)
        raise BadUsage(f"several clusters are running ({names}): choose one with --cluster NAME")
    return RunDirectory(alive[0])


def abandoned() -> Iterator[RunDirectory]:
    """The run directories of launchers that were killed together with their fork servers.

    Each is locked while the caller inspects it, and removed afterwards.
    """
    for path in _listed(run_base()):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if _try_lock(fd, fcntl.LOCK_EX) and _is_same(fd, path):
                    yield RunDirectory(path)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


def _make_private(path: Path) -> None:
    make_private(path)
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise VerbFailed(f"{path} belongs to another user: set XDG_RUNTIME_DIR to a directory of your own")
    if stat.S_IMODE(seen.st_mode) != 0o700:
        path.chmod(0o700)


def _lock(directory: RunDirectory) -> RunLock:
    """Lock the directory, creating it first.

    A record in an unlocked directory was left by a killed launcher; its fork server is about to remove the
    directory, and must not remove it from under a successor.
    """
    refusals = 0
    for tries_left in reversed(range(_LOCK_TRIES)):
        with contextlib.suppress(FileExistsError):
            directory.path.mkdir(mode=0o700, parents=True)
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not _try_lock(fd, fcntl.LOCK_EX):
                refusals += 1
            elif _is_same(fd, directory.path) and not (directory.record.exists() and tries_left):
                return RunLock(directory, fd)
            os.close(fd)
            if refusals == _REFUSALS_MAX:
                break
        time.sleep(_LOCK_PAUSE_SECONDS)
    raise VerbFailed(
        f"a cluster called {directory.name!r} is running already: "
        f"stop it with `{called_as()} down --cluster {directory.name}` or choose another --name"
    )


def _is_same(fd: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


def _sweep(directory: RunDirectory) -> None:
    """Remove the files of a launcher that was killed together with its fork server."""
    for path in directory.path.iterdir():
        path.unlink()


def _try_lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(path: Path) -> bool:
    """Does a launcher hold this directory's lock?"""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _listed(base: Path) -> list[Path]:
    try:
        return [path for path in base.iterdir() if path.is_dir()]
    except OSError:
        return []
