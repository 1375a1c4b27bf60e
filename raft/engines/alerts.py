"""Prometheus's alerting rules for the exporter's metrics: what each of them says, and what to do about it.

Owns the rules as data, and their YAML. Knows nothing of how a rule is evaluated.
"""

from __future__ import annotations

import json
from typing import Final

from msgspec import Struct

OPERATIONS: Final = "docs/operations.md"


class Alert(Struct, frozen=True):
    """One rule: it fires when `expr` has had a result for so long."""

    name: str
    severity: str  # critical: wake the person on call; warning: look at it today.
    expr: str
    lasting: str
    summary: str
    description: str


_VOTERS_UP: Final = 'count by (cluster) (raft_node_role{role="learner"} == 0)'
_VOTERS: Final = "max by (cluster) (raft_voters)"


def _p99(name: str, by: str) -> str:
    return f"histogram_quantile(0.99, sum by ({by}, le) (rate({name}_bucket[5m])))"


ALERTS: Final = (
    Alert(
        "RaftNoLeader",
        "critical",
        "(max by (cluster) (raft_is_leader) or 0 * max by (cluster) (raft_node_up)) == 0",
        "15s",
        "cluster {{ $labels.cluster }} has no leader",
        "No node that answers leads. Nothing can be written or read linearizably until a majority of the "
        "voters "
        "can reach each other.",
    ),
    Alert(
        "RaftManyLeaderChanges",
        "warning",
        "max by (cluster) (increase(raft_leader_changes_total[15m])) > 4",
        "0s",
        "cluster {{ $labels.cluster }} has changed its leader {{ $value | humanize }} times in 15 minutes",
        "Leaders are lost again and again: look at raft_leaderships_lost_total by reason, at "
        "raft_late_turns_total "
        "(no processor time) and at the round trips between members.",
    ),
    Alert(
        "RaftSlowFsync",
        "warning",
        f"{_p99('raft_fsync_seconds', 'cluster, node')} > 0.1",
        "5m",
        "node {{ $labels.node }} of {{ $labels.cluster }} takes {{ $value | humanizeDuration }} for a "
        "write (p99)",
        "The disk of the node is slow. A slow leader hands over to a faster one; a slow majority slows all "
        "writes.",
    ),
    Alert(
        "RaftSlowCommits",
        "warning",
        f"{_p99('raft_commit_seconds', 'cluster')} > 0.25",
        "5m",
        "commits in {{ $labels.cluster }} take {{ $value | humanizeDuration }} (p99)",
        "A majority is slow to acknowledge: look at raft_fsync_seconds and raft_peer_round_trip_seconds by "
        "node.",
    ),
    Alert(
        "RaftMemberDown",
        "warning",
        "raft_node_up == 0",
        "1m",
        "node {{ $labels.node }} of {{ $labels.cluster }} does not answer",
        "The process is down, stopped, or cannot be reached from the exporter.",
    ),
    Alert(
        "RaftQuorumAtRisk",
        "critical",
        f"{_VOTERS_UP} <= floor({_VOTERS} / 2) + 1 and {_VOTERS} >= 3",
        "1m",
        "{{ $value }} voters of {{ $labels.cluster }} answer: none of them may be lost",
        "One more voter that fails, and nothing can be written. Bring a member back, or replace one.",
    ),
    Alert(
        "RaftOutOfSpace",
        "critical",
        "max by (cluster, node) (raft_out_of_space) == 1 or max by (cluster, node) (raft_disk_full) == 1",
        "0s",
        "node {{ $labels.node }} of {{ $labels.cluster }} has no space left",
        "The quota is used up (raft_state_bytes), so that only deleting goes on; or the disk is full.",
    ),
    Alert(
        "RaftSpaceLow",
        "warning",
        "raft_state_bytes / raft_quota_bytes > 0.8",
        "5m",
        "node {{ $labels.node }} of {{ $labels.cluster }} holds {{ $value | humanizePercentage }} of its "
        "quota",
        "At 15/16 the leader takes in nothing that grows. Delete, or give the nodes more memory and a "
        "higher quota.",
    ),
    Alert(
        "RaftMemberLags",
        "warning",
        "max by (cluster, peer) (raft_peer_lag_entries) > 10000",
        "5m",
        "node {{ $labels.peer }} of {{ $labels.cluster }} is {{ $value | humanize }} entries behind its "
        "leader",
        "A member that does not catch up is no help when another one fails.",
    ),
    Alert(
        "RaftClockRate",
        "warning",
        "abs(deriv(raft_node_clock_seconds[5m]) - 1) > 0.02 unless changes(raft_incarnation[5m]) > 0",
        "2m",
        "the clock of node {{ $labels.node }} of {{ $labels.cluster }} is {{ $value | humanizePercentage "
        "}} off",
        "Leases and lease reads rely on clocks that run at about the same rate. Look at the host's clock "
        "source.",
    ),
    Alert(
        "RaftNoMetrics",
        "warning",
        "absent(raft_node_up)",
        "2m",
        "there are no metrics of any cluster",
        "The exporter is down, or Prometheus does not scrape it.",
    ),
)  # fmt: skip


def alert_rules() -> str:
    """The rules as YAML, for Prometheus's `rule_files`."""
    lines = ["groups:", "  - name: raft-actors", "    rules:"]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.expr)}",
            f"        for: {alert.lasting}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {json.dumps(alert.summary)}",
            f"          description: {json.dumps(alert.description)}",
            f"          runbook: {json.dumps(f'{OPERATIONS}#{alert.name.lower()}')}",
        ]
    return "\n".join(lines) + "\n"
