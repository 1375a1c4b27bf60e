"""What runs in the processes of test_process_system."""

from __future__ import annotations

import os
import signal
import sys
from typing import ClassVar

import msgspec

from actors import Actor, Handlers


class Ask(msgspec.Struct, frozen=True):
    pass


class State(msgspec.Struct, frozen=True):
    pid: int
    name: str
    incarnation: int
    starts: int


class Order(msgspec.Struct, frozen=True):
    """crash, stop, exit and so on: what to do."""

    what: str


class Unregistered(msgspec.Struct):
    pass


TAGS = {1: Ask, 2: State, 3: Order}
starts = 0


class Player(Actor):
    """Tells of itself, and ends in all the ways there are."""

    def __init__(self, name: str = "missing", goodbye: str | None = None) -> None:
        self.name = name
        self.goodbye = goodbye

    def on_start(self) -> None:
        global starts
        starts += 1

    def on_stop(self) -> None:
        if self.goodbye is not None:
            with open(self.goodbye, "a") as file:  # noqa: PTH123
                file.write("goodbye\n")

    def on_ask(self, ask: Ask) -> None:
        self.context.reply(State(os.getpid(), self.name, self.context.incarnation, starts))

    def on_order(self, order: Order) -> None:
        if order.what == "crash":
            raise RuntimeError("as ordered")
        if order.what == "stop":
            self.context.stop()
        if order.what == "exit":
            os._exit(3)
        if order.what == "sys.exit":
            sys.exit(0)
        if order.what == "fly":
            self.context.reply(Unregistered())
        if order.what == "hang":
            signal.pause()

    handlers: ClassVar[Handlers] = {Ask: on_ask, Order: on_order}


class Hopeless(Actor):
    """Cannot even start."""

    def on_start(self) -> None:
        print("no licence for this machine", flush=True)
        os._exit(7)
