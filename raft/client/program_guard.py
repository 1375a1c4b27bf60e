"""The parent process of a program under a lease: kills the program in time, even if the lease's holder dies.

Runs between the holder and the program. Owns the program's process group, its terminal and all its
descendants, and knows until when the lease lasts. Run as a script by child_program; imports very little, and
nothing of this project.

Theory of operation. The holder writes lines: `until SECONDS` (the time of the monotonic clock by which
everything must be gone), `signal NUMBER` for the program's group, `continue FOREGROUND` after a stop,
`end SECONDS` (SIGTERM now, SIGKILL that much later). The guard writes `started`, `failed ERRNO`, `stopped`,
and `exited RETURNCODE` once no process is left. When the holder's end is closed, or `until` has passed,
everything is killed. When the program itself has exited, its descendants get SIGTERM, and SIGKILL after the
grace period.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# A terminal sends these to its foreground group; the holder forwards those meant for the program.
_NOT_OURS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN,
    signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
_LOOK_AGAIN_SECONDS = 0.02


class Guard:
    """One program, from its start until none of its processes is left."""

    def __init__(self, holder: socket.socket, until: float, grace_seconds: float, foreground: bool) -> None:
        self._holder = holder
        self._until = until
        self._grace_seconds = grace_seconds
        self._foreground = foreground
        self._kill_at = float("inf")
        self._heard = b""
        self._group = 0
        self._returncode: int | None = None
        self._inherited = {number: signal.getsignal(number) for number in _NOT_OURS}
        for number in _NOT_OURS:
            signal.signal(number, signal.SIG_IGN)
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def run(self, program: list[str]) -> None:
        """Start the program, and return when none of its processes is left."""
        failure = self._start(program)
        if failure:
            self._say(f"failed {failure}")
            return
        self._say("started")
        while self._reap():
            now = time.monotonic()
            if now >= min(self._until, self._kill_at):
                self._kill_all()
            due = min(self._until, self._kill_at)
            wait = _LOOK_AGAIN_SECONDS if due <= now else min(due - now, 3600.0)
            ready, _, _ = select.select([self._holder, self._wake], [], [], wait)
            if self._wake in ready:
                self._wake.recv(4096)
            if self._holder in ready:
                self._hear()
        self._say(f"exited {self._returncode}")

    def _start(self, program: list[str]) -> int:
        """Fork and exec; returns 0, or the error number of exec."""
        told, tell = os.pipe()
        guard = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(program, tell, guard)
        os.close(tell)
        self._group = pid
        _set_group(pid)
        with os.fdopen(told, "rb") as pipe:
            failed = pipe.read()
        if failed:
            os.waitpid(pid, 0)
        return int(failed or 0)

    def _become(self, program: list[str], tell: int, guard: int) -> None:
        _set_group(0)
        if self._foreground:
            self._take_terminal(os.getpid())
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for number, handler in self._inherited.items():
            signal.signal(number, signal.SIG_IGN if handler is signal.SIG_IGN else signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            if os.getppid() == guard:
                os.execvp(program[0], program)
        except OSError as error:
            os.write(tell, b"%d" % (error.errno or 1))
        os._exit(127)

    def _hear(self) -> None:
        data = self._holder.recv(4096)
        if not data:
            self._until = 0.0
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            word, _, value = line.decode().partition(" ")
            if word == "until":
                self._until = float(value)
            elif word == "signal":
                self._signal(int(value))
            elif word == "continue":
                if value == "1":
                    self._take_terminal(self._group)
                self._signal(signal.SIGCONT)
            elif word == "end":
                self._end(float(value))

    def _end(self, grace_seconds: float) -> None:
        for pid in _descendants():
            _kill(pid, signal.SIGTERM)
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # A stopped process does not react to SIGTERM.
        self._kill_at = min(self._kill_at, time.monotonic() + grace_seconds)

    def _reap(self) -> bool:
        """Reap exited processes; returns whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid != self._group:
                continue
            if os.WIFSTOPPED(status):
                self._say("stopped")
            else:
                self._returncode = os.waitstatus_to_exitcode(status)
                self._end(self._grace_seconds)

    def _kill_all(self) -> None:
        self._signal(signal.SIGKILL)
        for pid in _descendants():
            _kill(pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)

    def _say(self, line: str) -> None:
        with suppress(OSError):  # The holder is gone; `_hear` handles that.
            self._holder.sendall(line.encode() + b"\n")

    def _take_terminal(self, group: int) -> None:
        try:
            terminal = os.open("/dev/tty", os.O_RDWR)
        except OSError:
            return
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)
        os.close(terminal)


def _descendants() -> list[int]:
    """All descendants of this process, including those that have left the program's process group."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    found = [os.getpid()]
    for parent in found:
        found += [pid for pid, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _set_group(pid: int) -> None:
    with suppress(OSError):  # It has already called exec, and set its group before that.
        os.setpgid(pid, pid)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main() -> None:
    """`program_guard.py FD UNTIL GRACE_SECONDS FOREGROUND PROGRAM ARGUMENT...`."""
    fd, until, grace_seconds, foreground, *program = sys.argv[1:]
    holder = socket.socket(fileno=int(fd))
    holder.set_inheritable(False)
    Guard(holder, float(until), float(grace_seconds), foreground == "1").run(program)


if __name__ == "__main__":
    main()
