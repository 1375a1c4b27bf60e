"""The verbs that only observe nodes: status, leader, wal.

Owns their command lines. Events, logs and the report are in records.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from raft.cli import options
from raft.cli.app import OBSERVE, Session, app, note, out, out_json, paint, session_of
from raft.cli.terminal import completion
from raft.cli.views import record_line, status_table, wants_colour
from raft.cluster.failures import BadUsage, Unreachable, VerbFailed
from raft.cluster.rpc import messages
from raft.cluster.selectors import check_selector

if TYPE_CHECKING:
    from raft.cli.remote import RemoteCluster
    from raft.cluster.rpc.launcher_client import Launcher

WATCH_SECONDS = 1.0
FOLLOW_SECONDS = 0.05
_SCREEN_ON, _SCREEN_OFF = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _ERASE_RIGHT, _ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py status -o json")
def status(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeatedly, until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        options.duration_option(help="Between two updates of --watch.", shown="1s"),
    ] = WATCH_SECONDS,
    cluster: options.Cluster = None,
) -> None:
    """The state of every node, and whether a quorum of them hear each other."""
    session = session_of(context)
    if watch and session.at_prompt:
        raise BadUsage("at the prompt, type `status` again; -w is for another terminal")
    by_nodes = session.is_remote(cluster)
    with session.launcher(cluster) as launcher:
        if not watch:
            out(_status(launcher, output, by_nodes))
            return
        on_screen = output is options.Format.TABLE and wants_colour(sys.stdout)
        with _alternate_screen() if on_screen else contextlib.nullcontext():
            while True:
                text = _status(launcher, output, by_nodes)
                out(_frame(text) if on_screen else text)
                time.sleep(interval)


def _status(launcher: Launcher | RemoteCluster, output: options.Format, by_nodes: bool) -> str:
    seen = launcher.ask(messages.GetClusterStatus(), messages.ClusterStatus)
    if output is options.Format.JSON:
        return msgspec.json.encode(seen).decode()
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return status_table(seen, paint(), columns, by_nodes=by_nodes)


def _frame(text: str) -> str:
    """A text under a clock, replacing the previous one; lines that do not fit are omitted."""
    lines = [time.strftime("%H:%M:%S"), *text.splitlines()][: shutil.get_terminal_size().lines - 1]
    return _HOME + "\n".join(line + _ERASE_RIGHT for line in lines) + _ERASE_BELOW


@contextlib.contextmanager
def _alternate_screen() -> Iterator[None]:
    """Use the terminal's alternate screen, and restore the normal one, however this ends or is stopped."""

    def end(number: int, _frame: object) -> None:
        raise typer.Exit(128 + number)

    def stop(number: int, _frame: object) -> None:
        # Not by `out`, in the midst of which this may be called.
        os.write(sys.stdout.fileno(), _SCREEN_OFF.encode() + b"\n")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # Returns when the shell lets this process continue.
        signal.signal(number, stop)
        os.write(sys.stdout.fileno(), _SCREEN_ON.encode())

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
        before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, stop)
    try:
        out(_SCREEN_ON)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        with contextlib.suppress(typer.Exit, VerbFailed):
            out(_SCREEN_OFF)


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py leader --wait 5s")
def leader(
    context: typer.Context,
    wait: Annotated[
        float,
        options.duration_option(help="Wait this long for one.", zero=True),
    ] = 0.0,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """The leader's id; exit 3 when there is none."""
    until = time.monotonic() + wait
    with _launcher_in_time(session_of(context), cluster, until) as launcher:
        left_seconds = max(until - time.monotonic(), 0.0)
        verb = messages.GetLeader(left_seconds)
        found = launcher.ask(verb, messages.LeaderAnswer, timeout_seconds=left_seconds + 5.0)
    if output is options.Format.JSON:
        out_json(leader=found.leader, term=found.term)
    else:
        out(str(found.leader))


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py wal leader, or: wal ./data/n1")
def wal(
    context: typer.Context,
    where: Annotated[
        str,
        typer.Argument(
            metavar="SELECTOR|PATH",
            autocompletion=completion.selectors,
            help="Nodes, also stopped ones, or a data directory.",
        ),
    ],
    output: options.Lines = options.LineFormat.LINE,
    cluster: options.Cluster = None,
) -> None:
    """Every record of a log, damaged ones too."""
    from raft.storage.dump import dump  # Here, since only this verb reads logs.

    for directory in _logs_at(where, session_of(context), cluster):
        note(context, f"{directory}", "bold")
        try:
            for record in dump(directory):
                if output is options.LineFormat.JSONL:
                    out_json(**msgspec.structs.asdict(record))
                else:
                    out(record_line(record, paint()))
        except OSError as error:
            raise VerbFailed(f"{directory} cannot be read: {error.strerror}") from error


def _logs_at(where: str, session: Session, cluster: str | None) -> list[Path]:
    if os.sep in where or where.startswith("."):
        return [Path(where)]
    from raft.cli.verbs.observe.records import chosen_by_files

    record = session.record(cluster)
    chosen = chosen_by_files(check_selector(where), record)
    return [Path(record.data_dir) / f"n{node}" for node in chosen]


def _launcher_in_time(session: Session, cluster: str | None, until: float) -> Launcher | RemoteCluster:
    """Also waits for a cluster that is just being started."""
    while True:
        try:
            return session.launcher(cluster)
        except Unreachable:
            if time.monotonic() >= until:
                raise
        time.sleep(FOLLOW_SECONDS)
