"""A program run under a lease: in a process group of its own, which ends when it has to.

Owns the holder's side of the conversation with the program's guard (see `guard`), which is told how long the
lease lasts, and ends everything by then whatever becomes of this process. Knows nothing of leases.
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
    """A program that runs, as its holder steers it."""

    def __init__(self, guard: socket.socket, foreground: bool) -> None:
        self._guard = guard
        self.foreground = foreground
        self.stops_its_holder = foreground
        """When it is stopped, is this process to stop as well?"""

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group."""
        self._say(f"signal {number:d}")

    def end(self, grace_seconds: float) -> None:
        """SIGTERM for all that came of the program, and SIGKILL for what is left after the grace period."""
        self._say(f"end {grace_seconds}")

    def until(self, moment: float) -> None:
        """Nothing of it may be left at that moment of the monotonic clock."""
        self._say(f"until {moment}")

    def go_on(self) -> None:
        """Continue after a stop; with the terminal, if this process has it."""
        self._say(f"continue {int(self.foreground and in_foreground())}")

    def _say(self, line: str) -> None:
        # Not by the stream: of a guard that has gone and hears nothing more, the last words are still read.
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
    """Run a program until nothing that came of it is left; its exit code, negative for a signal.

    When this is cancelled it gets SIGTERM, and SIGKILL after `grace_seconds`. When this process dies, or has
    stood still until the moment (of the monotonic clock) that `until` last told, all is killed at once.
    In the `foreground` it gets the terminal, as from a shell; when it is stopped there, so is this process.
    `started` is told of it before it starts. Raises OSError if it cannot be started.
    """
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    program = Program(ours, foreground)
    # Before it starts: what it is sent until then it gets as soon as it has started.
    started(program)
    with theirs:
        words = (str(theirs.fileno()), str(until()), str(grace_seconds), str(int(foreground)))
        try:
            guard = await asyncio.create_subprocess_exec(
                sys.executable, "-I", os.fspath(GUARD), *words, *arguments,
                env=env, pass_fds=[theirs.fileno()], process_group=0,
            )  # fmt: skip
        except BaseException:
            writer.close()  # On which a guard that has started after all ends.
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
    raise OSError(f"the guard of {name} has been killed, and the program with it")


async def _tell_until(program: Program, until: Callable[[], float]) -> None:
    while True:
        program.until(until())
        await asyncio.sleep(UNTIL_PERIOD_SECONDS)


async def _gone(guard: asyncio.subprocess.Process) -> None:
    """Wait for the guard's end, and with it everything's; a second cancellation does not cut it short."""
    waiting = asyncio.ensure_future(guard.wait())
    while not waiting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(waiting)


def stop_with(program: Program) -> None:
    """Stop as the program has, so that the shell has its terminal back; go on together."""
    take_terminal()
    os.kill(os.getpid(), signal.SIGSTOP)
    program.go_on()


def in_foreground() -> bool:
    """Has this process's group the terminal?"""
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
    """Make this process's group the terminal's foreground group again, if there is a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return
    # From the background it would stop this process.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(OSError):
            os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        signal.signal(signal.SIGTTOU, before)
        os.close(terminal)
