"""What runs in the processes of test_process_tree and test_process_settings."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from actors import Actor, Address, Handlers


class Limits(msgspec.Struct, frozen=True):
    low: int
    high: int


class Describe(msgspec.Struct, frozen=True):
    pass


class Description(msgspec.Struct, frozen=True):
    text: str


class Strange(msgspec.Struct, frozen=True):
    """No actor handles it."""


TAGS = {1: Describe, 2: Description, 3: Strange}


class Friend(Actor):
    """Is given what msgpack has no word for."""

    def __init__(self, friend: Address, limits: Limits | None = None, pair: tuple[int, int] = (0, 0)) -> None:
        self.given = (friend, limits, pair)

    def on_describe(self, describe: Describe) -> None:
        self.context.reply(Description(repr(self.given)))

    handlers: ClassVar[Handlers] = {Describe: on_describe}


class Careless(Actor):
    """Does not say what it is given."""

    def __init__(self, friend) -> None:  # type: ignore[no-untyped-def]
        self.friend = friend
