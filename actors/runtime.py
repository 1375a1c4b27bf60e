"""The loop of a process: poll, deliver, run actors, fire timers, send.

Owns the order of a turn. One thread runs everything; an actor is never interrupted.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from actors.actor import Actor
from actors.address import Address, check_process_name
from actors.asks import Pending
from actors.clock import Clock, MonotonicClock
from actors.codec import Registry
from actors.delivery import Delivery, Judge
from actors.envelope import ActorInfo, Observe, ProcessInfo, Trace
from actors.errors import ActorsError, GaveUp, RuntimeStopped, UnknownActor
from actors.failures.crash_reports import CrashReport, print_crash
from actors.failures.dead_letters import DeadLetters
from actors.failures.supervision import Restart, RestartPolicy
from actors.handlers import Request
from actors.lifecycle import Lifecycle, Schedule
from actors.mailbox import MailboxPolicy
from actors.retry import Asker
from actors.timers import Timers
from actors.transport.base import Transport

if TYPE_CHECKING:
    from actors.observation.observer import Observer

Answer = TypeVar("Answer")


class Runtime:
    """The actors of one process, and the thread that runs them; it owns its transport.

    When an actor at the top fails too often for `supervision`, everything is stopped and `run`
    raises GaveUp, so that the supervisor of the process can start it afresh.
    """

    def __init__(
        self,
        name: str,
        *,
        transport: Transport,
        registry: Registry,
        clock: Clock | None = None,
        random: random.Random | None = None,
        supervision: RestartPolicy | None = None,
        mailbox: MailboxPolicy | None = None,
        on_crash: Callable[[CrashReport], None] = print_crash,
        exit_is_crash: bool = False,
        directory: Address | None = None,
        judges: Mapping[str, Judge | None] | None = None,
    ) -> None:
        """With `exit_is_crash` a SystemExit, too, that leaves a handler is a crash of its actor.

        Without it the loop ends with it, so that a signal handler may raise one. `directory` is where
        the system's names and groups are (see Context.directory). `judges` says, by process, who judges
        what comes from there before it reaches an actor; None: no check.
        """
        if transport.name != check_process_name(name):
            raise ValueError(f"the runtime {name!r} has a transport named {transport.name!r}")
        self.name = name
        self.clock: Clock = clock or MonotonicClock()
        self.transport = transport
        self.stopped = False
        self._stop_asked = False
        self._turning = False
        self._posted: deque[tuple[Address, object, bool]] = deque()
        self._timers = Timers()
        self._schedule = Schedule()
        self._office = Delivery(transport, registry, self.clock, self._timers)
        self._office.directory = directory
        self._office.judges = judges
        self._outbox = self._office.outbox
        self._lifecycle = Lifecycle(
            office=self._office,
            schedule=self._schedule,
            timers=self._timers,
            transport=transport,
            clock=self.clock,
            random=random or _fresh_random(),
            supervision=supervision or RestartPolicy(),
            mailbox=mailbox or MailboxPolicy(),
            on_crash=on_crash,
            exit_is_crash=exit_is_crash,
            post=self._post_own,
        )
        self._observer: Observer | None = None
        self._office.process_requests |= {Observe: self._observe, Trace: self._observe}

    @property
    def is_measured(self) -> bool:
        """Whether it is looked at, so that handlers are timed; see actors.observation."""
        return self._lifecycle.is_measured

    @property
    def incarnation(self) -> int:
        """Which incarnation of the process this is."""
        return self.transport.incarnation

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that reached no handler."""
        return self._office.dead_letters

    @property
    def directory(self) -> Address | None:
        """Where the names and groups of its system are."""
        return self._office.directory

    @property
    def peers(self) -> Mapping[str, int]:
        """The processes that can be heard, with their incarnations."""
        return MappingProxyType(self._office.peers)

    @property
    def failure(self) -> GaveUp | None:
        """Why the runtime stops, or has stopped, if it was not asked to."""
        return self._lifecycle.failure

    @property
    def actors(self) -> tuple[str, ...]:
        """The names of the actors that live here."""
        return tuple(self._office.cells)

    @property
    def busy(self) -> bool:
        """Is there something to do without waiting for the transport or a timer?"""
        return bool(
            self._posted
            or self._schedule.ready
            or self._outbox.frames
            or self._stop_asked
            or self._lifecycle.failure
        )

    def spawn(
        self,
        factory: Callable[[], Actor],
        name: str,
        *,
        restart: Restart | None = None,
        mailbox: MailboxPolicy | None = None,
    ) -> Address:
        """Start an actor at the top; its `on_start` runs in the next turn. See Context.spawn."""
        self._check_running()
        return self._lifecycle.spawn(None, factory, name, restart, mailbox)

    def tell(self, to: Address, message: object) -> None:
        """Send a message that comes from no actor, in the next turn."""
        self._office.tell(None, to, message)

    def take_refusal(self, to: Address) -> str | None:
        """Why the last `tell` to an actor was refused, as far as it is known, and not asked for before."""
        return self._office.refused_tells.by_no_actor.pop(to, None)

    @overload
    def ask(
        self, to: Address, message: Request[Answer], timeout_seconds: float | None
    ) -> Pending[Answer]: ...
    @overload
    def ask(self, to: Address, message: object, timeout_seconds: float | None) -> Pending[Any]: ...
    def ask(self, to: Address, message: object, timeout_seconds: float | None) -> Pending[Any]:
        """Send a message that wants a reply; see `run_until`, and Context.ask.

        What a callback raises goes to `on_crash`.
        """
        self._check_running()
        run = self._lifecycle.call_back
        return self._office.ask(self._office.itself, to, message, timeout_seconds, run)

    def asker(self) -> Asker:
        """On behalf of no actor: for what makes asks of its own, such as a Router."""
        return Asker(
            self._office, self._office.itself, self.clock, self._timers, run=self._lifecycle.call_back
        )

    def flush(self) -> None:
        """Let what was told and asked since the last turn leave now, not in the next one."""
        self._outbox.flush()
        if self._office.refused_tells.noted:
            self._office.refused_tells.tell()

    def post(self, to: Address, message: object) -> None:
        """Send a message without a sender; from any thread."""
        self._posted.append((to, message, False))
        self.transport.wake()

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have `wake` called instead of the transport's when a coroutine needs a turn; for a foreign loop."""
        self._lifecycle.wake = wake

    def stop(self) -> None:
        """Soon: end every actor, children first, send what they told last, and close the transport.

        From any thread, or a signal handler. `run` returns afterwards.
        """
        self._stop_asked = True
        self.transport.wake()

    def inspect(self, actor: str) -> ActorInfo:
        """A running actor seen from outside; raises UnknownActor. Ask it to Inspect from elsewhere."""
        cell = self._office.cells.get(actor)
        if cell is None:
            raise UnknownActor(f"{self.name}/{actor} does not live here")
        return cell.info()

    @property
    def office(self) -> Delivery:
        """What delivers its messages; to look into, and for tests that hand it what a network would."""
        return self._office

    def inspect_process(self) -> ProcessInfo:
        """This process seen from outside. Ask its address without an actor to Inspect from elsewhere."""
        return self._office.info()

    def next_deadline(self) -> float | None:
        """When the next timer is due, by the clock; None when there is none."""
        heap = self._timers.heap
        if not heap:
            return None
        deadline, _, timer = heap[0]
        return deadline if timer.active else self._timers.next_deadline()

    def run(self) -> None:
        """Turn until the runtime has stopped; raises GaveUp when that was not asked for."""
        while not self.stopped:
            self.run_turn(None)
        if self._lifecycle.failure is not None:
            raise self._lifecycle.failure

    def run_until(self, done: Callable[[], bool] | Pending[Any], timeout_seconds: float) -> bool:
        """Turn until `done`; False when the time was up first, or the runtime has stopped."""
        is_done: Callable[[], bool] = partial(getattr, done, "done") if isinstance(done, Pending) else done
        deadline = self.clock.now() + timeout_seconds
        if self._outbox.frames and not self._turning:
            self.flush()  # An ask leaves before the first wait, not after a turn of its own.
        while not is_done():
            left_seconds = deadline - self.clock.now()
            if left_seconds <= 0 or self.stopped:
                return False
            self.run_turn(left_seconds)
        return True

    def run_turn(self, timeout_seconds: float | None = 0.0) -> int:
        """One turn, waiting at most so long for something to do; returns how many letters were handled.

        Letters that arrived, then timers that are due, then what those two caused; then each actor
        that did something hears that the turn is over; last, everything told leaves.
        """
        if self.stopped:
            return 0
        if self._turning:
            raise ActorsError(
                f"{self.name} is in the middle of a turn, and cannot take another one, in a handler or in"
                " another thread: use `post` from other threads, and wait in a handler by `ask`"
            )
        self._turning = True
        try:
            schedule, lifecycle, outbox = self._schedule, self._lifecycle, self._outbox
            self.transport.poll(self._wait_seconds(timeout_seconds))
            if self._posted:
                self._take_posted()
            for event in self.transport.receive():
                self._office.receive(event)
            handled = schedule.run(lifecycle.run) if schedule.ready else 0
            now, heap = self.clock.now(), self._timers.heap
            if heap and heap[0][0] <= now:
                for timer in self._timers.due(now):
                    timer.action()
            if schedule.ready:
                handled += schedule.run(lifecycle.run)
            lifecycle.end_turn()
            if outbox.frames:
                outbox.flush()
            if self._office.refused_tells.noted:
                self._office.refused_tells.tell()
            if self._stop_asked or lifecycle.failure is not None:
                self._shut_down()
            return handled
        finally:
            self._turning = False

    def _wait_seconds(self, timeout_seconds: float | None) -> float | None:
        if timeout_seconds == 0.0 or self.busy:
            return 0.0
        deadline = self.next_deadline()
        if deadline is None:
            return timeout_seconds
        left_seconds = max(deadline - self.clock.now(), 0.0)
        return left_seconds if timeout_seconds is None else min(left_seconds, timeout_seconds)

    def _post_own(self, to: Address, message: object) -> None:
        self._posted.append((to, message, True))
        self.transport.wake()

    def _take_posted(self) -> None:
        # No more than there are now, or a busy thread could keep the turn from ending.
        for _ in range(len(self._posted)):
            to, message, own = self._posted.popleft()
            cell = self._office.cells.get(to.actor) if own else None
            if cell is None:
                self._office.tell(None, to, message)
            else:
                cell.put_own(message)

    def _observe(self, sender: Address, correlation: int, message: Observe | Trace) -> None:
        if self._observer is None:
            from actors.observation.observer import Observer  # Most processes are never looked at.

            self._observer = Observer(self._office, self._lifecycle, self._schedule, self._timers, self.clock)
        self._observer.answer(sender, correlation, message)

    def _shut_down(self) -> None:
        self._lifecycle.stop_all()
        self._outbox.flush()
        self.stopped = True
        self.transport.close()

    def _check_running(self) -> None:
        if self.stopped:
            raise RuntimeStopped(f"the runtime of {self.name} has stopped")


def _fresh_random() -> random.Random:
    return random.Random()
