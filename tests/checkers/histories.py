"""Small histories for the judge's tests: a line each, and a checker that tries every order."""

from __future__ import annotations

from itertools import permutations
from math import inf
from random import Random

from raft.lab.checkers.records import Header, Record, RecordedHistory


def operation(client, op, key, call, returned, value=None, result=None, expected=None, outcome=None):
    """One operation; without a return its outcome is unknown."""
    if outcome is None:
        outcome = "unknown" if returned is None else "done"
    return Record(
        client=client, op=op, key=key, call=call, returned=returned, value=value, result=result,
        expected=expected, outcome=outcome,
    )  # fmt: skip


def put(value, call, returned, *, key="k", client="c1", outcome=None):
    return operation(client, "put", key, call, returned, value, outcome=outcome)


def get(result, call, returned, *, key="k", client="c2"):
    return operation(client, "get", key, call, returned, result=result)


def cas(expected, value, swapped, found, call, returned, *, client="c3"):
    result = {"swapped": swapped, "found": found} if returned is not None else None
    return operation(client, "cas", "k", call, returned, value, result, expected)


def append(value, call, returned, outcome=None):
    return operation("c1", "append", "k", call, returned, value, outcome=outcome)


def add(value, call, returned, outcome=None):
    return operation("c1", "add", "k", call, returned, value, outcome=outcome)


def read(result, call, returned):
    return operation("c2", "read", "k", call, returned, result=result)


def acquire(client, token, call, returned, until=None, seats=None, outcome=None):
    result = {"token": token} if until is None else {"token": token, "until": until}
    result = result if outcome is None and returned is not None else None
    return operation(client, "acquire", "lock", call, returned, seats, result, outcome=outcome)


def keep(client, token, until, at):
    return operation(client, "keep", "lock", at, at, result={"until": until}, expected=token)


def release(client, call, returned, outcome=None, *, token=None, held=None):
    result = None if held is None else {"held": held}
    return operation(client, "release", "lock", call, returned, None, result, token, outcome)


def fenced(client, token, value, call, returned, accepted=True):
    result = {"accepted": accepted} if returned is not None else None
    return operation(client, "fenced-put", "k", call, returned, value, result, token)


def led(client, token, at):
    return operation(client, "led", "lock", at, at, result={"token": token})


def left(client, token, at):
    return operation(client, "left", "lock", at, at, result={"token": token})


def event(client, value, revision, at, key="k"):
    return operation(client, "event", key, at, at, value, {"revision": revision})


def watch(client, first, last, call, returned, *, prefix="", forgotten=None):
    result = {"first": first, "last": last, "forgotten": forgotten}
    return operation(client, "watch", prefix, call, returned, result=result)


def at(index, record):
    """The same operation, which tells where in the log it stands."""
    record.index = index
    return record


def history(workload, *records):
    """A history of that workload, in order of the calls."""
    return RecordedHistory(
        header=Header(workload=workload), records=sorted(records, key=lambda record: record.call)
    )


# -- trying every order ----------------------------------------------------------------------------


def apply(record, state):
    """The state after the operation, and whether its answer fits."""
    known = record.outcome == "done"
    match record.op:
        case "put":
            return record.value, True
        case "append":
            return (*state, record.value), True
        case "add" if isinstance(state, frozenset):
            return state | {record.value}, True
        case "add":
            return state + record.value, True
        case "get":
            return state, not known or record.result == state
        case "read":
            if isinstance(state, int):
                return state, not known or record.result == state
            if isinstance(state, frozenset):
                fits = not known or (sorted(record.result) == sorted(state))
                return state, fits
            return state, not known or tuple(record.result) == state
        case "cas":
            swaps = state == record.expected
            after = record.value if swaps else state
            return after, not known or (record.result["swapped"], record.result["found"]) == (swaps, after)
    raise AssertionError(record.op)


STARTS = {"register": None, "append": (), "set": frozenset(), "counter": 0}


def end(record):
    return record.returned if record.outcome == "done" and record.returned is not None else inf


def explained(order, state):
    for record in order:
        state, fits = apply(record, state)
        if not fits:
            return False
    return True


def is_legal(records, workload):
    """Every choice among the unknown ones, every order that agrees with time."""
    known = [record for record in records if record.outcome == "done"]
    unknown = [record for record in records if record.outcome == "unknown"]
    for chosen in range(1 << len(unknown)):
        taken = known + [record for bit, record in enumerate(unknown) if chosen >> bit & 1]
        for order in permutations(taken):
            in_time = all(
                end(later) >= earlier.call
                for place, earlier in enumerate(order)
                for later in order[place + 1 :]
            )
            if in_time and explained(order, STARTS[workload]):
                return True
    return False


def random_history(random: Random, workload: str, size: int):
    """Operations one after another or at once; answers are those of a real one, or lies, or never come."""
    length = random.choice([3, 10, 40])
    calls = [random.randrange(40) for _ in range(size)]
    spans = [(call, call + random.randrange(1, length)) for call in calls]
    state, states, records = STARTS[workload], [STARTS[workload]], []
    lies = random.choice([0.0, 0.8])
    # Taking effect in the middle, all of them in order: legal, until an answer is wrong.
    for number, (call, returned) in enumerate(sorted(spans, key=sum)):
        seen = random.choice(states) if random.random() < lies else state
        outcome = random.choices(["done", "unknown", "refused"], [8, 1, 1])[0]
        record = random_operation(random, workload, number, seen, float(call), float(returned))
        record.outcome = outcome
        if outcome != "refused" and (outcome == "done" or random.random() < 0.5):
            state, _ = apply(record, state)
            states.append(state)
        if outcome != "done":
            record.result = None
            record.returned = None if outcome == "unknown" else record.returned
        records.append(record)
    return history(workload, *records)


def random_operation(random, workload, number, seen, call, returned):
    """An operation whose answer is true if the state is the one that is seen."""
    value = f"v{number}"
    if workload == "register":
        value = random.choice([value, "v0", "v1"])  # Now and then a value that was there before.
        kind = random.choice(["put", "get", "cas"])
        if kind == "put":
            return put(value, call, returned)
        if kind == "get":
            return get(seen, call, returned)
        swaps = random.random() < 0.5
        expected = seen if swaps else f"v{random.randrange(number + 1)}"
        swaps = expected == seen
        return cas(expected, value, swaps, value if swaps else seen, call, returned)
    if random.random() < 0.5:
        answer = seen if workload == "counter" else sorted(seen) if workload == "set" else list(seen)
        return read(answer, call, returned)
    if workload == "append":
        return append(value, call, returned)
    return add(random.choice(["a", "b", "c", "d"]) if workload == "set" else 1, call, returned)
