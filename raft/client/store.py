"""The key-value store's calls as requests, and what their answers mean to a program.

Owns the translation between Python values and the application's messages, for both clients. Knows nothing
of how a request reaches a node.
"""

from __future__ import annotations

from msgspec import Struct

from raft.client.application import meaning, plain, question_bytes
from raft.machines import answers
from raft.machines.keys import prefix_end
from raft.machines.operations import CompareAndSwap, Delete, Fence, Get, Put, Range
from raft.requests import Command, Consistency, Query

Text = str | bytes


class Swapped(Struct, frozen=True):
    """Whether a swap was made, and what the key holds now."""

    swapped: bool
    value: bytes | None


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


def delete_request(key: Text, fence: Fence | None = None) -> bytes:
    """The command that unbinds a key."""
    return plain(Delete(to_bytes(key), fence))


def cas_request(
    key: Text, old: Text | None, new: Text | None, lease: int = 0, fence: Fence | None = None
) -> bytes:
    """The command that swaps a value for another."""
    return plain(CompareAndSwap(to_bytes(key), maybe_bytes(old), maybe_bytes(new), lease, fence))


def get_request(key: Text) -> bytes:
    """The query for a key's value."""
    return question_bytes(Get(to_bytes(key)))


def items_request(prefix: bytes, after: bytes | None) -> bytes:
    """The query for the keys that begin with `prefix`, or for those of them behind `after`."""
    start = prefix if after is None else after + b"\0"
    return question_bytes(Range(start, prefix_end(prefix)))


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


def stored(result: bytes) -> int:
    """The revision that `put` made."""
    answer = meaning(result)
    assert isinstance(answer, answers.Stored), f"a put is not answered by {answer}"
    return answer.revision


def value_of(result: bytes) -> bytes | None:
    """What `get` found."""
    answer = meaning(result)
    assert isinstance(answer, answers.Value), f"a get is not answered by {answer}"
    return None if answer.item is None else answer.item.value


def existed(result: bytes) -> bool:
    """Whether `delete` found the key."""
    answer = meaning(result)
    assert isinstance(answer, answers.Deleted), f"a delete is not answered by {answer}"
    return answer.count > 0


def swapped(result: bytes) -> Swapped:
    """What came of `cas`."""
    answer = meaning(result)
    assert isinstance(answer, answers.Swapped), f"a compare-and-swap is not answered by {answer}"
    return Swapped(answer.swapped, None if answer.item is None else answer.item.value)


def items_in(result: bytes) -> answers.Items:
    """What a range found, and whether there is more."""
    answer = meaning(result)
    assert isinstance(answer, answers.Items), f"a range is not answered by {answer}"
    return answer
