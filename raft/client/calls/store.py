"""The key-value store's calls as requests, and what their answers mean to a program.

Owns the translation between Python values and the application's messages, for both clients. Knows nothing
of how a request reaches a node.
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
PAGE_KEYS = 1_000  # In one answer, unless told otherwise.
Questions = Generator[Answered[Any], Any, Item | None]
"""Asks one question after the other, is sent their answers, and returns what it has found."""


class Swapped(Struct, frozen=True):
    """Whether a swap was made, and what the key holds now."""

    swapped: bool
    value: bytes | None


class Replaced(Struct, frozen=True):
    """The revision that a put has made, and what the key held before; None if it was unbound."""

    revision: int
    previous: Item | None


def to_bytes(text: Text) -> bytes:
    """Bytes as they are, text as UTF-8; TypeError for anything else."""
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    if isinstance(text, bytearray | memoryview):
        return bytes(text)
    raise TypeError(f"keys and values are str or bytes, not {type(text).__name__}: {text!r:.50}")


def maybe_bytes(text: Text | None) -> bytes | None:
    """The same for a value that may be missing."""
    return None if text is None else to_bytes(text)


def put_request(key: Text, value: Text, lease: int = 0, fence: Fence | None = None) -> bytes:
    """The command that binds a key."""
    return plain(Put(to_bytes(key), to_bytes(value), lease, fence))


def cas_request(
    key: Text, old: Text | None, new: Text | None, lease: int = 0, fence: Fence | None = None
) -> bytes:
    """The command that swaps a value for another."""
    return plain(CompareAndSwap(to_bytes(key), maybe_bytes(old), maybe_bytes(new), lease, fence))


def get_request(key: Text) -> bytes:
    """The query for a key's value."""
    return question_bytes(Get(to_bytes(key)))


def page(prefix: Text, after: Text | None, limit: int = PAGE_KEYS, *, keys_only: bool = False) -> Range:
    """The question for the keys that begin with `prefix`, or for those of them behind `after`."""
    begin, end = range_of(prefix, prefix=True)
    return Range(begin if after is None else to_bytes(after) + b"\0", end, limit, keys_only)


def range_of(key: Text, *, prefix: bool) -> tuple[bytes, bytes | None]:
    """A key alone, or all that begin so, as the first of them and the first one behind them."""
    start = to_bytes(key)
    return start, prefix_end(start) if prefix else start + b"\0"


def command(body: bytes) -> Command:
    """A command as it is sent."""
    return Command(body)


def query(body: bytes, *, stale: bool) -> Query:
    """A query that asks a quorum, or, if it may be stale, nobody but one node."""
    return Query(body, Consistency.STALE if stale else Consistency.LINEARIZABLE)


def value_of(result: bytes) -> bytes | None:
    """What `get` found."""
    answer = decode_or_raise(result)
    assert isinstance(answer, results.Value), f"a get is not answered by {answer}"
    return None if answer.item is None else answer.item.value


def swapped(result: bytes) -> Swapped:
    """What came of `cas`."""
    answer = decode_or_raise(result)
    assert isinstance(answer, results.Swapped), f"a compare-and-swap is not answered by {answer}"
    return Swapped(answer.swapped, None if answer.item is None else answer.item.value)


def items_in(result: bytes) -> Items:
    """What a range found, and whether there is more."""
    answer = decode_or_raise(result)
    assert isinstance(answer, Items), f"a range is not answered by {answer}"
    return answer


# -- what takes more than one request, or one of several parts ------------------------------------


def replacing(key: Text, value: Text, lease: int, fence: Fence | None) -> Transaction:
    """The command that binds a key, and tells what it held before."""
    name = to_bytes(key)
    return Transaction((), (Get(name), Put(name, to_bytes(value), lease)), fence=fence)


def removing(key: Text, fence: Fence | None) -> Transaction:
    """The command that unbinds a key, and tells what it held."""
    name = to_bytes(key)
    return Transaction((), (Get(name), Delete(name)), fence=fence)


def before(done: results.TransactionDone) -> Item | None:
    """What a key held before it was replaced or removed."""
    found = done.answers[0]
    assert isinstance(found, results.Value), found
    return found.item


def item_at(key: Text, revision: int) -> Questions:
    """What a key held at a revision, or holds now if that is 0; None if it was unbound.

    Found among the events from then on. EventsForgotten if what it held then has been overwritten, and is
    forgotten; CommandRefused for a revision that is still to come.
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
    """What a key held when `event` changed it; `held` is the one before, if that is not forgotten."""
    is_first = isinstance(event, Item) and event.version == 1
    if held is None and not is_first:
        raise EventsForgotten(forgotten)
    return None if is_first else _as_item(held)


def _as_item(event: Event | None) -> Item | None:
    return event if isinstance(event, Item) else None
