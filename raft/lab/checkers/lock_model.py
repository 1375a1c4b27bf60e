"""A lock, its seats and the store behind its fence as one sequential object for the search.

Owns the effect of each operation on that object. Its state is which tokens hold the seats, the newest token
that has held one, and the values of the guarded keys. Leases end at times that no client sees, so the end of
each hold is an operation of its own, which may be placed anywhere after the last proof that it lasted.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import cast

from msgspec import Struct

from raft.lab.checkers.evidence import end_of
from raft.lab.checkers.records import Record
from raft.lab.checkers.search import CONTRADICTION, Call, Effect, search
from raft.lab.checkers.tenures import Lock, Tenure, token_of
from raft.lab.checkers.verdict import Ruling


class LockState(Struct, frozen=True):
    """The object's state."""

    holders: tuple[int, ...] = ()
    newest: int = 0
    values: tuple[str | None, ...] = ()


def search_lock(lock: Lock, reads: Sequence[Record], steps_max: int) -> Ruling:
    """Search for an order; `reads` are those of the guarded keys."""
    places = {key: place for place, key in enumerate(lock.guarded)}
    seen = {read.result for read in reads if read.done}
    calls = []
    told = {token_of(event) for event in lock.seen}
    for tenure in lock.in_order:
        if tenure.token in told or _matters(tenure, seen):
            calls += _calls_of(tenure, lock.seats, places, seen)
    calls += [_saw(event) for event in lock.seen]
    calls += [
        Call(
            called=read.call,
            returned=end_of(read),
            effect=_reads(places[read.key], read.result),
            reads=True,
            index=read.index,
        )
        for read in reads
        if read.done
    ]
    return search(calls, LockState(values=(None,) * len(places)), steps_max=steps_max).ruling


def _matters(tenure: Tenure, seen: set[object]) -> bool:
    """Does any answer depend on this token?"""
    records = [*tenure.claims, *tenure.releases, *tenure.writes]
    return any(record.done or (record.op == "fenced-put" and record.value in seen) for record in records)


def _calls_of(tenure: Tenure, seats: int, places: dict[str, int], seen: set[object]) -> list[Call]:
    token, acquired = tenure.token, tenure.acquired
    called = -inf if acquired is None else acquired.call
    calls = [
        Call(
            called=called,
            returned=inf if acquired is None else end_of(acquired),
            effect=_takes_seat(token, seats),
            optional=acquired is None,
        )
    ]
    calls += [call for write in tenure.writes if (call := _write(write, token, places, seen)) is not None]
    for release in tenure.released:
        calls.append(Call(called=release.call, returned=end_of(release), effect=_leaves(token)))
    for release in tenure.refused:
        effect = _holds_not(token)
        calls.append(Call(called=release.call, returned=end_of(release), effect=effect, reads=True))
    proved = tenure.last_proof
    over = max(called, -inf if proved is None else proved[0])
    calls.append(Call(called=over, effect=_leaves(token), optional=True))
    return calls


def _write(write: Record, token: int, places: dict[str, int], seen: set[object]) -> Call | None:
    if write.done and not write.result["accepted"]:
        return Call(called=write.call, returned=end_of(write), effect=_holds_not(token), reads=True)
    if write.outcome == "refused" or (not write.done and write.value not in seen):
        return None  # It was not done, or no answer depends on it.
    return Call(
        called=write.call,
        returned=end_of(write),
        effect=_writes(token, places[write.key], cast(str, write.value)),
        optional=not write.done,
        index=write.index if write.done else 0,
    )


def _saw(event: Record) -> Call:
    """A notification of an observer: it was true by the time of the notification."""
    token = cast(int, event.result["token"])
    has_left = event.op == "left"

    def effect(state: Hashable) -> Hashable:
        office = cast(LockState, state)
        return (
            state if office.newest >= token and not (has_left and token in office.holders) else CONTRADICTION
        )

    return Call(called=end_of(event), returned=end_of(event), effect=effect, reads=True)


def _takes_seat(token: int, seats: int) -> Effect:
    def effect(state: Hashable) -> Hashable:
        office = cast(LockState, state)
        if token <= office.newest or len(office.holders) >= seats:
            return CONTRADICTION
        return LockState((*office.holders, token), token, office.values)

    return effect


def _leaves(token: int) -> Effect:
    def effect(state: Hashable) -> Hashable:
        office = cast(LockState, state)
        if token not in office.holders:
            return CONTRADICTION
        left = tuple(holder for holder in office.holders if holder != token)
        return LockState(left, office.newest, office.values)

    return effect


def _holds_not(token: int) -> Effect:
    return lambda state: state if token not in cast(LockState, state).holders else CONTRADICTION


def _writes(token: int, place: int, value: str) -> Effect:
    def effect(state: Hashable) -> Hashable:
        office = cast(LockState, state)
        if token not in office.holders:
            return CONTRADICTION
        values = (*office.values[:place], value, *office.values[place + 1 :])
        return LockState(office.holders, office.newest, values)

    return effect


def _reads(place: int, value: str | None) -> Effect:
    return lambda state: state if cast(LockState, state).values[place] == value else CONTRADICTION
