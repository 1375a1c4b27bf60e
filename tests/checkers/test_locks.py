"""A lock, its seats and the store behind its fence are judged as one object."""

from __future__ import annotations

import pytest

from raft.lab.checkers.judge import judge
from raft.lab.checkers.verdict import Ruling
from tests.checkers.histories import acquire, fenced, history, keep, led, left, read, release

FIRST = acquire("c1", 7, 1, 2)
SURE = acquire("c1", 7, 1, 2, until=20)
SECOND = acquire("c2", 8, 3, 4)

ILLEGAL = {
    "two-holders: acquired while another is sure, whose release is missing": [SURE, SECOND],
    "two-holders: acquired while another is sure, whose release is unknown": [
        SURE,
        SECOND,
        release("c1", 9, None, token=7),
    ],
    "two-holders: acquired while another is sure, whose release is refused": [
        SURE,
        SECOND,
        release("c1", 9, 10, "refused", token=7),
    ],
    "two-holders: acquired while another is sure, whose release finds it lost": [
        SURE,
        SECOND,
        release("c1", 9, 10, token=7, held=False),
    ],
    "two-holders: a release that found the seat held, after another took it": [
        FIRST,
        SECOND,
        release("c1", 9, 10, token=7),
    ],
    "two-holders: the lease was kept alive": [FIRST, keep("c1", 7, 9, 3), acquire("c2", 8, 5, 6)],
    "two-holders: the same client, again": [SURE, acquire("c1", 8, 3, 4)],
    "two-holders: three for two seats": [
        acquire("c1", 7, 1, 2, until=20, seats=2),
        acquire("c2", 8, 1, 2, until=20, seats=2),
        acquire("c3", 9, 3, 4, until=20, seats=2),
    ],
    "stale-token-accepted: after a newer token was given": [
        FIRST,
        SECOND,
        fenced("c1", 7, "a", 5, 6),
    ],
    "stale-token-accepted: after a newer token was given, and released": [
        FIRST,
        SECOND,
        release("c2", 5, 6, token=8),
        fenced("c1", 7, "a", 7, 8),
    ],
    "stale-token-accepted: after its own release": [
        FIRST,
        release("c1", 3, 4, token=7),
        fenced("c1", 7, "a", 5, 6),
    ],
    "stale-token-accepted: after its own release, which names no token": [
        FIRST,
        release("c1", 3, 4),
        fenced("c1", 7, "a", 5, 6),
    ],
    "stale-token-accepted: beside two newer ones for two seats": [
        acquire("c1", 7, 1, 2, seats=2),
        acquire("c2", 8, 1, 2, until=20, seats=2),
        acquire("c3", 9, 3, 4, until=20, seats=2),
        fenced("c1", 7, "a", 5, 6),
    ],
    "not-linearizable: writes under two tokens, the older one seen last": [
        acquire("c1", 7, 1, 2),
        acquire("c2", 8, 3, 9),
        fenced("c1", 7, "a", 3, 9),
        fenced("c2", 8, "b", 4, 9),
        read("a", 10, 11),
    ],
    "holder-turned-down: it is sure of its lease": [
        SURE,
        fenced("c1", 7, "a", 3, 4, accepted=False),
    ],
    "holder-turned-down: it is let in later": [
        FIRST,
        fenced("c1", 7, "a", 3, 4, accepted=False),
        fenced("c1", 7, "b", 5, 6),
    ],
    "holder-turned-down: its release finds it held": [
        FIRST,
        fenced("c1", 7, "a", 3, 4, accepted=False),
        release("c1", 5, 6),
    ],
    "release-refused-to-holder": [
        FIRST,
        release("c1", 3, 4, token=7, held=False),
        fenced("c1", 7, "b", 5, 6),
    ],
    "released-twice": [FIRST, release("c1", 3, 4, token=7), release("c1", 5, 6, token=7)],
    "released-twice: no token is named": [FIRST, release("c1", 3, 4), release("c1", 5, 6)],
    "release-without-acquisition": [release("c1", 1, 2)],
    "release-without-acquisition: of another client's lock": [FIRST, release("c2", 3, 4)],
    "release-without-acquisition: of a token given to no one": [FIRST, release("c1", 3, 4, token=9)],
    "release-without-acquisition: before it": [release("c1", 1, 2), acquire("c1", 7, 3, 4)],
    "release-without-acquisition: in its midst": [acquire("c1", 7, 1, 4), release("c1", 2, 3)],
    "release-before-acquisition": [release("c1", 1, 2, token=7), acquire("c1", 7, 3, 4)],
    "phantom-token": [FIRST, fenced("c1", 9, "a", 3, 4)],
    "phantom-token: of an acquisition that was refused": [
        FIRST,
        acquire("c2", 9, 3, 4, outcome="refused"),
        fenced("c2", 9, "a", 5, 6),
    ],
    "token-used-before-it-was-given": [fenced("c1", 7, "a", 1, 2), acquire("c1", 7, 3, 4)],
    "token-went-back": [acquire("c1", 9, 1, 2), acquire("c2", 8, 3, 4)],
    "token-went-back: after a release": [
        acquire("c1", 9, 1, 2),
        release("c1", 3, 4, token=9),
        acquire("c2", 8, 5, 6),
    ],
    "token-given-twice: to one client": [FIRST, acquire("c1", 7, 3, 4)],
    "not-linearizable: an observer was told that it left, and it holds": [
        SURE,
        left("o", 7, 5),
    ],
    "not-linearizable: an observer was told of a newer leader, and an older token is let in": [
        acquire("c1", 7, 1, 9),
        led("o", 8, 2),
        fenced("c1", 7, "a", 10, 11),
    ],
    "not-linearizable: an observer was told of another leader than the one that is sure": [
        SURE,
        led("o", 8, 5),
    ],
    "not-linearizable: an observer was told of an older leader than there was": [
        acquire("c1", 7, 1, 2),
        led("o", 9, 3),
        fenced("c1", 7, "a", 5, 6),
    ],
}


@pytest.mark.parametrize("workload", ["lock", "election"])
@pytest.mark.parametrize("name", ILLEGAL)
def test_it_refuses(name, workload):
    verdict = judge(history(workload, *ILLEGAL[name]))
    assert verdict.ruling is Ruling.ILLEGAL
    assert [anomaly.name for anomaly in verdict.anomalies] == [name.partition(":")[0]]
    assert verdict.anomalies[0].operations, "an anomaly is proved by operations"


@pytest.mark.parametrize("name", ILLEGAL)
def test_the_operations_that_prove_it_are_illegal_by_themselves(name):
    (anomaly,) = judge(history("lock", *ILLEGAL[name])).anomalies
    assert judge(history("lock", *anomaly.operations)).ruling is Ruling.ILLEGAL


LEGAL = {
    "the next holder comes when the lease is over": [
        acquire("c1", 7, 1, 2, until=5),
        acquire("c2", 8, 3, 5.1),
        release("c1", 6, 7, token=7, held=False),
    ],
    "the next holder comes at once with the release": [
        SURE,
        acquire("c2", 8, 3, 9),
        release("c1", 8, 10, token=7),
    ],
    "the next holder comes when the release has begun, whatever comes of it": [
        SURE,
        acquire("c2", 8, 3, 9),
        release("c1", 8, None, token=7),
    ],
    "a client that vanishes is followed when its lease is over": [
        acquire("c1", 7, 1, 2, until=5),
        acquire("c2", 8, 3, 6),
        fenced("c2", 8, "a", 7, 8),
    ],
    "a write of unknown outcome is seen, then one of the next holder": [
        FIRST,
        fenced("c1", 7, "a", 3, None),
        read("a", 4, 5),
        acquire("c2", 8, 6, 7),
        fenced("c2", 8, "b", 8, 9),
        read("b", 10, 11),
    ],
    "a late write is turned down, released or not": [
        FIRST,
        release("c1", 3, None, token=7),
        fenced("c1", 7, "a", 4, 5, accepted=False),
    ],
    "two share two seats, and a third waits": [
        acquire("c1", 7, 1, 2, until=20, seats=2),
        acquire("c2", 8, 1, 2, until=20, seats=2),
        acquire("c3", 9, 1, 12, until=20, seats=2),
        fenced("c1", 7, "a", 3, 4),
        fenced("c2", 8, "b", 5, 6),
        fenced("c1", 7, "c", 7, 8),
        release("c1", 10, 11, token=7),
    ],
    "the same client again, after it let go": [
        acquire("c1", 7, 1, 2, until=20),
        release("c1", 3, 4, token=7),
        acquire("c1", 9, 5, 6, until=20),
        release("c1", 7, 8, token=9),
    ],
    "the same client again, after it lost it": [
        acquire("c1", 7, 1, 2, until=3),
        acquire("c1", 9, 5, 6, until=20),
        release("c1", 7, 8),
    ],
    "what was acquired unknown holds for a while": [
        acquire("c1", 7, 1, None),
        acquire("c2", 8, 2, 9),
        led("o", 7, 4),
        left("o", 7, 8),
        led("o", 8, 9.5),
    ],
    "a client goes on under a new name after an unknown write, and releases": [
        FIRST,
        fenced("c1", 7, "a", 3, None),
        release("c11", 4, 5),
    ],
    "a release that was not carried out, and another try": [
        SURE,
        release("c1", 3, 4, "refused", token=7),
        release("c1", 5, 6, token=7),
    ],
    "a token is handed on": [SURE, fenced("c9", 7, "a", 3, 4), release("c9", 5, 6, token=7)],
}


@pytest.mark.parametrize("name", LEGAL)
def test_it_lets_pass_that(name):
    verdict = judge(history("lock", *LEGAL[name]))
    assert verdict.ruling is Ruling.LEGAL, verdict.anomalies


def test_a_fenced_write_in_the_log_may_still_have_been_turned_down():
    recorded = history("lock", FIRST, SECOND, fenced("c2", 8, "b", 5, 6), fenced("c1", 7, "a", 7, None))
    assert judge(recorded, committed={"a", "b"}).passed
    unwritten = history("lock", FIRST, fenced("c1", 7, "a", 3, None), read("a", 5, 6))
    assert judge(unwritten, committed={"a"}).passed
    assert not judge(unwritten, committed=set()).passed, "what no log has was never written"


def test_a_history_that_does_not_say_until_when_is_judged_as_far_as_it_goes_and_says_so():
    verdict = judge(history("lock", FIRST, SECOND))
    assert verdict.passed
    assert ["until" in note for note in verdict.notes] == [True]
    assert judge(history("lock", SURE)).notes == ()
    assert "no acquisition" in judge(history("lock", fenced("c1", 7, "a", 1, 2))).notes[0]


def test_many_refused_releases_leave_it_open_where_nothing_says_why():
    turns = [
        record
        for n in range(0, 80, 2)
        for record in (acquire(f"c{n}", n + 1, n, n + 0.5), release(f"c{n}", n + 1, n + 1.5, "refused"))
    ]
    assert judge(history("lock", *turns)).ruling is Ruling.UNDECIDED


def test_two_locks_guard_keys_of_their_own():
    def of(name, record):
        record.key = f"guarded/{name}" if record.op == "fenced-put" else name
        return record

    both = [
        of(name, record)
        for name in ("one", "two")
        for record in (acquire("c1", 7, 1, 2), acquire("c2", 8, 3, 4), fenced("c2", 8, name, 5, 6))
    ]
    assert judge(history("lock", *both)).passed
    late = of("two", fenced("c1", 7, "late", 7, 8))
    (anomaly,) = judge(history("lock", *both, late)).anomalies
    assert (anomaly.name, anomaly.key) == ("stale-token-accepted", "two")
