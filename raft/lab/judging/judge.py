"""From a history to a verdict: which rules hold for which workload.

Owns that table and nothing else; each rule is in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from raft.lab.judging.counting import judge_counter
from raft.lab.judging.evidence import Findings, judge_durability, settle
from raft.lab.judging.growing import judge_appends, judge_sets
from raft.lab.judging.holding import judge_holds
from raft.lab.judging.records import RecordedHistory, read_history
from raft.lab.judging.registers import judge_registers
from raft.lab.judging.verdict import Ruling, Verdict
from raft.lab.judging.watching import judge_watches

RULES: dict[str, tuple[Callable[[Findings], None], ...]] = {
    "register": (judge_registers,),
    "append": (judge_appends,),
    "set": (judge_sets,),
    "lock": (judge_holds, judge_registers),
    "election": (judge_holds, judge_registers),
    "watch": (judge_watches, judge_registers),
    "counter": (judge_counter,),
}


def judge(history: RecordedHistory, *, committed: Collection[str] | None = None) -> Verdict:
    """Judge what clients saw.

    `committed`, if the durable logs of the nodes have been read, are all values in them: then an operation
    of unknown outcome took place if its value is among them, and never will if it is not.
    """
    records = history.records if committed is None else settle(history.records, committed)
    findings = Findings(records)
    if committed is not None:
        judge_durability(findings, committed)
    for rule in RULES[history.header.workload]:
        rule(findings)
    if findings.anomalies:
        ruling = Ruling.ILLEGAL
    else:
        ruling = Ruling.UNDECIDED if findings.undecided else Ruling.LEGAL
    return Verdict(
        ruling=ruling,
        workload=history.header.workload,
        operations=len(records),
        unknown=sum(record.outcome == "unknown" for record in records),
        keys=len({record.key for record in records}),
        anomalies=tuple(findings.anomalies),
        undecided=tuple(findings.undecided),
    )


def judge_file(path: Path, *, committed: Collection[str] | None = None) -> Verdict:
    """Judge a file; raises MalformedHistory or OSError if it is none."""
    return judge(read_history(path), committed=committed)
