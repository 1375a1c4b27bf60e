"""The metrics by name: their kinds, units and help texts, and what of a node's answer each of them shows.

Owns the names that dashboards and alerts rely on. Knows nothing of HTTP, or of how a node is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from raft.protocol.admin import HistogramCounts, NodeMetrics, NodeStatus

ROLES: Final = ("leader", "follower", "candidate", "pre-candidate", "learner")


class Family(Struct, frozen=True):
    """One metric; `label` tells its samples of one node apart, "" if there is one sample only."""

    name: str
    kind: str  # gauge, counter or histogram
    help: str
    label: str = ""


Told = Mapping[str, float]


def _of_status(read: Callable[[NodeStatus], float | None]) -> Callable[[NodeMetrics], Told]:
    def samples(told: NodeMetrics) -> Told:
        value = read(told.status)
        return {} if value is None else {"": float(value)}

    return samples


def _gauge(name: str) -> Callable[[NodeMetrics], Told]:
    return lambda told: told.gauges.get(name, {})


def _counter(name: str) -> Callable[[NodeMetrics], Told]:
    return lambda told: told.counters.get(name, {})


def _lag(told: NodeMetrics) -> Told:
    status = told.status
    return {str(peer): float(status.last - match) for peer, match in status.match.items()}


def _heard(told: NodeMetrics) -> Told:
    return {str(peer): seconds for peer, seconds in told.status.heard_seconds.items()}


UP: Final = Family("raft_node_up", "gauge", "Whether the node answered this scrape: 1 if it did, else 0.")
SCRAPE_SECONDS: Final = Family(
    "raft_scrape_duration_seconds", "gauge", "How long asking all nodes took for this scrape."
)

G, C = "gauge", "counter"
SCALARS: Final[tuple[tuple[Family, Callable[[NodeMetrics], Told]], ...]] = (
    (
        Family("raft_node_role", G, "1 for the role that the node has now, 0 for the others.", "role"),
        lambda told: {role: float(told.status.role == role) for role in ROLES},
    ),
    (
        Family("raft_is_leader", G, "1 if the node leads, as far as it knows, else 0."),
        _of_status(lambda status: status.role == "leader"),
    ),
    (
        Family("raft_has_leader", G, "1 if the node knows of a leader, else 0."),
        _of_status(lambda status: status.leader != 0),
    ),
    (
        Family("raft_leader_id", G, "The id of the leader that the node follows; 0 if it knows of none."),
        _of_status(lambda status: status.leader),
    ),
    (Family("raft_term", G, "The term that the node is in."), _of_status(lambda status: status.term)),
    (
        Family("raft_commit_index", G, "Up to which log index the node knows entries to be committed."),
        _of_status(lambda status: status.commit),
    ),
    (
        Family("raft_applied_index", G, "Up to which log index the node has applied entries."),
        _of_status(lambda status: status.applied),
    ),
    (
        Family("raft_last_index", G, "The index of the last entry in the node's log."),
        _of_status(lambda status: status.last),
    ),
    (
        Family("raft_voters", G, "How many members vote, by the configuration that the node has."),
        _of_status(lambda status: len(status.voters)),
    ),
    (
        Family("raft_learners", G, "How many members do not vote, by the configuration that the node has."),
        _of_status(lambda status: len(status.learners)),
    ),
    (
        Family(
            "raft_contact_age_seconds", G,
            "How long ago the node heard its leader; at a leader, how long ago it heard a quorum.",
        ),
        _of_status(lambda status: status.contact_seconds),
    ),
    (
        Family("raft_peer_heard_age_seconds", G, "Since when the node has not heard that peer.", "peer"),
        _heard,
    ),
    (
        Family(
            "raft_peer_lag_entries", G,
            "At a leader: how many entries of its log that peer has not acknowledged.", "peer",
        ),
        _lag,
    ),
    (
        Family("raft_incarnation", G, "How often the node's process was started on its data directory."),
        _of_status(lambda status: status.incarnation),
    ),
    (
        Family("raft_state_bytes", G, "What the node's state, event history and log take in memory."),
        _of_status(lambda status: status.used_bytes),
    ),
    (
        Family("raft_quota_bytes", G, "How much of that the node may hold."),
        _of_status(lambda status: status.quota_bytes),
    ),
    (
        Family(
            "raft_out_of_space", G,
            "1 while the leader takes in nothing that grows, as its quota is used up.",
        ),
        _of_status(lambda status: status.out_of_space),
    ),
    (
        Family("raft_disk_full", G, "1 while the node finds no room on its disk to write."),
        _gauge("disk_full"),
    ),
    (
        Family("raft_machine_version", G, "The version of the node's own code of the state machine."),
        _of_status(lambda status: status.version),
    ),
    (
        Family(
            "raft_cluster_version", G,
            "The version of the state machine that all members have agreed on.",
        ),
        _of_status(lambda status: status.cluster_version),
    ),
    (
        Family(
            "raft_node_clock_seconds", G,
            "The node's monotonic clock; its rate should be 1 second a second.",
        ),
        lambda told: {"": told.at_seconds},
    ),
    (Family("raft_keys", G, "How many keys the store has."), _gauge("keys")),
    (Family("raft_revision", G, "The store's last revision that has events."), _gauge("revision")),
    (
        Family("raft_events_kept", G, "How many events are kept for watchers that come late."),
        _gauge("events_kept"),
    ),
    (Family("raft_leases", G, "How many leases last."), _gauge("leases")),
    (Family("raft_sessions", G, "How many exactly-once sessions last."), _gauge("sessions")),
    (Family("raft_watches", G, "How many watches of clients the node serves."), _gauge("watches")),
    (
        Family(
            "raft_queue_length", G,
            "What waits in the node: proposals and reads for their answers, writes for the disk, committed "
            "batches for the machine, and work for the user's own machine.", "queue",
        ),
        _gauge("queue"),
    ),
    (
        Family("raft_process_resident_memory_bytes", G, "Memory of the node's process that is resident."),
        _gauge("resident_bytes"),
    ),
    (
        Family("raft_process_cpu_seconds_total", C, "Time of the processor that the node's process has had."),
        _counter("cpu_seconds"),
    ),
    (
        Family(
            "raft_elections_won_total", C,
            "Elections that the node has won, by why they were held.", "reason",
        ),
        _counter("elections_won"),
    ),
    (
        Family("raft_campaigns_total", C, "Elections in which the node stood, won or not."),
        _counter("campaigns"),
    ),
    (
        Family("raft_leaderships_lost_total", C, "Leaderships that the node has lost, by why.", "reason"),
        _counter("leaderships_lost"),
    ),
    (
        Family("raft_leader_changes_total", C, "How often the node has seen another leader than before."),
        _counter("leaders_seen"),
    ),
    (
        Family(
            "raft_proposals_total", C,
            "Commands of clients by what became of them at the node: committed, failed (the machine said "
            "no), unknown, overwritten, refused, not-leader, out-of-space, too-new or invalid.", "result",
        ),
        _counter("proposals"),
    ),
    (
        Family(
            "raft_reads_total", C, "Queries answered by the node: linearizable, stale; or refused.", "result"
        ),
        _counter("reads"),
    ),
    (
        Family("raft_applied_bytes_total", C, "Bytes of the entries that the node's process has applied."),
        _counter("applied_bytes"),
    ),
    (
        Family(
            "raft_peer_sent_bytes_total", C,
            "Bytes that the node's process has sent to that peer, without headers of frames.", "peer",
        ),
        _counter("sent_bytes"),
    ),
    (
        Family(
            "raft_peer_received_bytes_total", C,
            "Bytes that the node's process has received from that peer, without headers of frames.", "peer",
        ),
        _counter("received_bytes"),
    ),
    (
        Family(
            "raft_late_turns_total", C,
            "How often the node noticed that it had not run for several ticks: stalled (it had no processor, "
            "or was stopped) or busy (it worked for so long in one turn).", "kind",
        ),
        _counter("late_turns"),
    ),
    (
        Family(
            "raft_dropped_frames_total", C,
            "Frames, handshakes and messages that the node turned away or dropped, by reason.", "reason",
        ),
        lambda told: {reason: float(count) for reason, count in told.status.counters.items()},
    ),
)  # fmt: skip

HISTOGRAMS: Final[tuple[tuple[Family, str], ...]] = (
    (
        Family(
            "raft_fsync_seconds", "histogram",
            "Writing and syncing a batch of the log, as the node waits for it.",
        ),
        "log_write",
    ),
    (
        Family(
            "raft_commit_seconds", "histogram",
            "From entering the leader's log to being committed; of one batch at each tick.",
        ),
        "commit",
    ),
    (
        Family(
            "raft_apply_seconds", "histogram",
            "From being committed to being applied at the node; of one batch at each tick.",
        ),
        "apply",
    ),
    (
        Family("raft_loop_lag_seconds", "histogram", "How late the node's loop was for each of its ticks."),
        "loop_lag",
    ),
    (
        Family(
            "raft_peer_round_trip_seconds", "histogram",
            "From a leader's heartbeat to that peer's reply; of one heartbeat at a time.", "peer",
        ),
        "round_trip",
    ),
)  # fmt: skip


def every_family() -> Iterator[Family]:
    """All metrics that there are."""
    yield UP
    yield SCRAPE_SECONDS
    for family, _ in (*SCALARS, *HISTOGRAMS):
        yield family


def exposition(cluster: str, told: Mapping[int, NodeMetrics | None], seconds: float) -> str:
    """A scrape in Prometheus's text format; None stands for a node that did not answer."""
    lines: list[str] = []
    lines += _head(UP)
    lines += [_sample(UP.name, cluster, node, {}, float(it is not None)) for node, it in told.items()]
    lines += [*_head(SCRAPE_SECONDS), f"{SCRAPE_SECONDS.name}{_labels({'cluster': cluster})} {seconds:.6f}"]
    up = {node: it for node, it in told.items() if it is not None}
    for family, read in SCALARS:
        lines += _head(family)
        for node, it in up.items():
            for value, number in read(it).items():
                label = {family.label: value} if family.label else {}
                lines.append(_sample(family.name, cluster, node, label, number))
    for family, key in HISTOGRAMS:
        lines += _head(family)
        for node, it in up.items():
            for value, histogram in it.histograms.get(key, {}).items():
                label = {family.label: value} if family.label else {}
                lines += _buckets(family.name, cluster, node, label, histogram)
    return "\n".join(lines) + "\n"


def _head(family: Family) -> list[str]:
    return [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]


def _buckets(
    name: str, cluster: str, node: int, label: Mapping[str, str], histogram: HistogramCounts
) -> Iterator[str]:
    below = 0
    for bound, count in zip([*histogram.bounds, None], histogram.counts, strict=True):
        below += count
        le = "+Inf" if bound is None else f"{bound:g}"
        yield _sample(f"{name}_bucket", cluster, node, {**label, "le": le}, below)
    yield _sample(f"{name}_sum", cluster, node, label, histogram.sum)
    yield _sample(f"{name}_count", cluster, node, label, below)


def _sample(name: str, cluster: str, node: int, label: Mapping[str, str], value: float) -> str:
    number = str(int(value)) if float(value).is_integer() else repr(float(value))
    return f"{name}{_labels({'cluster': cluster, 'node': str(node), **label})} {number}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
