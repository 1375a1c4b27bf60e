"""Cutting, spoiling and mending the links between nodes by request.

Owns what each of those verbs asks of which node, and that a node which could not be told (it is
paused or down) is told when it is back. The breaking itself is done by each node, on its own outgoing ways.
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
    isolation_ways,
    link_ways,
    partition_ways,
)
from raft.cluster.processes.node_process import HAS_PROCESS, NodeProcess, NodeState
from raft.cluster.quantities import format_duration, format_share
from raft.cluster.rpc.messages import Isolate, Link, Partition
from raft.cluster.rpc.replies import Answer
from raft.cluster.selectors import names
from raft.protocol.admin import ClearFault, SetLink
from raft.protocol.registry import address_of

AGAIN_SECONDS = 0.05
TELL_SECONDS_MAX = 1.0


class Network:
    """Carries out verbs on links."""

    def __init__(self, context: Context, cluster: Cluster) -> None:
        self._context = context
        self._cluster = cluster

    def partition(self, verb: Partition, answer: Answer) -> None:
        """Answered when every node that runs has cut its ways."""
        if not verb.groups:
            raise BadUsage("a partition has groups: write partition 1,2 3,4,5")
        groups = [[node.id for node in self._cluster.choose(group)] for group in verb.groups]
        if len(groups) == 1:
            groups.append([node for node in self._cluster.nodes if node not in groups[0]])
        _check_groups(groups)
        arrow = " -> " if verb.one_way else " | "
        ways = partition_ways(groups, one_way=verb.one_way)
        text = arrow.join(names(group) for group in groups)
        if verb.one_way:
            text += " cut"
        hint = self._bridge(groups)
        if self._is_refused_or_dry("partition", ways, text, verb.dry_run, answer, hint):
            return
        self._break("partition", ways, SetLink(0, [], cut=True), text, answer, hint=hint)

    def isolate(self, verb: Isolate, answer: Answer) -> None:
        """Answered when every node that runs has cut its ways."""
        chosen = [node.id for node in self._cluster.choose(verb.selector)]
        ways = isolation_ways(chosen, self._cluster.nodes)
        if self._is_refused_or_dry("isolate", ways, names(chosen), verb.dry_run, answer):
            return
        self._break("isolate", ways, SetLink(0, [], cut=True), names(chosen), answer, about=chosen)

    def link(self, verb: Link, answer: Answer) -> None:
        """Answered when every node that runs has spoilt its ways."""
        sources = [node.id for node in self._cluster.choose(verb.sources)]
        targets = [node.id for node in self._cluster.choose(verb.targets)]
        ways = link_ways(sources, targets, both=verb.both)
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
        if self._is_refused_or_dry("link", ways, text, verb.dry_run, answer):
            return
        self._break("link", ways, rule, text, answer)

    def clear(self, faults: Iterable[Fault], answer: Answer, lines: list[str]) -> None:
        """End faults that nodes carry out; answered when every node that runs has mended its own."""
        orders: list[tuple[NodeProcess, object]] = []
        faults = list(faults)
        for fault in faults:
            self._cluster.faults.remove(fault.id)
            self._cluster.journal.record(cleared(fault), self._context.now())
            lines.append(f"{fault} cleared ({fault.text})")
            # A node that is down forgets by itself.
            told = [self._cluster.nodes[node] for node in fault.orders if node in self._cluster.nodes]
            orders += [(node, ClearFault(fault.id)) for node in told if node.state in HAS_PROCESS]
        self._cut_between_hosts(faults)
        self._tell(orders, lambda silent: self._finish(silent, lines, answer))

    def _cut_between_hosts(self, changed: Iterable[Fault]) -> None:
        if self._cluster.hosts is not None and any(fault.outside for fault in changed):
            self._cluster.hosts.cut(self._cluster.faults.network_faults())

    def bring_up_to_date(self, node: NodeProcess) -> None:
        """Tell a node that was away all that is to be broken in it now, and nothing else.

        It may have begun with cuts that were mended while it began. It is told again until it confirms, for
        in its first moments it may be heard and not hear.
        """
        life, to = node.lives, address_of(node.id)

        def again(_: AskFailed) -> None:
            if node.lives == life and node.state is NodeState.RUNNING:
                self._context.after(AGAIN_SECONDS, lambda: self.bring_up_to_date(node))

        self._context.ask(to, ClearFault(0), TELL_SECONDS_MAX).then(lambda _: None, again)
        # In the same frame, so that no cut is open meanwhile.
        for order in self._cluster.faults.orders_of(node.id):
            self._context.tell(to, order)

    def _bridge(self, groups: Sequence[Collection[int]]) -> str:
        """A word about the nodes that are in no group, and so reach all of them."""
        left = [node for node in self._cluster.nodes if not any(node in group for group in groups)]
        return f"{names(left)} in no group, still linked with every group (a bridge)" if left else ""

    def _is_refused_or_dry(
        self, kind: str, ways: Ways, text: str, dry_run: bool, answer: Answer, hint: str = ""
    ) -> bool:
        """Raise BadUsage for what breaks no link; answer what would be done, if no more is wanted."""
        if not any(ways.values()):
            raise BadUsage("there is no link between these nodes and others")
        if dry_run:
            answer.done([f"would {kind} {text}".replace("  ", ", "), *([hint] if hint else [])])
        return dry_run

    def _break(
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
        """Answered when every node that runs carries its part of the faults out."""
        orders: list[tuple[NodeProcess, object]] = []
        for fault in faults:
            self._cluster.journal.record(injected(fault), self._context.now())
            orders += [(self._cluster.nodes[node], order) for node, order in fault.orders.items()]
        self._cut_between_hosts(faults)
        lines = [*(f"{fault}  {fault.text}" for fault in faults), *hints]
        self._tell(orders, lambda silent: self._finish(silent, lines, answer))

    def _finish(self, silent: list[NodeProcess], lines: list[str], answer: Answer) -> None:
        away = [node for node in silent if node.state is not NodeState.RUNNING]
        lines += [f"{node.name} is {node.state.value}: it is told when it is back" for node in away]
        deaf = [node.id for node in silent if node not in away]
        if deaf:
            answer.failed(f"{names(deaf)} did not confirm: " + "; ".join(lines))
        else:
            answer.done(lines)

    def _tell(
        self, orders: list[tuple[NodeProcess, object]], then: Callable[[list[NodeProcess]], None]
    ) -> None:
        """Ask every running node; `then` gets those that did not confirm."""
        silent = dict.fromkeys(node for node, _ in orders if node.state is not NodeState.RUNNING)
        open_orders = [(node, order) for node, order in orders if node not in silent]
        remaining = len(open_orders)
        if not remaining:
            then(list(silent))

        def one_less(unconfirmed: NodeProcess | None) -> None:
            nonlocal remaining
            remaining -= 1
            if unconfirmed is not None:
                silent[unconfirmed] = None
            if not remaining:
                then(list(silent))

        def lost(node: NodeProcess, _failure: AskFailed) -> None:
            one_less(node)

        for node, order in open_orders:
            pending = self._context.ask(address_of(node.id), order, TELL_SECONDS_MAX)
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
