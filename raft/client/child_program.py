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
        self.foreground = foreground
        self.stops_its_holder = foreground
        """Should this process stop too when the program is stopped?"""

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group."""
        self._say(f"signal {number:d}")

    def end(self, grace_seconds: float) -> None:
        """SIGTERM for all of the program's processes, and SIGKILL for the rest after the grace period."""
        self._say(f"end {grace_seconds}")

    def until(self, moment: float) -> None:
        """Kill everything by that time of the monotonic clock."""
        self._say(f"until {moment}")

    def go_on(self) -> None:
        """Continue after a stop; with the terminal, if this process has it."""
        self._say(f"continue {int(self.foreground and in_foreground())}")

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
    In the `foreground` it gets the terminal, as from a shell; when it is stopped, so is this process.
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
        if foreground:
            take_terminal()


async def _attend(reader: asyncio.StreamReader, program: Program, name: str) -> int:
    while line := await reader.readline():
        word, _, value = line.decode().strip().partition(" ")
        if word == "started":
            continue
        if word == "failed":
            raise OSError(int(value), os.strerror(int(value)), name)
        if word == "stopped":
            if program.stops_its_holder:
                stop_with(program)
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


def stop_with(program: Program) -> None:
    """Stop as the program has, so that the shell gets its terminal back; continue together."""
    take_terminal()
    os.kill(os.getpid(), signal.SIGSTOP)
    program.go_on()


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
