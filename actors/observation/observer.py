"""Measures the handlers of one process, for as long as its system is looked at.

States: nothing is measured; all handlers are timed (a lease of Observe); the messages of some actors are
written down, too (a lease of Trace). Each lease ends by itself when it is not asked for again, and the last
one puts back what the loop calls, so that a process that is not looked at pays nothing.

Owns the numbers. Times are of the runtime's clock. What timers and readers call is not measured. Knows
nothing of who asks, but that those whose requests are judged one by one (see Runtime) may not.
"""

from __future__ import annotations

import os
import resource
from collections import deque
from pathlib import Path
from typing import Final

from actors.actor import Actor
from actors.address import Address
from actors.cell import Callback, Cell, State
from actors.clock import Clock
from actors.coroutines import RunningCoroutine
from actors.delivery import Delivery
from actors.envelope import (
    HANDLERS_TOLD_MAX,
    HandlerTime,
    Observe,
    ProcessLoad,
    Refused,
    Trace,
    Traced,
    TraceRecord,
)
from actors.failures.dead_letters import Reason
from actors.lifecycle import Lifecycle, Schedule
from actors.mailbox import Mailbox, QueuedMessage
from actors.timers import Timer, Timers

HANDLERS_MAX: Final = 10_000
"""Kinds of messages of actors that are timed at once; what comes beyond them is not."""
TRACES_MAX: Final = 16
RECORDS_KEPT_MAX: Final = 5000
RECORDS_TOLD_MAX: Final = 1000
HANDLED, STASHED, NOT_ANSWERED = "handled", "stashed", "not answered"
_PAGE_BYTES: Final = resource.getpagesize()
_STRAY_ARRIVALS_MAX: Final = 1000


class TimedMailbox(Mailbox):
    """Takes another mailbox's place, with all that waits there, and notes when each letter comes."""

    __slots__ = ("_arrivals", "_before", "_now")

    def __init__(self, before: Mailbox, clock: Clock) -> None:
        self._before = before
        _copy(before, self)
        self._arrivals: dict[int, float] = {}  # By identity: a letter stays the same object while it waits.
        self._now = clock.now

    def put(self, queued: QueuedMessage) -> QueuedMessage | None:
        """As Mailbox."""
        self._arrivals[id(queued)] = self._now()
        refused = super().put(queued)
        if refused is not None:
            self._arrivals.pop(id(refused), None)
        return refused

    def put_own(self, queued: QueuedMessage) -> None:
        """As Mailbox."""
        self._arrivals[id(queued)] = self._now()
        super().put_own(queued)

    def put_urgent(self, queued: QueuedMessage) -> None:
        """As Mailbox."""
        self._arrivals[id(queued)] = self._now()
        super().put_urgent(queued)

    def note_arrival(self, queued: QueuedMessage, at: float) -> None:
        """A letter that was taken will come again."""
        self._arrivals[id(queued)] = at

    def take_arrival(self, queued: QueuedMessage) -> float | None:
        """When a letter came; None for one that was there before."""
        if len(self._arrivals) > 2 * len(self) + _STRAY_ARRIVALS_MAX:  # Of letters that were taken back.
            waiting = {id(letter) for letter in (*self.urgent, *self.ordinary, queued)}
            self._arrivals = {letter: at for letter, at in self._arrivals.items() if letter in waiting}
        return self._arrivals.pop(id(queued), None)

    def give_back(self) -> Mailbox:
        """The mailbox whose place this took, with what waits here."""
        _copy(self, self._before)
        return self._before


def _copy(one: Mailbox, other: Mailbox) -> None:
    for name in Mailbox.__slots__:
        setattr(other, name, getattr(one, name))


class _Trace:
    """What is written down of one actor."""

    def __init__(self, cell: Cell, clock: Clock) -> None:
        self.cell = cell
        self.mailbox = TimedMailbox(cell.mailbox, clock)
        cell.mailbox = self.mailbox
        self._dropped = self.mailbox.dropped
        self._number = 0
        self._records: deque[TraceRecord] = deque(maxlen=RECORDS_KEPT_MAX)

    def write(
        self, queued: QueuedMessage, at: float, arrived: float | None, took: float, outcome: str
    ) -> None:
        waited = None if arrived is None else at - arrived
        self._write(at, queued[1], kind_of(queued[0]), waited, took, outcome)

    def write_refusals(self, now: float) -> None:
        """One record for all that have found no place since the last one."""
        refused, self._dropped = self.mailbox.dropped - self._dropped, self.mailbox.dropped
        if refused:
            self._write(now, None, f"{refused} messages", None, 0.0, Reason.MAILBOX_FULL)

    def _write(
        self, at: float, sender: Address | None, kind: str, waited: float | None, took: float, outcome: str
    ) -> None:
        self._number += 1
        self._records.append(TraceRecord(self._number, at, sender, kind, waited, took, outcome))

    def told_after(self, after: int, now: float) -> Traced:
        """The oldest records behind that number, and how many were not kept before them."""
        self.write_refusals(now)
        if after >= self._number:
            return Traced(now, (), 0)
        newer = [record for record in self._records if record.number > after]
        return Traced(now, tuple(newer[:RECORDS_TOLD_MAX]), newer[0].number - after - 1)

    def end(self) -> None:
        self.cell.mailbox = self.mailbox.give_back()


class _Open:
    """A letter whose coroutine has not ended yet."""

    def __init__(self, cell: Cell, queued: QueuedMessage, arrived: float | None, began: float) -> None:
        self.cell = cell
        self.queued = queued
        self.arrived = arrived
        self.began = began


class _Before:
    """A cell as it was before it handled a letter; what has changed tells what became of the letter."""

    def __init__(self, cell: Cell, office: Delivery) -> None:
        self._cell = cell
        self._dead_letters = office.dead_letters
        self._dead = office.dead_letters.total
        self._stashed = len(cell.stashed)
        self._owed = len(cell.pending_replies)
        self._unanswered = cell.unanswered

    def outcome(self, queued: QueuedMessage) -> str:
        cell, dead_letters = self._cell, self._dead_letters
        if cell.actor is None:  # Its incarnation has ended in it.
            return f"crashed: {cell.last_error}" if cell.last_error else "the actor stopped"
        if len(cell.stashed) > self._stashed:
            return STASHED
        if dead_letters.total > self._dead and dead_letters.recent[-1].to == cell.address:
            return dead_letters.recent[-1].reason
        if len(cell.pending_replies) > self._owed:
            return "answer put off"
        if cell.unanswered > self._unanswered:
            return NOT_ANSWERED
        return "answered" if queued[2] else HANDLED


class Observer:
    """What answers Observe and Trace in one process."""

    def __init__(
        self, office: Delivery, lifecycle: Lifecycle, schedule: Schedule, timers: Timers, clock: Clock
    ) -> None:
        self._office = office
        self._lifecycle = lifecycle
        self._schedule = schedule
        self._timers = timers
        self._clock = clock
        self._leases: dict[str | None, tuple[float, Timer]] = {}
        """When each ends: None's is that of all handlers, the others are those of traced actors."""
        self._since = 0.0
        self._times: dict[tuple[str, str], list[float]] = {}
        self._traces: dict[str, _Trace] = {}
        self._open: dict[RunningCoroutine, _Open] = {}

    def answer(self, sender: Address, correlation: int, message: Observe | Trace) -> None:
        """Answer a request, and measure for as long as it says; or refuse it."""
        office = self._office
        judged = office.judges is not None and office.judges[sender.process] is not None
        answer: ProcessLoad | Traced | Refused
        if judged:
            office.dead_letters.add(Reason.FORBIDDEN, office.itself, sender, type(message).__qualname__)
            answer = _refusal(
                f"{sender.process} may not look into {office.name}: its key is of a lesser role"
            )
        elif isinstance(message, Observe):
            self._hold(None, message.lease_seconds)
            answer = self._load()
        elif message.actor not in office.cells:
            answer = _refusal(f"there is no actor {message.actor} in {office.name}, or it has ended")
        elif message.actor not in self._traces and len(self._traces) >= TRACES_MAX:
            answer = _refusal(f"{len(self._traces)} actors are traced in {office.name} already")
        else:
            answer = self._traced(message)
        office.answer(sender, correlation, answer)

    def _load(self) -> ProcessLoad:
        used = resource.getrusage(resource.RUSAGE_SELF)
        longest = sorted(self._times.items(), key=lambda entry: -entry[1][1])[:HANDLERS_TOLD_MAX]
        return ProcessLoad(
            info=self._office.info(),
            pid=os.getpid(),
            cpu_seconds=used.ru_utime + used.ru_stime,
            memory_bytes=_resident_bytes(),
            now=self._clock.now(),
            since=self._since,
            handlers=tuple(
                HandlerTime(actor, kind, int(count), seconds, longest_seconds)
                for (actor, kind), (count, seconds, longest_seconds) in longest
            ),
        )

    def _traced(self, message: Trace) -> Traced:
        cell = self._office.cells[message.actor]
        trace = self._traces.get(message.actor)
        if trace is None or trace.cell is not cell:  # Another actor may have got the name.
            trace = self._traces[message.actor] = _Trace(cell, self._clock)
        self._hold(message.actor, message.lease_seconds)
        return trace.told_after(message.after, self._clock.now())

    def _hold(self, what: str | None, seconds: float) -> None:
        """Measure until then at least."""
        if not self._leases:
            lifecycle = self._lifecycle
            lifecycle.run, lifecycle.end_turn, lifecycle.ended = self._run, self._end_turn, self._ended
        if what is None and None not in self._leases:
            self._since = self._clock.now()
            self._times.clear()
        until, timer = self._leases.get(what, (0.0, None))
        if timer is not None:
            timer.cancel()
        until = max(until, self._clock.now() + seconds)
        self._leases[what] = (until, self._timers.at(until, lambda: self._let_go(what)))

    def _let_go(self, what: str | None) -> None:
        del self._leases[what]
        if what is None:
            self._times.clear()
        else:
            self._traces.pop(what).end()
        if not self._leases:
            lifecycle = self._lifecycle
            lifecycle.run, lifecycle.end_turn = lifecycle.run_cell, lifecycle.end_all_turns
            lifecycle.ended = lifecycle.end_coroutine
            self._open.clear()

    def _run(self, cell: Cell, messages_max: int) -> int:
        """As Lifecycle.run_cell, a letter at a time."""
        run, now = self._lifecycle.run_cell, self._clock.now
        if cell.state is State.STARTING:
            run(cell, 0)
        total = 0
        trace = self._trace_of(cell)
        while total < messages_max and cell.wants_to_run:
            queued = _next_in(cell.mailbox)
            if queued is None:
                break
            arrived = None if trace is None else trace.mailbox.take_arrival(queued)
            before, began = _Before(cell, self._office), now()
            handled = run(cell, 1)
            took = now() - began
            total += handled
            running = next(reversed(cell.coroutines), None)
            if running is not None and running.queued is queued:
                self._keep_open(running, _Open(cell, queued, arrived, began))
                continue
            self._add(cell, kind_of(queued[0]), took)
            if trace is not None:
                outcome = before.outcome(queued)
                trace.write(queued, began, arrived, took, outcome)
                if outcome == STASHED and arrived is not None:
                    trace.mailbox.note_arrival(queued, arrived)
        if trace is not None:
            trace.write_refusals(now())
        return total

    def _trace_of(self, cell: Cell) -> _Trace | None:
        trace = self._traces.get(cell.name)
        return trace if trace is not None and trace.cell is cell else None

    def _keep_open(self, running: RunningCoroutine, opened: _Open) -> None:
        if len(self._open) >= HANDLERS_MAX:  # Those of incarnations that have ended are never told of.
            self._open = {key: kept for key, kept in self._open.items() if key in kept.cell.coroutines}
        if len(self._open) < HANDLERS_MAX:
            self._open[running] = opened

    def _end_turn(self) -> None:
        """As Lifecycle.end_all_turns, a cell at a time."""
        for cell in self._schedule.take_touched():
            self._schedule.touched.append(cell)
            measured = cell.actor is not None and type(cell.actor).on_turn_end is not Actor.on_turn_end
            began = self._clock.now()
            self._lifecycle.end_all_turns()
            if measured:
                self._add(cell, "the end of a turn", self._clock.now() - began)

    def _ended(self, cell: Cell, running: RunningCoroutine, error: BaseException | None) -> None:
        """As Lifecycle.end_coroutine."""
        opened = self._open.pop(running, None)
        answered = opened is not None and opened.queued[2] and not running.pending_ask
        self._lifecycle.end_coroutine(cell, running, error)
        if opened is None:
            return
        took = self._clock.now() - opened.began
        self._add(cell, kind_of(opened.queued[0]), took)
        trace = self._trace_of(cell)
        if trace is not None:
            outcome = "answered" if answered else NOT_ANSWERED if opened.queued[2] else HANDLED
            if error is not None:
                outcome = f"crashed: {cell.last_error}"
            trace.write(opened.queued, opened.began, opened.arrived, took, outcome)

    def _add(self, cell: Cell, kind: str, took: float) -> None:
        times = self._times.get((cell.name, kind))
        if times is None:
            if None not in self._leases or len(self._times) >= HANDLERS_MAX:
                return
            times = self._times[cell.name, kind] = [0, 0.0, 0.0]
        times[0] += 1
        times[1] += took
        times[2] = max(times[2], took)


def _refusal(reason: str) -> Refused:
    return Refused(reason, delivered=True, by_actor=True)


def kind_of(message: object) -> str:
    """What a message is called where it is told of."""
    return "a callback" if type(message) is Callback else type(message).__qualname__


def _next_in(mailbox: Mailbox) -> QueuedMessage | None:
    if mailbox.urgent:
        return mailbox.urgent[0]
    return mailbox.ordinary[0] if mailbox.ordinary else None


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
