"""The report of a run: one self-contained HTML file, which can be printed.

Owns the contents and their order; the template owns the layout. jinja2 is loaded only here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import Struct

from actors.processes.private_files import write_private
from raft.cluster.records.events import FaultInjected
from raft.cluster.records.report import LeaderReport, Leadership, leader_report
from raft.lab.checkers.verdict import Anomaly
from raft.lab.reports.figure import figure_of
from raft.lab.reports.lanes import Fault
from raft.lab.reports.nodes import REASONS, class_of, milliseconds
from raft.lab.reports.proof import proof_svg
from raft.lab.reports.replay import as_text, feed_of
from raft.lab.reports.run import Run, read_run
from raft.live import files as page_files

SHOWN_MAX = 3  # Anomalies that are drawn.
WORDS = {
    "kill": "a process ended by SIGKILL",
    "power-cut": "a process killed, with all its unsynced writes lost",
    "crash": "a process killed at a chosen point of a write",
    "pause": "a process stopped by SIGSTOP: alive, but silent",
    "partition": "no messages between groups of nodes",
    "isolate": "a node cut off from all others",
    "link": "messages delayed, lost, duplicated or reordered",
    "disk": "a disk that is slow, full or failing",
    "clock": "a clock that runs too fast or too slow",
    "ring": "each node hears a majority, but no two the same one",
    "restart": "processes stopped gracefully and started again",
    "snapshot": "a snapshot by request",
    "transfer": "leadership transferred by request",
    "grow": "a node added",
    "shrink": "a node removed",
    "replace": "a node replaced by a new one",
}
ENDINGS = {
    "died": "its process died",
    "higher-term": "it heard of a newer term",
    "no-quorum": "it could not reach a majority",
    "transfer": "it transferred leadership",
    "stopping": "it was stopped",
    "removed": "it was removed",
    "disk-full": "its disk was full",
    "slow-fsync": "its disk was slow",
    "pause": "it was paused",
    "partition": "it was cut off",
    "isolate": "it was cut off",
    "kill": "it was killed",
    "crash": "it was killed",
    "superseded": "another one was elected",
}
TITLES = {
    "legal": "The history is legal",
    "illegal": "The history is illegal",
    "undecided": "Undecided, which is not a pass",
}


class Number(Struct, frozen=True):
    """A figure at the top of the page."""

    name: str
    value: str
    unit: str = ""


def write_report(directory: Path) -> Path:
    """Write report.html into the directory of a run, from the files in it."""
    path = directory / "report.html"
    write_private(path, page(read_run(directory)).encode())
    return path


def picture(run: Run) -> str:
    """The timeline alone, as a self-contained SVG file."""
    return figure_of(run).as_svg(_resource("style.css"))


def page(run: Run) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(_resource("report.html.jinja")).render(_content(run))


def _content(run: Run) -> dict[str, Any]:
    drawn = run.picture()
    faults = drawn.faults
    found = leader_report(run.events, drawn.end)
    return {
        # The drawings' classes are also those of the live page's parts, which have a style of their own.
        "style": _resource("style.css").replace("\nsvg ", "\n:is(figure, .legend) svg "),
        "moments_style": page_files.style(),
        "moments_script": page_files.script("run.js"),
        "panels": page_files.panels(),
        "feed": as_text(feed_of(run)),
        "heading": "A chaos run" if run.history else "A cluster's timeline",
        "subtitle": _subtitle(run, drawn.end, len(drawn.lanes)),
        "verdict": _verdict(run, bool(found.violations)),
        "numbers": _numbers(run, faults, len(found.leaders), found.leaderless_s),
        "anomalies": [_anomaly(anomaly) for anomaly in _anomalies(run)[:SHOWN_MAX]],
        "more_anomalies": [f"{a.name} on {a.key}" for a in _anomalies(run)[SHOWN_MAX:]],
        "figure": figure_of(run).as_svg(),
        "has_clients": run.history is not None,
        "leaders": [
            {
                "term": leader.term,
                "node": leader.node,
                "elected_t": leader.elected_t,
                "took": milliseconds(leader.took_ms),
                "lasted_s": leader.lasted_s,
                "votes": leader.votes,
                "why": _why(leader, is_first=number == 0),
                "until": ENDINGS.get(leader.ended or "", leader.ended or "it still leads"),
            }
            for number, leader in enumerate(found.leaders)
        ],
        "leaderless_terms": ", ".join(map(str, found.leaderless_terms)),
        "now": _who_leads(found, drawn.end),
        "fault_kinds": [(kind, class_of(kind)) for kind in dict.fromkeys(fault.kind for fault in faults)],
        "faults": _faults(run, faults),
        "facts": _facts(run),
    }


def _why(leader: Leadership, *, is_first: bool) -> str:
    if leader.reason == "startup" and not is_first:
        return "no node knew of a leader any longer"  # All of them were restarted.
    return REASONS.get(leader.reason, leader.reason)


def _who_leads(found: LeaderReport, end: float) -> str:
    """The first line: the leader, since when, and how the previous one ended."""
    if not found.leaders:
        return "There has been no leader."
    last = found.leaders[-1]
    if last.ended is not None:
        why = ENDINGS.get(last.ended, last.ended)
        over = last.elected_t + last.lasted_s
        return (
            f"In the end no node led: n{last.node} had led term {last.term} until {over:.2f} s, when {why}."
        )
    words = f"n{last.node} leads term {last.term}, since {last.elected_t:.2f} s of {end:.2f} s"
    if len(found.leaders) == 1:
        return f"{words}; it is the first leader."
    before = found.leaders[-2]
    ended = ENDINGS.get(before.ended or "", before.ended or "another one was elected")
    return f"{words}. Before it n{before.node} led term {before.term}, until {ended}."


def _subtitle(run: Run, end: float, nodes: int) -> str:
    parts = [f"{nodes} nodes", f"{end:.0f} s"]
    if run.history is not None:
        parts.append(f"workload {run.history.header.workload}")
    if run.summary.seed is not None:
        parts.append(f"seed {run.summary.seed}")
    day = run.events[0].wall[:16].replace("T", " ") if run.events else ""
    return " · ".join([*parts, f"{day} UTC"] if day else parts)


def _verdict(run: Run, two_leaders: bool) -> dict[str, str]:
    tone = "illegal" if two_leaders else run.summary.ruling
    if tone not in TITLES:
        return {}
    return {"tone": tone, "title": TITLES[tone], "words": _for_a_newcomer(run, tone)}


def _for_a_newcomer(run: Run, tone: str) -> str:
    operations = run.summary.operations
    asked = sum(operations.values())
    if tone == "illegal":
        anomalies = len(_anomalies(run))
        if not anomalies:
            return f"{run.summary.reason}."
        few = "it" if anomalies == 1 else "the first of them" if anomalies > SHOWN_MAX else "them"
        return (
            f"Clients made {asked:,} calls to the cluster, and some of its answers are impossible: "
            f"{anomalies} {'anomaly' if anomalies == 1 else 'anomalies'}. Below are the few operations that "
            f"prove {few}."
        )
    if tone == "undecided":
        return f"{run.summary.reason}. No error was found, but nothing was proved either."
    broken, unknown = sum(run.summary.faults.values()), operations.get("unknown", 0)
    words = (
        f"During {broken} injected faults, clients made {asked:,} calls to the cluster. There is an "
        "order of all operations, consistent with real time, in which every answer is the one that a single "
        "machine that never fails would have given."
    )
    if unknown:
        words += f" It is unknown whether {unknown} of the operations took place; either was allowed."
    return words


def _numbers(run: Run, faults: Sequence[Fault], leaders: int, leaderless_s: float) -> list[Number]:
    numbers = [Number("leaders", str(leaders)), Number("without a leader", f"{leaderless_s:.2f}", "s")]
    injected = sum(run.summary.faults.values()) or len(faults)
    numbers.insert(0, Number("faults", str(injected), "injected"))
    summary = run.summary
    if summary.operations:
        done, asked = summary.operations.get("done", 0), sum(summary.operations.values())
        numbers.insert(0, Number("operations done", f"{done:,}", f"of {asked:,}"))
    if summary.latency_ms:
        numbers.append(Number("latency, p50", f"{summary.latency_ms.get('p50', 0):.1f}", "ms"))
        numbers.append(Number("latency, p99", f"{summary.latency_ms.get('p99', 0):.0f}", "ms"))
    if "longest_gap_seconds" in summary.availability:
        gap = 1000 * summary.availability["longest_gap_seconds"]
        numbers.append(Number("no write for at most", f"{gap:.0f}", "ms"))
    if summary.recoveries.get("count"):
        # From the time that a majority is healthy and connected again to the first write.
        p99, longest = (1000 * summary.recoveries[f"{name}_seconds"] for name in ("p99", "max"))
        numbers.append(Number("recovery, p99", f"{p99:.0f}", f"ms, max {longest:.0f}"))
    return numbers


def _anomalies(run: Run) -> Sequence[Anomaly]:
    return run.summary.judgement.anomalies if run.summary.judgement is not None else ()


def _anomaly(anomaly: Anomaly) -> dict[str, str]:
    drawing = proof_svg(anomaly) if anomaly.operations else ""
    name = anomaly.name.replace("-", " ").capitalize()
    return {"name": name, "key": anomaly.key, "text": f"{anomaly.text}.", "drawing": drawing}


def _faults(run: Run, faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Each kind of fault; some have no duration."""
    seconds: dict[str, float] = {}
    for fault in faults:
        seconds[fault.kind] = seconds.get(fault.kind, 0.0) + fault.end - fault.start
    times = run.summary.faults or Counter(fault.kind for fault in faults)
    return [
        {
            "kind": kind,
            "times": times[kind],
            "lasted": f"{seconds[kind]:.1f} s" if kind in seconds else "–",
            "words": WORDS.get(kind, ""),
        }
        for kind in sorted(times)
    ]


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = []
    if run.summary.command:
        facts.append(("command", run.summary.command))
    if run.summary.seed is not None:
        facts.append(("seed", str(run.summary.seed)))
    if run.history is not None:
        versions = run.history.header.versions
        facts.append(
            ("versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
        )
    if run.summary.host_load:
        before, after = run.summary.host_load
        facts.append(("load of the host", f"{before:.1f} before, {after:.1f} after the run"))
    kinds = {event.kind for event in run.events if isinstance(event, FaultInjected)}
    if kinds and not run.summary.command:
        facts.append(("faults by hand", ", ".join(sorted(kinds))))
    return facts


def _resource(name: str) -> str:
    return files("raft.lab.reports").joinpath(name).read_text(encoding="utf-8")
