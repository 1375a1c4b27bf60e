"""Requests of the key-value store, and their answers as Python values.

Owns this translation, for both clients. Knows nothing of how a request reaches a node.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec import Struct

from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.client.errors import CommandRefused, EventsForgotten
from raft.machines import results
from raft.machines.commands import (
    LIMIT_MAX,
    Answered,
    CompareAndSwap,
    Delete,
    Fence,
    Get,
    Put,
    Range,
    Transaction,
    WatchKeys,
)
from raft.machines.keys import prefix_end
from raft.machines.results import Compacted, Event, Item, Items
from raft.protocol.client import Command, Consistency, Query

Text = str | bytes
PAGE_KEYS = 1_000  # In one answer, by default.
Questions = Generator[Answered[Any], Any, Item | None]
"""Yields one question after the other, is sent their answers, and returns the item found."""


class Swapped(Struct, frozen=True):
    """Whether the swap was made, and the key's value now."""

    swapped: bool
    value: bytes | None


class Replaced(Struct, frozen=True):
    """The revision of a put, and the item that it replaced; None if there was none."""

    revision: int
    previous: Item | None


def to_bytes(text: Text) -> bytes:
    """Bytes unchanged, str as UTF-8; TypeError for anything else."""
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    if isinstance(text, bytearray | memoryview):
        return bytes(text)
    raise TypeError(f"keys and values are str or bytes, not {type(text).__name__}: {text!r:.50}")


def maybe_bytes(text: Text | None) -> bytes | None:
    """As `to_bytes`, for an optional value."""
    return None if text is None else to_bytes(text)


def put_request(key: Text, value: Text, lease: int = 0, fence: Fence | None = None) -> bytes:
    """A put, as bytes."""
    return plain(Put(to_bytes(key), to_bytes(value), lease, fence))


def cas_request(
    key: Text, old: Text | None, new: Text | None, lease: int = 0, fence: Fence | None = None
) -> bytes:
    """A compare-and-swap, as bytes."""
    return plain(CompareAndSwap(to_bytes(key), maybe_bytes(old), maybe_bytes(new), lease, fence))


def get_request(key: Text) -> bytes:
    """A get, as bytes."""
    return question_bytes(Get(to_bytes(key)))


def page(prefix: Text, after: Text | None, limit: int = PAGE_KEYS, *, keys_only: bool = False) -> Range:
    """The question for the keys with a prefix, or for those of them after `after`."""
    begin, end = range_of(prefix, prefix=True)
    return Range(begin if after is None else to_bytes(after) + b"\0", end, limit, keys_only)


def range_of(key: Text, *, prefix: bool) -> tuple[bytes, bytes | None]:
    """The first key and the end (exclusive) of a single key, or of all keys with a prefix."""
    start = to_bytes(key)
    return start, prefix_end(start) if prefix else start + b"\0"


def command(body: bytes) -> Command:
    """A command as sent."""
    return Command(body)


def query(body: bytes, *, stale: bool) -> Query:
    """A query as sent: linearizable, or answered from one node's own state if `stale`."""
    return Query(body, Consistency.STALE if stale else Consistency.LINEARIZABLE)


def value_of(result: bytes) -> bytes | None:
    """The value found by a get."""
    answer = decode_or_raise(result)
    assert isinstance(answer, results.Value), f"unexpected answer to a get: {answer}"
    return None if answer.item is None else answer.item.value


def swapped(result: bytes) -> Swapped:
    """The result of a compare-and-swap."""
    answer = decode_or_raise(result)
    assert isinstance(answer, results.Swapped), f"unexpected answer to a compare-and-swap: {answer}"
    return Swapped(answer.swapped, None if answer.item is None else answer.item.value)


def items_in(result: bytes) -> Items:
    """The items found by a range, and whether there are more."""
    answer = decode_or_raise(result)
    assert isinstance(answer, Items), f"unexpected answer to a range: {answer}"
    return answer


# -- transactions, and calls of several requests ------------------------------------------------


def replacing(key: Text, value: Text, lease: int, fence: Fence | None) -> Transaction:
    """The command that sets a key and returns its previous value."""
    name = to_bytes(key)
    return Transaction((), (Get(name), Put(name, to_bytes(value), lease)), fence=fence)


def removing(key: Text, fence: Fence | None) -> Transaction:
    """The command that deletes a key and returns its previous value."""
    name = to_bytes(key)
    return Transaction((), (Get(name), Delete(name)), fence=fence)


def before(done: results.TransactionDone) -> Item | None:
    """A key's item before it was replaced or deleted."""
    found = done.answers[0]
    assert isinstance(found, results.Value), found
    return found.item


def item_at(key: Text, revision: int) -> Questions:
    """A key's item at a revision, or now if that is 0; None if it did not exist.

    Found in the events from that revision on. Raises EventsForgotten if the item was overwritten and its
    event is forgotten, CommandRefused for a future revision.
    """
    start, end = range_of(key, prefix=False)
    now: results.Value = yield Get(start)
    if not revision or (now.item is not None and now.item.revision <= revision <= now.revision):
        return now.item
    if not 0 < revision <= now.revision:
        raise CommandRefused(f"there is no revision {revision} yet: the newest one is {now.revision}")
    forgotten = 0
    watch = WatchKeys(1, start, end, LIMIT_MAX)
    held: Event | None = None
    while True:
        told: results.Events | Compacted = yield watch
        if isinstance(told, Compacted):
            if told.revision > revision:
                raise EventsForgotten(told.revision)
            forgotten, held = told.revision, None
            watch = WatchKeys(forgotten + 1, start, end, LIMIT_MAX)
            continue
        for event in told.events:
            if event.revision > revision:
                return _held_before(event, held, forgotten)
            held = event
        if told.next > told.revision:
            return _as_item(held)
        watch = WatchKeys(told.next, start, end, LIMIT_MAX, told.skip)


def _held_before(event: Event, held: Event | None, forgotten: int) -> Item | None:
    """The item before `event`; `held` is the event before it, if that one is not forgotten."""
    is_first = isinstance(event, Item) and event.version == 1
    if held is None and not is_first:
        raise EventsForgotten(forgotten)
    return None if is_first else _as_item(held)


def _as_item(event: Event | None) -> Item | None:
    return event if isinstance(event, Item) else None
