"""A program run under a lease, in a process group of its own, which is killed before the lease ends.

Owns the holder's side of the protocol with the program's guard (see program_guard). The guard is told how
long the lease lasts, and kills everything by then, even if this process dies. Knows nothing of leases.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GUARD = Path(__file__).with_name("program_guard.py")
UNTIL_PERIOD_SECONDS = 0.25
FOR_EVER = float("inf")


class Program:
    """A running program, as its holder controls it."""

    def __init__(self, guard: socket.socket, foreground: bool) -> None:
        self._guard = guard
        self._stop_asked_for = False
        self.has_terminal = foreground
        """Was the terminal given to the program, and not taken back since?"""
        self.is_job = foreground
        """Should this process do with the program's stops as a shell's job does, see `on_stop`?"""

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group."""
        self._say(f"signal {number:d}")

    def end(self, grace_seconds: float) -> None:
        """SIGTERM for all of the program's processes, and SIGKILL for the rest after the grace period."""
        self._say(f"end {grace_seconds}")

    def until(self, moment: float) -> None:
        """Kill everything by that time of the monotonic clock."""
        self._say(f"until {moment}")

    def stop(self) -> None:
        """Stop the program, and this process when that has happened."""
        self.is_job = self._stop_asked_for = True
        self.signal(signal.SIGTSTP)

    def go_on(self) -> None:
        """Continue after a stop; with the terminal, if this process has it."""
        self._stop_asked_for = False
        given = self.is_job and in_foreground()
        self.has_terminal = self.has_terminal or given
        self._say(f"continue {int(given)}")

    def on_stop(self) -> None:
        """The program was stopped. What a shell sees of its job is this process and its group.

        If the program wanted the terminal, and this process has it, the program gets it and goes on.
        Otherwise this process stops with its group, so that the shell has its terminal back, until both
        are continued; not if no shell is left to do that.
        """
        if not self.is_job:
            return
        at_terminal = self.has_terminal or in_foreground()
        if at_terminal and (is_orphaned() or not (self.has_terminal or self._stop_asked_for)):
            self.go_on()
            return
        if self.has_terminal:
            take_terminal()
            self.has_terminal = False
        if self._stop_asked_for and not at_terminal:  # By a signal to this process alone.
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os.killpg(0, signal.SIGSTOP)
        self.go_on()

    def _say(self, line: str) -> None:
        # Not by the stream writer: it would lose the last lines of a guard that has closed its end.
        with suppress(OSError):
            self._guard.send(line.encode() + b"\n")


async def run_program(
    arguments: Sequence[str],
    env: Mapping[str, str],
    grace_seconds: float,
    *,
    until: Callable[[], float] = lambda: FOR_EVER,
    foreground: bool = False,
    started: Callable[[Program], None] = lambda _program: None,
) -> int:
    """Run a program until none of its processes is left; its exit code, negative for a signal.

    On cancellation it gets SIGTERM, and SIGKILL after `grace_seconds`. If this process dies, or is stopped
    until the time (of the monotonic clock) that `until` last returned, everything is killed at once.
    In the `foreground` it gets the terminal, as from a shell; when it is stopped, so is this process with
    its group.
    `started` is called before the program starts. Raises OSError if the program cannot be started.
    """
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    program = Program(ours, foreground)
    # Before the start: signals sent until then are delivered as soon as it has started.
    started(program)
    with theirs:
        words = (str(theirs.fileno()), str(until()), str(grace_seconds), str(int(foreground)))
        try:
            guard = await asyncio.create_subprocess_exec(
                sys.executable, "-I", os.fspath(GUARD), *words, *arguments,
                env=env, pass_fds=[theirs.fileno()], process_group=0,
            )  # fmt: skip
        except BaseException:
            writer.close()  # Ends a guard that has started after all.
            raise
    timekeeper = asyncio.ensure_future(_tell_until(program, until))
    try:
        return await _attend(reader, program, arguments[0])
    except asyncio.CancelledError:
        program.end(grace_seconds)
        raise
    finally:
        timekeeper.cancel()
        await _gone(guard)
        writer.close()
        if program.has_terminal:
            take_terminal()


async def _attend(reader: asyncio.StreamReader, program: Program, name: str) -> int:
    while line := await reader.readline():
        word, _, value = line.decode().strip().partition(" ")
        if word == "started":
            continue
        if word == "failed":
            raise OSError(int(value), os.strerror(int(value)), name)
        if word == "stopped":
            program.on_stop()
        else:
            return int(value)
    raise OSError(f"the guard of {name} was killed, and the program with it")


async def _tell_until(program: Program, until: Callable[[], float]) -> None:
    while True:
        program.until(until())
        await asyncio.sleep(UNTIL_PERIOD_SECONDS)


async def _gone(guard: asyncio.subprocess.Process) -> None:
    """Wait for the guard's exit, and so for all processes; a second cancellation does not cut it short."""
    waiting = asyncio.ensure_future(guard.wait())
    while not waiting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(waiting)


def is_orphaned() -> bool:
    """Is there no shell that could continue this process's group, as under `ssh -t HOST PROGRAM`?"""
    pid, group = os.getpid(), os.getpgrp()
    try:
        while os.getpgid(pid) == group:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            pid = int(stat.rpartition(b")")[2].split()[1])
        return os.getsid(pid) != os.getsid(0)
    except (OSError, IndexError):  # The parent has ended, or is outside of this container.
        return True


def has_terminal() -> bool:
    """Is there a terminal that controls this process?"""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def in_foreground() -> bool:
    """Is this process's group in the foreground of the terminal?"""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def take_terminal() -> None:
    """Make this process's group the terminal's foreground group, if there is a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return
    # From the background this would stop the process.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(OSError):
            os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        signal.signal(signal.SIGTTOU, before)
        os.close(terminal)
