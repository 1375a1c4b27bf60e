"""Registers: is there an order of the reads, writes and swaps on a key that explains every answer?

Owns the effect of each operation on a key, and the names of anomalies. Operations with an `index` are placed
in that order, the others wherever they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence

from raft.lab.checkers.counterexample import READS, prefix, prove
from raft.lab.checkers.evidence import Findings, end_of
from raft.lab.checkers.records import Record, show
from raft.lab.checkers.search import CONTRADICTION, NOTHING_KNOWN, STEPS_MAX, Call, Effect, search
from raft.lab.checkers.verdict import Ruling

OPERATIONS = frozenset({"put", "get", "cas", "fenced-put", "read"})
WRITES = frozenset({"put", "cas", "fenced-put"})
PROOF_STEPS_MAX = 5_000
Value = str | int | None
_UNSEEN = ("a value that no answer tells of",)


def judge_registers(findings: Findings) -> None:
    """Every key on its own, from a missing key (linearizability is local)."""
    for key, records in findings.by_key(OPERATIONS).items():
        judge_register(findings, key, records)


def judge_register(findings: Findings, key: str, records: Sequence[Record]) -> None:
    """One key."""
    relevant = [record for record in records if _matters(record)]
    calls = calls_of(relevant)
    found = search(calls, None, steps_max=STEPS_MAX)
    if found.ruling is Ruling.UNDECIDED:
        findings.cannot_tell(key)
    elif found.ruling is Ruling.ILLEGAL:
        until = calls[found.stuck].returned
        _tell(findings, key, records, prefix(without_the_unseen(relevant), until))


def calls_of(records: Sequence[Record]) -> list[Call]:
    """The operations for the search, without those that no answer depends on."""
    relevant = without_the_unseen(records)
    seen = _seen(relevant)
    return [call_of(record, seen) for record in relevant]


def call_of(record: Record, seen: Collection[Value]) -> Call:
    """One operation for the search; `seen` are the values that some answer shows."""
    called, returned, value = record.call, end_of(record), record.value
    index = record.index if record.done else 0
    if record.op in READS:
        found = record.result
        return Call(
            called=called, returned=returned, effect=_holds(found), reads=True, needs=found, index=index
        )
    optional = not record.done
    if record.op != "cas":
        unseen = optional and value not in seen  # Then all such values are equivalent.
        return Call(
            called=called,
            returned=returned,
            effect=lambda _state: _UNSEEN if unseen else value,
            optional=optional,
            alike=_UNSEEN if unseen else None,
            makes=value,
            index=index,
        )
    if optional or record.result["swapped"]:
        lies = record.done and record.result.get("found", value) != value
        return Call(
            called=called,
            returned=returned,
            effect=_swap(record.expected, CONTRADICTION if lies else value),
            optional=optional,
            needs=record.expected,
            makes=value,
            index=index,
        )
    needs = record.result.get("found", NOTHING_KNOWN)
    return Call(
        called=called, returned=returned, effect=_differs(record), reads=True, needs=needs, index=index
    )


def without_the_unseen(records: Sequence[Record]) -> list[Record]:
    """Leave out operations with neither an answer nor an effect on one.

    A read without an answer explains nothing. Neither does an unknown write whose value no answer shows: an
    order that contains it is still an order without it, since no answer depends on it. The exception is a
    failed swap that does not say what it found: any value but the expected one explains it.
    """
    seen = _seen(records)
    anything = any(_found_something_else(record) for record in records)
    return [
        record
        for record in records
        if record.done or (record.op not in READS and (anything or record.value in seen))
    ]


def _seen(records: Sequence[Record]) -> set[Value]:
    return {value for record in records for value in observed(record)}


def _found_something_else(record: Record) -> bool:
    if record.op != "cas" or not record.done:
        return False
    return not record.result["swapped"] and "found" not in record.result


def observed(record: Record) -> tuple[Value, ...]:
    """The values that an operation shows, or depends on."""
    if record.op == "cas":
        found: Value = record.result.get("found") if record.done else None
        return (record.expected, found)
    return (record.result,) if record.done and record.op in READS else ()


def _matters(record: Record) -> bool:
    turned_down = record.op == "fenced-put" and record.done and not record.result["accepted"]
    return record.outcome != "refused" and not turned_down


def _holds(value: Value) -> Effect:
    return lambda state: state if state == value else CONTRADICTION


def _swap(expected: Value, value: Hashable) -> Effect:
    return lambda state: value if state == expected else CONTRADICTION


def _differs(record: Record) -> Effect:
    expected, result = record.expected, record.result

    def effect(state: Hashable) -> Hashable:
        fits = state != expected and ("found" not in result or result["found"] == state)
        return state if fits else CONTRADICTION

    return effect


# -- names for anomalies -------------------------------------------------------------------------


def _is_illegal(records: Sequence[Record]) -> bool:
    return search(calls_of(records), None, steps_max=PROOF_STEPS_MAX).ruling is Ruling.ILLEGAL


def _tell(findings: Findings, key: str, records: Sequence[Record], illegal: Sequence[Record]) -> None:
    kept = prove(illegal, _is_illegal)
    proof = _with_writers(kept, records)
    for explain in (_answers_another, _never_written, _swapped_twice, _overwritten):
        told = explain(proof, records)
        if told is not None:
            name, text, more = told
            findings.wrong(name, key, text, {id(record): record for record in [*proof, *more]}.values())
            return
    text = f"no order of these operations on {key} explains every answer"
    findings.wrong("not-linearizable", key, text, proof)


def _with_writers(kept: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    """The proof, with the writers of the values in it."""
    seen = {value for record in kept for value in observed(record)} - {None}
    chosen = {id(record): record for record in kept}
    for record in records:
        if record.op in WRITES and record.value in seen:
            chosen[id(record)] = record
    return list(chosen.values())


Explanation = tuple[str, str, list[Record]] | None
Explain = Callable[[Sequence[Record], Sequence[Record]], Explanation]


def _claims(record: Record) -> Value:
    """The key's value when the operation took place, according to the operation."""
    if record.op == "cas":
        return record.expected if record.result["swapped"] else record.result.get("found")
    value: Value = record.result
    return value


def _reads(proof: Sequence[Record]) -> list[Record]:
    """All operations that show the key's value; a failed swap may not."""
    return [
        record
        for record in proof
        if record.done
        and (
            record.op in READS
            or (record.op == "cas" and (record.result["swapped"] or "found" in record.result))
        )
    ]


def _writers(records: Sequence[Record], value: Value) -> list[Record]:
    return [r for r in records if r.op in WRITES and r.value == value]


def _answers_another(proof: Sequence[Record], records: Sequence[Record]) -> Explanation:
    """A swap's answer is the key's value after it."""
    del records
    for swap in proof:
        if swap.op == "cas" and swap.done and swap.result["swapped"]:
            found = swap.result.get("found", swap.value)
            if found != swap.value:
                text = f"{swap.asked()} was made, and answers that the key then held {show(found)}"
                return "wrong-answer", text, [swap]
    return None


def _never_written(proof: Sequence[Record], records: Sequence[Record]) -> Explanation:
    for read in _reads(proof):
        value = _claims(read)
        if value is None:
            continue
        writers = _writers(records, value)
        if not writers:
            return "phantom-value", f"{read.describe()}: {value} was never written", [read]
        if all(not _matters(writer) for writer in writers):
            text = f"{read.describe()}: the write of {value} was refused, yet it is seen"
            return "refused-write-seen", text, [read, *writers]
        if all(writer.call > end_of(read) for writer in writers):
            text = f"{read.describe()}: {value} was read before its write began"
            return "read-from-the-future", text, [read, *writers]
    return None


def _swapped_twice(proof: Sequence[Record], records: Sequence[Record]) -> Explanation:
    swaps = [record for record in proof if record.done and record.op == "cas" and record.result["swapped"]]
    for place, swap in enumerate(swaps):
        for other in swaps[place + 1 :]:
            if swap.expected == other.expected and len(_writers(records, swap.expected)) <= 1:
                text = f"two swaps both found {show(swap.expected)}: one of them overwrote the other unseen"
                return "lost-update", text, [swap, other]
    return None


def _overwritten(proof: Sequence[Record], records: Sequence[Record]) -> Explanation:
    """A read of a value that was overwritten before it began, as a write or another read shows."""
    for read in _reads(proof):
        value = _claims(read)
        old = _writers(records, value)
        for other in proof:
            shown = _leaves(other)
            over = other.done and shown != value and end_of(other) < read.call
            if other is read or not over or any(end_of(writer) > other.call for writer in old):
                continue
            found = f"{read.describe()}, though"
            if other.op in READS:
                text = f"{found} {other.client} had found {show(shown)} in its place before"
                return "stale-read", text, [read, other, *old, *_writers(records, shown)]
            seen = any(shown in observed(record) for record in records if record is not other)
            text = f"{found} {show(shown)} had been written over it before, and acknowledged"
            return "stale-read" if seen else "lost-write", text, [read, other, *old]
    return None


def _leaves(record: Record) -> Value:
    """The key's value after the operation, according to the operation."""
    if not record.done or record.op in READS:
        value: Value = record.result
        return value
    if record.op == "cas" and not record.result["swapped"]:
        return _claims(record)
    return record.value
