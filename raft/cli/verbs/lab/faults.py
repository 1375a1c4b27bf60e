"""The verbs that inject and clear faults of nodes, links, disks and clocks.

Owns their command lines. The supervisor carries them out.
"""

from __future__ import annotations

from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import CLUSTER, FAULTS, app, carry_out, out, show_answer
from raft.cli.terminal import completion
from raft.cli.views import fault_table
from raft.cluster.failures import BadUsage
from raft.cluster.rpc import messages
from raft.protocol.admin import AT_ONCE
from raft.storage.device import CRASH_POINTS

ROLLING_SECONDS_MAX = 600.0
SNAPSHOT_SECONDS_MAX = 65.0


def _list_crash_points(at: str) -> str:
    if at == "help":
        for name in (AT_ONCE, *CRASH_POINTS):
            out(name)
        raise typer.Exit
    return at


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py kill leader --restart-after 2s")
def kill(
    context: typer.Context,
    selectors: options.Selectors,
    restart_after: Annotated[
        float | None,
        options.duration_option(help="Start it again after this delay.", zero=True),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.crash_points,
            callback=_list_crash_points,
            is_eager=True,
            help="When its storage next passes this point, such as save.written; --at help lists them.",
        ),
    ] = "",
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """SIGKILL nodes; they stay down until `start`, unless --restart-after."""
    carry_out(
        context, cluster, output, messages.Kill(options.one_selector(selectors), restart_after, at, dry_run)
    )


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py stop 2,3")
def stop(
    context: typer.Context,
    selectors: options.Selectors,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Stop nodes gracefully; a leader transfers leadership first."""
    carry_out(context, cluster, output, messages.Stop(options.one_selector(selectors), dry_run))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py start all")
def start(
    context: typer.Context,
    selectors: options.Selectors,
    repair: options.RepairFromPeers = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Start nodes that are down."""
    carry_out(context, cluster, output, messages.Start(options.one_selector(selectors), repair))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py restart all --rolling")
def restart(
    context: typer.Context,
    selectors: options.Selectors,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="One after the other, each when the previous one is back.")
    ] = False,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Stop nodes gracefully, then start them."""
    carry_out(
        context,
        cluster,
        output,
        messages.Restart(options.one_selector(selectors), rolling, dry_run),
        ROLLING_SECONDS_MAX,
    )


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py snapshot all")
def snapshot(
    context: typer.Context,
    selectors: options.Selectors,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Let nodes take a snapshot now, even if none is due."""
    carry_out(
        context,
        cluster,
        output,
        messages.ForceSnapshot(options.one_selector(selectors)),
        SNAPSHOT_SECONDS_MAX,
    )


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py pause leader --for 5s")
def pause(
    context: typer.Context,
    selectors: options.Selectors,
    for_: Annotated[
        float | None,
        options.duration_option("--for", help="Resume after this time."),
    ] = None,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """SIGSTOP nodes: alive, but silent."""
    carry_out(context, cluster, output, messages.Pause(options.one_selector(selectors), for_, dry_run))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py resume all")
def resume(
    context: typer.Context,
    selectors: options.Selectors,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """SIGCONT paused nodes."""
    carry_out(context, cluster, output, messages.Resume(options.one_selector(selectors)))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py partition 1,2 3,4,5")
def partition(
    context: typer.Context,
    groups: Annotated[
        list[str],
        options.selector_argument("GROUP...", "Selectors; a single group is cut from all other nodes."),
    ],
    one_way: Annotated[
        bool, typer.Option("--one-way", help="Drop only messages from the first group to the others.")
    ] = False,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Cut all links between groups of nodes, until `heal`."""
    carry_out(context, cluster, output, messages.Partition(groups, one_way, dry_run))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py isolate leader")
def isolate(
    context: typer.Context,
    selectors: options.Selectors,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Cut nodes from all others, until `heal`."""
    carry_out(context, cluster, output, messages.Isolate(options.one_selector(selectors), dry_run))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py heal")
def heal(
    context: typer.Context, output: options.Output = options.Format.TABLE, cluster: options.Cluster = None
) -> None:
    """End all network faults."""
    carry_out(context, cluster, output, messages.Heal())


Share = typer.Option(
    metavar="SHARE", parser=options.share, help="Of all messages, for example 10%.", show_default=False
)
Delay = options.duration_option(help="For example 20ms.", zero=True)


@app.command(
    rich_help_panel=FAULTS, epilog="Example: launcher.py link leader followers --delay 20ms --drop 10%"
)
def link(
    context: typer.Context,
    sources: Annotated[
        str,
        options.selector_argument("FROM", "A selector."),
    ],
    targets: Annotated[
        str,
        options.selector_argument("TO", "A selector."),
    ],
    delay: Annotated[float, Delay] = 0.0,
    jitter: Annotated[float, Delay] = 0.0,
    drop: Annotated[float, Share] = 0.0,
    duplicate: Annotated[float, Share] = 0.0,
    reorder: Annotated[float, Share] = 0.0,
    both: Annotated[bool, typer.Option("--both", help="In the other direction, too.")] = False,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Make links slow or lossy in one direction, until `heal`."""
    verb = messages.Link(sources, targets, both, delay, jitter, drop, duplicate, reorder, dry_run)
    if not any((delay, jitter, drop, duplicate, reorder)):
        raise BadUsage("name a fault of the link: --delay, --jitter, --drop, --duplicate or --reorder")
    carry_out(context, cluster, output, verb)


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py disk leader --full")
def disk(
    context: typer.Context,
    selectors: options.Selectors,
    fsync_delay: Annotated[
        float,
        options.duration_option(help="Each fsync takes longer."),
    ] = 0.0,
    full: Annotated[bool, typer.Option("--full", help="The disk is full from the next write on.")] = False,
    fail_fsync: Annotated[
        bool,
        typer.Option(
            "--fail-fsync",
            help="The next fsync fails, which ends the node; it is restarted with a healthy disk.",
        ),
    ] = False,
    lose_unsynced: Annotated[
        bool,
        typer.Option("--lose-unsynced", help="`kill --at now` loses unsynced writes."),
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="End the faults of these nodes' disks.")] = False,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Make disks slow, full or failing, until --clear."""
    broken = bool(fsync_delay or full or fail_fsync or lose_unsynced)
    if clear and dry_run:
        raise BadUsage("--dry-run is for faults, not for --clear")
    if broken == clear:
        raise BadUsage("name a fault: --fsync-delay, --full, --fail-fsync or --lose-unsynced; or --clear")
    if clear:
        carry_out(context, cluster, output, messages.MendDisk(options.one_selector(selectors)))
    else:
        carry_out(
            context,
            cluster,
            output,
            messages.BreakDisk(
                options.one_selector(selectors), fsync_delay, full, fail_fsync, lose_unsynced, dry_run
            ),
        )


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py clock 2 --rate 1.5")
def clock(
    context: typer.Context,
    selectors: options.Selectors,
    rate: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            min=0.1,
            max=10.0,
            callback=options.finite,
            help="Seconds on the node's clock in each real second.",
        ),
    ],
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Make the clocks of nodes run fast or slow, until `faults clear`."""
    if rate == 1.0:
        raise BadUsage("rate 1 is the correct rate: end a clock fault with `faults clear`")
    carry_out(context, cluster, output, messages.SetClockRate(options.one_selector(selectors), rate, dry_run))


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py faults clear 3")
def faults(
    context: typer.Context,
    action: Annotated[str, typer.Argument(metavar="clear", help="`clear` ends faults.")] = "",
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID...", help="Only these; by default all.")
    ] = None,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """The injected faults in force; `faults clear` ends them all."""
    if action == "clear":
        carry_out(context, cluster, output, messages.ClearFaults(ids or []))
        return
    if action:
        raise BadUsage(f"unknown action {action!r}: write `faults` or `faults clear [ID]`")
    show_answer(context, cluster, output, messages.ListFaults(), messages.FaultList, fault_table)
