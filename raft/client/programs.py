"""A program run under a lease: in a process group of its own, which ends when it has to.

Owns the two ways for that: by the caller, who is told in time, and by a guard where the caller was killed.
Knows nothing of leases.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

LOOK_AGAIN_SECONDS = 0.001

# Told the group by the first line it reads. If no second one comes before the end of the file, whoever
# should have written it is no more.
GUARD = 'read -r group && { read -r done || kill -9 "-$group"; } 2>/dev/null'


async def run_program(arguments: Sequence[str], env: Mapping[str, str], grace_seconds: float) -> int:
    """A program in a process group of its own, which is ended when this is cancelled; its exit code.

    The group also ends, by SIGKILL, when this process does, however that comes about.
    """
    heard, told = os.pipe()
    with ExitStack() as ends:
        ends.callback(os.close, told)
        try:
            guard = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", GUARD, stdin=heard, start_new_session=True
            )
        finally:
            os.close(heard)
        try:
            return await run_guarded(arguments, env, grace_seconds, told)
        finally:
            ends.close()
            await guard.wait()


async def run_guarded(
    arguments: Sequence[str], env: Mapping[str, str], grace_seconds: float, guard: int
) -> int:
    """Run a program whose guard hears what is written to that descriptor."""

    def tell_the_guard() -> None:
        os.write(guard, b"%d\n" % os.getpid())

    # The new process tells it, before it becomes the program: this one may be killed at any moment.
    program = await asyncio.create_subprocess_exec(
        *arguments, env=env, start_new_session=True, preexec_fn=tell_the_guard
    )
    try:
        return await program.wait()
    finally:
        if program.returncode is None:
            await end_group(program, grace_seconds)
        with suppress(BrokenPipeError):
            os.write(guard, b"done\n")


async def end_group(program: asyncio.subprocess.Process, grace_seconds: float) -> None:
    """SIGTERM, and a little later SIGKILL, for a program that leads its process group."""
    signal_group(program.pid, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_seconds):  # wait_for may lose a cancellation.
            await program.wait()
    # What it has started may have stayed; and who is killed is gone a moment later.
    anybody = signal_group(program.pid, signal.SIGKILL)
    await program.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_seconds):  # Of orphans somebody else may be slow to take notice.
            while anybody:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                anybody = signal_group(program.pid, 0)


def signal_group(group: int, number: int) -> bool:
    """Signal all of a process group that are left, 0 being no signal; whether anybody is."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # Somebody is, who has become another user.
    return True
