"""The application that all verbs belong to, and the one place where an error becomes an exit code.

Owns how a command line is completed (`--nodes 5` means `up --nodes 5`), run, and how its errors are
reported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import msgspec
import typer
from msgspec import Struct

from raft.cli.options import Format
from raft.cli.terminal.output import READER_GONE, discard_output
from raft.cli.terminal.output import out as out
from raft.cli.verb import PROGRAM, Verbs
from raft.cli.views import Paint, wants_colour
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed
from raft.cluster.rundir import RunDirectory, called_as, find
from raft.cluster.spec import ClusterRecord

if TYPE_CHECKING:
    from raft.cli.remote import RemoteCluster, Target
    from raft.cluster.rpc.launcher_client import Launcher

Told = TypeVar("Told")

# Raised by typer for an invalid command line: a class of click's, of which typer may have its own copy.
_UsageError = cast(type[Exception], typer.BadParameter.__base__)
OBSERVE, FAULTS, LEADERSHIP, STORE, CLUSTER = "Observe", "Faults", "Leadership", "Store", "Cluster"
_OF_THE_APP = {"--help", "-h", "--version"}
INTERRUPTED = 128 + signal.SIGINT
_GROUPS = {"member", "lease", "check", "backup", "keys", "render", "actors"}
_ON_KEYS = {"make", "add", "rotate", "retire", "remove", "list"}

app = Verbs(
    name=PROGRAM,
    help="A Raft cluster of real processes on this machine: start it, observe it, inject faults into it.",
    epilog="Example: launcher.py --nodes 5, then in another terminal: launcher.py kill leader",
    pretty_exceptions_enable=False,
    add_completion=False,  # The verb `completion` serves `python launcher.py`, too.
    # With it, help and usage errors would be bold and dim even where no colours are wanted.
    rich_markup_mode=None if "NO_COLOR" in os.environ else "rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from raft.version import VERSION

        out(f"raft-actors {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    del version


class Remote(Struct, frozen=True):
    """Nodes that were named instead of a launcher's cluster, as typed; see `target`."""

    endpoints: str = ""
    keys: str = ""
    cluster: str = ""

    def target(self) -> Target:
        """What that means. Raises BadUsage."""
        from actors.transport.endpoints import EndpointError, check_target
        from raft.cli.options import endpoints
        from raft.cli.remote import Target

        at = endpoints(self.endpoints)
        for endpoint in at.values():
            try:
                check_target(endpoint, has_keys=bool(self.keys))
            except EndpointError as error:
                raise BadUsage(str(error)) from None
        return Target(endpoints=at, cluster=self.cluster or "default", keys=self.keys or None)


class Session(Struct, frozen=True):
    """Where a verb was typed: at a shell, or at the prompt of the launcher of `cluster`."""

    cluster: str | None = None
    fork_server: Any = None  # Started before everything else, only for `up`.
    started_seconds: float = 0.0
    ready_fd: int = -1  # Of a detached `up`: the waiting command exits when this is written.
    quiet: bool = False
    remote: Remote = Remote()

    @property
    def at_prompt(self) -> bool:
        """At the prompt, verbs that would follow without end are refused: events are shown there anyway."""
        return self.cluster is not None

    def run_directory(self, asked_for: str | None) -> RunDirectory:
        """The cluster that is meant, if it has a launcher."""
        if self.is_remote(asked_for):
            raise VerbFailed("this verb reads what a launcher has written, and no launcher runs these nodes")
        return find(asked_for or self.cluster)

    def is_remote(self, asked_for: str | None) -> bool:
        """Are nodes meant that were named by their endpoints?"""
        return asked_for is None and bool(self.remote.endpoints)

    def target(self, asked_for: str | None) -> Target:
        """Where the nodes of the cluster that is meant are, whether a launcher runs them or not."""
        from raft.cli.remote import Target

        if self.is_remote(asked_for):
            return self.remote.target()
        record = ClusterRecord.read(self.run_directory(asked_for).record)
        at = {node.id: node.endpoint for node in record.nodes}
        return Target(endpoints=at, cluster=record.cluster, keys=record.keys or None, name=record.name)

    def launcher(self, asked_for: str | None) -> Launcher | RemoteCluster:
        """A conversation with the launcher of the cluster that is meant, or with its nodes instead."""
        if self.is_remote(asked_for):
            return self.remote_cluster()
        from raft.cluster.rpc.launcher_client import (
            Launcher,  # Here, since verbs that read files need no sockets.
        )

        return Launcher(self.run_directory(asked_for))

    def remote_cluster(self) -> RemoteCluster:
        """The nodes that were named by their endpoints."""
        from raft.cli.connection import verb_failed
        from raft.cli.remote import RemoteCluster

        return RemoteCluster(self.remote.target(), verb_failed)

    def record(self, asked_for: str | None) -> ClusterRecord:
        """What the cluster that is meant has written about itself, if it has a launcher."""
        return ClusterRecord.read(self.run_directory(asked_for).record)


def session_of(context: typer.Context) -> Session:
    """The session in which a verb was typed."""
    session = context.obj
    assert isinstance(session, Session), "verbs are run through `run_verb`"
    return session


def completed(arguments: Sequence[str]) -> list[str]:
    """The command line with an omitted verb `up` added, and `--cluster` moved after the verb."""
    before, rest = cluster_before_verb(arguments)
    if before and (not rest or rest[0].startswith("-")):
        raise BadUsage("--cluster NAME is followed by a verb; a new cluster's name is --name NAME")
    first = rest[0] if rest else ""
    if first.startswith("-") and first not in _OF_THE_APP:
        return ["up", *_with_port(rest)]
    if first == "up":
        return _with_port(rest)
    if first == "keys" and len(rest) > 1 and not rest[1].startswith("-") and rest[1] not in _ON_KEYS:
        rest = ["keys", "make", *rest[1:]]  # The form from before the other verbs on keys.
    # After the last word of the verb's name, but before its arguments, of which some take all the rest.
    words = 2 if first in _GROUPS else 1
    return [*rest[:words], *before, *rest[words:]]


def _with_port(words: list[str]) -> list[str]:
    """`up --web` without a port means any that is free."""
    if "--web" not in words:
        return words
    after = words.index("--web") + 1
    if after < len(words) and not words[after].startswith("-"):
        return words
    return [*words[:after], "0", *words[after:]]


def cluster_before_verb(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split off `--cluster NAME` before the verb, if there is one, from the rest of the command line."""
    words = list(arguments)
    if words and words[0] == "--cluster":
        return words[:2], words[2:]
    if words and words[0].startswith("--cluster="):
        return words[:1], words[1:]
    return [], words


def run_verb(arguments: Sequence[str], session: Session) -> int:
    """Run one verb and report its errors; returns its exit code."""
    try:
        with _interruptible():
            # At the prompt an error is reported in one line, without the usage.
            code = app(
                args=completed(arguments),
                obj=session,
                prog_name=_program(),
                standalone_mode=not session.at_prompt,
            )
            return code if isinstance(code, int) else ExitCode.OK
    except _UsageError as error:
        say(f"error: {_short(error)}", "red")
        return ExitCode.USAGE
    except SystemExit as ended:
        # Typer writes help and usage errors itself, and ends with 1 when their reader has gone.
        if isinstance(ended.__context__, BrokenPipeError):
            return _reader_gone(ended.__context__)
        if ended.code == INTERRUPTED and not session.at_prompt:
            _suppress_unraisable()
        return ended.code if isinstance(ended.code, int) else ExitCode.FAILURE if ended.code else ExitCode.OK
    except VerbFailed as failure:
        say(f"error: {failure}", "red")
        return failure.exit_code
    except KeyboardInterrupt:
        if not session.at_prompt:
            _suppress_unraisable()
        return INTERRUPTED
    except BrokenPipeError as error:
        return _reader_gone(error)
    except OSError as error:
        say(f"error: {_of_the_system(error, arguments)}", "red")
        return ExitCode.FAILURE


def _of_the_system(error: OSError, arguments: Sequence[str]) -> str:
    """What the operating system has refused, of which no verb knows more."""
    if not arguments or {"--help", "-h"} & set(arguments):
        discard_output()  # Help is written by typer itself.
        return f"standard output cannot be written: {error.strerror}"
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # Of a relative path.
        return "the directory in which this was typed does not exist any more"
    return error.strerror or str(error)


def _reader_gone(error: BrokenPipeError) -> int:
    """The exit code when nothing reads the help or the usage error that typer writes."""
    discard_output()
    return ExitCode.USAGE if isinstance(error.__context__, _UsageError) else READER_GONE


def _suppress_unraisable() -> None:
    """Suppress the complaints of a half-made event loop, which Ctrl-C may leave, when it is collected."""
    sys.unraisablehook = lambda _complaint: None
    warnings.simplefilter("ignore")


def _program() -> str:
    """The name by which this program was called."""
    return called_as().split()[-1]


def _short(error: Any) -> str:
    """A usage error in one line, and where to read more."""
    context = error.ctx
    verb = context.info_name if context is not None and context.parent is not None else ""
    words = " ".join(error.format_message().splitlines()[:1]) if context is not None else str(error)
    words = words or "a verb is missing"  # The group's help is shown above.
    return f"{words} (see `help{f' {verb}' if verb else ''}`)"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt meanwhile; before and afterwards it ends the process silently."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
    ):
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def out_json(**data: object) -> None:
    """Write data as one JSON object, with the version of its format."""
    try:
        text = msgspec.json.encode({"v": 1, **data}).decode()
    except UnicodeEncodeError:
        raise VerbFailed("it is done, but JSON has no words for a path with bytes that are no text") from None
    out(text)


def confirm(
    context: typer.Context, lines: Sequence[str], output: Format = Format.TABLE, /, **data: object
) -> None:
    """Report what was done: lines, which --quiet suppresses; or as JSON, with `data` beside them."""
    if output is Format.JSON:
        out_json(**(data or {"lines": lines}))
    elif not session_of(context).quiet:
        for line in lines:
            out(line)


def carry_out(
    context: typer.Context,
    cluster: str | None,
    output: Format,
    request: object,
    timeout_seconds: float | None = None,
) -> None:
    """Let the launcher, or the nodes, carry out a request, and report what was done."""
    from raft.cluster.rpc.messages import Done

    with session_of(context).launcher(cluster) as launcher:
        done = (
            launcher.ask(request, Done, timeout_seconds) if timeout_seconds else launcher.ask(request, Done)
        )
    confirm(context, done.lines, output)


def show_answer(
    context: typer.Context,
    cluster: str | None,
    output: Format,
    question: object,
    kind: type[Told],
    table: Callable[[Told, Paint], str],
) -> None:
    """Ask the launcher, or the nodes, and show the answer, which is of that kind."""
    with session_of(context).launcher(cluster) as launcher:
        told = launcher.ask(question, kind)
    out(msgspec.json.encode(told).decode() if output is Format.JSON else table(told, paint()))


def note(context: typer.Context, text: str, *styles: str) -> None:
    """Write a remark to stderr, which --quiet suppresses."""
    if not session_of(context).quiet:
        say(text, *styles)


def say(text: str, *styles: str) -> None:
    """Write a message to stderr; dropped if stderr cannot be written."""
    with contextlib.suppress(OSError):
        sys.stderr.write(styled(text, *styles) + "\n")
        sys.stderr.flush()


def styled(text: str, *styles: str) -> str:
    """A text as `say` writes it: coloured if stderr takes colours."""
    return Paint(wants_colour(sys.stderr))(text, *styles)


def paint() -> Paint:
    """Colours for stdout, if it takes them."""
    return Paint(wants_colour(sys.stdout))
