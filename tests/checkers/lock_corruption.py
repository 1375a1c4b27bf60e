"""Lies about locks: of seats, tokens, fences and releases."""

from __future__ import annotations

from tests.checkers.histories import operation
from tests.checkers.lies import (
    change,
    indices_exchanged,
    one_index_twice,
    phantom_read,
    pick,
    reads,
    shifted,
    stale_read_of_the_log,
)


def acquired(records):
    return [r for r in records if r.op == "acquire" and r.done]


def accepted(records):
    return [r for r in records if r.op == "fenced-put" and r.done and r.result["accepted"]]


def token_of(record):
    return record.result["token"] if record.op == "acquire" else record.expected


def releases(records, held):
    return [r for r in records if r.op == "release" and r.done and r.result["held"] is held]


def taken_from_its_holder(dice, records):
    """A newcomer is given what a holder is sure of; one more than there are seats."""
    holders = acquired(records)
    holder = dice.choice(holders)
    at, newest = holder.returned, max(map(token_of, holders))
    until = at + 100
    seats = holder.value or 1
    # The holder is sure for long, and never gives up; neither do the newcomers.
    records[:] = [r for r in records if r.op != "release" or token_of(r) != token_of(holder)]
    change(records, holder, result={"token": token_of(holder), "until": until})
    for number in range(seats):
        token = newest + 1 + number
        result = {"token": token, "until": until}
        late = operation(f"new{number}", "acquire", "lock", 50 + number, 50.5 + number, holder.value, result)
        records.append(late)
    return True


def old_holder_let_in(dice, records):
    write = pick(dice, accepted(records))
    return write is not None and shifted(dice, write, records, value="late", index=0)


def turned_down_let_in(dice, records):
    """A write that came when its token had been released."""
    released = {token_of(r): r for r in releases(records, True)}
    found = [
        r
        for r in records
        if r.op == "fenced-put"
        and r.done
        and not r.result["accepted"]
        and r.expected in released
        and released[r.expected].returned < r.call
    ]
    write = pick(dice, found)
    return write is not None and change(records, write, result={"accepted": True})


def holder_turned_down(dice, records):
    claims = {token_of(r): r for r in acquired(records)}
    seen = {read.result for read in reads(records)}
    given_up = {r.expected: r.call for r in records if r.op == "release"}
    found = [
        r
        for r in accepted(records)
        if r.returned < min(claims[r.expected].result["until"], given_up.get(r.expected, 1e9))
        and r.value not in seen
    ]
    write = pick(dice, found)
    return write is not None and change(records, write, result={"accepted": False}, index=0)


def release_refused_to_holder(dice, records):
    release = pick(dice, releases(records, True))
    if release is None:
        return False
    token, moment = token_of(release), release.returned
    late = operation("x", "fenced-put", "guarded", moment + 1e-7, moment + 2e-7, "late", None, token)
    late.result = {"accepted": True}
    records.append(late)
    return change(records, release, result={"held": False})


def released_twice(dice, records):
    release = pick(dice, releases(records, True))
    return release is not None and shifted(dice, release, records)


def released_before(dice, records):
    release = pick(dice, releases(records, True))
    return release is not None and change(records, release, call=1e-9, returned=2e-9)


def release_of_nothing(dice, records):
    release = pick(dice, releases(records, True))
    return release is not None and change(records, release, expected=10**6)


def token_given_twice(dice, records):
    acquire = pick(dice, acquired(records))
    return acquire is not None and shifted(dice, acquire, records)


def token_goes_back(dice, records):
    result = {"token": 1, "until": 10**6}
    records.append(operation("x", "acquire", "lock", 10**5, 10**5 + 1, acquired(records)[0].value, result))
    return True


def token_of_no_one(dice, records):
    write = pick(dice, accepted(records))
    return write is not None and change(records, write, expected=10**6)


def token_used_before(dice, records):
    seen = {read.result for read in reads(records)}
    found = [r for r in accepted(records) if r.value not in seen]
    write = pick(dice, found)
    return write is not None and change(records, write, call=1e-9, returned=2e-9, index=0)


def guarded_write_lost(dice, records):
    seen = {r.result for r in reads(records)}
    write = pick(dice, [r for r in accepted(records) if r.value in seen])
    return write is not None and change(records, write, result={"accepted": False}, index=0)


def observer_contradicts(dice, records):
    """It is told that a token has left, and that token writes on."""
    write = pick(dice, accepted(records))
    if write is None:
        return False
    moment = write.call - 1e-7
    told = {"token": token_of(write)}
    records.append(operation("observer2", "left", "lock", moment, moment, result=told))
    return True


LOCK = (
    taken_from_its_holder, old_holder_let_in, turned_down_let_in, holder_turned_down,
    release_refused_to_holder, released_twice, released_before, release_of_nothing, token_given_twice,
    token_goes_back, token_of_no_one, token_used_before, guarded_write_lost, observer_contradicts,
    phantom_read, one_index_twice, indices_exchanged, stale_read_of_the_log,
)  # fmt: skip
