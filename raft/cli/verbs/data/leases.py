"""The verbs on leases: lease grant, keep, revoke, left.

Owns their command lines. A lease is named by its number; `put --lease` and `cas --lease` attach keys to it.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import STORE, app, confirm, out, out_json, session_of
from raft.cli.connection import TIMEOUT_SECONDS, Timeout, connected
from raft.cli.verb import Verbs
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed

lease = Verbs(
    help="Leases: keys that are attached to one are deleted when it ends.",
    epilog="Example: launcher.py put host alive --lease $(launcher.py lease grant 30s)",
)
app.add_typer(lease, name="lease", rich_help_panel=STORE)

Number = Annotated[int, typer.Argument(metavar="LEASE", min=1, help="The number that `lease grant` printed.")]
KEEP_RATIO = 1 / 3  # Of a lease's time between keep-alives, so that two may fail.


@lease.command(epilog="Example: launcher.py lease grant 30s")
def grant(
    context: typer.Context,
    ttl: Annotated[
        float,
        typer.Argument(metavar="TTL", parser=options.positive_duration, help="From 100ms to 720h."),
    ],
    timeout: Timeout = TIMEOUT_SECONDS,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Grant a lease that ends TTL after its last keep-alive; prints its number."""
    with connected(context, cluster, "all", timeout) as client:
        number = client.grant(ttl)
    if output is options.Format.JSON:
        out_json(lease=number, ttl_s=ttl)
    else:
        out(str(number))


@lease.command(epilog="Example: launcher.py lease keep 17 --once")
def keep(
    context: typer.Context,
    number: Number,
    once: Annotated[bool, typer.Option("--once", help="Renew it once, and exit.")] = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Keep a lease alive as long as this runs; exit 7 when it has ended."""
    if session_of(context).at_prompt and not once:
        raise BadUsage("type this verb in a terminal of its own, or with --once")
    with connected(context, cluster, "all", timeout) as client:
        while left_seconds := client.keep_alive(number):
            _show_left(number, left_seconds, output)
            if once:
                return
            time.sleep(left_seconds * KEEP_RATIO)
    raise _no_lease(number)


@lease.command(epilog="Example: launcher.py lease revoke 17")
def revoke(
    context: typer.Context,
    number: Number,
    dry_run: options.DryRun = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """End a lease and delete its keys at once; exit 7 if it has ended before."""
    if dry_run:
        with connected(context, cluster, "all", timeout) as client:
            if not client.time_left(number):
                raise _no_lease(number)
        confirm(context, [f"would end lease {number}, and delete its keys"], output)
        return
    with connected(context, cluster, "all", timeout) as client:
        if not client.revoke(number):
            raise _no_lease(number)
    confirm(context, ["OK"], output, lease=number)


@lease.command(epilog="Example: launcher.py lease left 17")
def left(
    context: typer.Context,
    number: Number,
    timeout: Timeout = TIMEOUT_SECONDS,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """The time until a lease ends without a keep-alive; exit 7 if it has ended."""
    with connected(context, cluster, "all", timeout) as client:
        left_seconds = client.time_left(number)
    if not left_seconds:
        raise _no_lease(number)
    _show_left(number, left_seconds, output)


def _show_left(number: int, left_seconds: float, output: options.Format) -> None:
    if output is options.Format.JSON:
        out_json(lease=number, left_s=round(left_seconds, 3))
    else:
        out(f"{left_seconds:.3f}s")


def _no_lease(number: int) -> VerbFailed:
    """The cluster keeps no record of ended leases, so it cannot tell them from others."""
    return VerbFailed(f"there is no lease {number}: it has ended, or never existed", ExitCode.NOT_FOUND)
