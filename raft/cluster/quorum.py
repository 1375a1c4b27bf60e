"""Which nodes hear each other, and whether they are a quorum, by when each last heard which.

Owns the arithmetic. Processes are not counted: a majority of live processes is no quorum when the links
between them are cut. Pure; knows nothing of how the nodes are asked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from msgspec import Struct

Ages = Mapping[int, Mapping[int, float]]
"""For each node that answered: how many seconds ago it last heard each peer."""


class Quorum(Struct, frozen=True):
    """How many voters are needed, and how many hear each other now.

    `since_s`: how long there has been a quorum, or none; None if that is unknown.
    """

    needed: int
    reachable: int
    since_s: float | None = None


def age(ages: Ages, one: int, other: int) -> float:
    """How long the more silent direction between two nodes has been silent; infinite if unknown.

    If only one of the two answered, its report counts alone.
    """
    known = [ages[here].get(there, math.inf) for here, there in ((one, other), (other, one)) if here in ages]
    return max(known, default=math.inf)


def group_of(centre: int, nodes: Collection[int], ages: Ages, seconds_max: float) -> set[int]:
    """`centre` and those of `nodes` that it hears and that hear it."""
    return {node for node in nodes if node == centre or age(ages, centre, node) <= seconds_max}


def best_group(
    running: Collection[int], leaders: Collection[int], ages: Ages, seconds_max: float
) -> set[int]:
    """The group around a leader if it is a majority of the running nodes, else the largest around any node.

    Followers hear their leader all the time, but each other only in elections, which are less frequent: a
    node that is not the leader is allowed twice the time. What it heard before a cut therefore counts for
    longer, and must not outweigh what a leader hears now.
    """
    led = [group_of(node, running, ages, seconds_max) for node in running if node in leaders]
    if led and 2 * len(max(led, key=len)) > len(running):
        return max(led, key=len)
    others = [group_of(node, running, ages, 2 * seconds_max) for node in running if node not in leaders]
    return max([*led, *others], key=len, default=set())


def seconds_without_quorum(voters: Collection[int], ages: Ages) -> float | None:
    """How long no voter has been in contact with a majority, by the nodes that answered."""
    others_needed = len(voters) // 2
    lasting = [
        sorted(age(ages, node, other) for other in voters if other != node)[others_needed - 1]
        for node in voters
        if node in ages and others_needed
    ]
    seconds = min(lasting, default=math.inf)
    return None if math.isinf(seconds) else seconds
