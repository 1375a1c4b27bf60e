"""One connection for all threads of a program, and no thread of its own.

Owns whose turn it is. A thread that has to wait drives the connection for all; the conversations of others
go on in it meanwhile, and when its own has ended another thread that waits takes over. So a conversation, and
what it knows of the cluster, is only ever touched by the thread that drives. Knows nothing of what is asked.

A thread is in one of three states: not here; waiting, with its conversation open; driving. There is a driver
whenever a conversation is open, and never more than one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from actors.address import Address
from raft.client.calls.routing import Ask, Hear, Outcome, Step, Wait
from raft.client.connection import Connection
from raft.client.errors import ClientClosed

Result = TypeVar("Result")


class Talk(Generic[Result]):
    """One conversation, and the thread that wants its result."""

    def __init__(self, steps: Generator[Step, Outcome, Result]) -> None:
        self.steps = steps
        self.wake: threading.Event | None = None  # None for one whose thread drives from the beginning.
        self.ended = False
        self.result: Result
        self.error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        """It has ended, with its result set already unless there is an error."""
        self.ended = True
        self.error = error
        if self.wake is not None:
            self.wake.set()

    def outcome(self) -> Result:
        """What it has ended with."""
        if self.error is not None:
            raise self.error
        return self.result


class SharedConnection:
    """Carries conversations out over one runtime, for any number of threads of the process that made it."""

    def __init__(self, connection: Connection, address_of: Callable[[Ask], Address]) -> None:
        self._connection = connection
        self._runtime = connection.runtime
        self._address_of = address_of
        self._lock = threading.Lock()  # Held for an instant only; guards the three below.
        self._driver = 0
        self._open: dict[Talk[Any], None] = {}
        self._begun: deque[Talk[Any]] = deque()
        self._answered: deque[tuple[Talk[Any], Outcome]] = deque()
        self._waits: dict[Talk[Any], float] = {}  # Until when.
        self._peers = 0

    def carry_out(self, steps: Generator[Step, Outcome, Result]) -> Result:
        """The result of a conversation, however long it takes; from any thread."""
        self._connection.check_process()
        if self._runtime.stopped:
            raise ClientClosed("the client is closed")
        talk, me = Talk(steps), threading.get_ident()
        with self._lock:
            if self._driver == me:
                raise RuntimeError("a client was called by a signal handler or finalizer within its own call")
            self._open[talk] = None
            self._begun.append(talk)
            if not self._driver:
                self._driver = me
            else:
                talk.wake = threading.Event()
        try:
            if talk.wake is not None:
                self._runtime.transport.wake()
                talk.wake.wait()
            if not talk.ended:
                self._drive(talk)
        finally:
            self._leave(talk)
        return talk.outcome()

    def close(self) -> None:
        """Stop the runtime; what is open in other threads ends with ClientClosed. Idempotent."""
        if self._runtime.stopped:
            return
        with suppress(ClientClosed):
            self._connection.check_process()
            self._runtime.stop()
            self.carry_out(_for_ever())

    # -- for the thread that drives ---------------------------------------------------------------

    def _drive(self, mine: Talk[Any]) -> None:
        self._driver = threading.get_ident()
        runtime = self._runtime
        while True:
            while self._begun:
                self._advance(self._begun.popleft(), None)
            while self._answered:
                talk, outcome = self._answered.popleft()
                self._advance(talk, outcome)
            if mine.ended:
                return
            if runtime.stopped:
                self._end_all()
                return
            runtime.flush()
            if self._answered:  # What could not be sent has ended at once.
                continue
            runtime.run_turn(self._seconds_to_wait() if self._waits else None)
            if self._waits:
                self._end_waits()

    def _advance(self, talk: Talk[Any], outcome: Outcome) -> None:
        if talk.ended:
            return
        if self._runtime.stopped:
            talk.end(ClientClosed("the client was closed"))
            return
        try:
            step = talk.steps.send(outcome)
            if isinstance(step, Ask):
                self._ask(talk, step)
                return
            if isinstance(step, Hear):
                step.channel.waiting[partial(self._note, talk, None)] = None
                return
            self._peers = len(self._runtime.peers)
            self._waits[talk] = self._runtime.clock.now() + step.seconds
        except StopIteration as end:
            talk.result = end.value
            talk.end()
        except Exception as error:  # noqa: BLE001  It belongs to the thread that began this.
            talk.end(error)

    def _ask(self, talk: Talk[Any], step: Ask) -> None:
        answered = partial(self._note, talk)
        pending = self._runtime.ask(self._address_of(step), step.request, step.timeout_seconds)
        pending.then(answered, answered)

    def _note(self, talk: Talk[Any], outcome: Outcome) -> None:
        self._answered.append((talk, outcome))

    def _seconds_to_wait(self) -> float:
        return max(0.0, min(self._waits.values()) - self._runtime.clock.now())

    def _end_waits(self) -> None:
        """Waits end in time, or as soon as a node can be reached that could not."""
        peers, now = len(self._runtime.peers), self._runtime.clock.now()
        node_came, self._peers = peers > self._peers, peers
        for talk, until in list(self._waits.items()):
            if node_came or until <= now or talk.ended:
                del self._waits[talk]
                self._answered.append((talk, None))

    def _end_all(self) -> None:
        with self._lock:
            talks = list(self._open)
        for talk in talks:
            talk.end(ClientClosed("the client was closed"))

    # ---------------------------------------------------------------------------------------------

    def _leave(self, talk: Talk[Any]) -> None:
        """This thread does not wait any more; if it drove, another one that waits takes over."""
        with self._lock:
            self._open.pop(talk, None)
            has_baton = talk.wake is not None and talk.wake.is_set() and not talk.ended
            is_driver = self._driver == threading.get_ident() or has_baton
            talk.ended = True  # If by an interrupt, its answer is ignored when it comes.
            if is_driver:
                heir = next((other for other in self._open if not other.ended), None)
                self._driver = -1 if heir is not None else 0
        if is_driver and heir is not None and heir.wake is not None:
            heir.wake.set()


def _for_ever() -> Generator[Step, Outcome, None]:
    while True:
        yield Wait(3600.0)
