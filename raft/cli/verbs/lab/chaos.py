"""The verb that injects faults into a cluster while clients use it, and checks their history: chaos.

Owns its command line, its progress and how the verdict is shown. Everything else is in raft.lab.chaos,
which is loaded only by this verb.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from actors.processes.private_files import make_private, write_private
from raft.cli import options
from raft.cli.app import FAULTS, app, note, out, paint, say, session_of
from raft.cli.terminal import completion
from raft.cluster.failures import BadUsage, ExitCode
from raft.cluster.quantities import format_duration
from raft.cluster.rundir import called_as, check_is_text

if TYPE_CHECKING:
    from raft.lab.chaos.order import Order, Sabotage
    from raft.lab.chaos.run import Summary
    from raft.lab.chaos.schedule import Schedule

Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Selects the faults; by default random.", show_default=False)
]
Duration = Annotated[
    float,
    options.duration_option(help="Of the fault injection.", shown="60s"),
]
Nodes = Annotated[int, typer.Option(metavar="N", help="In the new cluster.", min=1, max=9)]
Faults = Annotated[
    str | None,
    typer.Option(
        metavar="KINDS",
        autocompletion=completion.fault_families,
        help="For example kill,pause, or none; `help` lists them.",
        show_default=False,
    ),
]
OneAtATime = Annotated[
    bool, typer.Option("--one-at-a-time", help="At most one node has a fault at any time.")
]
WorkloadName = Annotated[
    str | None,
    typer.Option(
        "--workload",
        metavar="NAME",
        autocompletion=completion.workloads,
        help="register, append, set, lock, election, watch, counter.",
    ),
]
Rate = Annotated[
    float, typer.Option(metavar="N", help="Operations per second.", min=1, callback=options.finite)
]
Clients = Annotated[int, typer.Option(metavar="N", help="Concurrent clients.", min=1, max=500)]
ScheduleFile = Annotated[
    Path | None,
    typer.Option(
        "--schedule",
        metavar="FILE",
        help="Faults from this file instead of random ones.",
        show_default=False,
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write history, events, logs and verdict here; after an earlier run, to DIR.2.",
        show_default=False,
    ),
]
Recovery = Annotated[
    float,
    options.duration_option(
        "--recovery-max",
        help="Fail if a write takes longer than this while a majority is healthy.",
        shown="10s",
    ),
]
SabotageName = Annotated[
    str,
    typer.Option("--sabotage", metavar="NAME", help="A deliberate bug: stale-reads, no-fsync or no-fencing."),
]

# Without a default from the environment or a file: only a cluster named here gets faults.
Running = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        autocompletion=completion.clusters,
        help="Inject faults into this running cluster; by default, into a new one.",
    ),
]
Shrink = Annotated[
    bool, typer.Option("--shrink", help="After a failure: repeat it with fewer faults, as long as it fails.")
]


@app.command(
    rich_help_panel=FAULTS,
    epilog="Example: launcher.py chaos --seed 7 --duration 60s --faults kill,partition --report ./chaos-7",
)
def chaos(
    context: typer.Context,
    seed: Seed = None,
    duration: Duration = 60.0,
    nodes: Nodes = 5,
    faults: Faults = None,
    one_at_a_time: OneAtATime = False,
    workload: WorkloadName = None,
    rate: Rate = 250.0,
    clients: Clients = 10,
    schedule: ScheduleFile = None,
    report: Report = None,
    recovery: Recovery = 10.0,
    sabotage: SabotageName = "",
    hosts: options.Hosts = "",
    shrink: Shrink = False,
    output: options.Output = options.Format.TABLE,
    cluster: Running = None,
) -> None:
    """Inject faults into a cluster of real processes while clients use it, and check their history."""
    from raft.lab.chaos.generator import families
    from raft.lab.chaos.order import Order

    if faults == "help":
        for name in families():
            out(name)
        return
    wrong = _sabotage(sabotage)
    with _interruptible(), report_directory(report) as directory:
        order = Order(
            schedule=_schedule(seed, duration, nodes, faults, one_at_a_time, schedule, wrong),
            nodes=nodes,
            workload=workload or _workload(wrong),
            rate=rate,
            clients=clients,
            sabotage=wrong,
            recovery_seconds_max=recovery,
            name="" if cluster is not None else f"chaos-{os.getpid()}",
            cluster=cluster,
            hosts=hosts,
            command=f"{called_as()} {shlex.join(sys.argv[1:])}",
        ).check()
        summary = run_and_judge(context, order, directory)
        if output is options.Format.JSON:
            out(msgspec.json.encode(summary).decode())
        else:
            _show(summary)
        if summary.interrupted:
            note(context, "it was ended early; the history until then was checked")
        elif shrink and summary.exit_code is ExitCode.VIOLATION:
            _shrink(order, directory)
        if report is not None:
            note(context, f"the results are in {os.path.relpath(directory)}")
    if summary.interrupted and summary.exit_code is not ExitCode.VIOLATION:
        raise typer.Exit(128 + summary.ended_by)
    raise typer.Exit(summary.exit_code)


def run_and_judge(context: typer.Context, order: Order, directory: Path) -> Summary:
    """Carry out the order, write its report, and judge the history."""
    from raft.lab.chaos.run import run_chaos

    verbose = sys.stderr.isatty() and not session_of(context).quiet
    note(
        context,
        f"seed {order.schedule.seed}: {len(order.schedule.faults)} faults in "
        f"{format_duration(order.schedule.duration_seconds)}, workload {order.workload}",
    )
    return run_chaos(order, directory, say if verbose else _silence)


def _shrink(order: Order, directory: Path) -> None:
    from raft.lab.chaos.run import shortened
    from raft.lab.chaos.schedule_file import format_schedule

    if not order.name:
        raise BadUsage("--shrink needs clusters of its own: leave --cluster out")
    found = shortened(order, directory, say)
    if found is None:
        say("the same faults did not make it fail again: there is nothing to shrink")
        return
    text = format_schedule(found)
    write_private(directory / "shrunk.toml", text.encode())
    say(f"it fails with {len(found.faults)} of {len(order.schedule.faults)} faults:")
    out(text.rstrip())


def _silence(_text: str) -> None:
    """Progress is shown on terminals only."""


def _schedule(
    seed: int | None,
    duration: float,
    nodes: int,
    faults: str | None,
    one_at_a_time: bool,
    file: Path | None,
    sabotage: Sabotage | None,
) -> Schedule:
    from raft.lab.chaos.generator import draw_one_at_a_time, draw_schedule, families
    from raft.lab.chaos.order import REVEALING
    from raft.lab.chaos.schedule_file import read_schedule

    if file is not None:
        if seed is not None or faults is not None or one_at_a_time:
            raise BadUsage("--schedule defines all faults: leave out --seed, --faults and --one-at-a-time")
        return read_schedule(file)
    if seed is None:
        seed = int.from_bytes(os.urandom(3))
    asked = [name.strip() for name in (faults or "").split(",") if name.strip() not in ("", "none")]
    if one_at_a_time:
        return draw_one_at_a_time(seed, nodes=nodes, duration_seconds=duration, names=asked)
    if faults is None:
        asked = [*(families() if sabotage is None else REVEALING[sabotage][0])]
    return draw_schedule(seed, nodes=nodes, duration_seconds=duration, names=asked)


def _workload(sabotage: Sabotage | None) -> str:
    from raft.lab.chaos.order import REVEALING

    return "register" if sabotage is None else REVEALING[sabotage][1]


def _sabotage(name: str) -> Sabotage | None:
    from raft.lab.chaos.order import Sabotage

    if name and name not in set(Sabotage):
        raise BadUsage(f"--sabotage {name}: there are {', '.join(Sabotage)}")
    return Sabotage(name) if name else None


@contextlib.contextmanager
def report_directory(report: Path | None) -> Iterator[Path]:
    """The directory of the run's results, beside those of earlier runs, which stay unchanged."""
    if report is None:
        directory = Path(tempfile.mkdtemp(prefix="raft-chaos-"))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return
    if report.exists() and any(report.iterdir()) and not (report / "schedule.toml").exists():
        raise BadUsage(f"{report} holds something other than an earlier run: name a new directory")
    directory = _unused(report.absolute())
    check_is_text(directory, "name another --report directory")
    make_private(directory)
    latest = directory.parent / f"{report.absolute().name}.latest"
    if latest.is_symlink() or not latest.exists():
        latest.unlink(missing_ok=True)
        latest.symlink_to(directory.name)
    yield directory


def _unused(report: Path) -> Path:
    """The directory itself or, if it holds results already, DIR.2, DIR.3 and so on."""
    directory, number = report, 1
    while directory.exists() and any(directory.iterdir()):
        number += 1
        directory = report.with_name(f"{report.name}.{number}")
    return directory


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does, unless the parent process ignores them (nohup)."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(summary: Summary) -> None:
    """Show the verdict on a terminal."""
    style = paint()
    operations = ", ".join(f"{count} {outcome}" for outcome, count in summary.operations.items())
    faults = ", ".join(f"{count} {kind}" for kind, count in summary.faults.items()) or "none"
    out(f"operations  {operations}; {summary.operations_per_second:.0f} a second")
    if summary.latency_ms:
        out("latency     " + ", ".join(f"{name} {took:g} ms" for name, took in summary.latency_ms.items()))
    out(f"faults      {faults}" + (f"; {summary.refused} could not be injected" if summary.refused else ""))
    gaps = summary.availability
    out(
        f"writes      longest gap {1000 * gaps.longest_gap_seconds:.0f} ms; around a fault p50 "
        f"{1000 * gaps.gap_seconds_p50:.0f} ms, max {1000 * gaps.gap_seconds_max:.0f} ms"
    )
    if summary.machines_compared > 1:
        out(f"machines    {summary.machines_compared} compared after the same entry")
    recovered = summary.recoveries
    if recovered.count:
        p50, p99 = 1000 * recovered.p50_seconds, 1000 * recovered.p99_seconds
        longest = 1000 * recovered.max_seconds
        out(
            f"recovery    a healthy majority served a write within p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
            f"max {longest:.0f} ms"
        )
    for left_out in summary.judgement.notes:
        out(f"unchecked   {left_out}")
    for anomaly in summary.judgement.anomalies:
        out(f"{anomaly.name}{' on ' * bool(anomaly.key)}{anomaly.key}: {anomaly.text}")
        for record in anomaly.operations:
            out(f"    {record.call:10.4f}s  {record.describe()}")
    colour = {ExitCode.OK: "green", ExitCode.VIOLATION: "red"}.get(summary.exit_code, "yellow")
    out(style(summary.reason, "bold", colour))
