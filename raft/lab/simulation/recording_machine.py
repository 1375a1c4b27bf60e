"""The production machine, recording its commands.

Owns the evidence that each replica applies the same commands at the same indexes, once and in order.
Knows nothing of what the commands mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from zlib import crc32

import msgspec

from raft.core.types import Index
from raft.machines.application import Application, Unfinished
from raft.machines.commands import Call
from raft.machines.machine import StateMachine
from raft.machines.state import Frozen

_HEADER = struct.Struct(">QQI")
_INDEX = struct.Struct(">Q")


class AppliedTwice(Exception):
    """A command was applied twice or out of order. Not a command's own error, so the node stops."""


class RecordingMachine(Application):
    """`chain` is a hash of the whole sequence of commands; it is part of each snapshot."""

    def __init__(self, own: StateMachine | None = None) -> None:
        super().__init__(own)
        self.last: Index = 0
        self.count = 0
        self.chain = 0

    def begin(self, index: int, command: bytes, decoded: Call | None = None) -> bytes | Unfinished | None:
        """See `Application.begin`."""
        if index <= self.last:
            raise AppliedTwice(f"the command at {index} was applied after the one at {self.last}")
        self.last = index
        self.count += 1
        self.chain = crc32(command, crc32(_INDEX.pack(index), self.chain))
        return super().begin(index, command, decoded)

    def snapshot(self) -> bytes:
        """See `StateMachine.snapshot`."""
        return _HEADER.pack(self.last, self.count, self.chain) + super().snapshot()

    def bare_snapshot(self) -> bytes:
        """The machine's own snapshot, without the evidence."""
        return super().snapshot()

    def restore(self, data: bytes) -> None:
        """See `StateMachine.restore`."""
        self.last, self.count, self.chain = _HEADER.unpack_from(data) if data else (0, 0, 0)
        super().restore(data[_HEADER.size :])

    def freeze(self) -> Frozen:
        """See `Application.freeze`."""
        frozen = super().freeze()
        return msgspec.structs.replace(frozen, label=_HEADER.pack(self.last, self.count, self.chain))

    def restore_apart(self, parts: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """See `Application.restore_apart`."""
        rest = iter(parts)
        self.last, self.count, self.chain = _HEADER.unpack(next(rest, bytes(_HEADER.size)))
        return super().restore_apart(rest)
