"""What the operating system knows of the ends of other processes, and the file with a node's last pledge.

Owns Linux's descriptors of processes (pidfd_open), and how a process is named. Elsewhere nothing is known.
Knows nothing of what follows from an end; see `raft.node.leadership.peer_processes`.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

import msgspec

from actors.processes.private_files import replace_file
from raft.node.leadership.peer_processes import Pledge, Watched
from raft.protocol.registry import Process

PLEDGE = ".pledge"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_STARTED_FIELD = 19  # Of those behind the name in /proc/PID/stat: in ticks since the boot.


class SystemEndings:
    """Watches processes of this machine in this namespace of process ids."""

    def __init__(self) -> None:
        self._machine = _machine() if hasattr(os, "pidfd_open") else ""

    def own(self, incarnation: int) -> Process | None:
        """See `Endings`."""
        started = _started(os.getpid())
        if not self._machine or started is None:
            return None
        return Process(self._machine, os.getpid(), started, incarnation)

    def watch(self, process: Process) -> Watched | None:
        """See `Endings`."""
        if not self._machine or process.machine != self._machine:
            return None
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return EndedProcess()
        except (OSError, OverflowError):  # No descriptor is left, or the kernel knows no such thing.
            return None
        started = _started(process.pid)
        if started == process.started:
            return WatchedProcess(descriptor)
        os.close(descriptor)
        return None if started is None else EndedProcess()


class EndedProcess:
    """A process that had ended before it could be watched."""

    def has_ended(self, wait_milliseconds: int = 0) -> bool:
        """See `Watched`."""
        del wait_milliseconds
        return True

    def close(self) -> None:
        """See `Watched`."""


class WatchedProcess:
    """A process by its descriptor, which stays that of this process though its pid may be used again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def has_ended(self, wait_milliseconds: int = 0) -> bool:
        """See `Watched`."""
        return self._descriptor >= 0 and bool(self._poll.poll(wait_milliseconds))

    def close(self) -> None:
        """See `Watched`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class PledgeFile:
    """The last pledge, in the node's data directory; see `PledgeRecord`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / PLEDGE

    def read(self) -> Pledge | None:
        """See `PledgeRecord`."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Pledge)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, pledge: Pledge) -> bool:
        """See `PledgeRecord`. One to an unknown process is durable, since that may be on another machine."""
        sync = pledge.milliseconds > 0 and pledge.process is None
        try:
            replace_file(self._path, msgspec.json.encode(pledge), sync=sync)
        except OSError:
            return False
        return True


def _machine() -> str:
    """This boot of this machine, and the namespace of process ids; "" where the system does not tell."""
    try:
        namespace = _NAMESPACE.stat()
        return f"{_BOOT.read_text().strip()} {namespace.st_dev}:{namespace.st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process was started, in a unit of this machine; None if that cannot be known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[_STARTED_FIELD])
    except (OSError, ValueError, IndexError):
        return None
