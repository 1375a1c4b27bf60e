"""What a node has counted, put together when it is asked.

Owns the answer to GetMetrics: the families and their labels. The parts of the node keep their own plain
numbers, so that nothing is done for this while there is no question. Names for the outside and help texts
are the exporter's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from raft.machines.application import Application
from raft.node.applier import Applier
from raft.node.leadership.disk_health import DiskHealthMonitor
from raft.node.log_writer import LogWriter
from raft.node.machine_services import MachineServices
from raft.node.reporter import Reporter
from raft.node.requests.proposals import Proposals
from raft.node.requests.reads import Reads
from raft.node.sender import MessageSender
from raft.protocol.admin import NodeMetrics, NodeStatus
from raft.protocol.registry import node_of

if TYPE_CHECKING:
    from raft.node.ticker import Ticker

Labelled = dict[str, dict[str, float]]


class Counted(Struct):
    """The parts of a node that count."""

    machine: Application
    proposals: Proposals
    reads: Reads
    applier: Applier
    log_writer: LogWriter
    disk_health: DiskHealthMonitor
    machine_services: MachineServices
    outgoing: MessageSender
    reporter: Reporter
    ticker: Ticker
    usage: Callable[[], Mapping[str, float]]
    traffic: Callable[[], Mapping[str, tuple[int, int]]]

    def metrics(self, status: NodeStatus, at_seconds: float) -> NodeMetrics:
        """All of it, as it is now."""
        applying = self.applier.timing
        return NodeMetrics(
            status=status,
            at_seconds=at_seconds,
            gauges=self._gauges(),
            counters=self._counters(),
            histograms={
                "log_write": {"": self.log_writer.write_seconds.counts()},
                "commit": {"": applying.commit_seconds.counts()},
                "apply": {"": applying.apply_seconds.counts()},
                "loop_lag": {"": self.ticker.lag_seconds.counts()},
                "round_trip": {
                    str(peer): times.counts() for peer, times in self.outgoing.round_trips.by_peer.items()
                },
            },
        )

    def _gauges(self) -> Labelled:
        machine, own_machine = self.machine, self.applier.own_machine
        plain = {
            "disk_full": float(self.disk_health.is_full),
            "keys": len(machine.store),
            "revision": machine.history.revision,
            "events_kept": len(machine.history),
            "leases": len(machine.leases),
            "sessions": len(machine.sessions),
            "watches": self.machine_services.watches,
            "resident_bytes": self.usage().get("resident_bytes", 0.0),
        }
        queues = {
            "proposals": len(self.proposals),
            "reads": len(self.reads),
            "log_writes": self.log_writer.waiting,
            "apply": self.applier.waiting,
            "own_machine_commands": own_machine.commands,
            "own_machine_queries": own_machine.queries,
        }
        return {**{name: {"": float(value)} for name, value in plain.items()}, "queue": floats(queues)}

    def _counters(self) -> Labelled:
        reporter = self.reporter
        plain = {
            "campaigns": reporter.campaigns,
            "leaders_seen": reporter.leaders_seen,
            "applied_bytes": self.applier.bytes_applied,
            "cpu_seconds": self.usage().get("cpu_seconds", 0.0),
        }
        peers = {node_of(process): both for process, both in self.traffic().items() if node_of(process)}
        return {
            **{name: {"": float(value)} for name, value in plain.items()},
            "sent_bytes": {str(peer): float(sent) for peer, (sent, _) in peers.items()},
            "received_bytes": {str(peer): float(received) for peer, (_, received) in peers.items()},
            "elections_won": floats(reporter.elected),
            "leaderships_lost": floats(reporter.lost),
            "proposals": floats(self.proposals.results),
            "reads": floats(self.reads.results),
            "late_turns": floats(self.ticker.late_by_kind),
        }


def floats(numbers: Mapping[str, int]) -> dict[str, float]:
    """The same numbers, as they travel."""
    return {name: float(number) for name, number in numbers.items()}
