"""From a history to a verdict: which rules apply to which workload.

Owns that table only; each rule is in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from raft.lab.checkers.collections import judge_appends, judge_sets
from raft.lab.checkers.counters import judge_counter
from raft.lab.checkers.evidence import Findings, judge_durability, settle
from raft.lab.checkers.locks import judge_holds
from raft.lab.checkers.records import RecordedHistory, read_history
from raft.lab.checkers.registers import judge_registers
from raft.lab.checkers.revisions import EVENTS, judge_revisions
from raft.lab.checkers.verdict import Ruling, Verdict
from raft.lab.checkers.watches import judge_watches

RULES: dict[str, tuple[Callable[[Findings], None], ...]] = {
    "register": (judge_registers,),
    "append": (judge_appends,),
    "set": (judge_sets,),
    "lock": (judge_holds,),
    "election": (judge_holds,),
    "watch": (judge_watches,),
    "counter": (judge_counter,),
}

# With this many operations or more, at least this share must be done, or the run proves nothing.
ASKED_MIN, DONE_SHARE_MIN = 50, 0.05


def judge(history: RecordedHistory, *, committed: Collection[str] | None = None) -> Verdict:
    """Check a history.

    `committed`, if the durable logs of the nodes were read, are all values in them: an operation of unknown
    outcome took place if its value is among them, and never will otherwise.
    """
    records = history.records if committed is None else settle(history.records, committed)
    findings = Findings(records)
    if committed is not None:
        judge_durability(findings, committed)
    for rule in RULES[history.header.workload]:
        rule(findings)
    if not findings.anomalies:  # Otherwise it was reported already, more precisely.
        judge_revisions(findings)
    reason = _too_little(history)
    if findings.anomalies:
        ruling = Ruling.ILLEGAL
    else:
        ruling = Ruling.UNDECIDED if findings.undecided or reason else Ruling.LEGAL
    return Verdict(
        ruling=ruling,
        workload=history.header.workload,
        operations=sum(record.op not in EVENTS for record in records),
        unknown=sum(record.outcome == "unknown" for record in records),
        keys=len({record.key for record in records if record.op != "watch"}),
        anomalies=tuple(findings.anomalies),
        undecided=tuple(findings.undecided),
        notes=tuple(findings.notes),
        reason=reason if ruling is Ruling.UNDECIDED else "",
    )


def _too_little(history: RecordedHistory) -> str:
    """Why there were too few operations for a verdict; "" if there were enough."""
    asked = [record for record in history.records if record.op not in EVENTS]
    done = sum(record.done for record in asked)
    if not done:
        return "no operation was done, so nothing can be concluded"
    if len(asked) >= ASKED_MIN and done < DONE_SHARE_MIN * len(asked):
        return f"of {len(asked)} operations only {done} were done, which is too little for a verdict"
    if history.header.workload == "watch" and not any(record.op in EVENTS for record in history.records):
        return "there was no watcher, so nothing can be concluded about watches"
    return ""


def judge_file(path: Path, *, committed: Collection[str] | None = None) -> Verdict:
    """Check a file; raises MalformedHistory or OSError if it is not readable."""
    return judge(read_history(path), committed=committed)
