"""The fork server: a process that imports once, then forks a child for each request.

Owns its children until they are reaped: it reports how each ended, and when the launcher is
gone, however it went, it kills them all, removes what it was told to, and exits. Knows nothing
of what the children do. No thread, zmq context or event loop may exist in it, for a fork would
copy them half dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.processes.channel import (
    REQUEST,
    Answer,
    Channel,
    Cleanup,
    Exited,
    Failed,
    Prepare,
    Request,
    Spawn,
    Started,
    Stop,
)
from actors.processes.loading import loading

Target = Callable[[bytes, int], int | None]

_PR_SET_PDEATHSIG = 1
_DESCRIPTORS_MAX = 1 << 16
_LOCK_TRIES = 50
_LOCK_PAUSE_SECONDS = 0.02
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class Job(msgspec.Struct):
    """What a forked child has to do once it has left the server's loop."""

    target: Target
    argument: bytes
    life_fd: int

    def run(self) -> int:
        """Call the target; None counts as success."""
        return self.target(self.argument, self.life_fd) or 0


class NoOutput(Exception):
    """The file for a child's output cannot be written."""


class SpawnRefused(Exception):
    """A child cannot be made; said to the launcher, never fatal to the server."""


class _Child(msgspec.Struct):
    number: int
    # Without pidfd: the launcher holds the other end, and sees this one close.
    death_fd: int | None
    kill_at: float | None = None


class ForkServerLoop:
    """Waits for requests and for the deaths of children; see `serve`."""

    def __init__(self, control: socket.socket, life_fd: int) -> None:
        self._channel: Channel[Request] = Channel(control, REQUEST)
        self._life_fd = life_fd
        self._children: dict[int, _Child] = {}
        self._cleanup = Cleanup([])
        self._broken: Failed | None = None
        self._pid = os.getpid()
        self._prctl = _load_prctl()
        self._sigchld, self._sigchld_in = socket.socketpair()
        for end in (self._sigchld, self._sigchld_in):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.set_wakeup_fd(self._sigchld_in.fileno(), warn_on_full_buffer=False)

    def serve(self) -> Job | None:
        """Run until the launcher is gone (None), or return a Job: then this is a forked child."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._sigchld.fileno(), select.POLLIN)
        while not self._channel.ended:
            poll.poll(self._wait_milliseconds())
            self._reap()
            self._kill_overdue()
            for request in self._channel.receive():
                if isinstance(request, Cleanup):
                    self._cleanup = request
                elif not self._channel.ended and (job := self._handle(request)) is not None:
                    return job
        self._end()
        return None

    def _handle(self, request: Prepare | Spawn | Stop) -> Job | None:
        if isinstance(request, Spawn):
            return self._spawn(request)
        if isinstance(request, Stop):
            self._stop(request)
        else:
            self._prepare(request.preload)
        return None

    def _stop(self, request: Stop) -> None:
        for pid, child in self._children.items():
            if child.number == request.number:
                # Not yet reaped, so that the number is still this child's.
                os.kill(pid, signal.SIGTERM)
                child.kill_at = time.monotonic() + request.kill_after_seconds

    def _wait_milliseconds(self) -> float | None:
        moments = [child.kill_at for child in self._children.values() if child.kill_at is not None]
        return max(min(moments) - time.monotonic(), 0.0) * 1000 + 1 if moments else None

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, child in self._children.items():
            if child.kill_at is not None and child.kill_at <= now:
                child.kill_at = None
                os.kill(pid, signal.SIGKILL)

    def _prepare(self, preload: list[str]) -> None:
        try:
            with loading():
                for name in preload:
                    importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an import raises is the answer
            self._broken = Failed(0, f"preloading failed: {error!r}", traceback.format_exc())
        # Frozen objects are never visited by the collector, so the pages they are on stay shared.
        gc.collect()
        gc.freeze()

    def _spawn(self, request: Spawn) -> Job | None:
        if self._broken is not None:
            self._answer(Failed(request.number, self._broken.reason, self._broken.traceback))
            return None
        try:
            target = _resolve(request.target)
            if threading.active_count() > 1:
                raise SpawnRefused(f"importing {request.target} started a thread: forking would be unsafe")
            log_fd = self._open_log(request.log_path)
            pid = os.fork()
        except NoOutput as refusal:  # Nothing to find in this code.
            self._answer(Failed(request.number, f"{request.target}: {refusal}", ""))
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a target's import may raise anything
            self._answer(Failed(request.number, f"{request.target}: {error!r}", traceback.format_exc()))
            return None
        if pid == 0:
            self._become_child(log_fd, request.env)
            return Job(target, request.argument, self._life_fd)
        os.close(log_fd)
        self._adopt(pid, request.number)
        return None

    def _open_log(self, path: str) -> int:
        try:
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise NoOutput(f"its output cannot be written to {path}: {error.strerror}") from error

    def _adopt(self, pid: int, number: int) -> None:
        if hasattr(os, "pidfd_open"):
            tells, ours = os.pidfd_open(pid), None
        else:
            tells, ours = os.pipe()
        self._children[pid] = _Child(number, ours)
        self._answer(Started(number, pid), tells)
        os.close(tells)

    def _answer(self, answer: Answer, descriptor: int | None = None) -> None:
        # A launcher that is gone is noticed, and acted on, by the next receive.
        with contextlib.suppress(ConnectionError):
            self._channel.send(answer, descriptor)

    def _become_child(self, log_fd: int, env: dict[str, str]) -> None:
        os.setsid()
        if self._prctl is not None:
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._pid:
            os._exit(1)  # The server died before the line above could take effect.
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        null_fd = os.open(os.devnull, os.O_RDONLY)
        for fd, standard in ((null_fd, 0), (log_fd, 1), (log_fd, 2)):
            os.dup2(fd, standard)
        os.close(null_fd)
        os.close(log_fd)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        self._channel.close()
        self._sigchld.close()
        self._sigchld_in.close()
        for sibling in self._children.values():
            if sibling.death_fd is not None:
                os.close(sibling.death_fd)
        os.environ.update(env)
        # Last: what was sent to this child while it came to be is delivered here.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._sigchld.recv(4096):
                pass
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            self._answer(Exited(child.number, os.waitstatus_to_exitcode(status)))
            if child.death_fd is not None:
                os.close(child.death_fd)

    def _end(self) -> None:
        for pid in self._children:
            # Its group too: a child may have started something, and leads a session of its own.
            for kill in (os.kill, os.killpg):
                with contextlib.suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        for name in self._cleanup.paths:
            remove_unlocked(Path(name))
        for name in self._cleanup.if_empty:
            with contextlib.suppress(OSError):
                Path(name).rmdir()


def main(control_fd: int, life_fd: int) -> None:
    """Serve the launcher at the other end of `control_fd`; in each forked child, run its target and exit."""
    kept = sorted((control_fd, life_fd))
    for low, high in zip((3, *(fd + 1 for fd in kept)), (*kept, _DESCRIPTORS_MAX), strict=True):
        os.closerange(low, high)  # A pipe of the launcher's caller must not stay open because of us.
    job = ForkServerLoop(socket.socket(fileno=control_fd), life_fd).serve()
    if job is not None:
        sys.exit(job.run())


def _resolve(target: str) -> Target:
    module_name, _, function_name = target.partition(":")
    found = getattr(importlib.import_module(module_name), function_name, None)
    if not callable(found):
        raise SpawnRefused(
            f"no function {function_name!r} in {module_name}; a target is package.module:function"
        )
    function: Target = found
    return function


def _load_prctl() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl: Callable[..., int] = ctypes.CDLL(None).prctl
    return prctl


def remove_unlocked(path: Path) -> None:
    """Remove a file, or a directory unless a process holds its lock."""
    # No process is left that could be told of a failure.
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            _remove_unless_locked(path)
        else:
            path.unlink()


def _lock(fd: int) -> None:
    """Lock it; raises OSError if it stays locked for longer than a process takes to end."""
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOCK_PAUSE_SECONDS)
    return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_unless_locked(path: Path) -> None:
    """A directory that stays locked belongs to a successor of our launcher, or to the launcher itself.

    A launcher that was killed lets go of its lock a moment after its connection to us has ended.
    """
    import shutil  # Here, since children need not wait for it, and with it for all kinds of compression.

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(fd)
        if os.path.samestat(os.fstat(fd), path.stat()):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)
