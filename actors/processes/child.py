"""Child processes as their parent sees them: started quickly, known to be dead at once, never orphaned.

Owns the parent's end of the fork server: what was asked for, what runs, how it ended. Knows
nothing of what a child does. Imports next to nothing, so that a launcher can start the fork
server first of all and do its own slow imports meanwhile.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import warnings
from weakref import WeakSet, finalize

from actors.errors import ActorsError

TYPE_CHECKING = False  # Type checkers take it for typing's, which is not worth its import here.
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import ClassVar

    from actors.processes.channel import Answer, Channel, Request

_BOOT = (
    "import sys, os; sys.path[:] = sys.argv[1].split(os.pathsep)\n"
    "from actors.processes.loading import loading\n"
    "with loading(): from actors.processes.fork_server import main\n"
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)
_REPORT_SECONDS_MAX = 1.0


class ProcessError(ActorsError):
    """A child process cannot be had or used as asked."""


class SpawnFailed(ProcessError):
    """No child was made: a bad target, an import error, no place for its log. Has the traceback."""


class ForkServerGone(ProcessError):
    """The fork server has ended, and its children with it; start another one."""


class ChildProcess:
    """One child of the fork server, from the request on."""

    def __init__(self, server: ForkServer, number: int, target: str) -> None:
        self._server = server
        self._number = number
        self.death_fd: int | None = None
        self.target = target
        self.pid: int | None = None
        self.error: SpawnFailed | None = None
        self.returncode: int | None = None

    def wait_started(self, timeout_seconds: float) -> int:
        """The pid, as soon as there is one. Raises SpawnFailed or TimeoutError."""
        self._server.wait_until(lambda: self.pid is not None or self.error is not None, timeout_seconds)
        if self.error is not None:
            raise self.error
        if self.pid is None:
            raise TimeoutError(f"{self.target} did not start within {timeout_seconds} s")
        return self.pid

    def fileno(self) -> int:
        """A descriptor (a pidfd where there are such) that is readable from the child's death on."""
        if self.death_fd is None:
            raise ProcessError(f"{self.target} has not started yet")
        return self.death_fd

    def poll(self) -> int | None:
        """None while it runs, else its exit code, or minus the signal that ended it."""
        self._server.receive()
        if self.returncode is not None or self.death_fd is None or not _readable(self.death_fd, 0.0):
            return self.returncode
        # The kernel tells us of a death and the fork server of its cause, a moment apart.
        if not self._server.wait_until(lambda: self.returncode is not None, _REPORT_SECONDS_MAX):
            self.returncode = -signal.SIGKILL  # With the server gone, that is what the kernel sent.
        return self.returncode

    def wait(self, timeout_seconds: float) -> int | None:
        """As `poll`, but waits for the end up to so long."""
        if self.poll() is None and _readable(self.fileno(), timeout_seconds):
            return self.poll()
        return self.returncode

    def kill(self, signal_number: int = signal.SIGKILL) -> bool:
        """Send a signal to this process and to no other; False when it has not started or has ended."""
        if self.pid is None or self.returncode is not None or self.death_fd is None:
            return False
        try:
            if hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self.death_fd, signal_number)
            else:
                os.kill(self.pid, signal_number)
        except ProcessLookupError:
            return False
        return True

    def stop(self, kill_after_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL if it has not ended so much later; does nothing when it has.

        The fork server does both, whatever this process is busy with. Raises ForkServerGone.
        """
        if self.returncode is None and self.error is None:
            self._server.stop_child(self._number, kill_after_seconds)

    def close(self) -> None:
        """Give back the descriptor; the child itself is left alone."""
        if self.death_fd is not None:
            os.close(self.death_fd)
            self.death_fd = None

    def __del__(self) -> None:
        self.close()


class ForkServer:
    """The parent's handle on a fork server: dies with it, and takes every child along.

    The children live no longer than this process, however it ends. For one thread only. One that is
    never closed is when it is collected, with a ResourceWarning.
    """

    # What a fork has to let go of, and servers that have still to be waited for: both are the process's own
    # affair, as the hook below is called for all and cannot be taken back.
    _all: ClassVar[WeakSet[ForkServer]] = WeakSet()
    _ending: ClassVar[set[int]] = set()
    _hook_set: ClassVar[bool] = False

    def __init__(self, pid: int, stream: socket.socket, life_fd: int) -> None:
        # Only now, while the server already starts: the codec is the dearest import of this side.
        from actors.processes.channel import ANSWER, Channel

        self.pid = pid
        self._channel: Channel[Answer] = Channel(stream, ANSWER)
        # Children hold the other end, and read its end of file when this process is gone.
        self._life_fds = [life_fd]
        self._children: dict[int, ChildProcess] = {}
        self._spawned = 0
        self._closed = False
        self._closer = finalize(self, self._end_forgotten, os.getpid(), pid, self._channel, self._life_fds)
        self._closer.atexit = False

    @classmethod
    def start(
        cls, preload: Sequence[str] = (), cleanup: Sequence[Path] = (), *, log_path: Path | None = None
    ) -> ForkServer:
        """Start a server that imports `preload`, and return at once; spawning may be asked for right away.

        When this process is gone the server removes the `cleanup` paths. What the server itself has to say
        (nothing, as a rule) goes to `log_path`.
        """
        cls._reap_ended()
        ours, theirs = socket.socketpair()
        life_read, life_write = os.pipe()
        arguments = [os.pathsep.join(sys.path), str(theirs.fileno()), str(life_read)]
        said = os.devnull if log_path is None else os.fspath(log_path)
        append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-c", _BOOT, *arguments],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, said, append, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    # Onto itself: that is how a descriptor is kept across the exec.
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno()),
                    (os.POSIX_SPAWN_DUP2, life_read, life_read),
                ],
                # Out of reach of the terminal's Ctrl-C, and of a SIGTERM to the group: only our end ends it.
                setpgroup=0,
                setsigmask=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
            )
        except BaseException:
            ours.close()
            os.close(life_write)
            raise
        finally:
            theirs.close()
            os.close(life_read)
        server = cls(pid, ours, life_write)
        cls._all.add(server)
        if not cls._hook_set:
            ForkServer._hook_set = True
            os.register_at_fork(after_in_child=cls._let_go_of_all)
        server._prepare(preload)
        server.set_cleanup(cleanup)
        return server

    def fileno(self) -> int:
        """A descriptor that is readable when `receive` has something to do."""
        return self._channel.fileno()

    def spawn(
        self, target: str, argument: bytes, *, log_path: Path, env: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Ask for a child that runs `target`, a "package.module:function"; return before it exists.

        It calls function(argument, life_fd) and exits with what that returns (None is 0). It leads a
        session of its own, reads /dev/null, appends what it prints to `log_path`, and has `env` on top of
        the environment. It should end when `life_fd` reads end of file; it is killed where it does not.
        Raises ForkServerGone.
        """
        from actors.processes.channel import Spawn

        self._spawned += 1
        child = ChildProcess(self, self._spawned, target)
        self._send(Spawn(self._spawned, target, argument, os.fspath(log_path), dict(env or {})))
        self._children[self._spawned] = child
        return child

    def stop_child(self, number: int, kill_after_seconds: float) -> None:
        """See ChildProcess.stop."""
        from actors.processes.channel import Stop

        self._send(Stop(number, kill_after_seconds))

    def set_cleanup(self, paths: Sequence[Path], if_empty: Sequence[Path] = ()) -> None:
        """Replace the paths (files, sockets, directories) that are removed when this process is gone.

        A directory that is locked (flock) then is left to the process that locked it. After them the
        directories in `if_empty` are removed, unless something is in them.
        """
        from actors.processes.channel import Cleanup

        self._send(
            Cleanup([str(path.absolute()) for path in paths], [str(path.absolute()) for path in if_empty])
        )

    @property
    def ended(self) -> bool:
        """Is it gone, and every child with it?"""
        return self._channel.ended

    @property
    def gone(self) -> bool:
        """Whether it was closed, or has ended and took its children along; `fileno` stays readable then."""
        return self._channel.ended

    def receive(self) -> list[ChildProcess]:
        """Take in the server's answers without waiting; the children that started, failed or ended."""
        if self._channel.ended:
            return []
        changed = [self._take(answer) for answer in self._channel.receive()]
        if self._channel.ended:
            changed += self._give_up()
        return changed

    def wait_until(self, done: Callable[[], bool], timeout_seconds: float) -> bool:
        """Take in answers until `done`, the time is up or the server is gone; whether it was done."""
        deadline = time.monotonic() + timeout_seconds
        while not done():
            remaining = deadline - time.monotonic()
            if self._channel.ended or remaining <= 0 or not _readable(self.fileno(), remaining):
                return False
            self.receive()
        return True

    def close(self) -> None:
        """End every child (SIGKILL), clean up, and end the server; leaves no zombie. Idempotent."""
        if not self._closed:
            self._let_go()
            os.waitpid(self.pid, 0)
            self._reap_ended()

    @classmethod
    def _end_forgotten(cls, owner: int, pid: int, channel: Channel[Answer], life_fds: list[int]) -> None:
        """A server was collected that was never closed."""
        if owner != os.getpid():
            return
        warnings.warn(f"the fork server {pid} was never closed", ResourceWarning, stacklevel=1)
        channel.close()
        for fd in life_fds:
            os.close(fd)
        cls._ending.add(pid)  # It may take a moment, and a collection must not wait.
        cls._reap_ended()

    def _let_go(self) -> None:
        """Give back every descriptor, upon which the server ends its children and itself."""
        self._closed = True
        self._closer.detach()
        self._channel.ended = True
        self._channel.close()
        self._close_life()
        for child in self._children.values():
            child.close()
            if child.returncode is None and child.pid is not None:
                child.returncode = -signal.SIGKILL
        self._children.clear()

    @classmethod
    def _reap_ended(cls) -> None:
        for pid in list(cls._ending):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended = pid
            if ended:
                cls._ending.discard(pid)

    @classmethod
    def _let_go_of_all(cls) -> None:
        """In a process that this one forks: it must not keep a server alive when this one is gone."""
        cls._ending.clear()
        for server in list(cls._all):
            if not server._closed:
                server._let_go()

    def _prepare(self, preload: Sequence[str]) -> None:
        from actors.processes.channel import Prepare

        self._send(Prepare(list(preload)))

    def _send(self, request: Request) -> None:
        try:
            if self._channel.ended:
                raise BrokenPipeError("its connection is closed")
            self._channel.send(request)
        except OSError as error:
            raise ForkServerGone(f"the fork server has ended: {error}") from error

    def _take(self, answer: Answer) -> ChildProcess:
        from actors.processes.channel import Failed, Started

        child = self._children[answer.number]
        if isinstance(answer, Started):
            child.pid = answer.pid
            child.death_fd = self._channel.descriptors.popleft()
            return child
        del self._children[answer.number]
        if isinstance(answer, Failed):
            child.error = SpawnFailed(f"{answer.reason}\n{answer.traceback}".rstrip())
        else:
            child.returncode = answer.returncode
        return child

    def _give_up(self) -> list[ChildProcess]:
        self._close_life()
        orphans = [child for child in self._children.values() if child.pid is None]
        for child in orphans:
            child.error = SpawnFailed(f"the fork server ended before it started {child.target}")
        return orphans

    def _close_life(self) -> None:
        while self._life_fds:
            os.close(self._life_fds.pop())


def process_alive(pid: int) -> bool:
    """Whether a process of that number exists, of any user; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def describe_exit(returncode: int) -> str:
    """A returncode in words: "exited with code 3", "killed by SIGKILL"."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _readable(fd: int, timeout_seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))
