"""What operations say of their places in the log is held against time, and against all answers."""

from __future__ import annotations

import pytest

from raft.lab.checkers.judge import judge
from raft.lab.checkers.verdict import Ruling
from tests.checkers.histories import acquire, add, append, at, cas, fenced, get, history, operation, put, read

ILLEGAL = {
    "revision-given-twice": ("register", [at(4, put("a", 1, 2)), at(4, put("b", 3, 4, key="other"))]),
    "revisions-against-time: two writes": (
        "register",
        [at(5, put("a", 1, 2)), at(4, put("b", 3, 4, key="other"))],
    ),
    "revisions-against-time: a read goes back": (
        "register",
        [at(9, get(None, 1, 2)), at(8, get(None, 3, 4, key="other"))],
    ),
    "revisions-against-time: a write where a read has been": (
        "register",
        [at(9, get(None, 1, 2)), at(9, put("a", 3, 4, key="other"))],
    ),
    "not-linearizable: the log has another order than the reads": (
        "register",
        [at(4, put("a", 1, 9)), at(5, put("b", 1, 9)), get("a", 10, 11)],
    ),
    "not-linearizable: a read does not see what it has seen": (
        "register",
        [at(4, put("a", 1, 9)), at(5, put("b", 1, 9)), at(5, get("a", 2, 9))],
    ),
    "not-linearizable: a swap found what was written behind it": (
        "register",
        [at(6, put("a", 1, 9)), at(5, cas("a", "b", True, "b", 2, 9))],
    ),
    "read-against-the-log: an element is missing": (
        "append",
        [at(4, append("a", 1, 9)), at(5, read([], 2, 8))],
    ),
    "read-against-the-log: an element is there too early": (
        "set",
        [at(6, add("a", 1, 9)), at(5, read(["a"], 2, 8))],
    ),
    "reordered: the log has another order": (
        "append",
        [at(5, append("a", 1, 9)), at(4, append("b", 1, 9)), read(["a", "b"], 2, 8)],
    ),
    "not-linearizable: a counter": (
        "counter",
        [at(4, add(1, 1, 9)), at(6, add(2, 1, 9)), at(5, read(2, 2, 8))],
    ),
    "not-linearizable: behind a fence": (
        "lock",
        [
            acquire("c1", 3, 0, 1),
            at(4, fenced("c1", 3, "a", 1, 9)),
            at(5, fenced("c1", 3, "b", 1, 9)),
            read("a", 10, 11),
        ],
    ),
    "wrong-answer": ("register", [put("a", 1, 2), cas("a", "b", True, "c", 3, 4)]),
    "wrong-answer: what it had found": ("register", [put("a", 1, 2), cas("a", "b", True, "a", 3, 4)]),
    "phantom-value: a swap that was not made found it": (
        "register",
        [put("a", 1, 2), cas("x", "b", False, "z", 3, 4)],
    ),
    "stale-read: a swap that was not made found what was written over": (
        "register",
        [put("a", 1, 2), put("b", 3, 4), get("b", 5, 6), cas("x", "c", False, "a", 7, 8)],
    ),
    "not-linearizable: a swap that was not made found what it expected": (
        "register",
        [put("a", 1, 2), cas("a", "b", False, "a", 3, 4)],
    ),
    "not-linearizable: nothing can be in the way of a swap": (
        "register",
        [operation("c", "cas", "k", 3, 4, "b", {"swapped": False}, None)],
    ),
    "not-linearizable: a write that was in the way of a swap is gone": (
        "register",
        [
            put("a", 1, None),
            operation("c", "cas", "k", 3, 4, "b", {"swapped": False}, None),
            get(None, 5, 6),
        ],
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_it_refuses(name):
    workload, records = ILLEGAL[name]
    verdict = judge(history(workload, *records))
    assert verdict.ruling is Ruling.ILLEGAL
    assert [anomaly.name for anomaly in verdict.anomalies] == [name.partition(":")[0]]
    assert verdict.anomalies[0].operations, "an anomaly is proved by operations"
    assert len(set(map(id, verdict.anomalies[0].operations))) == len(verdict.anomalies[0].operations)


LEGAL = {
    "an unknown write was in the way of a swap that does not tell": (
        "register",
        [put("a", 1, None), operation("c", "cas", "k", 3, 4, "b", {"swapped": False}, None)],
    ),
    "one of two unknown writes was in the way of a swap that does not tell": (
        "register",
        [
            put("a", 1, 2),
            put("b", 3, None),
            put("c", 3, None),
            operation("c", "cas", "k", 4, 5, "d", {"swapped": False}, "a"),
            get("b", 6, 7),
        ],
    ),
    "an unknown swap was in the way of one that does not tell": (
        "register",
        [
            put("a", 1, 2),
            operation("c", "cas", "k", 3, None, "b", None, "a"),
            operation("d", "cas", "k", 4, 5, "c", {"swapped": False}, "a"),
        ],
    ),
    "an unknown write stands between two that tell their places": (
        "register",
        [at(4, put("a", 1, 2)), put("b", 3, None), at(7, get("b", 4, 5)), at(8, put("c", 6, 7))],
    ),
    "reads of one moment": (
        "register",
        [at(4, put("a", 1, 9)), at(4, get("a", 2, 8)), at(4, get("a", 2, 8)), at(3, get(None, 2, 8))],
    ),
    "an element is added again": (
        "set",
        [at(4, add("a", 1, 2)), at(5, read(["a"], 3, 4)), at(6, add("a", 5, 6))],
    ),
    "an unknown element": (
        "append",
        [at(4, append("a", 1, 2)), append("b", 1, None), at(5, read(["a", "b"], 3, 4))],
    ),
    "a counter with an unknown addition": (
        "counter",
        [at(4, add(1, 1, 2)), add(2, 1, None), at(5, read(3, 3, 4)), at(9, add(1, 5, 6))],
    ),
}


@pytest.mark.parametrize("name", LEGAL)
def test_it_lets_pass_that(name):
    workload, records = LEGAL[name]
    verdict = judge(history(workload, *records))
    assert verdict.ruling is Ruling.LEGAL, verdict.anomalies


@pytest.mark.parametrize("workload", ["register", "append", "set", "counter", "lock", "election", "watch"])
def test_a_run_in_which_nothing_was_done_is_undecided(workload):
    assert judge(history(workload)).ruling is Ruling.UNDECIDED


def test_a_run_in_which_hardly_anything_was_done_is_undecided_and_says_so():
    refused = [put(f"v{number}", number, number + 1, outcome="refused") for number in range(100)]
    assert judge(history("register", *refused)).ruling is Ruling.UNDECIDED
    verdict = judge(history("register", *refused, put("a", 101, 102)))
    assert verdict.ruling is Ruling.UNDECIDED
    assert "only 1 were done" in verdict.sentence()
    done = [put(f"d{number}", number, number + 1) for number in range(10)]
    assert judge(history("register", *refused, *done)).passed
