"""The judge refuses what cannot have happened, says what it is, and shows the operations that prove it."""

from __future__ import annotations

from collections import Counter
from math import inf
from random import Random

import msgspec
import pytest

from raft.cluster.records.events import LeaderElected
from raft.lab.checkers.judge import judge
from raft.lab.checkers.leadership import StateHash, judge_events, judge_states
from raft.lab.checkers.registers import calls_of
from raft.lab.checkers.search import CONTRADICTION, Call, search
from raft.lab.checkers.verdict import Ruling
from tests.checkers.histories import (
    acquire,
    add,
    append,
    cas,
    event,
    fenced,
    get,
    history,
    is_legal,
    operation,
    put,
    random_history,
    read,
    release,
)

ILLEGAL = {
    "stale-read": ("register", [put("a", 1, 2), put("b", 3, 4), get("b", 5, 6), get("a", 7, 8)]),
    "lost-write": ("register", [put("a", 1, 2), put("b", 3, 4), get("a", 5, 6)]),
    "phantom-value": ("register", [put("a", 1, 2), get("x", 3, 4)]),
    "refused-write-seen": ("register", [put("a", 1, 2, outcome="refused"), get("a", 3, 4)]),
    "read-from-the-future": ("register", [get("a", 1, 2), put("a", 3, 4)]),
    "lost-update": (
        "register",
        [put("a", 1, 2), cas("a", "b", True, "b", 3, 4), cas("a", "c", True, "c", 5, 6)],
    ),
    "not-linearizable": (
        "register",
        [put("a", 1, 9), put("b", 1, 9), get("a", 2, 3), get("b", 4, 5), get("a", 6, 7)],
    ),
    "not-linearizable: it was not swapped, though it held what was expected": (
        "register",
        [put("a", 1, 2), operation("c", "cas", "k", 3, 4, "b", {"swapped": False}, "a")],
    ),
    "lost-append": ("append", [append("a", 1, 2), append("b", 3, 4), read(["b"], 5, 6)]),
    "doubled-append": ("append", [append("a", 1, 2), read(["a", "a"], 3, 4)]),
    "reordered": ("append", [append("a", 1, 2), append("b", 3, 4), read(["b", "a"], 5, 6)]),
    "reads-disagree": (
        "append",
        [append("a", 1, 9), append("b", 1, 9), read(["a", "b"], 2, 8), read(["b", "a"], 2, 8)],
    ),
    "stale-read of a list": ("append", [append("a", 1, 2), read([], 3, 4), read(["a"], 5, 6)]),
    "phantom-value in a list": ("append", [read(["x"], 1, 2)]),
    "refused-write-seen in a list": ("append", [append("a", 1, 2, "refused"), read(["a"], 3, 4)]),
    "read-from-the-future of a list": ("append", [read(["a"], 1, 2), append("a", 3, 4)]),
    "lost-append after it was seen": (
        "append",
        [append("a", 1, 2), append("b", 1, 9), read(["a"], 3, 4), read(["b"], 5, 6)],
    ),
    "stale-read after a longer one": (
        "append",
        [append("a", 1, 2), append("b", 3, 9), read(["a", "b"], 4, 5), read(["a"], 6, 7)],
    ),
    "lost-add": ("set", [add("a", 1, 2), add("b", 3, 4), read(["b"], 5, 6)]),
    "doubled-add": ("set", [add("a", 1, 2), read(["a", "a"], 3, 4)]),
    "lost-add of a number": ("counter", [add(1, 1, 2), add(1, 3, 4), read(1, 5, 6)]),
    "doubled-add of a number": ("counter", [add(1, 1, 2), read(2, 3, 4)]),
    "not-linearizable counter": ("counter", [add(1, 1, 9), add(2, 1, 9), read(1, 2, 3), read(2, 4, 5)]),
    "token-given-twice": ("lock", [acquire("c1", 7, 1, 2), acquire("c2", 7, 3, 4)]),
    "token-went-back": ("lock", [acquire("c1", 8, 1, 2), acquire("c2", 7, 3, 4)]),
    "two-holders": (
        "election",
        [acquire("c1", 7, 1, 2), acquire("c2", 8, 1, 3), release("c1", 5, 6), release("c2", 7, 8)],
    ),
    "stale-token-accepted": ("lock", [fenced("c2", 8, "b", 1, 2), fenced("c1", 7, "a", 3, 4)]),
    "lost-write behind a fence": (
        "lock",
        [fenced("c1", 7, "a", 1, 2), fenced("c2", 8, "b", 3, 4), read("a", 5, 6)],
    ),
    "doubled-event": ("watch", [put("a", 1, 2), event("w1", "a", 5, 3), event("w1", "a", 5, 4)]),
    "doubled-event at two revisions": (
        "watch",
        [put("a", 1, 2), event("w1", "a", 5, 3), event("w1", "a", 6, 4)],
    ),
    "events-out-of-order": (
        "watch",
        [put("a", 1, 9), put("b", 1, 9), event("w1", "b", 6, 3), event("w1", "a", 5, 4)],
    ),
    "watchers-disagree": (
        "watch",
        [put("a", 1, 9), put("b", 1, 9), event("w1", "a", 5, 3), event("w2", "b", 5, 4)],
    ),
    "phantom-event": ("watch", [event("w1", "x", 5, 3)]),
    "event-from-the-future": ("watch", [event("w1", "a", 5, 1), put("a", 2, 3)]),
    "refused-write-seen by a watcher": (
        "watch",
        [put("a", 1, 2, outcome="refused"), event("w1", "a", 5, 3)],
    ),
    "revisions-against-time": (
        "watch",
        [put("a", 1, 2), put("b", 3, 4), event("w1", "b", 5, 6), event("w1", "a", 6, 7)],
    ),
    "missed-event": (
        "watch",
        [put("a", 1, 9), put("b", 1, 9), put("c", 1, 9)]
        + [event("w1", value, revision, 10) for value, revision in (("a", 1), ("b", 2), ("c", 3))]
        + [event("w2", value, revision, 11) for value, revision in (("a", 1), ("c", 3))],
    ),
    "missed-event that no watcher got": (
        "watch",
        [put("a", 1, 2), put("b", 3, 4), put("c", 5, 6), event("w1", "a", 1, 7), event("w1", "c", 3, 8)],
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_it_refuses(name):
    workload, records = ILLEGAL[name]
    verdict = judge(history(workload, *records))
    assert verdict.ruling is Ruling.ILLEGAL
    assert [anomaly.name for anomaly in verdict.anomalies] == [name.split()[0].rstrip(":")]
    assert verdict.anomalies[0].operations, "an anomaly is proved by operations"


LEGAL = {
    "a read at once with a write sees the old or the new value": (
        "register",
        [put("a", 1, 2), put("b", 3, 9), get("b", 4, 5), get("b", 6, 7)],
    ),
    "an unknown write takes effect long after its call": (
        "register",
        [put("a", 1, None), get(None, 2, 3), get("a", 4, 5)],
    ),
    "an unknown swap was made": (
        "register",
        [put("a", 1, 2), cas("a", "b", False, None, 3, None), get("b", 4, 5)],
    ),
    "a swap does not tell what it found": (
        "register",
        [
            put("a", 1, 2),
            operation("c", "cas", "k", 3, 4, "b", {"swapped": True}, "a"),
            get("b", 5, 6),
        ],
    ),
    "an unknown append is seen, another is not": (
        "append",
        [append("a", 1, None), append("b", 1, None), read(["b"], 2, 3)],
    ),
    "an element is added by two": ("set", [add("a", 1, None), read(["a"], 2, 3), add("a", 4, 5)]),
    "an unknown addition counts": ("counter", [add(1, 1, None), add(1, 1, None), read(1, 2, 3)]),
    "a holder that was stopped believes what is over": (
        "lock",
        [acquire("c1", 7, 1, 2), acquire("c2", 8, 3, 4), release("c1", 5, 6, "refused"), release("c2", 7, 8)],
    ),
    "a fence turns an old token down": (
        "lock",
        [fenced("c2", 8, "b", 1, 2), fenced("c1", 7, "a", 3, 4, accepted=False), read("b", 5, 6)],
    ),
    "a watcher comes late and leaves early": (
        "watch",
        [put("a", 1, 2), put("b", 3, 4), put("c", 5, 6)]
        + [event("w1", value, revision, 10) for value, revision in (("a", 1), ("b", 2), ("c", 3))]
        + [event("w2", "b", 2, 11)],
    ),
}


@pytest.mark.parametrize("name", LEGAL)
def test_it_lets_pass_that(name):
    workload, records = LEGAL[name]
    verdict = judge(history(workload, *records))
    assert verdict.ruling is Ruling.LEGAL, verdict.anomalies


@pytest.mark.parametrize("workload", ["register", "append", "set", "counter"])
@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_trying_every_order(workload, seed):
    random, rulings = Random(f"{workload} {seed}"), Counter()
    for number in range(250):
        sample = random_history(random, workload, random.randrange(2, 7))
        legal = is_legal(sample.records, workload)
        ruling = judge(sample).ruling
        expected = Ruling.LEGAL if legal else Ruling.ILLEGAL
        if not any(record.done for record in sample.records):
            expected = Ruling.UNDECIDED
        assert ruling is expected, f"history {number}: {sample.records}"
        rulings[ruling] += 1
    assert min(rulings[Ruling.LEGAL], rulings[Ruling.ILLEGAL]) > 10, "both kinds are needed"


@pytest.mark.parametrize("workload", ["register", "counter"])
def test_a_proof_is_illegal_by_itself(workload):
    random, proved = Random(workload), 0
    for _ in range(300):
        verdict = judge(random_history(random, workload, 6))
        for anomaly in verdict.anomalies:
            proved += 1
            proof = history(workload, *anomaly.operations)
            assert judge(proof).ruling is Ruling.ILLEGAL, (anomaly, proof)
    assert proved > 25


def test_the_proof_of_an_anomaly_in_a_long_history_is_short():
    records, moment = [], 0
    for number in range(2000):
        moment += 3
        records.append(put(f"v{number}", moment, moment + 1))
        records.append(get(f"v{number}", moment + 1.5, moment + 2))
    records.append(get("v1500", moment + 3, moment + 4))
    verdict = judge(history("register", *records))
    assert [anomaly.name for anomaly in verdict.anomalies] == ["stale-read"]
    assert {record.value or record.result for record in verdict.anomalies[0].operations} >= {"v1500"}
    assert len(verdict.anomalies[0].operations) <= 5


def test_durable_logs_settle_what_clients_cannot_know():
    in_doubt = history("register", put("a", 1, None), get(None, 2, 3))
    assert judge(in_doubt).passed
    assert judge(in_doubt, committed={"a"}).passed
    seen = history("register", put("a", 1, None), get("a", 2, 3))
    assert judge(seen).passed
    assert not judge(seen, committed=set()).passed
    lost = history("append", append("a", 1, 2))
    assert [anomaly.name for anomaly in judge(lost, committed=set()).anomalies] == ["lost-write"]
    never_seen = history("append", append("a", 1, None), read([], 2, 3))
    assert judge(never_seen, committed={"a"}).passed, "it may have been appended after the read"


def test_equal_elements_in_a_list_leave_the_judge_undecided_and_that_is_no_pass():
    verdict = judge(history("append", append("a", 1, 2), append("a", 3, 4)))
    assert (verdict.ruling, verdict.undecided, verdict.passed) == (Ruling.UNDECIDED, ("k",), False)


def test_two_leaders_in_a_term_are_seen_in_the_events():
    def elected(node, term):
        return LeaderElected(node=node, term=term, previous=0, votes=2, voters=3, took_ms=1, reason="startup")

    assert judge_events([elected(1, 2), elected(2, 3), elected(2, 3)]) == ()
    assert [anomaly.name for anomaly in judge_events([elected(1, 2), elected(2, 2)])] == ["two-leaders"]


def test_machines_that_differ_are_seen_in_their_hashes():
    states = [StateHash(node=1, applied=9, digest="x"), StateHash(node=2, applied=9, digest="y")]
    assert [anomaly.name for anomaly in judge_states(states)] == ["machines-differ"]
    assert judge_states([states[0], msgspec.structs.replace(states[1], applied=10)]) == ()


def test_other_evidence_makes_a_legal_verdict_illegal():
    verdict = judge(history("register", put("a", 1, 2)))
    states = [StateHash(node=1, applied=9, digest="x"), StateHash(node=2, applied=9, digest="y")]
    assert verdict.passed
    assert not verdict.with_more(judge_states(states)).passed


def test_many_clients_at_once_on_one_key_are_judged_in_few_steps():
    random, state, moment, records = Random(5), None, 0.0, []
    for number in range(3000):
        moment += random.random()
        call, returned = moment - 10 * random.random(), moment + 10 * random.random()
        if random.random() < 0.5:
            state = f"v{number}"
            records.append(put(state, call, returned))
        else:
            records.append(get(state, call, returned))
    found = search(calls_of(history("register", *records).records), None, steps_max=60_000)
    assert found.ruling is Ruling.LEGAL


def sums_to(reading, adds):
    calls = [
        Call(called=1, returned=inf if optional else 9, effect=plus(number), optional=optional, alike=number)
        for number, optional in adds
    ]
    look = Call(called=10, returned=11, effect=lambda s: s if s == reading else CONTRADICTION, reads=True)
    return search([*calls, look], 0, steps_max=60_000).ruling


def plus(number):
    return lambda state: state + number


def test_what_was_tried_is_not_tried_again():
    assert sums_to(1000, [(number, False) for number in range(1, 11)]) is Ruling.ILLEGAL


def test_of_unknown_operations_that_do_the_same_any_is_as_good_as_the_oldest():
    assert sums_to(1000, [(1, True)] * 30) is Ruling.ILLEGAL
    assert sums_to(29, [(1, True)] * 30) is Ruling.LEGAL


def test_a_counter_that_goes_back_is_refused_however_many_additions_are_unknown():
    adds = [add(1, 1, None) for _ in range(30)]
    verdict = judge(history("counter", *adds, read(15, 2, 3), read(14, 4, 5)))
    assert [anomaly.name for anomaly in verdict.anomalies] == ["not-linearizable"]
