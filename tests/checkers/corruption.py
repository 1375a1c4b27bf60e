"""Legal histories made illegal, each by one lie that no order can explain.

A lie is chosen where it must show: what it contradicts was over before, or has not begun. Each corruption
changes the list that it is given, or returns False if there is no place for it.
"""

from __future__ import annotations

import msgspec

from tests.checkers.lies import (
    change,
    indices_exchanged,
    one_index_twice,
    phantom_read,
    pick,
    reads,
    stale_read_of_the_log,
)
from tests.checkers.lock_corruption import LOCK

REFUSED = {"outcome": "refused", "result": None, "index": 0}


# -- registers -------------------------------------------------------------------------------------


def writes(records):
    return [
        r
        for r in records
        if r.done and (r.op == "put" or (r.op == "cas" and r.result["swapped"])) and r.value is not None
    ]


def stale_read(dice, records):
    """A read finds what another write had replaced before it began."""
    written = writes(records)
    dice.shuffle(found := reads(records))
    for read in found:
        before = [w for w in written if w.key == read.key and w.returned < read.call]
        old = [w for w in before if any(w.returned < new.call for new in before)]
        if old:
            return change(records, read, result=dice.choice(old).value)
    return False


def lost_writer(dice, records):
    """The write of something that was read is not in the history."""
    seen = {(r.key, r.result) for r in reads(records)}
    write = pick(dice, [w for w in writes(records) if (w.key, w.value) in seen])
    if write is None:
        return False
    records.remove(write)
    return True


def refused_but_seen(dice, records):
    seen = {(r.key, r.result) for r in reads(records)}
    write = pick(dice, [w for w in writes(records) if (w.key, w.value) in seen])
    return write is not None and change(records, write, **REFUSED)


def read_before_write(dice, records):
    """A read is answered by what is written after it is over."""
    written = writes(records)
    pairs = [(r, w) for r in reads(records) for w in written if w.key == r.key and w.call > r.returned]
    read, write = pick(dice, pairs) or (None, None)
    return read is not None and change(records, read, result=write.value)


def swap_answers_another(dice, records):
    swap = pick(dice, [r for r in records if r.op == "cas" and r.done and r.result["swapped"]])
    return swap is not None and change(records, swap, result={"swapped": True, "found": "another"})


def swap_of_nothing(dice, records):
    """A swap that was not made is said to have been."""
    swap = pick(dice, [r for r in records if r.op == "cas" and r.done and str(r.expected).startswith("old")])
    return swap is not None and change(records, swap, result={"swapped": True, "found": swap.value})


def failed_swap_finds_anything(dice, records):
    swap = pick(dice, [r for r in records if r.op == "cas" and r.done and not r.result["swapped"]])
    return swap is not None and change(records, swap, result={"swapped": False, "found": "anything"})


def failed_swap_finds_the_expected(dice, records):
    found = [r for r in records if r.op == "cas" and r.done and not r.result["swapped"]]
    swap = pick(dice, found)
    return swap is not None and change(records, swap, expected=swap.result["found"])


# -- lists, sets, counters ---------------------------------------------------------------------------


def element_lost(dice, records):
    added = {r.value: r for r in records if r.op in ("append", "add") and r.done}
    found = [
        (read, element)
        for read in reads(records)
        for element in read.result
        if element in added and added[element].returned < read.call
    ]
    if not found:
        return False
    read, element = dice.choice(found)
    return change(records, read, result=[e for e in read.result if e != element])


def element_doubled(dice, records):
    read = pick(dice, [r for r in reads(records) if r.result])
    return read is not None and change(records, read, result=[*read.result, dice.choice(read.result)])


def elements_exchanged(dice, records):
    read = pick(dice, [r for r in reads(records) if len(r.result) > 3 and r.index])
    if read is None:
        return False
    result = list(read.result)
    result[0], result[-1] = result[-1], result[0]
    return change(records, read, result=result)


def element_invented(dice, records):
    read = pick(dice, reads(records))
    return read is not None and change(records, read, result=[*read.result, "invented"])


def element_refused(dice, records):
    seen = {element for read in reads(records) for element in read.result}
    write = pick(dice, [r for r in records if r.op in ("append", "add") and r.value in seen])
    return write is not None and change(records, write, **REFUSED)


def sum_too_large(dice, records):
    read = pick(dice, reads(records))
    return read is not None and change(records, read, result=read.result + 10**9)


def sum_too_small(dice, records):
    read = pick(dice, [r for r in reads(records) if r.result])
    return read is not None and change(records, read, result=-1)


def sum_goes_back(dice, records):
    found = reads(records)
    pairs = [(a, b) for a in found for b in found if a.returned < b.call and 0 < a.result < b.result]
    earlier, later = pick(dice, pairs) or (None, None)
    return earlier is not None and change(records, later, result=earlier.result - 1)


# -- watches -----------------------------------------------------------------------------------------


def events(records):
    return [r for r in records if r.op == "event"]


def watcher_falls_silent(dice, records):
    stem = dice.choice(events(records)).client.partition(".")[0]
    mine = [r for r in events(records) if r.client.startswith(stem)]
    for event in mine[dice.randrange(len(mine)) :]:
        records.remove(event)
    return True


def event_missed(dice, records):
    records.remove(dice.choice(events(records)))
    return True


def key_never_told_of(dice, records):
    key = dice.choice(events(records)).key
    records[:] = [r for r in records if r.op != "event" or r.key != key]
    return True


def gap_in_a_watch(dice, records):
    """An incarnation begins further on than the one before has ended."""
    incarnations = [r for r in records if r.op == "watch" and not r.client.endswith(".0")]
    incarnation = dice.choice(incarnations)
    mine = [r for r in events(records) if r.client == incarnation.client]
    if not mine:
        return False
    for event in mine[:2]:
        records.remove(event)
    return change(records, incarnation, result={**incarnation.result, "first": mine[1].index + 2})


def event_doubled(dice, records):
    return again(records, dice.choice(events(records)))


def event_out_of_order(dice, records):
    stem = dice.choice(events(records)).client
    mine = [r for r in events(records) if r.client == stem]
    return len(mine) > 1 and again(records, mine[0], after=mine[-1])


def again(records, event, after=None):
    moment = (after or event).call + 1e-7
    records.append(msgspec.structs.replace(event, call=moment, returned=moment))
    return True


def event_of_another_value(dice, records):
    event = dice.choice([r for r in events(records) if r.value is not None])
    other = dice.choice([r for r in events(records) if r.value not in (None, event.value)])
    return change(records, event, value=other.value)


def event_invented(dice, records):
    event = dice.choice(events(records))
    return change(records, event, value="invented")


def deletion_invented(dice, records):
    event = dice.choice([r for r in events(records) if r.value is not None])
    return change(records, event, value=None)


def event_before_its_write(dice, records):
    event = dice.choice([r for r in events(records) if r.value is not None and r.call > 1])
    return change(records, event, call=1e-9, returned=1e-9)


def event_at_another_revision(dice, records):
    event = dice.choice(events(records))
    return change(records, event, result={"revision": event.result["revision"] + 1})


REGISTER = (
    stale_read, stale_read_of_the_log, phantom_read, lost_writer, refused_but_seen, read_before_write,
    swap_answers_another, swap_of_nothing, failed_swap_finds_anything, failed_swap_finds_the_expected,
    one_index_twice, indices_exchanged,
)  # fmt: skip
COLLECTION = (
    element_lost, element_doubled, element_invented, element_refused, one_index_twice, indices_exchanged,
    stale_read_of_the_log,
)  # fmt: skip
CORRUPTIONS = {
    "register": REGISTER,
    "watch": (
        *REGISTER, watcher_falls_silent, event_missed, key_never_told_of, gap_in_a_watch, event_doubled,
        event_out_of_order, event_of_another_value, event_invented, deletion_invented,
        event_before_its_write, event_at_another_revision,
    ),
    "append": (*COLLECTION, elements_exchanged),
    "set": COLLECTION,
    "counter": (
        sum_too_large, sum_too_small, sum_goes_back, one_index_twice, indices_exchanged,
        stale_read_of_the_log,
    ),
    "lock": LOCK,
    "semaphore": LOCK,
}  # fmt: skip
