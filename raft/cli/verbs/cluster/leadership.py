"""The verbs that move leadership by request: transfer, step-down.

Owns their command lines.
"""

from __future__ import annotations

from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import LEADERSHIP, app, confirm, session_of
from raft.cli.terminal import completion
from raft.cluster.rpc import messages


@app.command(rich_help_panel=LEADERSHIP, epilog="Example: launcher.py transfer 2")
def transfer(
    context: typer.Context,
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="TO",
            parser=options.selector,
            autocompletion=completion.selectors,
            help="The next leader; by default any.",
        ),
    ] = None,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Transfer leadership to another node, almost without interruption."""
    with session_of(context).launcher(cluster) as launcher:
        lines = launcher.ask(messages.HandOver(to or ""), messages.Done).lines
    confirm(context, lines, output)


@app.command("step-down", rich_help_panel=LEADERSHIP, epilog="Example: launcher.py step-down")
def step_down(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Transfer leadership to the most up-to-date node."""
    transfer(context, None, output, cluster)
