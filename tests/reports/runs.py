"""A small run, made up: a leader dies, another is elected, a partition comes and goes, clients go on."""

from __future__ import annotations

from raft.cluster.records.events import (
    FaultCleared,
    FaultInjected,
    LeaderElected,
    LeaderLost,
    NodeExited,
    NodeStarted,
)
from raft.lab.checkers.judge import judge
from raft.lab.reports.run import Run, Summary
from tests.checkers.histories import get, history, put

EVENTS = [
    *(NodeStarted(t=0.2, node=node, pid=100 + node, incarnation=1, took_ms=40) for node in (1, 2, 3)),
    LeaderElected(t=0.3, node=1, term=2, previous=0, votes=2, voters=3, took_ms=21.7, reason="startup"),
    FaultInjected(t=4.0, id=1, kind="kill", nodes=[1], text="kill n1"),
    NodeExited(t=4.0, node=1, pid=101, cause="injected", signal="SIGKILL"),
    LeaderLost(t=4.0, node=1, term=2, reason="died"),
    LeaderElected(t=4.1, node=2, term=3, previous=1, votes=2, voters=3, took_ms=9.2, reason="leader-died"),
    FaultCleared(t=6.0, id=1, kind="kill", nodes=[1], text="kill n1"),
    NodeStarted(t=6.1, node=1, pid=111, incarnation=2, took_ms=40),
    FaultInjected(t=7.0, id=2, kind="partition", nodes=[1, 2, 3], text="n1 | n2 n3 <&>"),
    FaultCleared(t=8.0, id=2, kind="partition", nodes=[1, 2, 3], text="n1 | n2 n3 <&>"),
    FaultInjected(t=9.0, id=3, kind="pause", nodes=[3], text="pause n3"),
]


def a_legal_run():
    records = [put(f"v{number}", number / 10, number / 10 + 0.05) for number in range(100)]
    del records[40:45]
    return a_run(history("register", *records), "legal")


def an_illegal_run():
    records = [put("a", 1, 2), put("b", 3, 4), get("b", 4.5, 5), get("a", 6, 7)]
    return a_run(history("register", *records), "illegal")


def a_run(recorded, ruling):
    verdict = judge(recorded)
    assert verdict.ruling.value == ruling
    summary = Summary(
        ruling=ruling,
        reason=verdict.sentence(),
        seed=7,
        command="launcher.py chaos --seed 7",
        operations={"done": len(recorded.records)},
        latency_ms={"p50": 50.0, "p99": 50.0},
        faults={"kill": 1, "partition": 1, "pause": 1},
        judgement=verdict,
    )
    return Run(events=list(EVENTS), history=recorded, summary=summary)
