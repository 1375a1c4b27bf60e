"""Messages of every kind that has a tag: of the right structure, and with values that make no sense.

Owns the pools of values, and how a struct is filled from them: each field in turn takes each value of its
pool while the others make sense, and then some messages are drawn in which nothing does. What a decoder
refuses is made as well: it has to be refused at the door, and nothing may come of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, get_args

import msgspec
from msgspec import inspect

from actors.envelope import SYSTEM_TAGS
from raft.machines.commands import Call, Question

INTEGERS = (
    0, 4, 9, -1, -2, 255, 2**31, 2**53 + 1, 2**62, 2**62 + 1, 2**63 - 1, 2**64 - 2, 2**64 - 1,
    -(2**62), -(2**63),
)  # fmt: skip
FLOATS = (
    -0.0, -1.0, 1e-9, 5e-324, 1e9, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 2**64 - 1,
)  # fmt: skip
DIGITS = "9" * 5000
TEXTS = (
    "", " ", "n1", "launcher", "followers", "random:2", f"random:{DIGITS}", "3", DIGITS, f"n{DIGITS}", ",",
    "1,,2", "\x00", "a\x00b", "\n", "\u202e", "\U0001f642", "../..", "%s%n{}", "now", "x" * 100_000,
    "ipc:///" + "x" * 200, "ipc:///a\x00b", "ipc://relative", "tcp://127.0.0.1:*", "tcp://127.0.0.1:0",
    "tcp://127.0.0.1:" + DIGITS, "tcp://10.0.0.1:80", "tcp://[::1]:1", "tcp://[:1", "tcp://:1", "tcp://127.0.0.1:²",
    "tcp://\x00:1", "tcp://nowhere.invalid:1", "inproc://x", "tcp://", "://",
)  # fmt: skip
NESTED = b"\x91" * 5000 + b"\xc0"
BYTES = (b"", b"\x00", b"\xff" * 9, b"\xc1", NESTED, b"x" * 5000, b"x" * (2 * 1024 * 1024 + 1))
SOUND_INTEGERS = (1, 2, 3, *range(10, 20))
SOUND_FLOATS = (0.0, 0.5, 1.0, 5.0)
SOUND_TEXTS = ("1", "leader", "all", "election", "ipc:///n9", "tcp://127.0.0.1:7009")
RAWS = tuple(
    msgspec.Raw(msgspec.msgpack.encode(each)) for each in ((2**64 - 1, 2**63, 0, b""), (1, 1, 9), None)
)
DRAWN = 6


class Absurd:
    """Makes messages; the same seed makes the same."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def messages(self, kind: type) -> Iterator[Any]:
        """Some of a kind."""
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        for field in info.fields:
            for value in [*self._absurd(field.type)] * 2:
                yield info.cls(
                    **{each.name: self._sound(each.type) for each in info.fields} | {field.name: value}
                )
        for _ in range(DRAWN):
            yield info.cls(
                **{each.name: self._random.choice(self._absurd(each.type)) for each in info.fields}
            )

    def _sound(self, info: inspect.Type) -> Any:
        """A value that may make sense."""
        pick = self._random.choice
        match info:
            case inspect.IntType():
                return pick(SOUND_INTEGERS)
            case inspect.FloatType():
                return pick(SOUND_FLOATS)
            case inspect.StrType():
                return pick(SOUND_TEXTS)
            case inspect.BytesType() | inspect.MemoryViewType():
                return self._request()
            case inspect.UnionType():
                optional = any(isinstance(each, inspect.NoneType) for each in info.types)
                return None if optional and self._random.random() < 0.8 else self._sound(pick(info.types))
            case inspect.VarTupleType() | inspect.ListType():
                made = [self._sound(info.item_type) for _ in range(pick((0, 1, 2)))]
                return made if isinstance(info, inspect.ListType) else tuple(made)
            case inspect.TupleType():
                return tuple(self._sound(each) for each in info.item_types)
            case inspect.DictType():
                return {self._sound(info.key_type): self._sound(info.value_type)}
            case inspect.StructType():
                return info.cls(**{each.name: self._sound(each.type) for each in info.fields})
        return pick(self._absurd(info))

    def _absurd(self, info: inspect.Type) -> list[Any]:
        """Values that make no sense, as many as it is worth."""
        match info:
            case inspect.IntType():
                return [*INTEGERS]
            case inspect.FloatType():
                return [*FLOATS]
            case inspect.StrType():
                return [*TEXTS]
            case inspect.BytesType() | inspect.MemoryViewType():
                return [*BYTES, *(self._request() for _ in range(8))]
            case inspect.BoolType():
                return [True, False]
            case inspect.NoneType() | inspect.AnyType():
                return [None]
            case inspect.EnumType():
                return list(info.cls)
            case inspect.RawType():
                return [*RAWS]
            case inspect.UnionType():
                return [value for each in info.types for value in self._absurd(each)]
            case inspect.VarTupleType() | inspect.ListType():
                items = self._absurd(info.item_type)
                made = [[], items, [self._sound(info.item_type)] * 5000, *([item] for item in items)]
                return made if isinstance(info, inspect.ListType) else [tuple(each) for each in made]
            case inspect.TupleType():
                return [
                    tuple(self._random.choice(self._absurd(each)) for each in info.item_types) for _ in "1234"
                ]
            case inspect.DictType():
                values = self._absurd(info.value_type)
                return [{}, dict.fromkeys(range(5000), self._sound(info.value_type))] + [
                    {self._random.choice(self._absurd(info.key_type)): value} for value in values
                ]
            case inspect.StructType():
                return [
                    info.cls(
                        **{each.name: self._random.choice(self._absurd(each.type)) for each in info.fields}
                    )
                    for _ in range(4)
                ]
        raise AssertionError(f"no absurd value of {info}")

    def _request(self) -> bytes:
        """What a machine takes for a command or a question."""
        kind = self._random.choice((Call, *get_args(Question)))
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        inner = _Inside(self._random)
        fields = {
            each.name: inner._sound(each.type) if self._random.random() < 0.7
            else self._random.choice(inner._absurd(each.type))
            for each in info.fields
        }  # fmt: skip
        try:
            return msgspec.msgpack.encode(info.cls(**fields))
        except OverflowError:
            return b""


class _Inside(Absurd):
    """Makes what stands inside of a request, where bytes are keys and values."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def _request(self) -> bytes:
        return self._random.choice((b"", b"key", b"value", NESTED))


def kinds(tags: dict[int, type]) -> list[type]:
    """Every kind that may travel under these tags, the runtimes' own among them."""
    return [*tags.values(), *SYSTEM_TAGS.values()]
