"""`up --detach`: a launcher that outlives the command that started it.

Owns the fork into the command, which waits until there is a leader, and the launcher, which then detaches
from the terminal. Until then the launcher's errors go to the command's terminal.
Imports nothing slow, since it runs before everything else.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_READY = b"1"


def split_off() -> int:
    """Fork. The child, in a session of its own, gets a descriptor for its report; the parent never returns.

    The parent's exit code is 0 once the child is ready, and otherwise the child's.
    """
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.setsid()
        return tell
    os.close(tell)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os.kill(pid, signal.SIGTERM))
    if os.read(told, 1) == _READY:
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)


def detach_from_terminal(ready_fd: int, log_path: Path) -> None:
    """Detach from the terminal, then let the waiting command exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    null_fd = os.open(os.devnull, os.O_RDONLY)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null_fd, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(null_fd)
    os.close(log_fd)
    os.write(ready_fd, _READY)
    os.close(ready_fd)
