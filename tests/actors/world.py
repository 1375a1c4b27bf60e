"""A small world for tests: processes on a loopback network, with a clock that is moved by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from actors import (
    Actor,
    Address,
    Backoff,
    CrashReport,
    ManualClock,
    Pending,
    ProcessDown,
    ProcessUp,
    Registry,
    RestartPolicy,
    Runtime,
    Terminated,
)
from actors.errors import AskFailed
from actors.transport.faults import FaultyTransport
from actors.transport.loopback import LoopbackNetwork


class Note(msgspec.Struct, frozen=True):
    text: str


class Question(msgspec.Struct, frozen=True):
    text: str


class Answer(msgspec.Struct, frozen=True):
    text: str


class Bomb(msgspec.Struct, frozen=True):
    """Makes a Probe crash."""


class Do(msgspec.Struct, frozen=True):
    """Makes a Probe call something with itself, in its own turn."""

    call: Callable[[Any], object]


class Handshake(msgspec.Struct, frozen=True):
    other: Address


REGISTRY = Registry({1: Note, 2: Question, 3: Answer, 4: Bomb, 5: Handshake})
AT_ONCE = Backoff(first_seconds=0.0, jitter=0.0)


class Probe(Actor):
    """Writes down everything that happens to it, in a list that outlives it."""

    def __init__(self, seen: list[Any], on_question: Callable[[Probe, Question], None] | None = None) -> None:
        self.seen = seen
        self.answering = on_question

    def on_start(self) -> None:
        self.seen.append("start")

    def on_restart(self, reason: str) -> None:
        self.seen.append(f"restart after {reason}")

    def on_stop(self) -> None:
        self.seen.append("stop")

    def on_any(self, message: Any) -> None:
        self.seen.append(message)

    def on_question(self, question: Question) -> None:
        self.seen.append(question)
        if self.answering is not None:
            self.answering(self, question)

    def on_bomb(self, bomb: Bomb) -> None:
        raise RuntimeError("boom")

    def on_do(self, do: Do) -> None:
        do.call(self)

    handlers = {
        **dict.fromkeys(
            (Note, Answer, Handshake, Terminated, ProcessUp, ProcessDown, CrashReport, str), on_any
        ),
        Question: on_question,
        Bomb: on_bomb,
        Do: on_do,
    }


class World:
    """Processes that are there until they are crashed or stopped."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = ManualClock()
        self.network = LoopbackNetwork(self.clock)
        self.random = random.Random(seed)
        self.crashes: list[CrashReport] = []
        self.faults: dict[str, FaultyTransport] = {}

    def process(self, name: str, *connect: str, **options: Any) -> Runtime:
        transport = FaultyTransport(self.network.transport(name), random=self.random, clock=self.clock)
        self.faults[name] = transport
        options.setdefault("registry", REGISTRY)
        options.setdefault("on_crash", self.crashes.append)
        options.setdefault("supervision", RestartPolicy(backoff=AT_ONCE))
        runtime = Runtime(
            name,
            transport=transport,
            clock=self.clock,
            random=self.random,
            **options,
        )
        for other in connect:
            transport.connect(other, "loopback")
        return self.network.join(runtime)

    def probe(self, runtime: Runtime, name: str = "probe", **options: Any) -> tuple[Address, list[Any]]:
        """A Probe, started, and what it has seen since then."""
        seen: list[Any] = []
        on_question = options.pop("on_question", None)
        address = runtime.spawn(lambda: Probe(seen, on_question), name, **options)
        self.settle()
        seen.clear()
        return address, seen

    def do(self, runtime: Runtime, address: Address, call: Callable[[Any], object]) -> None:
        """Let a Probe call something in its own turn, and settle."""
        runtime.tell(address, Do(call))
        self.settle()

    def settle(self) -> None:
        self.network.settle()

    def advance(self, seconds: float) -> None:
        self.network.advance(seconds)


def outcome(pending: Pending[Any]) -> list[Any]:
    """A list that will hold the reply, or the failure, of an ask."""
    ends: list[Any] = []

    def on_failure(failure: AskFailed) -> None:
        ends.append(failure)

    pending.then(ends.append, on_failure)
    return ends


def echo(probe: Probe, question: Question) -> None:
    probe.context.reply(Answer(question.text))


def notes(seen: list[Any]) -> list[str]:
    return [message.text for message in seen if type(message) is Note]
