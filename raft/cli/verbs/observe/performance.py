"""The verbs that measure a running cluster: check perf.

Owns their command lines, the progress and how figures are shown. The load is in raft.cluster.performance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from raft.cli import options
from raft.cli.app import OBSERVE, app, out, paint, session_of
from raft.cli.connection import verb_failed
from raft.cli.verb import Verbs
from raft.cluster.failures import ExitCode

if TYPE_CHECKING:
    from raft.cli.remote import Target
    from raft.cluster.performance import Figures, Load

BAR_CHARACTERS = 30

check = Verbs(
    help="Measure a running cluster.",
    epilog="Example: launcher.py check perf",
)
app.add_typer(check, name="check", rich_help_panel=OBSERVE)

Seconds = Annotated[
    float,
    options.duration_option("--duration", help="How long.", shown="5s"),
]
Clients = Annotated[int, typer.Option("--clients", metavar="N", min=1, max=4096, help="Concurrent calls.")]
Size = Annotated[int, typer.Option("--size", metavar="BYTES", min=0, max=2**20, help="Of each value.")]
Reads = Annotated[bool, typer.Option("--reads", help="Linearizable reads instead of writes.")]
AtLeast = Annotated[
    float,
    typer.Option(
        "--at-least",
        metavar="N",
        min=0,
        callback=options.finite,
        help="Operations per second required to pass.",
    ),
]


@check.command("perf", epilog="Example: launcher.py check perf --clients 64 --size 256")
def perf(
    context: typer.Context,
    duration: Seconds = 5.0,
    clients: Clients = 16,
    size: Size = 16,
    reads: Reads = False,
    at_least: AtLeast = 150.0,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Load the cluster for a short time, with temporary keys; exit 1 if it performs badly."""
    target = session_of(context).target(cluster)
    import asyncio  # Here, since few verbs need it.

    from raft.client.errors import ClientError
    from raft.cluster.performance import Load, run_load

    load = Load(seconds=duration, callers=clients, value_bytes=size, reads=reads, at_least=at_least)
    told, wipe = progress(wanted=not session_of(context).quiet)
    try:
        test = run_load(target.endpoints, target.cluster, load, told, target.keys)
        figures = asyncio.run(test)
    except ClientError as error:
        raise verb_failed(error) from error
    finally:
        wipe()
    show(target, load, figures, output)
    if not all(one.ok for one in figures.checks(load)):
        raise typer.Exit(ExitCode.FAILURE)


def progress(*, wanted: bool = True) -> tuple[Callable[[float, int], None], Callable[[], None]]:
    """Functions that show the progress and that wipe it; on a terminal only."""
    on_terminal = wanted and sys.stderr.isatty()

    def told(share: float, done: int) -> None:
        if not on_terminal:
            return
        bar = "#" * round(share * BAR_CHARACTERS)
        sys.stderr.write(f"\r[{bar:<{BAR_CHARACTERS}}] {share:4.0%}  {done:,} done")
        sys.stderr.flush()

    def wipe() -> None:
        if not on_terminal:
            return
        sys.stderr.write("\r" + " " * (BAR_CHARACTERS + 40) + "\r")
        sys.stderr.flush()

    return told, wipe


def show(target: Target, load: Load, figures: Figures, output: options.Format) -> None:
    """The figures and their assessment."""
    checks = figures.checks(load)
    if output is options.Format.JSON:
        told = {
            "v": 1,
            "cluster": target.name or target.cluster,
            "nodes": len(target.endpoints),
            "clients": load.callers,
            "size": load.value_bytes,
            "reads": load.reads,
            **msgspec.structs.asdict(figures),
            "checks": [msgspec.structs.asdict(one) for one in checks],
            "ok": all(one.ok for one in checks),
        }
        out(msgspec.json.encode(told).decode())
        return
    style = paint()
    what = "reads" if load.reads else "writes"
    out(
        f"{figures.operations:,} {what} of {load.value_bytes} bytes by {load.callers} clients "
        f"in {figures.seconds:.1f} s on {len(target.endpoints)} nodes"
    )
    out(
        f"{figures.per_second:,.0f}/s   p50 {figures.p50_ms:.2f} ms   p90 {figures.p90_ms:.2f} ms   "
        f"p99 {figures.p99_ms:.2f} ms   max {figures.max_ms:.2f} ms"
    )
    for one in checks:
        out(f"{style('PASS', 'green') if one.ok else style('FAIL', 'red')}  {one.says}")
