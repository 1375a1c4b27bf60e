"""A large state in parts: lists of values, each encoded in about a millisecond.

Owns the size of a part. Knows nothing of what the values mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")

# The interpreter is another thread's again after one part: it must not wait long.
PART_BYTES = 128 * 1024

_ENCODER = msgspec.msgpack.Encoder()


def in_parts(values: Iterable[T], bytes_of: Callable[[T], int]) -> Iterator[bytes]:
    """The values in their order, as msgpack arrays of about `PART_BYTES` each; none at all is no part."""
    batch: list[T] = []
    size = 0
    for value in values:
        batch.append(value)
        size += bytes_of(value)
        if size >= PART_BYTES:
            yield _ENCODER.encode(batch)
            batch, size = [], 0
    if batch:
        yield _ENCODER.encode(batch)
