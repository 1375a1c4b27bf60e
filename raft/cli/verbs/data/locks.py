"""The verbs that run a program under a lease: elect, lock.

Owns their command lines, their exit codes, and which signals are forwarded to the program. Ending it in time
is the client library's.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cli import options
from raft.cli.app import LEADERSHIP, app, note
from raft.cli.verbs.data.watches import ENDING, Name, not_ignored, run_with_client
from raft.cluster.failures import ExitCode, VerbFailed

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.child_program import Program
    from raft.client.sessions.asyncio_election import AsyncElection

Command = Annotated[list[str], typer.Argument(metavar="-- CMD…", help="A program and its arguments.")]
Ttl = Annotated[
    float,
    options.duration_option(help="How long a lease lasts.", shown="5s"),
]
Grace = Annotated[
    float,
    options.duration_option(
        help="How long CMD may take to end after a signal, while the lease is kept alive.",
        shown="10s",
        zero=True,
    ),
]
TTL_SECONDS = 5.0
GRACE_SECONDS = 10.0


@app.command(
    rich_help_panel=LEADERSHIP, epilog="Example: launcher.py elect billing --ttl 5s -- ./run-billing"
)
def elect(
    context: typer.Context,
    name: Name,
    command: Command,
    ttl: Ttl = TTL_SECONDS,
    grace: Grace = GRACE_SECONDS,
    cluster: options.Cluster = None,
) -> None:
    """Wait until this process leads NAME, then run CMD; it is ended if leadership is lost (exit 6).

    CMD finds its fencing token in FENCING_TOKEN. Its exit code is passed on. INT, TERM, HUP, QUIT, USR1,
    USR2, TSTP and CONT are forwarded to it. The lease is kept alive until CMD and all its descendants have
    ended: those left when CMD ends get SIGTERM, and SIGKILL before the lease can end. Exit 127 if CMD is not
    found, 126 if it cannot be executed.
    """
    _run_while(context, cluster, command, grace, lambda client: client.election(name, ttl=ttl))


@app.command(rich_help_panel=LEADERSHIP, epilog="Example: launcher.py lock backup -- ./back-up")
def lock(
    context: typer.Context,
    name: Name,
    command: Command,
    ttl: Ttl = TTL_SECONDS,
    grace: Grace = GRACE_SECONDS,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Exit 5 if the lock is taken.")] = False,
    cluster: options.Cluster = None,
) -> None:
    """Run CMD while no other process holds the lock NAME; otherwise as elect."""
    _run_while(context, cluster, command, grace, lambda client: client.lock(name, ttl=ttl, wait=not no_wait))


def _run_while(
    context: typer.Context,
    cluster: str | None,
    command: list[str],
    grace_seconds: float,
    stand: Callable[[AsyncClient], AsyncElection],
) -> None:
    _check_command(command[0])
    from raft.client.child_program import in_foreground

    foreground = sys.stdin.isatty() and in_foreground()

    async def hold(client: AsyncClient) -> int:
        async with stand(client) as lead:
            note(context, f"{lead.fence.election} is held with token {lead.token}")

            def started(program: Program) -> None:
                _pass_signals_on(program, grace_seconds)

            return await lead.run_program(command, foreground=foreground, started=started)

    try:
        code = run_with_client(context, cluster, hold)
    except OSError as error:
        raise _cannot_run(command[0], error) from error
    raise typer.Exit(code if code >= 0 else 128 - code)


def _check_command(name: str) -> None:
    """Raise VerbFailed, with a shell's exit code, for a program that cannot be run; before locking."""
    if shutil.which(name) is not None:
        return
    there = os.access(name, os.F_OK) if os.sep in name else shutil.which(name, os.F_OK) is not None
    raise _cannot_run(name, OSError(errno.EACCES if there else errno.ENOENT, ""))


def _cannot_run(name: str, error: OSError) -> VerbFailed:
    if error.errno == errno.ENOENT:
        return VerbFailed(f"{name or repr(name)} is not found", ExitCode.COMMAND_NOT_FOUND)
    why = os.strerror(error.errno) if error.errno else str(error)
    return VerbFailed(f"{name} cannot be executed: {why}", ExitCode.COMMAND_NOT_EXECUTABLE)


def _pass_signals_on(program: Program, grace_seconds: float) -> None:
    """Forward signals to the program, which then has its grace period to end."""
    import asyncio  # Here, since few verbs need it.

    from raft.client.child_program import has_terminal

    loop = asyncio.get_running_loop()
    program.is_job = has_terminal()

    def end(number: int) -> None:
        program.signal(number)
        program.signal(signal.SIGCONT)  # A stopped process does not react to the other one.
        loop.call_later(grace_seconds, program.end, 0.0)

    for number in not_ignored(ENDING):
        loop.add_signal_handler(number, end, number)
    for number in not_ignored((signal.SIGUSR1, signal.SIGUSR2)):
        loop.add_signal_handler(number, program.signal, number)
    for number, pass_on in ((signal.SIGTSTP, program.stop), (signal.SIGCONT, program.go_on)):
        loop.add_signal_handler(number, pass_on)
