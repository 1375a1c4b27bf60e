"""A run from its order to its verdict, and the directory of its results.

Owns the contents of that directory: schedule.toml, history.jsonl, events.jsonl, verdict.json, report.html
and the nodes' logs. Knows nothing of how each of them is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import platform
import shutil
import subprocess
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from actors.processes.private_files import make_private, write_private
from raft.cluster.failures import BadUsage, ExitCode
from raft.cluster.processes.node_process import Cause
from raft.cluster.records.events import Event, NodeExited, NodeGaveUp, read_events
from raft.cluster.rundir import find
from raft.cluster.spec import ClusterRecord
from raft.lab.chaos import trial
from raft.lab.chaos.cluster import found, hosted
from raft.lab.chaos.evidence import committed_values, state_hashes
from raft.lab.chaos.liveness import Recoveries, recoveries
from raft.lab.chaos.nemesis import InjectedFault
from raft.lab.chaos.order import Order, Sabotage
from raft.lab.chaos.schedule import Fault, Schedule
from raft.lab.chaos.schedule_file import format_schedule
from raft.lab.chaos.trial import RunResult
from raft.lab.chaos.workers import Workload
from raft.lab.chaos.workloads.collections import Appends, Counters, Sets
from raft.lab.chaos.workloads.locks import LockWorkload
from raft.lab.chaos.workloads.register import Registers
from raft.lab.chaos.workloads.watches import Watches
from raft.lab.checkers import judge as judging
from raft.lab.checkers.leadership import judge_events, judge_states
from raft.lab.checkers.records import Header, Record, RecordedHistory, write_history
from raft.lab.checkers.revisions import EVENTS
from raft.lab.checkers.verdict import Anomaly, Ruling, Verdict
from raft.lab.reports.report import write_report
from raft.lab.shrinking import shrink
from raft.node.config import EXIT_DISK_FAILED
from raft.version import VERSION

Tell = Callable[[str], None]

WRITES = frozenset({"put", "cas", "append", "add", "fenced-put", "acquire"})
AFTER_SECONDS = 1.0  # A fault may have effects for a while after its end.
TALLY = "raft.lab.chaos.tally:Tally"
OWN_MACHINE = frozenset({"append", "counter"})
SHORTENING_RUNS_MAX = 20
# After how many entries, and how many are kept. Logs that are never compacted settle all unknown outcomes.
SNAPSHOT_LIMITS = ((0, 10_000_000), (300, 50), (100, 5))


class Summary(Struct, frozen=True, kw_only=True):
    """The contents of verdict.json."""

    v: int = 1
    ruling: Ruling
    reason: str  # One sentence.
    seed: int
    nodes: int
    workload: str
    seconds: float
    command: str
    operations: dict[str, int]  # By outcome.
    operations_per_second: float
    latency_ms: dict[str, float]  # Percentiles, of operations that were done.
    availability: Availability
    recoveries: Recoveries
    recovery_seconds_max: float  # A longer one fails the run.
    faults: dict[str, int]  # By kind, without those that were refused.
    refused: int  # Faults that could not be injected, since their target was down or gone.
    cpu_share: float
    machines_compared: int  # Pairs of machines at the same entry; differences are anomalies.
    judgement: Verdict
    injected_faults: list[InjectedFault]
    host_load: list[float]  # One-minute average before and after the run.
    interrupted: bool = False
    ended_by: int = 0  # The signal that interrupted it.

    @property
    def exit_code(self) -> ExitCode:
        """The verb's exit code."""
        by_ruling = {Ruling.LEGAL: ExitCode.OK, Ruling.ILLEGAL: ExitCode.VIOLATION}
        return by_ruling.get(self.ruling, ExitCode.FAILURE)


def run_chaos(order: Order, directory: Path, tell: Tell) -> Summary:
    """Run, check, and write everything into `directory`, which exists and is empty."""
    load_before = round(os.getloadavg()[0], 2)
    write_private(directory / "schedule.toml", format_schedule(order.schedule).encode())
    if order.name:
        data = directory / "data"
        with hosted(order.name, order.nodes, data, _options(order)) as launcher:
            told = asyncio.run(_on_new_cluster(order, launcher, directory, tell))
        logs = data / "logs"
    else:
        running = find(order.cluster)
        if order.workload in OWN_MACHINE and ClusterRecord.read(running.record).spec.machine != TALLY:
            raise BadUsage(f"--workload {order.workload} needs a cluster with --machine {TALLY}")
        told = asyncio.run(trial.run(order, workload_of(order), running, tell))
        logs = Path(ClusterRecord.read(running.record).log_dir)
    _keep(logs, directory)
    summary = _judge(order, told, directory, load_before)
    write_private(
        directory / "verdict.json", msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    )
    write_report(directory)
    if order.name and summary.ruling is Ruling.LEGAL:
        shutil.rmtree(directory / "data")
    return summary


async def _on_new_cluster(
    order: Order, launcher: subprocess.Popen[bytes], directory: Path, tell: Tell
) -> RunResult:
    running = await found(order.name, launcher, directory / "launcher.err")
    return await trial.run(order, workload_of(order), running, tell)


def _options(order: Order) -> list[str]:
    seed = order.schedule.seed
    options = ["--seed", str(seed)]
    # Some clusters take snapshots often, and send them to nodes that fall behind; some never do.
    limits = Random(f"cluster/{seed}").choice(SNAPSHOT_LIMITS)
    options += ["--snapshot-entries", str(limits[0]), "--keep-entries", str(limits[1])]
    if order.hosts:
        options += ["--hosts", order.hosts]
    if order.workload in OWN_MACHINE:
        options += ["--machine", TALLY]
    if order.sabotage is Sabotage.NO_FSYNC:
        options.append("--ephemeral-log")
    return options


def _keep(logs: Path, directory: Path) -> None:
    """Copy the events and the nodes' logs."""
    kept = directory / "logs"
    make_private(kept)
    for path in logs.iterdir():
        shutil.copy2(path, directory if path.name == "events.jsonl" else kept)
    with contextlib.suppress(FileNotFoundError):
        if not (directory / "launcher.err").stat().st_size:
            (directory / "launcher.err").unlink()


def _judge(order: Order, told: RunResult, directory: Path, load_before: float) -> Summary:
    schedule = order.schedule
    header = Header(
        workload=order.workload,
        seed=schedule.seed,
        nodes=told.size,
        command=order.command,
        versions={"raft-actors": VERSION, "python": platform.python_version()},
    )
    write_history(directory / "history.jsonl", header, told.records)
    whole = order.name and not told.unsettled
    committed = committed_values(directory / "data", told.members) if whole else None
    history = RecordedHistory(header=header, records=told.records)
    events = read_events(directory / "events.jsonl")
    states = state_hashes(directory / "data", told.members) if whole else []
    judgement = judging.judge(history, committed=committed)
    judgement = judgement.with_more(judge_events(events)).with_more(judge_states(states))
    recovered = recoveries(events, _acknowledged(told.records), told.begin, told.end)
    judgement = judgement.with_more(_too_long(recovered, order.recovery_seconds_max))
    ruling, reason = judgement.ruling, judgement.sentence()
    crashes = [crash for event in events if (crash := _crash(event))]
    if ruling is Ruling.LEGAL and (told.unsettled or crashes):
        ruling, reason = Ruling.UNDECIDED, told.unsettled or crashes[0]
    outcomes = Counter(record.outcome for record in told.records if record.op not in EVENTS)
    done_injected_faults = [injected for injected in told.injected_faults if not injected.refused]
    return Summary(
        ruling=ruling,
        reason=reason,
        seed=schedule.seed,
        nodes=told.size,
        workload=order.workload,
        seconds=round(told.end - told.begin, 3),
        command=order.command,
        operations=dict(sorted(outcomes.items())),
        operations_per_second=round(outcomes["done"] / (told.end - told.begin), 1),
        latency_ms=_latencies(told),
        availability=availability(
            told.records,
            [(injected.begin, injected.end or told.end) for injected in done_injected_faults],
            told.begin,
            told.end,
        ),
        recoveries=recovered,
        recovery_seconds_max=order.recovery_seconds_max,
        faults=dict(sorted(Counter(injected.fault.kind.value for injected in done_injected_faults).items())),
        refused=len(told.injected_faults) - len(done_injected_faults),
        cpu_share=round(told.cpu_share, 3),
        machines_compared=max(Counter(state.applied for state in states).values(), default=0),
        judgement=judgement,
        injected_faults=told.injected_faults,
        host_load=[load_before, round(os.getloadavg()[0], 2)],
        interrupted=bool(told.ended_by),
        ended_by=told.ended_by,
    )


def _crash(event: Event) -> str:
    """Describe a node that died without a fault; "" if the event is something else."""
    if isinstance(event, NodeExited) and event.cause == Cause.CRASH.value and event.code != EXIT_DISK_FAILED:
        return f"n{event.node} died by itself: {event.traceback or event.signal or event.code}"
    if isinstance(event, NodeGaveUp):
        return f"n{event.node} was given up: {event.reason or 'it failed too often'}"
    return ""


def _acknowledged(records: Sequence[Record]) -> list[float]:
    """When writes were acknowledged.

    For locks any operation, since their clients also wait for each other.
    """
    asked = WRITES | {"release", "read"} if any(r.op == "acquire" for r in records) else WRITES
    return [r.returned for r in records if r.done and r.op in asked and r.returned is not None]


def _too_long(recovered: Recoveries, seconds_max: float) -> tuple[Anomaly, ...]:
    """A cluster that is able to acknowledge writes must do so in time."""
    if recovered.max_seconds <= seconds_max:
        return ()
    text = (
        f"from {recovered.max_at:.3f} s on a majority ran and was connected, and no write was acknowledged "
        f"for {recovered.max_seconds:.3f} s; {seconds_max:g} s are allowed"
    )
    return (Anomaly(name="unavailable", key="", text=text),)


def _latencies(told: RunResult) -> dict[str, float]:
    took = sorted(
        record.returned - record.call
        for record in told.records
        if record.outcome == "done" and record.op not in EVENTS and record.returned is not None
    )
    if not took:
        return {}
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * took[int(share * (len(took) - 1))], 3) for name, share in shares.items()}


class Availability(Struct, frozen=True, kw_only=True):
    """Gaps between successful writes: the longest one, and the longest around each fault."""

    longest_gap_seconds: float
    gap_seconds_p50: float
    gap_seconds_max: float
    faults: int


def availability(
    records: Sequence[Record], faults: Sequence[tuple[float, float]], begin: float, end: float
) -> Availability:
    """Measure from `begin` to `end`, while clients wrote; each fault is a pair of times."""
    moments = sorted(
        record.returned
        for record in records
        if record.outcome == "done" and record.op in WRITES and record.returned is not None
    )
    gaps = sorted(
        longest_gap(moments, max(fault_begin, begin), min(fault_end + AFTER_SECONDS, end))
        for fault_begin, fault_end in faults
    )
    return Availability(
        longest_gap_seconds=longest_gap(moments, begin, end),
        gap_seconds_p50=gaps[len(gaps) // 2] if gaps else 0.0,
        gap_seconds_max=gaps[-1] if gaps else 0.0,
        faults=len(gaps),
    )


def longest_gap(moments: Sequence[float], begin: float, end: float) -> float:
    """The longest gap between the moments that overlaps the time from `begin` to `end`, in full."""
    first = max(bisect_left(moments, begin) - 1, 0)
    last = min(bisect_right(moments, end) + 1, len(moments))
    near = moments[first:last]
    if not near:
        return end - begin
    gaps = [later - earlier for earlier, later in itertools.pairwise(near)]
    return max([*gaps, near[0] - begin, end - near[-1]])


def workload_of(order: Order) -> Workload:
    """A new workload, inside a running event loop."""
    stale = order.sabotage is Sabotage.STALE_READS
    match order.workload:
        case "append":
            return Appends(stale=stale)
        case "set":
            return Sets(stale=stale)
        case "counter":
            return Counters(stale=stale)
        case "lock" | "election" as kind:
            fenced = order.sabotage is not Sabotage.NO_FENCING
            return LockWorkload(kind, fenced=fenced, clock_rate_max=_fastest_clock(order))
        case "watch":
            return Watches()
        case _:
            return Registers(stale=stale)


def _fastest_clock(order: Order) -> float:
    """How much faster than the clients' clock a node's may run."""
    return max([1.0, *(fault.rate for fault in order.schedule.faults)])


def shortened(order: Order, directory: Path, tell: Tell) -> Schedule | None:
    """The order's schedule with as few faults as still fail; None if it does not fail again."""
    place = directory / "again"

    def fails(faults: Sequence[Fault]) -> bool:
        place.mkdir()
        again = msgspec.structs.replace(order, schedule=order.schedule.with_faults(faults))
        try:
            failed = run_chaos(again, place, _ignore).ruling is Ruling.ILLEGAL
        finally:
            shutil.rmtree(place)
        tell(f"with {len(faults)} of {len(order.schedule.faults)} faults: {'fails' if failed else 'passes'}")
        return failed

    if not fails(order.schedule.faults):
        return None
    return order.schedule.with_faults(shrink(order.schedule.faults, fails, runs_max=SHORTENING_RUNS_MAX))


def _ignore(_text: str) -> None:
    """These runs are reported in one line each."""
