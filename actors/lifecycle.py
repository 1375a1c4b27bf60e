"""How actors begin, take their turns, fail, are started again, and end.

Owns fairness: a cell handles a batch and goes to the back, and a turn ends after so many letters even if two
actors keep each other busy, so that timers and sockets are looked at.

Owns the one place where an exception of an actor is caught, and carries out what supervision
decides. An actor's children end before it does, the youngest first.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from actors.actor import Actor
from actors.address import Address, check_actor_name
from actors.cell import NO_MESSAGE, Callback, Cell, State
from actors.clock import Clock
from actors.context import Context
from actors.coroutines import REENTRANT_MAX, RunningCoroutine, start
from actors.delivery import Delivery
from actors.envelope import Terminated
from actors.errors import GaveUp, NameTaken
from actors.failures.crash_reports import CrashReport, print_crash
from actors.failures.dead_letters import Reason
from actors.failures.supervision import (
    Decision,
    ForgetChild,
    GiveUp,
    Restart,
    RestartChildren,
    RestartPolicy,
    Supervisor,
)
from actors.handlers import Handlers, is_coroutine_function
from actors.mailbox import Mailbox, MailboxPolicy
from actors.timers import Timers
from actors.transport.base import Transport

BATCH_MESSAGES_MAX: Final = 256
TURN_MESSAGES_MAX: Final = 4096


class Schedule:
    """The cells of one runtime that want to run."""

    def __init__(self) -> None:
        self.ready: deque[Cell] = deque()
        """To be run soon; a cell sees to it that it is here once."""
        self.touched: list[Cell] = []
        """To be called again at the end of the turn, likewise."""

    def run(self, visit: Callable[[Cell, int], int]) -> int:
        """Visit ready cells, with the number of letters that each may handle; returns how many they did."""
        ready = self.ready
        handled = 0
        while ready and handled < TURN_MESSAGES_MAX:
            cell = ready.popleft()
            cell.scheduled = False
            handled += visit(cell, BATCH_MESSAGES_MAX)
            if cell.wants_to_run and not cell.scheduled:
                cell.scheduled = True
                ready.append(cell)
        return handled

    def take_touched(self) -> list[Cell]:
        """The cells that did something since the last call."""
        touched = self.touched
        self.touched = []
        for cell in touched:
            cell.touched = False
        return touched


class Lifecycle:
    """The family tree of one runtime's actors; the root is no actor, and outlives them all."""

    def __init__(
        self,
        *,
        office: Delivery,
        schedule: Schedule,
        timers: Timers,
        transport: Transport,
        clock: Clock,
        random: random.Random,
        supervision: RestartPolicy,
        mailbox: MailboxPolicy,
        on_crash: Callable[[CrashReport], None],
        exit_is_crash: bool,
        post: Callable[[Address, object], None],
    ) -> None:
        self.failure: GaveUp | None = None
        self._office = office
        self._schedule = schedule
        self._timers = timers
        self._transport = transport
        self._clock = clock
        self._random = random
        self._mailbox = mailbox
        self._on_crash = on_crash
        self._is_crash = BaseException if exit_is_crash else Exception
        self._post = post
        self.wake: Callable[[], None] = transport.wake
        """Called when a coroutine has done something outside of a turn, so that one is taken."""
        # What the loop calls. While handlers are measured other functions are here, so that nothing
        # asks whether they are.
        self.run, self.end_turn, self.ended = self.run_cell, self.end_all_turns, self.end_coroutine
        self._root = self._cell(office.itself, Actor, None, mailbox)
        self._root.state = State.RUNNING
        self._root.supervisor = Supervisor(supervision, random)

    def spawn(
        self,
        parent: Cell | None,
        factory: Callable[[], Actor],
        name: str,
        restart: Restart | None,
        mailbox: MailboxPolicy | None,
    ) -> Address:
        """Give `factory` a cell under `parent`, or under the root; it starts when it first runs."""
        parent = parent or self._root
        full_name = check_actor_name(f"{parent.name}/{name}" if parent.name else name)
        if full_name in self._office.cells:
            raise NameTaken(f"{self._office.name}/{full_name} lives already")
        cell = self._cell(Address(self._office.name, full_name), factory, parent, mailbox or self._mailbox)
        self._office.cells[full_name] = cell
        parent.children[full_name] = cell
        parent.supervisor.started(full_name, self._clock.now(), restart)
        cell.enqueue()
        return cell.address

    @property
    def is_measured(self) -> bool:
        """Whether an observer has put its own steps in the place of these."""
        return self.run != self.run_cell

    def run_cell(self, cell: Cell, messages_max: int) -> int:
        """Let a cell handle some letters, or start it; returns how many it handled."""
        if cell.state is State.STARTING:
            self._start(cell)
        before = cell.handled
        if cell.wants_to_run:
            self.visit(cell, None, partial(cell.handle, messages_max))
        return cell.handled - before

    def visit(self, cell: Cell, doing: str | None, call: Callable[[], None]) -> None:
        """Call something that is an actor's, if it runs; without a name it is a letter."""
        state = cell.state
        if state is not State.RUNNING:
            if state is State.AWAITING and doing is not None:
                cell.run_callback(call)
            return
        if not cell.touched:
            cell.touch()
        error = self._catch(call)
        if error is not None:
            self._fail(cell, doing or _message_name(cell), error)
        elif cell.state is State.LEAVING:
            self._leave(cell)

    def end_all_turns(self) -> None:
        """Tell every actor that did something that the turn is over."""
        for cell in self._schedule.take_touched():
            state = cell.state
            if state is State.RUNNING and type(cell.actor).on_turn_end is not Actor.on_turn_end:
                error = self._catch(cell.actor.on_turn_end)
                if error is not None:
                    self._fail(cell, "on_turn_end", error)
                elif cell.state is State.LEAVING:
                    self._leave(cell)

    def stop(self, cell: Cell, reason: str) -> None:
        """End a child for good, on its parent's wish."""
        if cell.state is State.STOPPED:
            return
        self._end_incarnation(cell, reason)
        self._bury(cell, reason)

    def stop_all(self) -> None:
        """End every actor for good."""
        for cell in reversed(list(self._root.children.values())):
            self.stop(cell, "the runtime stops")

    def _cell(
        self, address: Address, factory: Callable[[], Actor], parent: Cell | None, mailbox: MailboxPolicy
    ) -> Cell:
        cell = Cell(
            address,
            factory,
            parent=parent,
            mailbox=Mailbox(mailbox),
            office=self._office,
            schedule=self._schedule,
        )
        cell.context = Context(
            cell=cell,
            office=self._office,
            lifecycle=self,
            timers=self._timers,
            transport=self._transport,
            clock=self._clock,
            post=self._post,
        )
        return cell

    def _start(self, cell: Cell) -> None:
        assert cell.parent is not None, "the root is never started"
        cell.state = State.RUNNING
        cell.parent.supervisor.started(cell.name, self._clock.now())

        def enter() -> None:
            cell.actor = cell.factory()
            cell.actor.context = cell.context
            cell.table = cell.behaviour = self.handlers_of(cell, cell.actor.handlers)
            cell.supervisor = Supervisor(cell.actor.supervision, self._random)
            if cell.restarts:
                waits = cell.actor.on_restart(cell.last_error or "a sibling ended")
            else:
                waits = cell.actor.on_start()
            cell.entered = True
            if isinstance(waits, Coroutine):
                self.begin(cell, waits, alone=True)

        self.visit(cell, "its start", enter)

    def handlers_of(self, cell: Cell, handlers: Handlers) -> Handlers:
        """A table in which each `async def` is something that begins it; raises TypeError for no table."""
        if not isinstance(handlers, Mapping):
            raise TypeError(
                f"handlers map types of messages to functions, unlike {type(handlers).__qualname__}"
            )
        if not any(map(is_coroutine_function, handlers.values())):
            return handlers
        return {kind: self._beginning(cell, function) for kind, function in handlers.items()}

    def _beginning(self, cell: Cell, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], object]:
        if not is_coroutine_function(function):
            return function
        alone = not cell.actor.reentrant

        def begin(actor: Any, message: Any) -> None:
            self.begin(cell, function(actor, message), alone=alone)

        return begin

    def begin(self, cell: Cell, coroutine: Coroutine[Any, Any, object], *, alone: bool) -> None:
        """Run a coroutine of an actor about the present letter; when `alone`, messages wait for it."""
        if cell.state not in (State.RUNNING, State.AWAITING):
            coroutine.close()
            return
        queued, pending_ask = (
            (cell.queued, cell.pending_ask) if alone or cell.actor.reentrant else (NO_MESSAGE, 0)
        )
        running = RunningCoroutine(cell, coroutine, queued, pending_ask)
        start(running, coroutine, partial(self.ended, cell), self.wake)
        if pending_ask:
            cell.pending_ask = 0
        cell.coroutines[running] = None
        if alone or len(cell.coroutines) >= REENTRANT_MAX:
            cell.state = State.AWAITING

    def end_coroutine(self, cell: Cell, running: RunningCoroutine, error: BaseException | None) -> None:
        """A coroutine has ended, in an incarnation that goes on."""
        running.task = None
        if error is not None:
            if not isinstance(error, self._is_crash):
                error = RuntimeError(
                    f"{running.doing} was cancelled, and not by the end of its actor: {error!r}"
                )
            self._fail(cell, running.doing, error)
            return
        del cell.coroutines[running]
        if running.pending_ask:
            self._office.refuse(running.queued, "not answered", delivered=True)
        if cell.state is State.LEAVING:
            self._leave(cell)
        elif cell.state is State.AWAITING:
            cell.state = State.RUNNING
            cell.enqueue()

    def report(self, report: CrashReport) -> None:
        """Give a report to the runtime's crash hook; a hook that raises does no more harm than that."""
        error = self._catch(partial(self._on_crash, report))
        if error is not None:
            print_crash(report)
            print_crash(CrashReport.of(report.address, "the crash hook", error, "the report is above"))

    def call_back(self, call: Callable[[], None]) -> None:
        """Call something that is no actor's: what it raises is reported, and costs nothing else its turn."""
        try:
            call()
        except KeyboardInterrupt:
            raise
        except self._is_crash as error:  # As in `_catch`, without another call for each reply.
            self.report(CrashReport.of(self._office.itself, "a callback", error, "all else goes on"))

    def _catch(self, call: Callable[[], object]) -> BaseException | None:
        try:
            call()
        except KeyboardInterrupt:
            raise
        except self._is_crash as error:  # the supervision point: whatever an actor raises is its crash
            return error
        return None

    def _fail(self, cell: Cell, doing: str, error: BaseException) -> None:
        if cell.parent is None:
            assert isinstance(error, GaveUp), f"the root runs nothing that could raise {error!r}"
            self.failure = error
            self.stop_all()
            return
        decision = cell.parent.supervisor.ended(cell.name, self._clock.now(), failed=True)
        consequence = _in_words(decision)
        if cell.behaviour is not cell.table:
            consequence += ", and handles messages by its own table, not by that of `become`"
        report = CrashReport.of(cell.address, doing, error, consequence)
        cell.last_error = report.error
        self.report(report)
        if CrashReport in cell.parent.behaviour:
            cell.parent.put_urgent(report)
        self._end_incarnation(cell, f"crashed: {report.error}", failed=True)
        self._carry_out(decision, cell, f"crashed: {report.error}")

    def _leave(self, cell: Cell) -> None:
        assert cell.parent is not None, "the root never leaves"
        decision = cell.parent.supervisor.ended(cell.name, self._clock.now(), failed=False)
        cell.last_error = None
        self._end_incarnation(cell, "stopped itself")
        self._carry_out(decision, cell, "stopped itself")

    def _carry_out(self, decision: Decision, cell: Cell, reason: str) -> None:
        parent = cell.parent
        assert parent is not None, "decisions are about children"
        if isinstance(decision, ForgetChild):
            self._bury(cell, reason)
        elif isinstance(decision, GiveUp):
            self._bury(cell, reason)
            self._fail(parent, "supervision", GaveUp(decision.reason))
        else:
            for name in decision.stop:
                sibling = parent.children[name]
                sibling.last_error = None
                self._end_incarnation(sibling, f"{cell.name} {reason}")
                if name not in decision.start:
                    self._bury(sibling, f"{cell.name} {reason}")
            self._start_later(parent, decision)

    def _start_later(self, parent: Cell, decision: RestartChildren) -> None:
        moment = self._clock.now() + decision.after_seconds
        for name in decision.start:
            child = parent.children[name]
            child.state = State.RESTARTING
            self._timers.at(moment, partial(self._start_again, child), group=child.timers)

    def _start_again(self, cell: Cell) -> None:
        cell.restarts += 1
        cell.state = State.STARTING
        cell.enqueue()

    def _end_incarnation(self, cell: Cell, reason: str, *, failed: bool = False) -> None:
        cell.state = State.LEAVING  # so that `on_stop` starts no actor
        for child in reversed(list(cell.children.values())):
            self.stop(child, f"{cell.name} ended")
        if cell.entered:
            cell.entered = False
            error = self._catch(cell.actor.on_stop)
            if error is not None:
                self.report(CrashReport.of(cell.address, "on_stop", error, "it ends all the same"))
        for fd in cell.readers:
            self._transport.remove_reader(fd)
        cell.readers.clear()
        cell.end_incarnation(reason, failed=failed)

    def _bury(self, cell: Cell, reason: str) -> None:
        assert cell.parent is not None, "the root is never buried"
        cell.state = State.STOPPED
        del self._office.cells[cell.name]
        del cell.parent.children[cell.name]
        cell.parent.supervisor.forget(cell.name)
        for queued in cell.mailbox.clear():
            if type(queued[0]) is not Callback:
                self._office.undelivered(cell.address, queued, Reason.STOPPED)
        for watcher, correlation in cell.watchers:
            self._office.tell_end(watcher, correlation, Terminated(cell.address, reason))


def _message_name(cell: Cell) -> str:
    message = cell.queued[0]
    return "a callback" if type(message) is Callback else type(message).__qualname__


def _in_words(decision: Decision) -> str:
    if isinstance(decision, GiveUp):
        return f"its supervisor gives up: {decision.reason}"
    if isinstance(decision, ForgetChild):
        return "it is not started again"
    if len(decision.start) == 1:
        return f"it is started again in {decision.after_seconds:.3f} s"
    return f"{', '.join(decision.start)} are started again in {decision.after_seconds:.3f} s"
