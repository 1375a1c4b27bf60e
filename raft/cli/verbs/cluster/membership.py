"""The verbs on leadership and membership: transfer, step-down, member list, add, promote, remove, …

Owns their command lines. What they do is the supervisor's, and the leader's whom it asks.
"""

from __future__ import annotations

from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import LEADERSHIP, app, carry_out, confirm, show_answer
from raft.cli.connection import TIMEOUT_SECONDS, Timeout, Via, connected
from raft.cli.verb import Verbs
from raft.cli.views import member_table
from raft.cluster.failures import BadUsage
from raft.cluster.rpc import messages

# A node that is far behind needs time to catch up.
CHANGE_SECONDS_MAX = 180.0


@app.command(rich_help_panel=LEADERSHIP, epilog="Example: launcher.py transfer 2")
def transfer(
    context: typer.Context,
    to: Annotated[
        str | None,
        options.selector_argument("TO", "The next leader; by default any."),
    ] = None,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Transfer leadership to another node, almost without interruption."""
    carry_out(context, cluster, output, messages.HandOver(to or ""))


@app.command("step-down", rich_help_panel=LEADERSHIP, epilog="Example: launcher.py step-down")
def step_down(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Transfer leadership to the most up-to-date node."""
    transfer(context, None, output, cluster)


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


@member.command("list", epilog="Example: launcher.py member list -o json")
def list_(
    context: typer.Context,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """All members as the leader knows them: voters and learners, and how far their logs are."""
    show_answer(context, cluster, output, messages.GetMembers(), messages.MemberList, member_table)


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
    carry_out(context, cluster, output, messages.AddMember(learner, node, endpoint), CHANGE_SECONDS_MAX)


@member.command(epilog="Example: launcher.py member promote 4")
def promote(
    context: typer.Context,
    selectors: options.Selectors,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Give a learner a vote, when it has caught up."""
    carry_out(
        context, cluster, output, messages.PromoteMember(options.one_selector(selectors)), CHANGE_SECONDS_MAX
    )


@member.command(epilog="Example: launcher.py member remove 2")
def remove(
    context: typer.Context,
    selectors: options.Selectors,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Remove a node from the cluster, and stop it."""
    carry_out(
        context,
        cluster,
        output,
        messages.RemoveMember(options.one_selector(selectors), dry_run),
        CHANGE_SECONDS_MAX,
    )


@member.command(epilog="Example: launcher.py member replace leader")
def replace(
    context: typer.Context,
    old: Annotated[
        str,
        options.selector_argument("SELECTOR", "Whose place it takes."),
    ],
    new: New = "",
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Start a new node, let it replace a node once it has caught up, in one change, and stop that one."""
    node, endpoint = _node_at(new) if new else (0, "")
    carry_out(
        context, cluster, output, messages.ReplaceMember(old, dry_run, node, endpoint), CHANGE_SECONDS_MAX
    )


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
