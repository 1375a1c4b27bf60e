"""The judge of histories, held against one that tries every order."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from raft.lab.checkers.history import NEVER, Kind, Operation, Outcome
from raft.lab.checkers.linearizability import Verdict, judge


def put(value, called, returned, outcome=Outcome.DONE):
    return Operation(
        client="c", key="k", kind=Kind.PUT, value=value, called=called, returned=returned, outcome=outcome
    )


def get(found, called, returned):
    return Operation(
        client="c",
        key="k",
        kind=Kind.GET,
        found=found,
        called=called,
        returned=returned,
        outcome=Outcome.DONE,
    )


def cas(expected, value, swapped, found, called, returned):
    return Operation(
        client="c", key="k", kind=Kind.CAS, expected=expected, value=value, swapped=swapped, found=found,
        called=called, returned=returned, outcome=Outcome.DONE,
    )  # fmt: skip


def allows(order):
    """Does this order explain every answer?"""
    state = None
    for operation in order:
        known = operation.outcome is Outcome.DONE
        if operation.kind is Kind.PUT:
            state = operation.value
        elif operation.kind is Kind.GET:
            if known and operation.found != state:
                return False
        else:
            swaps = operation.expected == state
            state = operation.value if swaps else state
            if known and (operation.swapped, operation.found) != (swaps, state):
                return False
    return True


def is_linearizable(operations):
    """Every subset of the unknown ones, every order that agrees with time."""
    known = [operation for operation in operations if operation.outcome is Outcome.DONE]
    unknown = [operation for operation in operations if operation.outcome is Outcome.UNKNOWN]
    for chosen in range(1 << len(unknown)):
        taken = known + [operation for bit, operation in enumerate(unknown) if chosen >> bit & 1]
        for order in permutations(taken):
            if all(
                later.returned > earlier.called
                for place, earlier in enumerate(order)
                for later in order[place + 1 :]
            ) and allows(order):
                return True
    return False


def random_history(random, size):
    """Clients one after another or at once; the answers are mostly those of a real register."""
    moments = sorted(random.sample(range(100), 2 * size))
    random.shuffle(moments)
    state, values, operations = None, [None], []
    for number in range(size):
        called, returned = sorted(moments[2 * number : 2 * number + 2])
        value = f"v{number}".encode()
        kind = random.choice(list(Kind))
        lie = random.random() < 0.3
        if kind is Kind.GET:
            operation = get(random.choice(values) if lie else state, called, returned)
        elif kind is Kind.PUT:
            operation = put(value, called, returned)
            state = value
            values.append(value)
        else:
            expected = random.choice(values)
            swaps = expected == state
            state = value if swaps else state
            values.append(value)
            found = random.choice(values) if lie else state
            operation = cas(expected, value, swaps, found, called, returned)
        if random.random() < 0.2:
            operation.outcome, operation.returned = Outcome.UNKNOWN, NEVER
        operations.append(operation)
    return operations


@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_trying_every_order(seed):
    random = Random(seed)
    for number in range(50):
        history = random_history(random, random.randrange(1, 6))
        verdict = judge(history).verdict
        assert verdict is not Verdict.UNDECIDED
        assert (verdict is Verdict.LINEARIZABLE) == is_linearizable(history), f"seed {seed}, history {number}"


def test_a_read_of_an_overwritten_value_is_stale():
    history = [put(b"a", 1, 2), put(b"b", 3, 4), get(b"a", 5, 6)]
    assert judge(history).verdict is Verdict.VIOLATED
    assert judge(history).stuck is history[-1]


def test_an_unknown_write_may_take_effect_long_after_its_call():
    history = [put(b"a", 1, NEVER, Outcome.UNKNOWN), get(None, 2, 3), get(b"a", 4, 5)]
    assert judge(history).verdict is Verdict.LINEARIZABLE


def test_an_unknown_write_takes_effect_at_most_once():
    history = [
        put(b"a", 1, NEVER, Outcome.UNKNOWN),
        get(b"a", 2, 3),
        put(b"b", 4, 5),
        get(b"b", 6, 7),
        get(b"a", 8, 9),
    ]
    assert judge(history).verdict is Verdict.VIOLATED


def test_a_refused_write_must_not_be_seen():
    history = [put(b"a", 1, 2, Outcome.REFUSED), get(b"a", 3, 4)]
    assert judge(history).verdict is Verdict.VIOLATED


def test_a_search_that_was_cut_short_proves_nothing():
    history = [put(b"%d" % number, number, 100 + number) for number in range(20)] + [get(b"none", 50, 200)]
    assert judge(history, steps_max=1000).verdict is Verdict.UNDECIDED


def test_a_long_history_with_many_unknown_writes_is_judged_quickly():
    random, history, moment = Random(1), [], 0
    state = None
    for number in range(400):
        moment += 3
        if random.random() < 0.2:
            history.append(put(b"u%d" % number, moment, NEVER, Outcome.UNKNOWN))
        elif random.random() < 0.5:
            state = b"%d" % number
            history.append(put(state, moment, moment + 1))
        else:
            history.append(get(state, moment, moment + 1))
    assert judge(history, steps_max=20_000).verdict is Verdict.LINEARIZABLE
