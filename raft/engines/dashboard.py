"""A Grafana dashboard of the exporter's metrics.

Owns its panels as data, and their JSON. Knows nothing of what draws them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

WIDTH, HEIGHT, COLUMNS = 8, 7, 3
_IN: Final = '{cluster=~"$cluster"}'


class Panel(Struct, frozen=True):
    """A picture of one or more expressions over time; `unit` is one of Grafana's."""

    title: str
    unit: str
    series: tuple[tuple[str, str], ...]
    """Expressions and their legends."""
    description: str = ""


def _rate(name: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}{_IN}[$__rate_interval]))"


def _quantiles(name: str, by: str, legend: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f"histogram_quantile({share}, sum by ({by}, le) (rate({name}_bucket{_IN}[$__rate_interval])))",
            f"{legend} p{share * 100:g}",
        )
        for share in (0.5, 0.99)
    )


PANELS: Final = (
    Panel("Nodes that answer", "short", ((f"sum by (cluster) (raft_node_up{_IN})", "up"),
          (f"floor(max by (cluster) (raft_voters{_IN}) / 2) + 1", "needed")),
          "Below the needed number nothing can be committed."),
    Panel("Leader", "none", ((f"max by (cluster) (raft_leader_id{_IN})", "node"),),
          "The id of the node that leads; 0 while there is no leader."),
    Panel("Term", "none", ((f"max by (cluster) (raft_term{_IN})", "term"),)),
    Panel("Commands a second", "ops", ((_rate("raft_proposals_total", "result"), "{{result}}"),)),
    Panel("Reads a second", "ops", ((_rate("raft_reads_total", "result"), "{{result}}"),)),
    Panel("Elections, leaders lost", "short", (
        (f"sum by (reason) (increase(raft_elections_won_total{_IN}[5m]))", "won: {{reason}}"),
        (f"sum by (reason) (increase(raft_leaderships_lost_total{_IN}[5m]))", "lost: {{reason}}"),
        (f"sum(increase(raft_campaigns_total{_IN}[5m]))", "stood"))),
    Panel("Commit", "s", _quantiles("raft_commit_seconds", "cluster", "commit")),
    Panel("Write and fsync, by node", "s", _quantiles("raft_fsync_seconds", "node", "n{{node}}")),
    Panel("Apply, by node", "s", _quantiles("raft_apply_seconds", "node", "n{{node}}")),
    Panel("Round trip from the leader", "s",
          _quantiles("raft_peer_round_trip_seconds", "peer", "n{{peer}}")),
    Panel("Loop lag, by node", "s", _quantiles("raft_loop_lag_seconds", "node", "n{{node}}"),
          "How late nodes are for their ticks: more than a heartbeat costs elections."),
    Panel("Late turns", "ops", ((_rate("raft_late_turns_total", "node, kind"), "n{{node}} {{kind}}"),)),
    Panel("Commit and applied index", "none", (
        (f"raft_commit_index{_IN}", "n{{node}} committed"),
        (f"raft_applied_index{_IN}", "n{{node}} applied"))),
    Panel("Behind the leader", "none", ((f"raft_peer_lag_entries{_IN}", "n{{peer}}"),)),
    Panel("Queues", "none", ((f"sum by (queue) (raft_queue_length{_IN})", "{{queue}}"),)),
    Panel("State of its quota", "percentunit", (
        (f"raft_state_bytes{_IN} / raft_quota_bytes{_IN}", "n{{node}}"),
        (f"max(raft_out_of_space{_IN})", "out of space"), (f"max(raft_disk_full{_IN})", "disk full"))),
    Panel("Keys, leases, sessions, watches", "none", (
        (f"max(raft_keys{_IN})", "keys"), (f"max(raft_leases{_IN})", "leases"),
        (f"max(raft_sessions{_IN})", "sessions"), (f"sum(raft_watches{_IN})", "watches"))),
    Panel("Applied bytes a second", "Bps", ((_rate("raft_applied_bytes_total", "node"), "n{{node}}"),)),
    Panel("Sent to peers", "Bps",
          ((_rate("raft_peer_sent_bytes_total", "node, peer"), "n{{node}} to n{{peer}}"),)),
    Panel("Received from peers", "Bps",
          ((_rate("raft_peer_received_bytes_total", "node, peer"), "n{{node}} from n{{peer}}"),)),
    Panel("Memory", "bytes", ((f"raft_process_resident_memory_bytes{_IN}", "n{{node}}"),)),
    Panel("Processor", "percentunit", ((_rate("raft_process_cpu_seconds_total", "node"), "n{{node}}"),)),
    Panel("Dropped frames and messages", "ops",
          ((_rate("raft_dropped_frames_total", "reason"), "{{reason}}"),)),
)  # fmt: skip


def expressions() -> Iterator[str]:
    """All that the panels ask Prometheus."""
    for panel in PANELS:
        for expression, _ in panel.series:
            yield expression


def dashboard() -> str:
    """The dashboard as JSON, for Grafana's import or provisioning."""
    return json.dumps(
        {
            "uid": "raft-actors",
            "title": "raft-actors",
            "tags": ["raft"],
            "schemaVersion": 39,
            "editable": True,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": _variables()},
            "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
        },
        indent=2,
    )


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "cluster",
            "type": "query",
            "label": "Cluster",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": {"query": "label_values(raft_node_up, cluster)", "refId": "clusters"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
            "allValue": ".*",
        },
    ]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {
            "x": number % COLUMNS * WIDTH,
            "y": number // COLUMNS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "expr": expression,
                "legendFormat": legend,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
            }
            for place, (expression, legend) in enumerate(panel.series)
        ],
    }
