"""The verb that computes heartbeats and election timeouts, from given times or from measured ones.

Owns its command line, the measuring of a running cluster, and what is shown. The rule is in
raft.cluster.timing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from raft.cli import options
from raft.cli.app import OBSERVE, app, note, out, out_json, paint
from raft.cli.connection import connected, everyone
from raft.cli.views import table
from raft.cluster.failures import BadUsage, ExitCode, Unreachable, VerbFailed
from raft.cluster.quantities import format_duration
from raft.cluster.timing import Timing, at_most, safe_timing, since

if TYPE_CHECKING:
    from raft.cli.remote import Target
    from raft.protocol.admin import HistogramCounts

ROUND_TRIPS = 20
WRITES = 50
MEASURE_SECONDS = 60.0
ANSWER_SECONDS = 5.0
LOG_WRITE = "log_write"  # As nodes call the histogram of their writes with sync.
BY_TYPING = "give --rtt and --fsync, such as --rtt 80ms --fsync 5ms, or --measure them in a running cluster"


class Measurement(Struct):
    """What was measured; seconds."""

    round_trips: dict[int, dict[int, list[float]]]  # By node and peer.
    fsyncs: dict[int, float]  # By node: at most so long.
    silent: dict[int, str]  # Nodes that told nothing, and why.

    @property
    def slowest_round_trip(self) -> float:
        """Of all pairs."""
        return max((max(times) for peers in self.round_trips.values() for times in peers.values() if times),
                   default=0.0)  # fmt: skip

    @property
    def slowest_fsync(self) -> float:
        """Of all nodes."""
        return max(self.fsyncs.values(), default=0.0)


@app.command(
    rich_help_panel=OBSERVE, epilog="Example: launcher.py tune --measure, or: tune --rtt 80ms --fsync 5ms"
)
def tune(
    context: typer.Context,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure round trips between the members, and their disks.")
    ] = False,
    rtt: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION",
            parser=options.duration,
            help="The slowest round trip between two members.",
            show_default=False,
        ),
    ] = None,
    fsync: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION",
            parser=options.duration,
            help="The slowest write with sync of a member.",
            show_default=False,
        ),
    ] = None,
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Heartbeat and election timeout that suit a network and its disks, as options and as configuration.

    --measure asks each member for round trips to the others, and writes some keys, which it deletes again.
    """
    if measure == (rtt is not None or fsync is not None):
        raise BadUsage(BY_TYPING)
    if not measure:
        _show(safe_timing(rtt or 0.0, fsync or 0.0), None, output)
        return
    measured = _measure(context, everyone(context, cluster), cluster)
    _show(safe_timing(measured.slowest_round_trip, measured.slowest_fsync), measured, output)
    for node, why in measured.silent.items():
        note(context, f"n{node} was not measured: {why}", "yellow")


def _measure(context: typer.Context, target: Target, cluster: str | None) -> Measurement:
    from raft.client.survey import Survey
    from raft.protocol.admin import GetMetrics, Measure, Measured, NodeMetrics
    from raft.protocol.client import Invalid

    at = target.endpoints
    with Survey(cluster=target.cluster, keys=target.keys) as survey:
        survey.connect(at)
        before = survey.ask(dict.fromkeys(at, GetMetrics()), ANSWER_SECONDS)
        answering = [node for node, answer in before.items() if isinstance(answer, NodeMetrics)]
        if not answering:
            raise Unreachable(f"no node answers. {target.hint}")
        trips = survey.ask(dict.fromkeys(answering, Measure(ROUND_TRIPS)), MEASURE_SECONDS)
        for answer in trips.values():
            if isinstance(answer, Invalid):
                raise VerbFailed(answer.reason, ExitCode.NOT_ALLOWED if answer.not_allowed else None)
        with connected(context, cluster, "all", ANSWER_SECONDS) as client:
            key = f"tune/{os.urandom(4).hex()}"
            for number in range(WRITES):
                client.put(key, str(number))
            client.delete(key)
        after = survey.ask(dict.fromkeys(answering, GetMetrics()), ANSWER_SECONDS)
    fsyncs = {
        node: at_most([since(_writes(then), _writes(now))])
        for node in answering
        if isinstance(then := before[node], NodeMetrics) and isinstance(now := after[node], NodeMetrics)
    }
    measured = {node: answer.round_trips for node, answer in trips.items() if isinstance(answer, Measured)}
    answers: dict[int, object] = {**before, **trips}
    silent = {
        node: str(getattr(answer, "reason", answer)).removeprefix(f"n{node}: ")
        for node, answer in answers.items()
        if node not in measured
    }
    return Measurement(measured, fsyncs, silent)


def _writes(metrics: object) -> HistogramCounts:
    found: HistogramCounts = metrics.histograms[LOG_WRITE][""]  # type: ignore[attr-defined]  # NodeMetrics.
    return found


def _show(timing: Timing, measured: Measurement | None, output: options.Format) -> None:
    if output is options.Format.JSON:
        fields: Mapping[str, object] = {
            "heartbeat_seconds": timing.heartbeat_seconds,
            "election_seconds_min": timing.election_seconds_min,
            "election_seconds_max": timing.election_seconds_max,
        }
        more = {} if measured is None else {
            "round_trip_seconds": measured.round_trips, "fsync_seconds": measured.fsyncs,
            "not_measured": measured.silent,
        }  # fmt: skip
        out_json(**fields, **more)
        return
    if measured is not None:
        _show_measured(measured)
    out(timing.flags)
    out("")
    out("# raft-actors.toml")
    out(timing.toml)


def _show_measured(measured: Measurement) -> None:
    nodes = sorted(measured.round_trips)
    peers = sorted({peer for times in measured.round_trips.values() for peer in times})
    rows = [
        [
            f"n{node}",
            *(_slowest(measured.round_trips[node].get(peer)) if peer != node else "-" for peer in peers),
            f"< {format_duration(measured.fsyncs[node])}" if measured.fsyncs.get(node) else "?",
        ]
        for node in nodes
    ]
    out(table(["FROM", *(f"TO n{peer}" for peer in peers), "FSYNC"], rows, paint(), left={0}))
    out("")


def _slowest(times: list[float] | None) -> str:
    """The slowest of the round trips; ? if there was no answer."""
    return format_duration(max(times)) if times else "?"
