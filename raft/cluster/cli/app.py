"""The application that all verbs belong to, and the one place where a verb's end becomes an exit code.

Owns how a command line is completed (`--nodes 5` means `up --nodes 5`), carried out, and what is said
when it fails.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from msgspec import Struct

from raft.cluster.failures import ExitCode, VerbFailed
from raft.cluster.rundir import RunDirectory, find
from raft.cluster.spec import ClusterRecord
from raft.cluster.views import Paint, wants_colour

if TYPE_CHECKING:
    from raft.cluster.asking import Launcher

LOOK, BREAK, LEAD, STORE, RUN = "Look", "Break and mend", "Lead", "Store", "Run"
_OF_THE_APP = {"--help", "-h", "--install-completion", "--show-completion"}

app = typer.Typer(
    name="launcher.py",
    help="A Raft cluster of real processes on this machine: start it, watch it, break it.",
    epilog="Example: python launcher.py --nodes 5, then, elsewhere: python launcher.py kill leader",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Session(Struct, frozen=True):
    """Where a verb was typed: at a shell, or at the prompt of the launcher of `cluster`."""

    cluster: str | None = None
    fork_server: Any = None  # Started before everything else, for `up` alone.
    started_seconds: float = 0.0
    ready_fd: int = -1  # Of a detached `up`: who waits at the other end goes when told.

    @property
    def at_prompt(self) -> bool:
        """At a prompt what would follow for ever is refused: events are shown there anyway."""
        return self.cluster is not None

    def run_directory(self, asked_for: str | None) -> RunDirectory:
        """The cluster that is meant."""
        return find(asked_for or self.cluster)

    def launcher(self, asked_for: str | None) -> Launcher:
        """A conversation with the launcher of the cluster that is meant."""
        from raft.cluster.asking import Launcher  # Here, since verbs that read files need no sockets.

        return Launcher(self.run_directory(asked_for))

    def record(self, asked_for: str | None) -> ClusterRecord:
        """What the cluster that is meant has written about itself."""
        return ClusterRecord.read(self.run_directory(asked_for).record)


def session_of(context: typer.Context) -> Session:
    """The session that a verb was typed in."""
    session = context.obj
    assert isinstance(session, Session), "verbs are run through `carry_out`"
    return session


def completed(arguments: Sequence[str]) -> list[str]:
    """The command line with the verb `up` put where it was left out."""
    first = arguments[0] if arguments else ""
    implied = first.startswith("-") and first not in _OF_THE_APP
    return ["up", *arguments] if implied else list(arguments)


def carry_out(arguments: Sequence[str], session: Session) -> int:
    """Run one verb; its exit code, all that there is to say having been said."""
    try:
        app(args=list(arguments), obj=session, prog_name="launcher.py")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitCode.FAILURE if ended.code else ExitCode.OK
    except VerbFailed as failure:
        say(f"error: {failure}", "red")
        return failure.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read this has enough; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return ExitCode.OK


def out(text: str) -> None:
    """Data, for programs as for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str, *styles: str) -> None:
    """Words about the data."""
    sys.stderr.write(Paint(wants_colour(sys.stderr))(text, *styles) + "\n")
    sys.stderr.flush()


def paint() -> Paint:
    """Colours for what goes to stdout, where it takes any."""
    return Paint(wants_colour(sys.stdout))
