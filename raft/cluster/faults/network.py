"""Network faults by request: partitions, isolation, bad links, and their removal.

Owns which node is sent which orders by each verb, and that a node which could not be reached (it is paused
or down) gets them when it is back. Each node carries the faults out itself, on its outgoing links.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from actors.context import Context
from actors.errors import AskFailed
from raft.cluster.cluster import Cluster
from raft.cluster.failures import BadUsage
from raft.cluster.faults.registry import (
    Fault,
    Ways,
    cleared,
    injected,
    isolation_links,
    links_between,
    partition_links,
)
from raft.cluster.processes.node_process import HAS_PROCESS, NodeProcess, NodeState
from raft.cluster.quantities import format_duration, format_share
from raft.cluster.rpc.messages import Isolate, Link, Partition
from raft.cluster.rpc.replies import Answer
from raft.cluster.selectors import names
from raft.protocol.admin import ClearFault, SetLink
from raft.protocol.registry import address_of

RETRY_SECONDS = 0.05
CONFIRM_SECONDS_MAX = 1.0


class Network:
    """Carries out verbs on links."""

    def __init__(self, context: Context, cluster: Cluster) -> None:
        self._context = context
        self._cluster = cluster

    def partition(self, verb: Partition, answer: Answer) -> None:
        """Answered when every running node has cut its links."""
        if not verb.groups:
            raise BadUsage("a partition has groups: write partition 1,2 3,4,5")
        groups = [[node.id for node in self._cluster.choose(group)] for group in verb.groups]
        if len(groups) == 1:
            groups.append([node for node in self._cluster.nodes if node not in groups[0]])
        _check_groups(groups)
        arrow = " -> " if verb.one_way else " | "
        ways = partition_links(groups, one_way=verb.one_way)
        text = arrow.join(names(group) for group in groups)
        if verb.one_way:
            text += " cut"
        hint = self._bridge(groups)
        if self._refuse_or_dry_run("partition", ways, text, verb.dry_run, answer, hint):
            return
        self._inject_links("partition", ways, SetLink(0, [], cut=True), text, answer, hint=hint)

    def isolate(self, verb: Isolate, answer: Answer) -> None:
        """Answered when every running node has cut its links."""
        chosen = [node.id for node in self._cluster.choose(verb.selector)]
        ways = isolation_links(chosen, self._cluster.nodes)
        if self._refuse_or_dry_run("isolate", ways, names(chosen), verb.dry_run, answer):
            return
        self._inject_links("isolate", ways, SetLink(0, [], cut=True), names(chosen), answer, about=chosen)

    def link(self, verb: Link, answer: Answer) -> None:
        """Answered when every running node has changed its links."""
        sources = [node.id for node in self._cluster.choose(verb.sources)]
        targets = [node.id for node in self._cluster.choose(verb.targets)]
        ways = links_between(sources, targets, both=verb.both)
        if not ways:
            raise BadUsage(f"{verb.sources!r} and {verb.targets!r} are the same node: there is no link")
        rule = SetLink(
            0,
            [],
            delay_seconds=verb.delay_seconds,
            jitter_seconds=verb.jitter_seconds,
            drop=verb.drop,
            duplicate=verb.duplicate,
            reorder=verb.reorder,
        )
        arrow = " <-> " if verb.both else " -> "
        text = f"{names(sources)}{arrow}{names(targets)}{_rule_words(rule)}"
        if self._refuse_or_dry_run("link", ways, text, verb.dry_run, answer):
            return
        self._inject_links("link", ways, rule, text, answer)

    def clear(self, faults: Iterable[Fault], answer: Answer, lines: list[str]) -> None:
        """End faults inside nodes; answered when every running node has ended its own."""
        orders: list[tuple[NodeProcess, object]] = []
        faults = list(faults)
        for fault in faults:
            self._cluster.faults.remove(fault.id)
            self._cluster.journal.record(cleared(fault), self._context.now())
            lines.append(f"{fault} cleared ({fault.text})")
            # A node that is down forgets them by itself.
            told = [self._cluster.nodes[node] for node in fault.orders if node in self._cluster.nodes]
            orders += [(node, ClearFault(fault.id)) for node in told if node.state in HAS_PROCESS]
        self._cut_between_hosts(faults)
        self._send_orders(orders, lambda unconfirmed: self._finish(unconfirmed, lines, answer))

    def _cut_between_hosts(self, changed: Iterable[Fault]) -> None:
        if self._cluster.hosts is not None and any(fault.outside for fault in changed):
            self._cluster.hosts.cut(self._cluster.faults.network_faults())

    def resend_orders(self, node: NodeProcess) -> None:
        """Send a node that was away the orders in force, replacing any others.

        It may have started with cuts that were healed meanwhile. Repeated until the node confirms, since in
        its first moments it may be able to send but not to receive.
        """
        starts, to = node.starts, address_of(node.id)

        def again(_: AskFailed) -> None:
            if node.starts == starts and node.state is NodeState.RUNNING:
                self._context.after(RETRY_SECONDS, lambda: self.resend_orders(node))

        self._context.ask(to, ClearFault(0), CONFIRM_SECONDS_MAX).then(lambda _: None, again)
        # In the same frame, so that no cut is open meanwhile.
        for order in self._cluster.faults.orders_of(node.id):
            self._context.tell(to, order)

    def _bridge(self, groups: Sequence[Collection[int]]) -> str:
        """A remark about the nodes in no group, which can still reach all of them."""
        left = [node for node in self._cluster.nodes if not any(node in group for group in groups)]
        return f"{names(left)} in no group, still linked with every group (a bridge)" if left else ""

    def _refuse_or_dry_run(
        self, kind: str, ways: Ways, text: str, dry_run: bool, answer: Answer, hint: str = ""
    ) -> bool:
        """Raise BadUsage for a fault on no link; with dry_run, answer what would be done. True if so."""
        if not any(ways.values()):
            raise BadUsage("there is no link between these nodes and others")
        if dry_run:
            answer.done([f"would {kind} {text}".replace("  ", ", "), *([hint] if hint else [])])
        return dry_run

    def _inject_links(
        self,
        kind: str,
        ways: Ways,
        rule: SetLink,
        text: str,
        answer: Answer,
        *,
        about: Sequence[int] = (),
        hint: str = "",
    ) -> None:
        fault = self._cluster.faults.add_network_fault(kind, ways, rule, text, about)
        self.inject([fault], answer, [hint] if hint else [])

    def inject(self, faults: Sequence[Fault], answer: Answer, hints: Sequence[str] = ()) -> None:
        """Answered when every running node carries out its part of the faults."""
        orders: list[tuple[NodeProcess, object]] = []
        for fault in faults:
            self._cluster.journal.record(injected(fault), self._context.now())
            orders += [(self._cluster.nodes[node], order) for node, order in fault.orders.items()]
        self._cut_between_hosts(faults)
        lines = [*(f"{fault}  {fault.text}" for fault in faults), *hints]
        self._send_orders(orders, lambda unconfirmed: self._finish(unconfirmed, lines, answer))

    def _finish(self, unconfirmed: list[NodeProcess], lines: list[str], answer: Answer) -> None:
        away = [node for node in unconfirmed if node.state is not NodeState.RUNNING]
        lines += [f"{node.name} is {node.state.value}: it gets this when it is back" for node in away]
        silent = [node.id for node in unconfirmed if node not in away]
        if silent:
            answer.failed(f"{names(silent)} did not confirm: " + "; ".join(lines))
        else:
            answer.done(lines)

    def _send_orders(
        self, orders: list[tuple[NodeProcess, object]], then: Callable[[list[NodeProcess]], None]
    ) -> None:
        """Send orders to every running node; `then` gets those that did not confirm."""
        unconfirmed = dict.fromkeys(node for node, _ in orders if node.state is not NodeState.RUNNING)
        open_orders = [(node, order) for node, order in orders if node not in unconfirmed]
        remaining = len(open_orders)
        if not remaining:
            then(list(unconfirmed))

        def one_less(silent: NodeProcess | None) -> None:
            nonlocal remaining
            remaining -= 1
            if silent is not None:
                unconfirmed[silent] = None
            if not remaining:
                then(list(unconfirmed))

        def lost(node: NodeProcess, _failure: AskFailed) -> None:
            one_less(node)

        for node, order in open_orders:
            pending = self._context.ask(address_of(node.id), order, CONFIRM_SECONDS_MAX)
            pending.then(lambda _: one_less(None), partial(lost, node))


def _check_groups(groups: list[list[int]]) -> None:
    if not all(groups):
        raise BadUsage("a partition has two sides, and one of them is empty")
    everyone = [node for group in groups for node in group]
    twice = sorted({node for node in everyone if everyone.count(node) > 1})
    if twice:
        raise BadUsage(f"the groups overlap: {names(twice)} cannot be on two sides")


def _rule_words(rule: SetLink) -> str:
    words = ""
    if rule.delay_seconds or rule.jitter_seconds:
        words += f"  delay {format_duration(rule.delay_seconds)}"
    if rule.jitter_seconds:
        words += f"  jitter {format_duration(rule.jitter_seconds)}"
    for name, share in (("drop", rule.drop), ("duplicate", rule.duplicate), ("reorder", rule.reorder)):
        if share:
            words += f"  {name} {format_share(share)}"
    return words
