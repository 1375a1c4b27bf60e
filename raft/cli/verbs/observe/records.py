"""The verbs that show records: report, events, logs.

Owns their command lines, and following files while the cluster runs. Of a cluster with a launcher they only
read files, so they need no answer from a process; nodes without one are asked, see `raft.cli.remote_records`.
"""

from __future__ import annotations

import contextlib
import enum
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from msgspec import Struct

from raft.cli import options
from raft.cli.app import OBSERVE, Session, app, out, paint, session_of
from raft.cli.terminal import completion
from raft.cli.views import event_line, log_line, report_table
from raft.cluster.failures import BadUsage, NoLeader, Unreachable
from raft.cluster.records.events import Event, EventReader, encode_event, kind_of, nodes_of, read_events
from raft.cluster.records.logs import ClusterLogs, LogFilter, LogLine, log_filter
from raft.cluster.records.node_events import begins_at, report_told
from raft.cluster.records.report import encode_report, leader_report
from raft.cluster.records.timestamps import Stamp, TimeStyle, stamp_for, wall_now, wall_seconds
from raft.cluster.rundir import RunDirectory
from raft.cluster.selectors import SelectionScope, select
from raft.cluster.spec import ClusterRecord
from raft.protocol.records import EVENT_KINDS

if TYPE_CHECKING:
    from raft.cli.remote_records import Heard, RemoteRecords

FOLLOW_SECONDS = 0.05
TOLD_SECONDS = 0.3  # Between two questions to nodes,
ANSWER_SECONDS = 1.0  # which have so long for an answer.

Shown = TypeVar("Shown")

Since = Annotated[
    float | None,
    options.duration_option(help="Not older than this, for example 10s.", zero=True),
]
Last = Annotated[int | None, typer.Option("-n", "--tail", metavar="N", min=0, help="Only the last N lines.")]


class LogFormat(enum.StrEnum):
    """How log lines are written."""

    PRETTY = "pretty"
    RAW = "raw"
    JSON = "json"


class EventFilter(Struct, frozen=True):
    """Which events to show; None means no condition."""

    since: float | None = None  # On the wall clock.
    nodes: frozenset[int] | None = None
    kinds: frozenset[str] | None = None

    def wants(self, event: Event) -> bool:
        """Does this event meet every condition?"""
        if self.since is not None and event.wall and wall_seconds(event.wall) < self.since:
            return False
        if self.nodes is not None and not self.nodes & nodes_of(event):
            return False
        return self.kinds is None or kind_of(event) in self.kinds


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py report -o json")
def report(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    time_style: options.Time = TimeStyle.ELAPSED,
    cluster: options.Cluster = None,
) -> None:
    """All leaders so far: when and for how long, their votes, and why they ended.

    With --endpoints, as far back as the nodes remember.
    """
    session = session_of(context)
    if session.is_remote(cluster):
        _report_told(session, output, _style(context, time_style))
        return
    record = session.record(cluster)
    so_far = read(record)
    found = leader_report(so_far, time.monotonic() - record.started_seconds)
    if output is options.Format.JSON:
        out(encode_report(found).decode())
    else:
        out(report_table(found, paint(), stamp_for(time_style, so_far)))


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py events -f -o jsonl")
def events(
    context: typer.Context,
    follow: options.Follow = False,
    since: Since = None,
    last: Last = None,
    node: Annotated[
        str | None,
        typer.Option(
            metavar="SELECTOR",
            parser=options.selector,
            autocompletion=completion.selectors,
            help="Only events of these nodes.",
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            autocompletion=completion.event_kinds,
            help="Only these kinds, for example leader-elected; repeatable.",
        ),
    ] = None,
    output: options.Lines = options.LineFormat.LINE,
    time_style: options.Time = TimeStyle.ELAPSED,
    cluster: options.Cluster = None,
) -> None:
    """The events so far: leaders, processes, faults; for a durable cluster also those of earlier runs.

    With --endpoints, the last events of each node, votes among them, merged by the wall clock.
    """
    session = session_of(context)
    _refuse_follow(follow and session.at_prompt)
    if session.is_remote(cluster):
        kinds = options.event_kinds(kind, EVENT_KINDS)
        lines = log_filter(None, None, since)
        shown = LogFormat.JSON if output is options.LineFormat.JSONL else LogFormat.PRETTY
        told = ToldRecords(
            session,
            node or "all",
            log=False,
            wanted=lambda line: lines.wants(line) and (not kinds or line.event in kinds),
        )
        told.show(last, follow, shown, _style(context, time_style))
        return
    run_directory = session.run_directory(cluster)
    record = ClusterRecord.read(run_directory.record)
    stamp = _stamp(record, time_style)
    chosen = None if node is None else frozenset(chosen_by_files(node, record))
    wanted = EventFilter(None if since is None else stamp.now - since, chosen, options.event_kinds(kind))
    try:
        reader = EventReader(Path(record.events), all_runs=True)
    except OSError as error:
        raise Unreachable(f"{record.events} cannot be read: {error.strerror}") from error
    _show_events(_ends_of(filter(wanted.wants, reader.new()), last), output, stamp)
    while follow and _goes_on(run_directory):
        _show_events(filter(wanted.wants, reader.new()), output, stamp)
    if follow:  # Events written in the cluster's last moment.
        _show_events(filter(wanted.wants, reader.new()), output, stamp)


@app.command(
    rich_help_panel=OBSERVE, epilog="Example: launcher.py logs -f leader --level warning --grep 'term 4'"
)
def logs(
    context: typer.Context,
    selectors: Annotated[
        list[str] | None,
        options.selector_argument("SELECTOR...", "Of these nodes; by default all. -f follows a role."),
    ] = None,
    follow: options.Follow = False,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="This level and above, for example warning.")
    ] = None,
    grep: Annotated[str | None, typer.Option(metavar="RE", help="Only lines that match.")] = None,
    exclude: Annotated[str | None, typer.Option(metavar="RE", help="No lines that match.")] = None,
    since: Since = None,
    last: Last = None,
    output: Annotated[
        LogFormat,
        options.output_option(LogFormat, "Formatted lines, lines as written, or JSON with all fields."),
    ] = LogFormat.PRETTY,
    time_style: options.Time = TimeStyle.ELAPSED,
    cluster: options.Cluster = None,
) -> None:
    """The nodes' logs, merged by time. With --endpoints, the last lines of each that the node remembers."""
    session = session_of(context)
    _refuse_follow(follow and session.at_prompt)
    wanted = log_filter(level, grep, since, exclude)
    selector = ",".join(selectors or ["all"])
    if session.is_remote(cluster):
        told = ToldRecords(session, selector, log=True, wanted=wanted.wants)
        told.show(last, follow, output, _style(context, time_style))
        return
    run_directory = session.run_directory(cluster)
    record = ClusterRecord.read(run_directory.record)
    followed = FollowedLogs(selector, record, wanted)
    stamp = _stamp(record, time_style)
    _show_logs(followed.history(last), output, stamp)
    while follow and _goes_on(run_directory):
        _show_logs(followed.arrived(), output, stamp)
    if follow:
        _show_logs(followed.arrived(), output, stamp)


class FollowedLogs:
    """The lines of the selected nodes; the selector is evaluated repeatedly.

    `leader` is a role, not a node.
    """

    def __init__(self, selector: str, record: ClusterRecord, wanted: LogFilter) -> None:
        self._selector = selector
        self._record = record
        self._wanted = wanted
        self._logs = ClusterLogs(Path(record.log_dir))
        self._nodes = chosen_by_files(selector, record)
        self._roles = {"leader"} & set(selector.split(","))

    def history(self, last: int | None) -> Iterable[LogLine]:
        """All lines so far, or only the `last` ones."""
        return _ends_of(filter(self._is_of_interest, self._logs.history()), last)

    def arrived(self) -> list[LogLine]:
        """The lines written since the last call, by time."""
        lines = self._logs.arrived()
        if "random" not in self._selector:
            # Between two leaders, and when the cluster has ended, continue with the former one.
            with contextlib.suppress(NoLeader, Unreachable):
                self._nodes = chosen_by_files(self._selector, self._record)
        return [line for line in lines if self._is_of_interest(line)]

    def close(self) -> None:
        """Close the files."""
        self._logs.close()

    def _is_of_interest(self, line: LogLine) -> bool:
        # A new leader's first lines are written before the launcher knows of it.
        return (line.node in self._nodes or line.role in self._roles) and self._wanted.wants(line)


class ToldRecords:
    """What the selected nodes tell, without a launcher; that a node does not answer is always shown."""

    def __init__(
        self, session: Session, selector: str, *, log: bool, wanted: Callable[[LogLine], bool]
    ) -> None:
        self._session = session
        self._selector = selector
        self._log = log
        self._wanted = wanted
        self._nodes: list[int] = []

    def show(self, last: int | None, follow: bool, output: LogFormat, style: TimeStyle) -> None:
        """Show what they remember, or the `last` lines of it; then what follows, until Ctrl-C."""
        from raft.cli.remote_records import RemoteRecords

        with RemoteRecords(self._session.remote_cluster(), log=self._log) as records:
            heard = records.look()
            lines = self._chosen(records, heard)
            zero = min((line.moment for line in lines if line.time), default=0.0)
            stamp = Stamp(style, zero, wall_now())
            _show_logs([*_ends_of(lines, last), *heard.remarks], output, stamp)
            while follow:
                time.sleep(TOLD_SECONDS)
                heard = records.look(ANSWER_SECONDS)
                _show_logs([*self._chosen(records, heard), *heard.remarks], output, stamp)
                if heard.members_changed:
                    with contextlib.suppress(Unreachable):
                        records.learn_members()

    def _chosen(self, records: RemoteRecords, heard: Heard) -> list[LogLine]:
        scope = SelectionScope(records.members, records.members, records.leader)
        try:
            self._nodes = self._nodes if self._is_drawn else select(self._selector, scope, random.Random())
        except NoLeader:  # Between two leaders, continue with the former one.
            if not self._nodes:
                raise
        return [line for line in heard.merged() if line.node in self._nodes and self._wanted(line)]

    @property
    def _is_drawn(self) -> bool:
        return bool(self._nodes) and "random" in self._selector


def _report_told(session: Session, output: options.Format, style: TimeStyle) -> None:
    from raft.cli.remote_records import RemoteRecords

    with RemoteRecords(session.remote_cluster(), log=False) as records:
        heard = records.look()
        now = wall_now()
        found = report_told(heard.events, now, leader=records.leader, unreachable=records.unreachable)
    if output is options.Format.JSON:
        out(encode_report(found).decode())
        return
    stamp = Stamp(style, begins_at(heard.events), now)
    out(report_table(found, paint(), stamp))
    _show_logs(heard.remarks, LogFormat.PRETTY, stamp)


def _style(context: typer.Context, style: TimeStyle) -> TimeStyle:
    """Several hosts have only the wall clock in common: it is shown unless something else is wanted."""
    source = context.get_parameter_source("time_style")
    return TimeStyle.WALL if source is None or source.name == "DEFAULT" else style


def chosen_by_files(selector: str, record: ClusterRecord) -> list[int]:
    """The selected nodes according to files, including nodes that have left: their logs are kept."""
    members = {node.id for node in record.nodes}
    everyone = tuple(sorted(members | ClusterLogs.nodes_in(Path(record.log_dir))))
    leaderships = leader_report(read(record), 0.0).leaders
    leads = leaderships[-1].node if leaderships and leaderships[-1].ended is None else 0
    return select(selector, SelectionScope(everyone, everyone, leads), random.Random())


def read(record: ClusterRecord) -> list[Event]:
    """The events of the present run; raises Unreachable."""
    try:
        return read_events(Path(record.events))
    except OSError as error:
        raise Unreachable(f"{record.events} cannot be read: {error.strerror}") from error


def _stamp(record: ClusterRecord, style: TimeStyle) -> Stamp:
    return stamp_for(style, read(record))


def _ends_of(found: Iterable[Shown], last: int | None) -> Iterable[Shown]:
    return found if last is None else deque(found, maxlen=last)


def _show_events(new: Iterable[Event], output: options.LineFormat, stamp: Stamp) -> None:
    colours = paint()
    for event in new:
        out(
            encode_event(event).decode()
            if output is options.LineFormat.JSONL
            else event_line(event, colours, stamp)
        )


def _show_logs(lines: Iterable[LogLine], output: LogFormat, stamp: Stamp) -> None:
    colours = paint()
    for line in lines:
        if output is LogFormat.PRETTY:
            out(log_line(line, colours, stamp))
        elif output is LogFormat.JSON:
            out(line.as_json())
        else:
            out(options.for_terminal(line.raw))


def _goes_on(run_directory: RunDirectory) -> bool:
    """Wait a moment; False once the cluster has ended."""
    time.sleep(FOLLOW_SECONDS)
    return run_directory.record.exists()


def _refuse_follow(refused: bool) -> None:
    if refused:
        raise BadUsage("the prompt shows events as they happen; -f is for another terminal")
