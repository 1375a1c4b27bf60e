"""Recipes on one application, by seed: whose step is next is drawn, and sessions end where the test wants."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.client.errors import ClientError
from raft.client.recipes.steps import TimeUp
from raft.machines.codec import encode_call
from raft.machines.commands import Call, Count, Get, Range, WatchKeys
from raft.machines.results import Compacted
from tests.machines.driving import Driver

Script = Generator[Any, Any, None]
"""What one participant does: the steps of recipes, one after the other."""


class Participant:
    """One session, and what it does with it."""

    def __init__(self, world: World, lease: int) -> None:
        self.world = world
        self.lease = lease
        self.script: Script | None = None
        self.step: Any = None
        self.impatient = False
        """The time of what it waits for is up."""
        self._sequence = 0

    @property
    def can_go_on(self) -> bool:
        """Is it not waiting for events that there are none of?"""
        if self.script is None or self.impatient or not isinstance(self.step, WatchKeys):
            return self.script is not None
        told = self.world.driver.application.events_since(self.step)
        return isinstance(told, Compacted) or bool(told.events)

    def begin(self, script: Script) -> None:
        self.script, self.step = script, next(script)

    def go_on(self) -> None:
        assert self.script is not None
        try:
            try:
                answer = self._take()
            except (ClientError, TimeUp) as error:
                self.step = self.script.throw(error)
            else:
                self.step = self.script.send(answer)
        except StopIteration:
            self.script = None

    def _take(self) -> Any:
        step, driver = self.step, self.world.driver
        if isinstance(step, WatchKeys):
            if self.impatient:
                self.impatient = False
                raise TimeUp
            return driver.application.events_since(step)
        if isinstance(step, Get | Range | Count):
            return decode_or_raise(driver.application.query(question_bytes(step)))
        self._sequence += 1
        driver.index += 1
        body = encode_call(Call(self.lease, self._sequence, self._sequence - 1, step))
        return decode_or_raise(driver.application.apply(driver.index, body))


class World:
    """One application and all who use it."""

    def __init__(self, seed: int) -> None:
        self.driver = Driver()
        self.dice = random.Random(seed)
        self.all: list[Participant] = []

    def join(self) -> Participant:
        participant = Participant(self, self.driver.open())
        self.all.append(participant)
        return participant

    def end(self, participant: Participant) -> None:
        """Its session ends, and the program with it."""
        self.driver.expire(participant.lease)
        participant.script = None

    def run(self) -> None:
        """Until all have done, or wait for what will never come."""
        for _ in range(100_000):
            ready = [one for one in self.all if one.can_go_on]
            if not ready:
                return
            self.dice.choice(ready).go_on()
        raise AssertionError("they never come to an end")

    def ask(self, question: Any) -> Any:
        return decode_or_raise(self.driver.application.query(question_bytes(question)))

    def do(self, operation: Any) -> Any:
        self.driver.index += 1
        return decode_or_raise(self.driver.application.apply(self.driver.index, plain(operation)))
