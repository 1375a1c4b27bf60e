"""The key-value store's calls as requests, and what their answers mean to a program.

Owns the translation between Python values and the machine's messages, for both clients. Knows nothing
of how a request reaches a node.
"""

from __future__ import annotations

from raft.client.errors import CommandRefused
from raft.machines.kv import (
    CompareAndSwap,
    Delete,
    Deleted,
    Get,
    KvCommand,
    KvQuery,
    Put,
    Swapped,
    Value,
    decode_result,
    encode_request,
)
from raft.machines.machine import MachineError
from raft.requests import Consistency, Query

Text = str | bytes


def to_bytes(text: Text) -> bytes:
    """Bytes as they are, text as UTF-8."""
    return text.encode() if isinstance(text, str) else text


def maybe_bytes(text: Text | None) -> bytes | None:
    """The same for a value that may be missing."""
    return None if text is None else to_bytes(text)


def put_request(key: Text, value: Text) -> bytes:
    """The command that binds a key."""
    return encode(Put(to_bytes(key), to_bytes(value)))


def delete_request(key: Text) -> bytes:
    """The command that unbinds a key."""
    return encode(Delete(to_bytes(key)))


def cas_request(key: Text, old: Text | None, new: Text | None) -> bytes:
    """The command that swaps a value for another."""
    return encode(CompareAndSwap(to_bytes(key), maybe_bytes(old), maybe_bytes(new)))


def get_request(key: Text) -> bytes:
    """The query for a key's value."""
    return encode(Get(to_bytes(key)))


def query(body: bytes, *, stale: bool) -> Query:
    """A query that asks a quorum, or, if it may be stale, nobody but one node."""
    return Query(body, Consistency.STALE if stale else Consistency.LINEARIZABLE)


def encode(request: KvCommand | KvQuery) -> bytes:
    """The request's bytes; CommandRefused for one beyond the limits, before anything is sent."""
    try:
        return encode_request(request)
    except MachineError as error:
        raise CommandRefused(str(error)) from None


def value_of(result: bytes) -> bytes | None:
    """What `get` found."""
    answer = decode_result(result)
    assert isinstance(answer, Value), f"a get is not answered by {answer}"
    return answer.value


def existed(result: bytes) -> bool:
    """Whether `delete` found the key."""
    answer = decode_result(result)
    assert isinstance(answer, Deleted), f"a delete is not answered by {answer}"
    return answer.existed


def swapped(result: bytes) -> Swapped:
    """What came of `cas`."""
    answer = decode_result(result)
    assert isinstance(answer, Swapped), f"a compare-and-swap is not answered by {answer}"
    return answer
