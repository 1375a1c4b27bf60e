"""A custom machine: lists that are appended to, and counters.

Owns their state and its encoding. Knows nothing of sessions: a command that is applied twice shows.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Append(Struct, frozen=True, array_like=True, tag=1):
    """Append a value to a list."""

    key: str
    value: str


class Add(Struct, frozen=True, array_like=True, tag=2):
    """Add a number to a counter."""

    key: str
    number: int


class ReadList(Struct, frozen=True, array_like=True, tag=3):
    """Read a list; answered by an array."""

    key: str


class ReadCounter(Struct, frozen=True, array_like=True, tag=4):
    """Read a counter; answered by a number."""

    key: str


class _State(Struct):
    lists: dict[str, list[str]] = {}
    counters: dict[str, int] = {}


_COMMANDS: msgspec.msgpack.Decoder[Append | Add] = msgspec.msgpack.Decoder(Append | Add)
_QUERIES: msgspec.msgpack.Decoder[ReadList | ReadCounter] = msgspec.msgpack.Decoder(ReadList | ReadCounter)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode

encode = msgspec.msgpack.encode


def index_in(answer: bytes) -> int:
    """A command's place in the log, from its answer."""
    return msgspec.msgpack.decode(answer, type=int)


class Tally:
    """A `StateMachine`; commands and queries are the structs above, encoded."""

    def __init__(self) -> None:
        self._state = _State()

    def apply(self, index: int, command: bytes) -> bytes:
        """Append, or add; the answer is the index."""
        match _COMMANDS.decode(command):
            case Append(key, value):
                self._state.lists.setdefault(key, []).append(value)
            case Add(key, number):
                self._state.counters[key] = self._state.counters.get(key, 0) + number
        return _encode(index)

    def query(self, query: bytes) -> bytes:
        """Answer a ReadList or ReadCounter."""
        match _QUERIES.decode(query):
            case ReadList(key):
                return _encode(self._state.lists.get(key, []))
            case ReadCounter(key):
                return _encode(self._state.counters.get(key, 0))

    def snapshot(self) -> bytes:
        """The whole state."""
        return _encode(self._state)

    def restore(self, data: bytes) -> None:
        """Load a snapshot."""
        self._state = msgspec.msgpack.decode(data, type=_State) if data else _State()
