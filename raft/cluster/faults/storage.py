"""Faults of disks and clocks, and kills in the middle of a write, by request.

Owns which node is sent which orders by each verb, and when such a fault ends. Each node carries the faults
out itself, below its storage; the orders are sent by Network.
"""

from __future__ import annotations

from actors.context import Context
from raft.cluster.cluster import Cluster
from raft.cluster.failures import BadUsage
from raft.cluster.faults.network import Network
from raft.cluster.faults.registry import CRASH, DISK, cleared
from raft.cluster.processes.node_process import HAS_NONE, HAS_PROCESS, NodeProcess, NodeState
from raft.cluster.processes.process_control import ProcessControl
from raft.cluster.quantities import format_duration
from raft.cluster.rpc.messages import BreakDisk, Kill, MendDisk, SetClockRate
from raft.cluster.rpc.replies import Answer
from raft.cluster.selectors import names
from raft.protocol.admin import AT_ONCE, ClearFault, SetDisk
from raft.protocol.registry import address_of
from raft.storage.device import CRASH_POINTS

LOSES_UNSYNCED = "unsynced writes are lost in a power cut"
"""The description of a disk that works normally until then: alone, this fault has no effect."""


class StorageFaults:
    """Carries out verbs on disks and clocks."""

    def __init__(
        self, context: Context, cluster: Cluster, network: Network, steering: ProcessControl
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._network = network
        self._steering = steering
        self._back_after_seconds: dict[int, float] = {}

    def break_disk(self, verb: BreakDisk, answer: Answer) -> None:
        """Answered when every running node has the fault."""
        chosen = [node.id for node in self._cluster.choose(verb.selector)]
        rule = SetDisk(0, verb.fsync_delay_seconds, verb.full, verb.fail_fsync, verb.lose_unsynced)
        text = f"{names(chosen)}  {_words(rule)}"
        if verb.dry_run:
            answer.done([f"would break the disk of {text}".replace("  ", ", ")])
            return
        faults = [self._cluster.faults.add_disk_fault(chosen, rule, text)]
        hint = "the next fsync ends the node; it is restarted with a healthy disk"
        self._network.inject(faults, answer, [hint] if rule.fail_fsync else [])

    def set_clock(self, verb: SetClockRate, answer: Answer) -> None:
        """Answered when the clock of every running node has that rate."""
        chosen = [node.id for node in self._cluster.choose(verb.selector)]
        text = f"{names(chosen)}  clock at {verb.rate:g} times its rate"
        if verb.dry_run:
            answer.done([f"would change {text}".replace("  ", ", ")])
            return
        self._network.inject([self._cluster.faults.add_clock_fault(chosen, verb.rate, text)], answer)

    def mend(self, verb: MendDisk, answer: Answer) -> None:
        """Answered when the disk of every running node is healthy. Other faults of the nodes stay."""
        lines: list[str] = []
        for node in self._cluster.choose(verb.selector):
            for fault in [*self._cluster.faults.of_node(node.id)]:
                if fault.kind == DISK:
                    lines.append(f"{fault} cleared on {node.name}")
                    self._take_away(fault.id, node)
        answer.done(lines or ["no disk was broken"])

    def arm(self, verb: Kill, answer: Answer) -> None:
        """Answered when every running node waits for the crash point."""
        if verb.at not in (*CRASH_POINTS, AT_ONCE):
            raise BadUsage(
                f"there is no crash point {verb.at!r}; there are {AT_ONCE}, {', '.join(CRASH_POINTS)}"
            )
        if verb.dry_run:
            chosen = self._cluster.choose(verb.selector, HAS_PROCESS)
            answer.done([f"would kill {node.name} at {verb.at}" for node in chosen])
            return
        faults = []
        for node in self._cluster.choose(verb.selector, HAS_PROCESS):
            self._back_after_seconds.pop(node.id, None)
            if verb.restart_after_seconds is not None:
                self._back_after_seconds[node.id] = verb.restart_after_seconds
            text = f"kill {node.name} at {verb.at}"
            faults.append(self._cluster.faults.add_crash(node.id, verb.at, text))
            node.crash_armed = True
        self._network.inject(faults, answer)

    def node_exited(self, node: NodeProcess) -> None:
        """After a crash the next process has a healthy disk; a node that died as ordered may be started."""
        for fault in [*self._cluster.faults.of_node(node.id)]:
            order = fault.inside.get(node.id)
            if isinstance(order, SetDisk) and order.fail_fsync:
                self._take_away(fault.id, node)
        if self._cluster.faults.process_fault(CRASH, node.id) and node.state in HAS_NONE:
            seconds = self._back_after_seconds.pop(node.id, None)
            if seconds is not None:
                self._steering.start_later(node, seconds)

    def _take_away(self, fault_id: int, node: NodeProcess) -> None:
        faults = self._cluster.faults
        fault = next(fault for fault in faults.active if fault.id == fault_id)
        if faults.without(fault, node.id) is None:
            self._cluster.journal.record(cleared(fault), self._context.now())
        if node.state is NodeState.RUNNING:
            self._context.tell(address_of(node.id), ClearFault(fault_id))


def _words(rule: SetDisk) -> str:
    words = []
    if rule.fsync_delay_seconds:
        words.append(f"fsync +{format_duration(rule.fsync_delay_seconds)}")
    if rule.full:
        words.append("full")
    if rule.fail_fsync:
        words.append("fsync fails")
    if rule.lose_unsynced:
        words.append(LOSES_UNSYNCED)
    return ", ".join(words)
