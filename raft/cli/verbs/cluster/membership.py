"""The verbs on membership: member list, add, promote, remove, replace, update.

Owns their command lines. What they do is the supervisor's, and the leader's whom it asks.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from raft.cli import options
from raft.cli.app import LEADERSHIP, app, confirm, out, paint, session_of
from raft.cli.connection import TIMEOUT_SECONDS, Timeout, Via, connected
from raft.cli.terminal import completion
from raft.cli.verb import Verbs
from raft.cli.views import member_table
from raft.cluster.failures import BadUsage
from raft.cluster.rpc import messages

# A node that is far behind needs time to catch up.
CHANGE_SECONDS_MAX = 180.0

New = Annotated[
    str,
    typer.Argument(
        metavar="[N=ENDPOINT]",
        help="A node that runs elsewhere, and where it listens; a launcher starts one of its own.",
        show_default=False,
    ),
]


member = Verbs(
    help="The members of the cluster; nodes join and leave it while it runs.",
    epilog="Example: launcher.py member add",
)
app.add_typer(member, name="member", rich_help_panel=LEADERSHIP)


def _node_at(text: str) -> tuple[int, str]:
    found = options.endpoints(text)
    if len(found) != 1:
        raise BadUsage("name one node, as in 4=tcp://h4:7001")
    return next(iter(found.items()))


def _carry_out(context: typer.Context, cluster: str | None, output: options.Format, verb: object) -> None:
    with session_of(context).launcher(cluster) as launcher:
        lines = launcher.ask(verb, messages.Done, CHANGE_SECONDS_MAX).lines
    confirm(context, lines, output)


@member.command("list", epilog="Example: launcher.py member list -o json")
def list_(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """All members as the leader knows them: voters and learners, and how far their logs are."""
    with session_of(context).launcher(cluster) as launcher:
        listed = launcher.ask(messages.GetMembers(), messages.MemberList)
    if output is options.Format.JSON:
        out(msgspec.json.encode(listed).decode())
    else:
        out(member_table(listed, paint()))


@member.command(epilog="Example: launcher.py member add --learner")
def add(
    context: typer.Context,
    new: New = "",
    learner: Annotated[bool, typer.Option("--learner", help="It gets the log, but no vote.")] = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Start one more node; it learns first, and votes when it has caught up.

    A node that runs elsewhere, started with --join, is named: member add 4=tcp://h4:7001.
    """
    node, endpoint = _node_at(new) if new else (0, "")
    _carry_out(context, cluster, output, messages.AddMember(learner, node, endpoint))


@member.command(epilog="Example: launcher.py member promote 4")
def promote(
    context: typer.Context,
    selectors: options.Selectors,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Give a learner a vote, when it has caught up."""
    _carry_out(context, cluster, output, messages.PromoteMember(options.one_selector(selectors)))


@member.command(epilog="Example: launcher.py member remove 2")
def remove(
    context: typer.Context,
    selectors: options.Selectors,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Remove a node from the cluster, and stop it."""
    _carry_out(context, cluster, output, messages.RemoveMember(options.one_selector(selectors), dry_run))


@member.command(epilog="Example: launcher.py member replace leader")
def replace(
    context: typer.Context,
    old: Annotated[
        str,
        typer.Argument(
            metavar="SELECTOR",
            parser=options.selector,
            autocompletion=completion.selectors,
            help="Whose place it takes.",
        ),
    ],
    new: New = "",
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Start a new node, let it replace a node once it has caught up, in one change, and stop that one."""
    node, endpoint = _node_at(new) if new else (0, "")
    _carry_out(context, cluster, output, messages.ReplaceMember(old, dry_run, node, endpoint))


@member.command(epilog="Example: launcher.py member update 2 tcp://10.0.0.7:7001")
def update(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its id: 2 or n2.", show_default=False)],
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", show_default=False)],
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Tell all members where a node is reached from now on; start it again to listen there."""
    number = node.removeprefix("n")
    if not (number.isascii() and number.isdecimal()):
        raise BadUsage(f"{node} is no node's id: write 2 or n2")
    with connected(context, cluster, via, timeout) as client:
        client.update_member(int(number), endpoint)
    line = f"all members know that n{number} is reached at {endpoint}: start it there"
    confirm(context, [line], output, node=int(number), endpoint=endpoint)
