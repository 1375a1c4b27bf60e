"""The verbs that look into the processes of a cluster: actors top, actors trace.

Owns their command lines, and which processes are asked. What is asked and printed is the actor runtime's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.address import Address
from actors.errors import ActorsError, BadAddress
from raft.cli import options
from raft.cli.app import OBSERVE, app, out, say, session_of
from raft.cli.verb import Verbs
from raft.cli.verbs.observe.metrics import nodes_now
from raft.cluster.failures import BadUsage, VerbFailed
from raft.cluster.rpc.messages import SUPERVISOR_PROCESS
from raft.protocol.registry import NODE_ACTOR, process_of

if TYPE_CHECKING:
    from actors.observation.onlooker import System

actors = Verbs(
    help="The actors in a cluster's processes: what they do, and what they are told.",
    epilog="Example: launcher.py actors top",
)
app.add_typer(actors, name="actors", rich_help_panel=OBSERVE)

Seconds = Annotated[
    float,
    typer.Option(
        metavar="DURATION", parser=options.positive_duration, help="Measure for so long.", show_default="1s"
    ),
]


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except ActorsError as error:
        raise VerbFailed(str(error)) from error


def _system(context: typer.Context, cluster: str | None) -> System:
    from actors.observation.onlooker import System  # Here, since few verbs need it.

    session = session_of(context)
    target = session.target(cluster)
    nodes: Callable[[], Mapping[int, str]] = partial(dict, target.endpoints)
    others: dict[str, str] = {}
    if not session.is_remote(cluster):
        directory = session.run_directory(cluster)
        nodes = partial(nodes_now, directory.record, target.endpoints)
        if not target.keys:  # The launcher itself has none.
            others = {SUPERVISOR_PROCESS: directory.launcher_endpoint}

    def endpoints() -> Mapping[str, str]:
        return others | {process_of(node): endpoint for node, endpoint in nodes().items()}

    keys = Path(target.keys) if target.keys else None
    return System(endpoints=endpoints, cluster=target.cluster, keys=keys)


@actors.command(epilog="Example: launcher.py actors top --watch --interval 2s")
def top(
    context: typer.Context,
    interval: Seconds = 1.0,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")] = False,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="So many actors and handlers.")] = 20,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Processes, actors, mailboxes, times of handlers, restarts, and dead letters by reason.

    Handlers are timed only while this looks on.
    """
    from actors.observation.commands import top as show

    if watch and session_of(context).at_prompt:
        raise BadUsage("it would go on for ever: type it at another terminal, or leave out --watch")
    with _telling():
        show(
            _system(context, cluster),
            out,
            interval_seconds=interval,
            times=None if watch else 1,
            rows_max=rows,
            as_json=output is options.Format.JSON,
        )


@actors.command(epilog="Example: launcher.py actors trace n1 --seconds 10s")
def trace(
    context: typer.Context,
    actor: Annotated[
        str,
        typer.Argument(
            metavar="ACTOR", show_default=False, help="As `actors top` names it; n1 stands for n1/raft."
        ),
    ],
    seconds: Annotated[
        float,
        typer.Option(
            metavar="DURATION", parser=options.positive_duration, help="End after so long.", show_default="1m"
        ),
    ] = 60.0,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="End after so many messages.")
    ] = 10_000,
    output: options.Lines = options.LineFormat.LINE,
    cluster: options.Cluster = None,
) -> None:
    """The messages of one actor: sender, type, how long it waited and took, and what came of it.

    Contents are not shown. It ends by itself.
    """
    from actors.observation.commands import trace as show

    try:
        address = Address.parse(actor if "/" in actor else f"{actor}/{NODE_ACTOR}")
    except BadAddress as error:
        raise BadUsage(str(error)) from error
    with _telling():
        show(
            _system(context, cluster),
            address,
            out,
            say,
            seconds=seconds,
            records_max=limit,
            as_json=output is options.LineFormat.JSONL,
        )
