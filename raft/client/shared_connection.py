"""One connection for all threads of a program, without a thread of its own.

Owns which thread drives the connection. A thread that has to wait drives it for all: the calls of other
threads go on in it meanwhile. When its own call has ended, another waiting thread takes over. So a call's
steps, and the view of the cluster, are only ever touched by the driving thread. Knows nothing of the
requests.

Theory of operation. A thread is in one of three states: outside; waiting, with its call open; driving. There
is a driver whenever a call is open, and never more than one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from actors.address import Address
from raft.client.calls.steps import Ask, AwaitChannel, Outcome, Step, Wait
from raft.client.connection import Connection
from raft.client.errors import ClientClosed

Result = TypeVar("Result")


class PendingCall(Generic[Result]):
    """One call's steps, and the thread that waits for the result."""

    def __init__(self, steps: Generator[Step, Outcome, Result]) -> None:
        self.steps = steps
        self.wake: threading.Event | None = None  # None for one whose thread drives from the beginning.
        self.ended = False
        self.result: Result
        self.error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        """The call has ended; its result is already set unless there is an error."""
        self.ended = True
        self.error = error
        if self.wake is not None:
            self.wake.set()

    def outcome(self) -> Result:
        """The result, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.result


class SharedConnection:
    """Runs the steps of calls over one runtime, for any number of threads of the process that created it."""

    def __init__(self, connection: Connection, address_of: Callable[[Ask], Address]) -> None:
        self._connection = connection
        self._runtime = connection.runtime
        self._address_of = address_of
        self._lock = threading.Lock()  # Held only briefly; guards the three fields below.
        self._driver = 0
        self._open: dict[PendingCall[Any], None] = {}
        self._begun: deque[PendingCall[Any]] = deque()
        self._answered: deque[tuple[PendingCall[Any], Outcome]] = deque()
        self._waits: dict[PendingCall[Any], float] = {}  # Until when.
        self._peers = 0

    def run_call(self, steps: Generator[Step, Outcome, Result]) -> Result:
        """Run a call's steps and return the result; from any thread."""
        self._connection.check_process()
        if self._runtime.stopped:
            raise ClientClosed("the client is closed")
        call, me = PendingCall(steps), threading.get_ident()
        with self._lock:
            if self._driver == me:
                raise RuntimeError("a client was called by a signal handler or finalizer within its own call")
            self._open[call] = None
            self._begun.append(call)
            if not self._driver:
                self._driver = me
            else:
                call.wake = threading.Event()
        try:
            if call.wake is not None:
                self._runtime.transport.wake()
                call.wake.wait()
            if not call.ended:
                self._drive(call)
        finally:
            self._leave(call)
        return call.outcome()

    def close(self) -> None:
        """Stop the runtime; open calls of other threads end with ClientClosed. Idempotent."""
        if self._runtime.stopped:
            return
        with suppress(ClientClosed):
            self._connection.check_process()
            self._runtime.stop()
            self.run_call(_never_ending())

    # -- in the driving thread --------------------------------------------------------------------

    def _drive(self, own_call: PendingCall[Any]) -> None:
        self._driver = threading.get_ident()
        runtime = self._runtime
        while True:
            while self._begun:
                self._advance(self._begun.popleft(), None)
            while self._answered:
                call, outcome = self._answered.popleft()
                self._advance(call, outcome)
            if own_call.ended:
                return
            if runtime.stopped:
                self._end_all()
                return
            runtime.flush()
            if self._answered:  # Requests that could not be sent have failed at once.
                continue
            runtime.run_turn(self._seconds_to_wait() if self._waits else None)
            if self._waits:
                self._end_waits()

    def _advance(self, call: PendingCall[Any], outcome: Outcome) -> None:
        if call.ended:
            return
        if self._runtime.stopped:
            call.end(ClientClosed("the client was closed"))
            return
        try:
            step = call.steps.send(outcome)
            if isinstance(step, Ask):
                self._ask(call, step)
                return
            if isinstance(step, AwaitChannel):
                step.channel.waiting[partial(self._note, call, None)] = None
                return
            self._peers = len(self._runtime.peers)
            self._waits[call] = self._runtime.clock.now() + step.seconds
        except StopIteration as end:
            call.result = end.value
            call.end()
        except Exception as error:  # noqa: BLE001  Raised in the thread that began this call.
            call.end(error)

    def _ask(self, call: PendingCall[Any], step: Ask) -> None:
        answered = partial(self._note, call)
        pending = self._runtime.ask(self._address_of(step), step.request, step.timeout_seconds)
        pending.then(answered, answered)

    def _note(self, call: PendingCall[Any], outcome: Outcome) -> None:
        self._answered.append((call, outcome))

    def _seconds_to_wait(self) -> float:
        return max(0.0, min(self._waits.values()) - self._runtime.clock.now())

    def _end_waits(self) -> None:
        """End waits whose time is up, or all of them when another node becomes reachable."""
        peers, now = len(self._runtime.peers), self._runtime.clock.now()
        node_came, self._peers = peers > self._peers, peers
        for call, until in list(self._waits.items()):
            if node_came or until <= now or call.ended:
                del self._waits[call]
                self._answered.append((call, None))

    def _end_all(self) -> None:
        with self._lock:
            calls = list(self._open)
        for call in calls:
            call.end(ClientClosed("the client was closed"))

    # ---------------------------------------------------------------------------------------------

    def _leave(self, call: PendingCall[Any]) -> None:
        """The current thread waits no longer; if it was driving, another waiting thread takes over."""
        with self._lock:
            self._open.pop(call, None)
            has_baton = call.wake is not None and call.wake.is_set() and not call.ended
            is_driver = self._driver == threading.get_ident() or has_baton
            call.ended = True  # After an interrupt, a later answer is ignored.
            if is_driver:
                successor = next((other for other in self._open if not other.ended), None)
                self._driver = -1 if successor is not None else 0
        if is_driver and successor is not None and successor.wake is not None:
            successor.wake.set()


def _never_ending() -> Generator[Step, Outcome, None]:
    while True:
        yield Wait(3600.0)
