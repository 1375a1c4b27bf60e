"""The verbs that move leadership by request.

Owns their command lines, and how nodes without a launcher are asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import LEAD, app, confirm, session_of
from raft.cli.terminal import completion
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed
from raft.cluster.rpc import messages

HAND_OVER_SECONDS_MAX = 5.0
LOOK_SECONDS = 0.05


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
    endpoints: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Nodes that no launcher runs, as in 1=tcp://h1:7001: that of them which leads hands over.",
            show_default=False,
        ),
    ] = "",
    of: Annotated[str, typer.Option("--of", metavar="NAME", help="Those nodes' --cluster.")] = "default",
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An operator's key, if they have keys.", show_default=False),
    ] = None,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Let the leader hand over to the node that is furthest ahead."""
    if not endpoints:
        if keys is not None:
            raise BadUsage("--keys goes with --endpoints: a cluster that runs here has none")
        transfer(context, None, output, cluster)
        return
    confirm(context, _hand_over(options.endpoints(endpoints), of, keys), output)


def _hand_over(endpoints: Mapping[int, str], cluster: str, keys: Path | None) -> list[str]:
    """Ask these nodes to lead no more, and wait until none of them does; what came of it."""
    from actors.errors import ActorsError
    from raft.client.survey import Answers, ask_each
    from raft.protocol.admin import CannotDo, Done, GetStatus, NodeStatus, Transfer

    def ask(request: object) -> Answers:
        return ask_each(endpoints, request, cluster=cluster, keys=keys)

    try:
        asked = ask(Transfer())
        if not any(isinstance(answer, Done | CannotDo) for answer in asked.values()):
            words = "; ".join(f"n{node}: {answer}" for node, answer in asked.items())
            raise VerbFailed(f"no node can be asked: {words}", ExitCode.UNREACHABLE)
        leaders = [node for node, answer in asked.items() if isinstance(answer, Done)]
        if not leaders:
            return [f"n{node}: {getattr(answer, 'reason', answer)}" for node, answer in asked.items()]
        until = time.monotonic() + HAND_OVER_SECONDS_MAX
        while time.monotonic() < until:
            told = ask(GetStatus())[leaders[0]]
            if isinstance(told, NodeStatus) and told.role != "leader" and told.leader:
                return [f"n{told.leader} leads term {told.term}, after n{leaders[0]}"]
            time.sleep(LOOK_SECONDS)
    except ActorsError as error:
        raise VerbFailed(str(error)) from error
    raise VerbFailed("leadership has not moved", ExitCode.TIMED_OUT)
