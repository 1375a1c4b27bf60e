"""Which nodes hear each other, and whether a quorum does, computed from when each last heard which.

Owns the arithmetic. A majority of living processes is no quorum when the links between them are cut, so
processes are not counted here. Pure; knows nothing of how the nodes are asked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from msgspec import Struct

Ages = Mapping[int, Mapping[int, float]]
"""Of each node that answered: for how many seconds it has not heard each peer that it ever heard."""


class Quorum(Struct, frozen=True):
    """How many voters are needed, and how many hear each other now.

    `since_s`: how long there has been a quorum, or none; None if that is not known.
    """

    needed: int
    reachable: int
    since_s: float | None = None


def age(ages: Ages, one: int, other: int) -> float:
    """For how long the worse of the two ways between two nodes has been silent; infinite if unknown.

    Where only one of the two answered, its word counts alone.
    """
    known = [ages[here].get(there, math.inf) for here, there in ((one, other), (other, one)) if here in ages]
    return max(known, default=math.inf)


def group_of(centre: int, nodes: Collection[int], ages: Ages, seconds_max: float) -> set[int]:
    """`centre` and those of `nodes` that hear it and are heard by it."""
    return {node for node in nodes if node == centre or age(ages, centre, node) <= seconds_max}


def best_group(
    running: Collection[int], leaders: Collection[int], ages: Ages, seconds_max: float
) -> set[int]:
    """The group around a leader if that is a majority of those that run, else the largest around any node.

    Followers hear their leader all the time, but each other only in elections, which come at longer
    intervals: twice the time is allowed to a node that does not lead. So what it heard before a cut counts
    for longer, and must not outweigh what a leader hears now.
    """
    led = [group_of(node, running, ages, seconds_max) for node in running if node in leaders]
    if led and 2 * len(max(led, key=len)) > len(running):
        return max(led, key=len)
    others = [group_of(node, running, ages, 2 * seconds_max) for node in running if node not in leaders]
    return max([*led, *others], key=len, default=set())


def seconds_without_quorum(voters: Collection[int], ages: Ages) -> float | None:
    """Since when no voter has been in contact with a majority, as those know that answer."""
    others_needed = len(voters) // 2
    lasting = [
        sorted(age(ages, node, other) for other in voters if other != node)[others_needed - 1]
        for node in voters
        if node in ages and others_needed
    ]
    seconds = min(lasting, default=math.inf)
    return None if math.isinf(seconds) else seconds
