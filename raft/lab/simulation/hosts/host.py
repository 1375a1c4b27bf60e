"""A simulated process: a production runtime that takes a turn when there is work.

Owns when a turn is taken, and pauses. Nothing is polled: a frame, a due timer or a finished job causes turns,
and between them the time may jump. Knows nothing of what actors do.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from actors.failures.crash_reports import CrashReport
from actors.failures.supervision import RestartPolicy
from actors.runtime import Runtime
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.network import SimulatedNetwork
from raft.protocol.registry import REGISTRY

TURNS_AT_ONCE_MAX = 10_000
EPSILON_SECONDS = 1e-9


class SkewedClock:
    """A process's monotonic clock, which may run fast or slow: `rate` of its seconds pass in one."""

    def __init__(self, event_queue: EventQueue, rate: float) -> None:
        self._event_queue = event_queue
        self._rate = rate

    def now(self) -> float:
        """See `Clock`."""
        return self._event_queue.time * self._rate

    def true(self, moment: float) -> float:
        """The true time at which this clock shows that, or just after it."""
        return moment / self._rate + EPSILON_SECONDS


def _ignore() -> None:
    """No observer."""


def _simply(call: Callable[[], None]) -> None:
    call()


class Host:
    """One incarnation of a process. `on_turn` is called after each turn, when its messages have left.

    `guard` calls what it is given, and ensures that the host has vanished if that fails.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        *,
        event_queue: EventQueue,
        network: SimulatedNetwork,
        dice: Random,
        is_node: bool = False,
        clock_rate: float = 1.0,
        wake_seconds: float = 0.0,
        on_turn: Callable[[], None] = _ignore,
        guard: Callable[[Callable[[], None]], None] = _simply,
    ) -> None:
        self.crashes: list[CrashReport] = []
        self.gone = False
        self._event_queue = event_queue
        self._network = network
        self._on_turn = on_turn
        self._guard = guard
        self._paused = False
        self._running = False
        self._stirred = False
        self._wake_at: float | None = None
        self._dice = dice
        self._wake_seconds = wake_seconds
        self._clock = SkewedClock(event_queue, clock_rate)
        self.transport = network.attach(name, incarnation, self.stir, is_node=is_node)
        self.runtime = Runtime(
            name,
            transport=self.transport,
            registry=REGISTRY,
            clock=self._clock,
            random=dice,
            supervision=RestartPolicy(max_restarts=0),
            on_crash=self.crashes.append,
        )

    @property
    def paused(self) -> bool:
        """Is the process stopped, as by SIGSTOP?"""
        return self._paused

    def stir(self) -> None:
        """There is work: take a turn soon."""
        if not (self._stirred or self._running or self._paused or self.gone):
            self._stirred = True
            self._event_queue.after(self._wake_seconds * self._dice.random(), self._run)

    def pause(self) -> None:
        """Stop, as by SIGSTOP: arriving frames wait."""
        self._paused = True

    def resume(self) -> None:
        """Continue after a pause."""
        if self._paused:
            self._paused = False
            self.stir()

    def vanish(self, *, told: bool) -> None:
        """End as by SIGKILL: no hook runs. `told`: the operating system closes the connections."""
        self.gone = True
        self._network.leave(self.runtime.name, told=told)

    def _run(self) -> None:
        self._stirred = False
        if not (self._paused or self.gone):
            self._guard(self._take_turns)

    def _take_turns(self) -> None:
        runtime, transport = self.runtime, self.transport
        self._running = True
        for _ in range(TURNS_AT_ONCE_MAX):
            runtime.run_turn(0.0)
            self._on_turn()
            if self.gone or runtime.stopped:
                self.gone = True
                return
            deadline = runtime.next_deadline()
            if not (transport.has_events or runtime.busy or self._is_due(deadline)):
                break
        else:
            raise AssertionError(f"{runtime.name} takes {TURNS_AT_ONCE_MAX} turns without an end")
        self._running = False
        self._plan(deadline)

    def _is_due(self, deadline: float | None) -> bool:
        return deadline is not None and deadline <= self._clock.now()

    def _plan(self, deadline: float | None) -> None:
        if deadline is None:
            return
        wake_at = self._clock.true(deadline)
        if self._wake_at is None or wake_at < self._wake_at:
            self._wake_at = wake_at
            self._event_queue.at(wake_at, self._wake)

    def _wake(self) -> None:
        now = self._event_queue.now()
        if self._wake_at is not None and self._wake_at <= now:
            self._wake_at = None
        if self._paused or self.gone or self._running:
            return
        deadline = self.runtime.next_deadline()
        if self._is_due(deadline):
            self._run()
        else:
            self._plan(deadline)
