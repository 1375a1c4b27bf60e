"""The verbs that only look: status, leader, report, events, logs.

Owns their command lines. What files tell (events, logs, report) is read from files, so that it
needs no answer from anybody.
"""

from __future__ import annotations

import enum
import os
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from raft.cluster import verbs
from raft.cluster.cli import options
from raft.cluster.cli.app import LOOK, Session, app, out, paint, say, session_of
from raft.cluster.events import Event, EventReader, encode_event, read_events
from raft.cluster.failures import BadUsage, Unreachable, VerbFailed
from raft.cluster.logs import LogLine, NodeLog, arrived, log_filter, merged
from raft.cluster.report import encode_report, leader_report
from raft.cluster.rundir import RunDirectory
from raft.cluster.selectors import Picture, check_selector, select
from raft.cluster.spec import ClusterRecord
from raft.cluster.views import event_line, log_line, record_line, report_table, status_table, wants_colour

if TYPE_CHECKING:
    from raft.cluster.asking import Launcher

WATCH_SECONDS = 1.0
FOLLOW_SECONDS = 0.05
_CLEAR_SCREEN = "\x1b[H\x1b[J"


class LineFormat(enum.StrEnum):
    """How events are written."""

    LINE = "line"
    JSONL = "jsonl"


class LogFormat(enum.StrEnum):
    """How log lines are written."""

    PRETTY = "pretty"
    RAW = "raw"
    JSON = "json"


@app.command(rich_help_panel=LOOK, epilog="Example: launcher.py status -o json")
def status(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second.")] = False,
    cluster: options.Cluster = None,
) -> None:
    """Every node at one glance: role, term, log, contact, cost, faults."""
    session = session_of(context)
    if watch and session.at_prompt:
        raise BadUsage("at the prompt, type `status` again; -w is for another terminal")
    with session.launcher(cluster) as launcher:
        while True:
            seen = launcher.ask(verbs.GetClusterStatus(), verbs.ClusterStatus)
            if output is options.Format.JSON:
                text = msgspec.json.encode(seen).decode()
            else:
                text = status_table(seen, paint())
            out(_CLEAR_SCREEN + text if watch and wants_colour(sys.stdout) else text)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


@app.command(rich_help_panel=LOOK, epilog="Example: launcher.py leader --wait 5s")
def leader(
    context: typer.Context,
    wait: Annotated[
        float, typer.Option(metavar="DURATION", parser=options.duration, help="Wait for one so long.")
    ] = 0.0,
    cluster: options.Cluster = None,
) -> None:
    """The leader's id; exit 3 when there is none."""
    until = time.monotonic() + wait
    with _launcher_in_time(session_of(context), cluster, until) as launcher:
        left_seconds = max(until - time.monotonic(), 0.0)
        verb = verbs.GetLeader(left_seconds)
        found = launcher.ask(verb, verbs.LeaderAnswer, timeout_seconds=left_seconds + 5.0)
    out(str(found.leader))


@app.command(rich_help_panel=LOOK, epilog="Example: launcher.py report -o json")
def report(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """All leaders so far: when, for how long, by how many votes, and why they ended."""
    record = session_of(context).record(cluster)
    found = leader_report(_read(record), time.monotonic() - record.started_seconds)
    out(encode_report(found).decode() if output is options.Format.JSON else report_table(found, paint()))


@app.command(rich_help_panel=LOOK, epilog="Example: launcher.py events -f -o jsonl")
def events(
    context: typer.Context,
    follow: options.Follow = False,
    output: Annotated[
        LineFormat, typer.Option("--output", "-o", help="Lines to read, or JSON.")
    ] = LineFormat.LINE,
    cluster: options.Cluster = None,
) -> None:
    """What has happened since the cluster started: leaders, processes, faults."""
    session = session_of(context)
    _refuse_follow(follow and session.at_prompt)
    run_directory = session.run_directory(cluster)
    record = ClusterRecord.read(run_directory.record)
    if not follow:
        _show_events(_read(record), output)
        return
    reader = EventReader(Path(record.events))
    _show_events(reader.new(), output)
    while _goes_on(run_directory):
        _show_events(reader.new(), output)


@app.command(
    rich_help_panel=LOOK, epilog="Example: launcher.py logs -f leader --level warning --grep 'term 4'"
)
def logs(
    context: typer.Context,
    selector: Annotated[
        str, typer.Argument(metavar="SELECTOR", parser=options.selector, help="Whose; all, if not given.")
    ] = "all",
    follow: options.Follow = False,
    level: Annotated[str | None, typer.Option(help="This level and above, as in warning.")] = None,
    grep: Annotated[str | None, typer.Option(metavar="RE", help="Lines whose words match.")] = None,
    since: Annotated[
        float | None,
        typer.Option(metavar="DURATION", parser=options.duration, help="Not older than so long, as in 10s."),
    ] = None,
    last: Annotated[int | None, typer.Option("-n", min=0, help="Only the last lines, so many.")] = None,
    output: Annotated[LogFormat, typer.Option("--output", "-o")] = LogFormat.PRETTY,
    cluster: options.Cluster = None,
) -> None:
    """The nodes' logs, merged by time."""
    session = session_of(context)
    _refuse_follow(follow and session.at_prompt)
    wanted = log_filter(level, grep, since)
    run_directory = session.run_directory(cluster)
    record = ClusterRecord.read(run_directory.record)
    chosen = _chosen(selector, record)
    files = [NodeLog(Path(node.log), node.id) for node in record.nodes if node.id in chosen]
    _show_logs(merged(files, wanted, last), output)
    while follow and _goes_on(run_directory):
        _show_logs(arrived(files, wanted), output)


@app.command(rich_help_panel=LOOK, epilog="Example: launcher.py wal leader, or: wal ./data/n1")
def wal(
    context: typer.Context,
    where: Annotated[
        str, typer.Argument(metavar="SELECTOR|PATH", help="Nodes, also stopped ones, or a data directory.")
    ],
    output: Annotated[
        LineFormat, typer.Option("--output", "-o", help="Lines to read, or JSON.")
    ] = LineFormat.LINE,
    cluster: options.Cluster = None,
) -> None:
    """Every record of a log, damaged ones too."""
    from raft.storage.dump import dump  # Here, since this verb alone reads logs.

    for directory in _logs_at(where, session_of(context), cluster):
        say(f"{directory}", "bold")
        try:
            for record in dump(directory):
                found = msgspec.json.encode(record).decode()
                out(found if output is LineFormat.JSONL else record_line(record, paint()))
        except BrokenPipeError:
            raise  # Of whoever reads this, not of the log.
        except OSError as error:
            raise VerbFailed(f"{directory} cannot be read: {error.strerror}") from error


def _logs_at(where: str, session: Session, cluster: str | None) -> list[Path]:
    if os.sep in where or where.startswith("."):
        return [Path(where)]
    record = session.record(cluster)
    chosen = _chosen(check_selector(where), record)
    return [Path(record.data_dir) / f"n{node}" for node in chosen]


def _launcher_in_time(session: Session, cluster: str | None, until: float) -> Launcher:
    """A cluster that is being started at this moment is worth the wait, too."""
    while True:
        try:
            return session.launcher(cluster)
        except Unreachable:
            if time.monotonic() >= until:
                raise
        time.sleep(FOLLOW_SECONDS)


def _chosen(selector: str, record: ClusterRecord) -> list[int]:
    """Nodes by what files tell: who leads is in the events, who runs does not matter for old lines."""
    everyone = tuple(node.id for node in record.nodes)
    leaderships = leader_report(_read(record), 0.0).leaders
    leads = leaderships[-1].node if leaderships and leaderships[-1].ended is None else 0
    return select(selector, Picture(everyone, everyone, leads), random.Random())


def _read(record: ClusterRecord) -> list[Event]:
    try:
        return read_events(Path(record.events))
    except OSError as error:
        raise Unreachable(f"{record.events} cannot be read: {error.strerror}") from error


def _show_events(new: Iterable[Event], output: LineFormat) -> None:
    colours = paint()
    for event in new:
        out(encode_event(event).decode() if output is LineFormat.JSONL else event_line(event, colours))


def _show_logs(lines: Iterable[LogLine], output: LogFormat) -> None:
    colours = paint()
    for line in lines:
        if output is LogFormat.PRETTY:
            out(log_line(line, colours))
        elif output is LogFormat.JSON:
            out(line.as_json())
        else:
            out(line.raw)


def _goes_on(run_directory: RunDirectory) -> bool:
    """Wait a moment; False once the cluster has ended."""
    time.sleep(FOLLOW_SECONDS)
    return run_directory.record.exists()


def _refuse_follow(refused: bool) -> None:
    if refused:
        raise BadUsage("the prompt shows events as they happen; -f is for another terminal")
