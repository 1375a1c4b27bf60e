"""The verbs that move leadership by request.

Owns their command lines.
"""

from __future__ import annotations

from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import LEAD, app, confirm, session_of
from raft.cli.terminal import completion
from raft.cluster.rpc import messages


@app.command(rich_help_panel=LEAD, epilog="Example: launcher.py transfer 2")
def transfer(
    context: typer.Context,
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="TO",
            parser=options.selector,
            autocompletion=completion.selectors,
            help="The next leader; any, if not given.",
        ),
    ] = None,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Hand leadership to another node, with no gap to speak of."""
    with session_of(context).launcher(cluster) as launcher:
        lines = launcher.ask(messages.HandOver(to or ""), messages.Done).lines
    confirm(context, lines, output)


@app.command("step-down", rich_help_panel=LEAD, epilog="Example: launcher.py step-down")
def step_down(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Let the leader hand over to whoever is furthest ahead."""
    transfer(context, None, output, cluster)
