"""The verbs that check the state of things: ls, health, doctor.

Owns their command lines and checks.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from actors.errors import TransportError
from raft.cli import options
from raft.cli.app import CLUSTER, OBSERVE, app, out, out_json, paint, say
from raft.cli.config_paths import files
from raft.cli.connection import everyone
from raft.cli.views import table
from raft.cluster.failures import ExitCode, Unreachable, VerbFailed
from raft.cluster.quantities import format_duration
from raft.cluster.rundir import RunDirectory, run_base, running
from raft.cluster.spec import ClusterRecord
from raft.version import VERSION

if TYPE_CHECKING:
    from raft.cli.remote import Target

DESCRIPTORS_WANTED = 1024
ROOM_BYTES_WANTED = 256 * 1024 * 1024
PROBE_SECONDS_MAX = 2.0


class Running(Struct, frozen=True, kw_only=True):
    """A cluster that runs on this machine."""

    name: str
    pid: int
    nodes: int
    uptime_s: float
    data_dir: str


class Probe(Struct, frozen=True, kw_only=True):
    """The result of a linearizable read through one node."""

    node: int
    healthy: bool
    took_ms: float
    error: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """The result of one check; `advice` says what to do if it is not well."""

    subject: str
    well: bool
    found: str
    advice: str = ""


@app.command("ls", rich_help_panel=OBSERVE, epilog="Example: launcher.py ls -o json")
def list_(output: options.Output = options.Format.TABLE) -> None:
    """The clusters running on this machine."""
    found = []
    for directory in running():
        try:
            found.append(_running(directory))
        except Unreachable as error:  # Of this one alone.
            say(f"{directory.name}: {error}", "yellow")
    if output is options.Format.JSON:
        out_json(clusters=found)
        return
    rows = [
        [each.name, str(each.nodes), str(each.pid), format_duration(each.uptime_s), each.data_dir]
        for each in found
    ]
    titles = ["CLUSTER", "NODES", "PID", "UP", "DATA"]
    out(table(titles, rows, paint(), left={0, 4}) if rows else f"no cluster runs below {run_base()}")


def _running(directory: RunDirectory) -> Running:
    record = ClusterRecord.read(directory.record)
    uptime_seconds = round(time.monotonic() - record.started_seconds, 3)
    return Running(
        name=record.name,
        pid=record.pid,
        nodes=len(record.nodes),
        uptime_s=uptime_seconds,
        data_dir=record.data_dir,
    )


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py health -o json")
def health(
    context: typer.Context,
    timeout: Annotated[
        float,
        options.duration_option(help="Try each node for this long.", shown="2s"),
    ] = PROBE_SECONDS_MAX,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Read through each node; exit 3 if there is no leader, 4 if a node does not answer."""
    target = everyone(context, cluster)
    probes = [_probe(target, node, timeout) for node in target.endpoints]
    if output is options.Format.JSON:
        out_json(nodes=probes)
    else:
        colours = paint()
        for probe in probes:
            words = f"n{probe.node}  " + (f"ok  {probe.took_ms:.1f} ms" if probe.healthy else probe.error)
            out(words if probe.healthy else colours(words, "red"))
    if not all(probe.healthy for probe in probes):
        no_leader = any(probe.error.startswith("no leader") for probe in probes)
        raise typer.Exit(ExitCode.NO_LEADER if no_leader else ExitCode.UNREACHABLE)


def _probe(target: Target, node: int, timeout_seconds: float) -> Probe:
    from raft.client import Client, errors  # Here, since only this verb needs them.

    begun = time.monotonic()
    try:
        with Client(
            {node: target.endpoints[node]},
            cluster=target.cluster,
            keys=target.keys,
            timeout_seconds=timeout_seconds,
        ) as client:
            client.get(b"")
    except errors.NotAllowed as error:
        raise VerbFailed(f"n{node}: {error}", ExitCode.NOT_ALLOWED) from error
    except errors.NoLeader as error:
        return Probe(node=node, healthy=False, took_ms=0.0, error=f"no leader: {error}")
    except (errors.ClientError, TransportError) as error:
        return Probe(node=node, healthy=False, took_ms=0.0, error=str(error))
    return Probe(node=node, healthy=True, took_ms=round(1000 * (time.monotonic() - begun), 1))


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py doctor")
def doctor(output: options.Output = options.Format.TABLE) -> None:
    """Check what this machine offers a cluster; exit 1 if something should be changed."""
    colours = paint()
    findings = list(_findings())
    well = all(finding.well for finding in findings)
    if output is options.Format.JSON:
        out_json(well=well, findings=findings)
    for finding in findings if output is options.Format.TABLE else ():
        mark = colours("ok  ", "green") if finding.well else colours("look", "bold", "red")
        out(f"{mark}  {finding.subject}: {finding.found}" + ("" if finding.well else f" ({finding.advice})"))
    if not well:
        raise typer.Exit(ExitCode.FAILURE)


def _findings() -> Iterator[Finding]:
    from importlib.metadata import version  # Here, since it is slow to load.

    yield Finding(
        subject="versions",
        well=True,
        found=f"raft-actors {VERSION}, Python {sys.version.split()[0]}, "
        f"pyzmq {version('pyzmq')}, msgspec {version('msgspec')}",
    )
    here = ", ".join(map(str, files()))
    yield Finding(subject="configuration", well=True, found=here or "no file")
    yield Finding(
        subject="system", well=sys.platform == "linux", found=sys.platform, advice="only Linux is tested"
    )
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = descriptors == resource.RLIM_INFINITY or descriptors >= DESCRIPTORS_WANTED
    yield Finding(
        subject="open files",
        well=enough,
        found=f"up to {descriptors} in a process",
        advice=f"raise the hard limit to {DESCRIPTORS_WANTED}: ulimit -Hn",
    )
    yield _directory("run directory", run_base().parent, "set XDG_RUNTIME_DIR to a directory of your own")
    yield _directory("throw-away data", Path(tempfile.gettempdir()), "set TMPDIR, or use --data-dir")
    clock = time.get_clock_info("monotonic")
    yield Finding(
        subject="clock",
        well=clock.monotonic and clock.resolution <= 1e-3,
        found=f"{clock.implementation}, resolution {clock.resolution:g} s",
        advice="timeouts need a monotonic clock of a millisecond or better",
    )


def _directory(subject: str, path: Path, advice: str) -> Finding:
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding(subject=subject, well=False, found=f"{path} cannot be written", advice=advice)
    free = shutil.disk_usage(path).free
    return Finding(
        subject=subject,
        well=free >= ROOM_BYTES_WANTED,
        found=f"{path}, {free / 1e6:,.0f} MB free",
        advice=f"free some space: less than {ROOM_BYTES_WANTED / 1e6:,.0f} MB",
    )
