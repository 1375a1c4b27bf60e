"""Watchers are told of all that happens while they watch, once, in order, and of nothing else."""

from __future__ import annotations

import pytest

from raft.lab.checkers.judge import judge
from raft.lab.checkers.verdict import Ruling
from tests.checkers.histories import at, cas, event, get, history, operation, put, watch


def deletion(call, returned, expected="a"):
    return cas(expected, None, True, None, call, returned)


THREE = [at(4, put("a", 1, 2)), at(5, put("b", 3, 4)), at(6, put("c", 5, 6))]
A, B, C = (event("w", value, revision, 7) for value, revision in (("a", 4), ("b", 5), ("c", 6)))

ILLEGAL = {
    "missed-event: a watcher falls silent": [*THREE, A, watch("w", 1, 6, 0, 9)],
    "missed-event: a watcher is told of nothing": [*THREE, watch("w", 1, 6, 0, 9)],
    "missed-event: the first is missing": [*THREE, B, C, watch("w", 1, 6, 0, 9)],
    "missed-event: one in the midst": [*THREE, A, C, watch("w", 1, 6, 0, 9)],
    "missed-event: between two incarnations": [
        *THREE,
        event("w.0", "a", 4, 7),
        event("w.1", "c", 6, 8),
        watch("w.0", 1, 4, 0, 7),
        watch("w.1", 6, 6, 7, 9),
    ],
    "missed-event: more is forgotten than was said": [
        *THREE,
        event("w.1", "c", 6, 8),
        watch("w.0", 1, 1, 0, 7),
        watch("w.1", 5, 6, 7, 9, forgotten=4),
    ],
    "missed-event: between two incarnations, and nothing says how far they went": [
        *THREE,
        event("w.0", "a", 4, 7),
        event("w.1", "c", 6, 8),
    ],
    "missed-event: a watcher with incarnations falls silent while others go on": [
        *THREE,
        event("w.0", "a", 4, 7),
        *(event("v.0", value, revision, 8) for value, revision in (("a", 4), ("b", 5), ("c", 6))),
    ],
    "missed-event: a key is never told of": [
        put("a", 1, 2),
        put("x", 3, 4, key="other"),
        put("b", 5, 6),
        event("w", "a", 4, 7),
        event("w", "b", 6, 8),
    ],
    "missed-event: a key of the prefix is never told of": [
        *THREE,
        at(7, put("x", 5, 6, key="km")),
        A,
        B,
        C,
        watch("w", 1, 7, 0, 9, prefix="k"),
    ],
    "missed-event: only another watcher is told of a write of unknown outcome": [
        put("a", 1, None),
        event("v", "a", 4, 3),
        watch("v", 1, 4, 0, 9),
        watch("w", 1, 4, 0, 9),
    ],
    "missed-event: a deletion": [
        at(4, put("a", 1, 2)),
        at(5, deletion(3, 4)),
        A,
        watch("w", 1, 5, 0, 9),
    ],
    "phantom-event: a deletion that was not asked for": [
        at(4, put("a", 1, 2)),
        event("w", "a", 4, 3),
        event("w", None, 5, 4),
    ],
    "phantom-event: two deletions, and one was asked for": [
        put("a", 1, 2),
        cas("a", None, False, None, 3, None),
        event("w", "a", 4, 5),
        event("w", None, 5, 6),
        event("w", None, 6, 7),
    ],
    "refused-write-seen: a deletion that was not made": [
        put("a", 1, 2),
        cas("b", None, False, "a", 3, 4),
        event("w", "a", 4, 5),
        event("w", None, 5, 6),
    ],
    "doubled-event: in a later incarnation": [*THREE[:1], event("w.0", "a", 4, 7), event("w.1", "a", 4, 8)],
    "events-out-of-order: in a later incarnation": [
        *THREE[:2],
        event("w.0", "b", 5, 7),
        event("w.1", "a", 4, 8),
    ],
    "events-out-of-order: of two keys": [
        put("a", 1, 9),
        put("x", 1, 9, key="other"),
        event("w", "a", 5, 3),
        event("w", "x", 4, 4, key="other"),
    ],
    "wrong-event: another revision than the writer was told": [*THREE, event("w", "a", 3, 7)],
    "wrong-event: another value than stands there": [
        *THREE,
        put("d", 1, None),
        event("w", "d", 5, 7),
    ],
    "not-linearizable: a read goes against the order of the events": [
        put("a", 1, 9),
        put("b", 1, 9),
        event("w", "a", 4, 10),
        event("w", "b", 5, 11),
        get("a", 12, 13),
    ],
    "not-linearizable: reads while it is written go against the order of the events": [
        put("a", 1, 9),
        put("b", 1, 9),
        get("b", 2, 3),
        get("a", 4, 5),
        event("w", "a", 4, 10),
        event("w", "b", 5, 11),
    ],
    "stale-read: a write of unknown outcome that was told of": [
        put("a", 1, 2),
        put("b", 3, None),
        event("w", "a", 4, 5),
        event("w", "b", 5, 6),
        get("b", 7, 8),
        get("a", 9, 10),
    ],
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_it_refuses(name):
    verdict = judge(history("watch", *ILLEGAL[name]))
    assert verdict.ruling is Ruling.ILLEGAL
    assert [anomaly.name for anomaly in verdict.anomalies] == [name.partition(":")[0]]
    assert verdict.anomalies[0].operations, "an anomaly is proved by operations"


LEGAL = {
    "all is told": [*THREE, A, B, C, watch("w", 1, 6, 0, 9)],
    "a watcher that came late and went early": [*THREE, B, watch("w", 5, 5, 0, 9)],
    "a watcher of another key": [*THREE, watch("w", 1, 6, 0, 9, prefix="other")],
    "two incarnations of a watcher": [
        *THREE,
        event("w.0", "a", 4, 7),
        event("w.1", "b", 5, 8),
        event("w.1", "c", 6, 8),
        watch("w.0", 1, 4, 0, 7),
        watch("w.1", 5, 6, 7, 9),
    ],
    "an incarnation before which events were forgotten": [
        *THREE,
        event("w.1", "c", 6, 8),
        watch("w.0", 1, 1, 0, 7),
        watch("w.1", 6, 6, 7, 9, forgotten=5),
    ],
    "what was not done is not told": [
        *THREE,
        put("d", 1, 2, outcome="refused"),
        cas("x", "e", False, "c", 7, 8),
        put("f", 1, None),
        A,
        B,
        C,
        watch("w", 1, 20, 0, 9),
    ],
    "a deletion": [
        at(4, put("a", 1, 2)),
        at(5, deletion(3, 4)),
        A,
        event("w", None, 5, 8),
        watch("w", 1, 5, 0, 9),
    ],
    "watchers of single keys": [
        put("a", 1, 2),
        put("x", 3, 4, key="other"),
        put("b", 5, 6),
        event("w", "a", 4, 7),
        event("w", "b", 6, 8),
        event("v", "x", 5, 8, key="other"),
    ],
}


@pytest.mark.parametrize("name", LEGAL)
def test_it_lets_pass_that(name):
    verdict = judge(history("watch", *LEGAL[name]))
    assert verdict.ruling is Ruling.LEGAL, verdict.anomalies


def test_a_history_without_watches_is_judged_as_far_as_it_goes_and_says_so():
    told = [put("a", 1, 2), event("w", "a", 4, 3)]
    assert "silent" in judge(history("watch", *told)).notes[0]
    assert judge(history("watch", *told, watch("w", 1, 4, 0, 9))).notes == ()


def test_that_most_was_told_to_no_one_leaves_it_open():
    writes = [put(f"v{n}", n, n + 0.5) for n in range(20)]
    verdict = judge(history("watch", *writes, event("w", "v0", 4, 30), event("w", "v1", 5, 31)))
    assert verdict.ruling is Ruling.UNDECIDED


def test_without_a_watcher_nothing_can_be_said_of_watches():
    assert judge(history("watch", put("a", 1, 2))).ruling is Ruling.UNDECIDED


def test_the_result_of_a_watch_is_in_words():
    assert watch("w", 1, 6, 0, 9).describe().endswith("revisions 1 to 6")
    assert operation("w", "watch", "k", 0, 1, result={"first": 1, "last": 2}).answered()
