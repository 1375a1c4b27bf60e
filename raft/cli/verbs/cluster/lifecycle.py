"""The verbs that start and stop a cluster: up, down.

Owns the command line of `up` and what is printed while it runs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from actors.processes.private_files import write_private
from raft.cli import options
from raft.cli.app import CLUSTER, Session, app, confirm, paint, session_of, styled
from raft.cli.terminal.detach import detach_from_terminal
from raft.cli.terminal.printer import Printer, write_line
from raft.cli.terminal.prompt import Prompt, can_prompt
from raft.cli.views import Paint, event_line, log_line, report_table
from raft.cluster.failures import BadUsage, ExitCode, Unreachable, VerbFailed
from raft.cluster.quantities import DurationRange
from raft.cluster.records.events import ClusterReady, Event, EventReader, encode_event
from raft.cluster.records.logs import ClusterLogs
from raft.cluster.records.report import encode_report, final_report
from raft.cluster.records.timestamps import Stamp, stamp_of_run
from raft.cluster.rpc import messages
from raft.cluster.rundir import check_is_text
from raft.cluster.spec import ClusterRecord, ClusterSpec
from raft.node.snapshots.policy import ENTRIES_MAX, ENTRIES_MIN, SnapshotPolicy

if TYPE_CHECKING:
    import psutil

    from raft.cli.verbs.observe.live import PageOfLauncher, TopOfLauncher
    from raft.cluster.cluster import Cluster
    from raft.cluster.launch import Ended, RunningCluster

POLICY = SnapshotPolicy()
DOWN_SECONDS_MAX = 15.0
STDOUT, STDERR = 1, 2
METRICS_SECONDS_MAX = 1.0  # For a node's answer to a scrape.
ELECTION_TIMEOUT = DurationRange(0.250, 0.500)

Nodes = Annotated[
    int, typer.Option("--nodes", metavar="N", help="The number of nodes: 1 to 64, best 3, 5 or 7.")
]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The cluster's name.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep data here, and resume from it; by default it is deleted.",
        show_default=False,
    ),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep throw-away data for inspection.")]
Heartbeat = Annotated[
    float,
    options.duration_option(help="How often a leader sends heartbeats.", shown="50ms"),
]
ElectionTimeout = Annotated[
    DurationRange,
    typer.Option(
        metavar="MIN-MAX",
        parser=options.duration_range,
        help="How long a node waits for its leader; random in this range each time.",
        show_default="250ms-500ms",
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="For every random choice.", show_default=False)]
Duration = Annotated[
    float | None,
    options.duration_option(help="Stop after this time."),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE", help="Write the final report here, as JSON.", show_default=False
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return when there is a leader; end it with `down`.")]
Logs = Annotated[bool, typer.Option("--logs", help="The nodes' logs on stdout, too.")]
Machine = Annotated[
    str | None,
    typer.Option(metavar="MODULE:CLASS", help="A custom state machine.", show_default=False),
]
Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Trace every event in the cores, for a model checker.", show_default=False
    ),
]
Tune = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A parameter of the cores; repeatable.", show_default=False),
]
SnapshotEntries = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="A node takes a snapshot after this many entries; 0: no limit. Without: when the log has more "
        f"bytes than the last one, after {ENTRIES_MIN:,} to {ENTRIES_MAX:,} entries.",
        show_default=False,
    ),
]
SnapshotBytes = Annotated[
    int, typer.Option(metavar="N", min=0, help="Or after this many bytes of commands; 0: no limit.")
]
KeepEntries = Annotated[
    int, typer.Option(metavar="N", min=0, help="Entries that stay in the log behind a snapshot.")
]
NoPreVote = Annotated[bool, typer.Option("--no-pre-vote", help="Elections without a pre-vote.")]
NoCheckQuorum = Annotated[
    bool, typer.Option("--no-check-quorum", help="Leaders stay leaders without a quorum.")
]
MetricsAt = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="HOST:PORT",
        parser=options.listen_address,
        help="Serve metrics for Prometheus there.",
        show_default=False,
    ),
]
WebAt = Annotated[
    str | None,
    typer.Option(
        "--web",
        metavar="[PORT]",
        parser=options.web_address,
        help="Show the cluster in a browser; a port, or HOST:PORT for other machines.",
        show_default=False,
    ),
]
TopToo = Annotated[bool, typer.Option("--top", help="Show the cluster in this terminal; leaving ends it.")]
LeaseReads = Annotated[
    bool | None,
    typer.Option(
        "--lease-reads/--no-lease-reads",
        help="Reads rely on clocks instead of a quorum; by default where a dead leader is known to be dead.",
        show_default=False,
    ),
]
EphemeralLog = Annotated[bool, typer.Option("--ephemeral-log", help="No fsync: a power cut loses data.")]


class _UpOptions(Struct, frozen=True):
    """The options of a command line that concern the launcher only."""

    report: Path | None
    detach: bool
    logs: bool
    output: options.LineFormat
    quiet: bool
    metrics: str | None
    web: str | None
    top: bool


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py --nodes 5 --data-dir ./data")
def up(
    context: typer.Context,
    nodes: Nodes = 5,
    name: Name = "default",
    data_dir: DataDir = None,
    keep: Keep = False,
    heartbeat: Heartbeat = 0.050,
    election_timeout: ElectionTimeout = ELECTION_TIMEOUT,
    seed: Seed = None,
    duration: Duration = None,
    report: ReportFile = None,
    detach: Detach = False,
    logs: Logs = False,
    machine: Machine = None,
    trace: Trace = None,
    tune: Tune = None,
    snapshot_entries: SnapshotEntries = None,
    snapshot_bytes: SnapshotBytes = POLICY.bytes_max,
    keep_entries: KeepEntries = POLICY.entries_kept,
    no_pre_vote: NoPreVote = False,
    no_check_quorum: NoCheckQuorum = False,
    lease_reads: LeaseReads = None,
    ephemeral_log: EphemeralLog = False,
    repair: options.RepairFromPeers = False,
    metrics: MetricsAt = None,
    web: WebAt = None,
    top: TopToo = False,
    hosts: options.Hosts = "",
    output: options.Lines = options.LineFormat.LINE,
) -> None:
    """Start a cluster and run it in the foreground; Ctrl-C stops it. `up` may be left out."""
    spec = ClusterSpec(
        name=name,
        nodes=nodes,
        data_dir=None if data_dir is None else str(data_dir),
        keep=keep,
        heartbeat_seconds=heartbeat,
        election_seconds_min=election_timeout.seconds_min,
        election_seconds_max=election_timeout.seconds_max,
        seed=seed,
        machine=machine,
        trace=None if trace is None else str(trace.absolute()),
        tune=tuple(tune or ()),
        snapshots=_policy(snapshot_entries, snapshot_bytes, keep_entries),
        pre_vote=not no_pre_vote,
        check_quorum=not no_check_quorum,
        lease_reads=lease_reads,
        ephemeral_log=ephemeral_log,
        repair_from_peers=repair,
        hosts=hosts,
    )
    from raft.cluster.launch import launched  # Here, since no other verb needs it.

    session = _session_at_a_shell(context)
    spec.check()
    _check_named(machine, {"--report": report, "--trace": trace})
    with launched(spec, session.fork_server, session.started_seconds, duration) as running:
        wanted = _UpOptions(report, detach, logs, output, session.quiet, metrics, web, top)
        ended = _attend(running, session, wanted)
    raise typer.Exit(ended.exit_code)


def _session_at_a_shell(context: typer.Context) -> Session:
    session = session_of(context)
    if session.at_prompt:
        raise BadUsage("a cluster is running here; start another one from another terminal")
    return session


def _policy(entries: int | None, bytes_max: int, kept: int) -> SnapshotPolicy:
    return SnapshotPolicy(entries_max=entries, bytes_max=bytes_max, entries_kept=kept)


@contextlib.contextmanager
def _metrics_at(address: str | None, cluster: Cluster) -> Iterator[None]:
    """Serve a cluster's metrics there; raises VerbFailed if that cannot be, before a node was started."""
    if address is None:
        yield
        return
    from raft.cli.verbs.observe.metrics import (  # Here, with HTTP, as few clusters are scraped.
        listening_at,
        scraper_of,
    )
    from raft.exporter.server import ServerThread

    def endpoints() -> dict[int, str]:
        return {node.id: node.endpoint for node in cluster.record.nodes}

    record = cluster.record
    keys, name = record.keys or None, cluster.spec.name
    make = scraper_of(endpoints, record.cluster, name, keys, METRICS_SECONDS_MAX)
    with listening_at(address) as at, contextlib.closing(ServerThread(at, make)):
        yield


def _views_of(
    wanted: _UpOptions, running: RunningCluster, tell: Callable[[str], None]
) -> list[PageOfLauncher | TopOfLauncher]:
    """The live views that were asked for. Raises VerbFailed if one cannot be, before a node was started."""
    if wanted.web is None and not wanted.top:
        return []
    from raft.cli.verbs.observe.live import (  # Here, as few clusters are looked at.
        PageOfLauncher,
        TopOfLauncher,
    )

    spec, views = running.cluster.spec, list[PageOfLauncher | TopOfLauncher]()
    if wanted.top:
        views.append(TopOfLauncher(spec.name, running.end))
    if wanted.web is not None:
        # Kept with durable data, so that a page that is open goes on after a restart.
        kept_in = None if spec.data_dir is None else Path(running.record.data_dir) / "page.json"
        page = PageOfLauncher(wanted.web, spec.name, kept_in)
        tell(f"page: {page.url}")
        views.append(page)
    return views


def _attend(running: RunningCluster, session: Session, wanted: _UpOptions) -> Ended:
    """Print events until the cluster ends, then the report; the cluster never waits for a reader."""
    spec, record = running.cluster.spec, running.record
    colours = paint()
    prompt = None
    output_is_for_people = wanted.output is options.LineFormat.LINE
    if can_prompt() and not wanted.detach and not wanted.top and output_is_for_people:
        prompt = Prompt(record.name, running.end, data_is_kept=spec.keep or spec.data_dir is not None)
    printer = Printer(partial(write_line, STDOUT) if prompt is None else prompt.print)
    words = Printer(partial(write_line, STDERR))
    if spec.ephemeral_log:
        words.print(
            styled(
                "WARNING: --ephemeral-log: nothing is synced to disk; a power cut loses acknowledged writes",
                "bold",
                "red",
            )
        )
    if prompt is not None:
        words.print(
            f"starting {spec.nodes} nodes, data in {record.data_dir}; `help` lists the verbs, Ctrl-C stops"
        )

    def listener(event: Event) -> None:
        if not output_is_for_people:
            printer.print(encode_event(event).decode())
        elif not wanted.quiet and not wanted.top:  # The view shows them, and has the whole screen.
            printer.print(event_line(event, colours))
        if isinstance(event, ClusterReady):
            if wanted.detach:
                printer.close()  # From here on the verb `events` shows them.
                detach_from_terminal(session.ready_fd, running.cluster.run_directory.launcher_log)
            if prompt is not None:
                prompt.start()
            for view in views:
                view.cluster_is_up()

    if wanted.logs:
        Tail(record, printer.print, colours, stamp_of_run(session.started_seconds)).start()
    views = _views_of(wanted, running, words.print)
    try:
        with _metrics_at(wanted.metrics, running.cluster), contextlib.ExitStack() as shown:
            for view in views:
                shown.callback(view.close)
            ended = running.run(listener)
    finally:
        if prompt is not None:
            prompt.close()
    kept = record.data_dir if spec.keep and spec.data_dir is None and not wanted.quiet else ""
    report = (
        encode_report(ended.report).decode()
        if not output_is_for_people
        else report_table(ended.report, colours)
    )
    _conclude(ended, report, kept, printer, words)
    if wanted.report is not None:
        _write_report(ended, wanted.report)
    return ended


def _conclude(ended: Ended, report: str, kept: str, printer: Printer, words: Printer) -> None:
    printer.print(report)
    if not printer.close():
        words.print(f"lines omitted, since they could not be printed: {printer.left_out}")
    if ended.reason:
        words.print(styled(f"error: {ended.reason}", "bold", "red"))
    if ended.exit_code is ExitCode.VIOLATION:
        words.print(
            styled("SAFETY VIOLATION: two leaders in one term; see the events and logs", "bold", "red")
        )
    if kept:
        words.print(f"data and logs are kept in {kept}")
    words.close()


def _write_report(ended: Ended, path: Path) -> None:
    try:
        write_private(path, encode_report(ended.report) + b"\n")
    except OSError as error:
        raise VerbFailed(f"the report cannot be written to {path}: {error.strerror}") from error


def _check_named(machine: str | None, files: dict[str, Path | None]) -> None:
    """Report what is named wrongly now and once, rather than by every node or at the end."""
    for option, path in files.items():
        if path is not None:
            _check_file(option, path)
    if machine is None:
        return
    module, _, name = machine.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise BadUsage(f"--machine {machine}: {error}") from error
    if not isinstance(found, type):
        raise BadUsage(f"--machine {machine}: there is no class {name!r} in {module}")


def _check_file(option: str, path: Path) -> None:
    check_is_text(path, f"choose another {option}")
    try:
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise BadUsage(f"{option} {path}: no file can be written there")
    except OSError as error:
        raise BadUsage(f"{option} {path}: {error.strerror}") from None


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py down")
def down(
    context: typer.Context,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Stop a cluster: its nodes gracefully, then its launcher; prints the final report."""
    session = session_of(context)
    import psutil  # Here, since only this verb needs it.

    with session.launcher(cluster) as launcher:
        record = launcher.record
        # Identified by more than its pid: a cluster of the same name may follow at once.
        process = psutil.Process(record.pid)
        told = _events_to_the_end(record)
        try:
            lines = launcher.ask(messages.Down(dry_run), messages.Done).lines
        except Unreachable:  # It may have ended before its answer had left, which is what was wanted.
            if dry_run or not has_ended(process):
                raise
            lines = []
    if dry_run or session.at_prompt:  # At the prompt, the launcher prints the report itself.
        confirm(context, lines, output)
        return
    if output is options.Format.TABLE:
        confirm(context, lines)
    if not has_ended(process):
        raise VerbFailed("the cluster has not ended yet", ExitCode.TIMED_OUT)
    report = final_report(told())
    confirm(context, [report_table(report, paint())], output, lines=lines, report=report)


def _events_to_the_end(record: ClusterRecord) -> Callable[[], list[Event]]:
    """Opens the events of this run, so that they can be read after the cluster has removed them."""
    try:
        reader = EventReader(Path(record.events))
    except OSError:
        return list
    return lambda: list(reader.new())


def has_ended(launcher: psutil.Process) -> bool:
    """Wait until the launcher, which removes everything first, has ended."""
    import psutil

    until = time.monotonic() + DOWN_SECONDS_MAX
    with contextlib.suppress(psutil.NoSuchProcess):
        while launcher.is_running() and launcher.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
    return True


_PAUSE_SECONDS = 0.1


class Tail:
    """Writes every new log line, merged by time within each reading of the files."""

    def __init__(
        self, record: ClusterRecord, write: Callable[[str], None], paint: Paint, stamp: Stamp
    ) -> None:
        self._logs = ClusterLogs(Path(record.log_dir))
        self._write = write
        self._paint = paint
        self._stamp = stamp

    def start(self) -> None:
        """Run until the process ends; lines of earlier runs are skipped."""
        self._logs.skip()
        threading.Thread(target=self._run, name="tail", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_PAUSE_SECONDS):
            for line in self._logs.arrived():
                self._write(log_line(line, self._paint, self._stamp))
