"""What can be done to a cluster from a view: each action as the verb that it is on the command line.

Owns the table of actions, from which views make their menus, and the way from a chosen one to the launcher's
request. Nothing outside the table can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, Struct

from raft.cluster.failures import BadUsage
from raft.cluster.rpc import messages
from raft.protocol.admin import AT_ONCE

Id = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """An action that a viewer has chosen, on nodes, on the way from one to another, or on a fault."""

    action: Annotated[str, Meta(max_length=40)]
    nodes: Annotated[list[Id], Meta(max_length=64)] = []
    to: Annotated[list[Id], Meta(max_length=64)] = []


class Action(Struct, frozen=True):
    """One entry of a menu. `on`: node | one | nodes | link | fault | cluster. `words`: the verb as typed."""

    name: str
    label: str
    on: str
    words: str
    request: Callable[[str, str], object]


ACTIONS: tuple[Action, ...] = (
    Action("kill", "Kill", "node", "kill {nodes}", lambda nodes, _: messages.Kill(nodes)),
    Action(
        "kill-restart", "Kill, and start again after 2 s", "node", "kill {nodes} --restart-after 2s",
        lambda nodes, _: messages.Kill(nodes, 2.0),
    ),
    Action(
        "power-cut", "Cut the power", "node", "kill {nodes} --at now",
        lambda nodes, _: messages.Kill(nodes, None, AT_ONCE),
    ),
    Action("pause", "Pause", "node", "pause {nodes}", lambda nodes, _: messages.Pause(nodes)),
    Action(
        "pause-5s", "Pause for 5 s", "node", "pause {nodes} --for 5s",
        lambda nodes, _: messages.Pause(nodes, 5.0),
    ),
    Action("resume", "Resume", "node", "resume {nodes}", lambda nodes, _: messages.Resume(nodes)),
    Action("stop", "Stop", "node", "stop {nodes}", lambda nodes, _: messages.Stop(nodes)),
    Action("start", "Start", "node", "start {nodes}", lambda nodes, _: messages.Start(nodes)),
    Action("isolate", "Cut off", "node", "isolate {nodes}", lambda nodes, _: messages.Isolate(nodes)),
    Action(
        "slow-disk", "Slow its disk by 100 ms", "node", "disk {nodes} --fsync-delay 100ms",
        lambda nodes, _: messages.BreakDisk(nodes, 0.1),
    ),
    Action("snapshot", "Take a snapshot", "node", "snapshot {nodes}",
           lambda nodes, _: messages.ForceSnapshot(nodes)),
    Action("transfer", "Make it leader", "one", "transfer {nodes}",
           lambda nodes, _: messages.HandOver(nodes)),
    Action(
        "partition", "Cut these nodes from the others", "nodes", "partition {nodes}",
        lambda nodes, _: messages.Partition([nodes]),
    ),
    Action(
        "drop", "Lose all messages on this way", "link", "link {nodes} {to} --drop 100%",
        lambda nodes, to: messages.Link(nodes, to, drop=1.0),
    ),
    Action(
        "lossy", "Lose 20 % of the messages", "link", "link {nodes} {to} --drop 20%",
        lambda nodes, to: messages.Link(nodes, to, drop=0.2),
    ),
    Action(
        "slow", "Delay messages by 100 ms, both ways", "link", "link {nodes} {to} --delay 100ms --both",
        lambda nodes, to: messages.Link(nodes, to, both=True, delay_seconds=0.1),
    ),
    Action(
        "clear", "Heal", "fault", "faults clear {nodes}",
        lambda ids, _: messages.ClearFaults([int(number) for number in ids.split(",")]),
    ),
    Action("clear-all", "Heal everything", "cluster", "faults clear", lambda _, __: messages.ClearFaults()),
)  # fmt: skip
_BY_NAME = {action.name: action for action in ACTIONS}
_WITHOUT_NODES = {"cluster"}


def menu() -> list[dict[str, str]]:
    """The table as views need it."""
    return [
        {"name": action.name, "label": action.label, "on": action.on, "words": action.words}
        for action in ACTIONS
    ]


def request_of(order: Order) -> tuple[str, object]:
    """The command line and the request to the launcher; raises BadUsage for what is not there."""
    action = _BY_NAME.get(order.action)
    if action is None:
        raise BadUsage(f"there is no action {order.action!r:.60}; there are {', '.join(_BY_NAME)}")
    if not order.nodes and action.on not in _WITHOUT_NODES:
        raise BadUsage(f"{action.name} needs a {'fault' if action.on == 'fault' else 'node'}")
    if not order.to and action.on == "link":
        raise BadUsage(f"{action.name} needs the node at the other end of the way")
    if len(order.nodes) > 1 and action.on == "one":
        raise BadUsage(f"{action.name} is for one node, not for {len(order.nodes)}")
    nodes, to = ",".join(map(str, order.nodes)), ",".join(map(str, order.to))
    return action.words.format(nodes=nodes, to=to), action.request(nodes, to)
