"""The faults in force.

Owns the list of injected faults, their ids, and the orders of each for every node. Knows nothing of how a
fault is carried out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct, structs

from raft.cluster.records.events import FaultCleared, FaultInjected
from raft.protocol.admin import ArmCrash, SetClock, SetDisk, SetLink

KILL, PAUSE, DISK, CRASH, CLOCK = "kill", "pause", "disk", "crash", "clock"

Inside = SetDisk | SetClock | ArmCrash
"""An order for a fault inside a node."""

Ways = Mapping[int, Collection[int]]
"""From each node, to which others."""


class Fault(Struct, frozen=True):
    """One injected fault; `links` or `inside` are its orders, by the node that carries them out."""

    id: int
    kind: str
    nodes: tuple[int, ...]
    text: str
    links: dict[int, SetLink] = {}
    inside: dict[int, Inside] = {}
    outside: bool = False  # The links are cut between the nodes, who are not told.

    @property
    def orders(self) -> dict[int, SetLink | Inside]:
        """The orders for the nodes; none for a fault of a process, or for one carried out between hosts."""
        return {**({} if self.outside else self.links), **self.inside}

    def __str__(self) -> str:
        return f"{self.kind}#{self.id}"


class FaultRegistry:
    """All faults in force. Ids are never reused."""

    def __init__(self, *, cuts_outside: bool = False) -> None:
        """With `cuts_outside` what is cut is the network's, and not the nodes', to cut."""
        self._cuts_outside = cuts_outside
        self._active: dict[int, Fault] = {}
        self._next_id = 1

    @property
    def active(self) -> list[Fault]:
        """In the order of injection."""
        return list(self._active.values())

    def add_process_fault(self, kind: str, node: int, text: str = "") -> Fault:
        """A killed or paused node."""
        return self._add(Fault(self._next_id, kind, (node,), text or f"{kind} n{node}"))

    def add_network_fault(
        self, kind: str, ways: Ways, rule: SetLink, text: str, about: Sequence[int] = ()
    ) -> Fault:
        """`rule` for each of these links; its `fault` and `to` are filled in here.

        `about`: the nodes concerned, if not all ends of the links are.
        """
        links = {
            source: SetLink(
                fault=self._next_id,
                to=sorted(targets),
                cut=rule.cut,
                delay_seconds=rule.delay_seconds,
                jitter_seconds=rule.jitter_seconds,
                drop=rule.drop,
                duplicate=rule.duplicate,
                reorder=rule.reorder,
            )
            for source, targets in sorted(ways.items())
            if targets
        }
        touched = sorted({*links, *(target for link in links.values() for target in link.to)})
        outside = self._cuts_outside and rule.cut
        nodes = tuple(about or touched)
        return self._add(Fault(self._next_id, kind, nodes, text, links, outside=outside))

    def add_disk_fault(self, nodes: Sequence[int], rule: SetDisk, text: str) -> Fault:
        """`rule` for each of these nodes; its `fault` is filled in here."""
        order = structs.replace(rule, fault=self._next_id)
        return self._add(Fault(self._next_id, DISK, tuple(nodes), text, {}, dict.fromkeys(nodes, order)))

    def add_clock_fault(self, nodes: Sequence[int], rate: float, text: str) -> Fault:
        """Run the clocks of these nodes at that rate."""
        order = SetClock(self._next_id, rate)
        return self._add(Fault(self._next_id, CLOCK, tuple(nodes), text, {}, dict.fromkeys(nodes, order)))

    def add_crash(self, node: int, point: str, text: str) -> Fault:
        """Kill the node when it passes that crash point."""
        order = ArmCrash(self._next_id, point)
        return self._add(Fault(self._next_id, CRASH, (node,), text, {}, {node: order}))

    def without(self, fault: Fault, node: int) -> Fault | None:
        """Remove one node from a fault inside nodes; returns the remaining fault, None if there is none."""
        left = {other: order for other, order in fault.inside.items() if other != node}
        if not left:
            self.remove(fault.id)
            return None
        rest = structs.replace(fault, nodes=tuple(left), inside=left)
        self._active[fault.id] = rest
        return rest

    def remove(self, fault_id: int) -> Fault | None:
        """Forget a fault; None if there is none with that id."""
        return self._active.pop(fault_id, None)

    def of_node(self, node: int) -> list[Fault]:
        """The faults that concern `node`."""
        return [fault for fault in self._active.values() if node in fault.nodes]

    def process_fault(self, kind: str, node: int) -> Fault | None:
        """The fault of that kind on exactly `node`."""
        found = (fault for fault in self.of_node(node) if fault.kind == kind)
        return next(found, None)

    def network_faults(self) -> list[Fault]:
        """All faults that `heal` ends."""
        return [fault for fault in self._active.values() if fault.links]

    def orders_of(self, node: int) -> list[SetLink | Inside]:
        """The orders that `node` needs after a start or a pause."""
        return [fault.orders[node] for fault in self._active.values() if node in fault.orders]

    def links_of(self, node: int) -> tuple[SetLink, ...]:
        """The orders for the links from `node`, for a process that starts with them."""
        return tuple(order for order in self.orders_of(node) if isinstance(order, SetLink))

    def _add(self, fault: Fault) -> Fault:
        self._active[fault.id] = fault
        self._next_id += 1
        return fault


def injected(fault: Fault) -> FaultInjected:
    """The event for an injected fault."""
    return FaultInjected(id=fault.id, kind=fault.kind, nodes=list(fault.nodes), text=fault.text)


def cleared(fault: Fault) -> FaultCleared:
    """The event for a cleared fault."""
    return FaultCleared(id=fault.id, kind=fault.kind, nodes=list(fault.nodes), text=fault.text)


def partition_links(groups: Sequence[Collection[int]], *, one_way: bool) -> dict[int, set[int]]:
    """Between all groups; with `one_way`, only from the first group to the others."""
    ways: dict[int, set[int]] = {}
    for position, group in enumerate(groups):
        if one_way and position:
            break
        others = {node for other in groups if other is not group for node in other}
        for node in group:
            ways[node] = others
    return ways


def isolation_links(isolated: Collection[int], nodes: Collection[int]) -> dict[int, set[int]]:
    """From each of `isolated` to all others, and back."""
    return {
        node: set(nodes) - {node} if node in isolated else set(isolated)
        for node in nodes
        if node in isolated or isolated
    }


def links_between(sources: Collection[int], targets: Collection[int], *, both: bool) -> dict[int, set[int]]:
    """From each source to each other target, and back if `both`."""
    ways: dict[int, set[int]] = {}
    for source in sources:
        for target in targets:
            if source != target:
                ways.setdefault(source, set()).add(target)
                if both:
                    ways.setdefault(target, set()).add(source)
    return ways
