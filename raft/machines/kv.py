"""A key-value store as a state machine: put, get, delete, compare-and-swap.

Owns the commands, their answers, their limits and the bytes that both travel as. Knows nothing of
replication: `index` is only a number that comes with each command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
from msgspec import Struct

from raft.machines.machine import MachineError
from raft.machines.parts import in_parts

KEY_BYTES_MAX = 4 * 1024
VALUE_BYTES_MAX = 1024 * 1024


class Put(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Bind `key` to `value`; answered by `Stored`."""

    key: bytes
    value: bytes


class Delete(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Unbind `key`; answered by `Deleted`."""

    key: bytes


class CompareAndSwap(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Bind `key` to `new` if it holds `old`; None stands for an unbound key. Answered by `Swapped`."""

    key: bytes
    old: bytes | None
    new: bytes | None


class Get(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Ask what `key` holds; answered by `Value`."""

    key: bytes


class Stored(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The key holds the value."""


class Deleted(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The key is unbound; `existed` says whether it was bound before."""

    existed: bool


class Swapped(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Whether the swap was made, and what the key holds now."""

    swapped: bool
    value: bytes | None


class Value(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """What the key holds; None if it is unbound."""

    value: bytes | None


KvCommand: TypeAlias = Put | Delete | CompareAndSwap
KvQuery: TypeAlias = Get
KvResult: TypeAlias = Stored | Deleted | Swapped | Value

_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS: msgspec.msgpack.Decoder[KvCommand] = msgspec.msgpack.Decoder(KvCommand)
_QUERIES = msgspec.msgpack.Decoder(KvQuery)
_RESULTS: msgspec.msgpack.Decoder[KvResult] = msgspec.msgpack.Decoder(KvResult)
_STATES = msgspec.msgpack.Decoder(dict[bytes, bytes])
_PAIRS = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])
_STORED = _ENCODER.encode(Stored())


def encode_request(request: KvCommand | KvQuery) -> bytes:
    """The bytes of a command or query; MachineError, before anything is sent, if it is beyond the limits."""
    check_limits(request)
    return _ENCODER.encode(request)


def decode_result(result: bytes) -> KvResult:
    """What `apply` or `query` answered."""
    return _RESULTS.decode(result)


def check_limits(request: KvCommand | KvQuery) -> None:
    """Raise MachineError for a key or a value that is too long."""
    if len(request.key) > KEY_BYTES_MAX:
        raise MachineError(f"the key has {len(request.key)} bytes, more than {KEY_BYTES_MAX}")
    value = (
        request.value if type(request) is Put else request.new if type(request) is CompareAndSwap else None
    )
    if value is not None and len(value) > VALUE_BYTES_MAX:
        raise MachineError(f"the value has {len(value)} bytes, more than {VALUE_BYTES_MAX}")


class KeyValue:
    """The store itself: a mapping from bytes to bytes."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def apply(self, index: int, command: bytes) -> bytes:  # noqa: ARG002
        """Carry out one encoded command; MachineError for what is none, or beyond the limits."""
        try:
            request = _COMMANDS.decode(command)
        except msgspec.DecodeError as error:
            raise MachineError(f"not a key-value command: {error}") from None
        check_limits(request)
        if type(request) is Put:
            self._values[request.key] = request.value
            return _STORED
        if type(request) is Delete:
            return _ENCODER.encode(Deleted(self._values.pop(request.key, None) is not None))
        assert type(request) is CompareAndSwap
        return _ENCODER.encode(self._swap(request))

    def query(self, query: bytes) -> bytes:
        """Look one key up; MachineError for what is no query."""
        try:
            request = _QUERIES.decode(query)
        except msgspec.DecodeError as error:
            raise MachineError(f"not a key-value query: {error}") from None
        return _ENCODER.encode(Value(self._values.get(request.key)))

    def snapshot(self) -> bytes:
        """All pairs in the order in which their keys were bound, which the log decides."""
        return _ENCODER.encode(self._values)

    def restore(self, data: bytes) -> None:
        """Become the state of an earlier `snapshot`."""
        self._values = _STATES.decode(data) if data else {}

    def snapshot_parts(self) -> Iterator[bytes]:
        """See `InParts`: all pairs, in the same order."""
        return in_parts(self._values.copy().items(), _pair_bytes)

    def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """See `InParts`."""
        values: dict[bytes, bytes] = {}
        for part in parts:
            values.update(_PAIRS.decode(part))
        before, self._values = self._values, values
        while before:  # Pair by pair, for to free them all is one long step.
            before.popitem()

    def _swap(self, request: CompareAndSwap) -> Swapped:
        current = self._values.get(request.key)
        if current != request.old:
            return Swapped(False, current)
        if request.new is None:
            self._values.pop(request.key, None)
        else:
            self._values[request.key] = request.new
        return Swapped(True, request.new)


def _pair_bytes(pair: tuple[bytes, bytes]) -> int:
    return 32 + len(pair[0]) + len(pair[1])
