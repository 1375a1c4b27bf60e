"""What lies of all kinds have in common: how a record is changed, and those that fit any history."""

from __future__ import annotations

import msgspec


def change(records, record, **fields):
    records[records.index(record)] = msgspec.structs.replace(record, **fields)
    return True


def pick(dice, found):
    return dice.choice(found) if found else None


def shifted(dice, record, records, **fields):
    """The same operation again, later than everything else."""
    late = max(r.returned or r.call for r in records) + dice.uniform(1, 2)
    records.append(msgspec.structs.replace(record, call=late, returned=late + 0.1, **fields))
    return True


def reads(records):
    return [r for r in records if r.op in ("get", "read") and r.done]


def stale_read_of_the_log(dice, records):
    read = pick(dice, [r for r in reads(records) if r.call > 2 and r.index])
    return read is not None and change(records, read, index=2)


def phantom_read(dice, records):
    read = pick(dice, reads(records))
    return read is not None and change(records, read, result="phantom")


def one_index_twice(dice, records):
    pair = placed(dice, records)
    return pair is not None and change(records, pair[0], index=pair[1].index)


def indices_exchanged(dice, records):
    pair = placed(dice, records)
    if pair is None:
        return False
    first, second = pair
    first.index, second.index = second.index, first.index
    return True


def placed(dice, records):
    """Two writes with places in the log, one of them over before the other begins."""
    found = [r for r in records if r.done and r.index and r.op not in ("get", "read")]
    pairs = [(a, b) for a in found for b in found if a.returned < b.call]
    return pick(dice, pairs)
