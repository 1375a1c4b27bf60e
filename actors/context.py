"""What an actor can do: everything that it may ask of its runtime.

Owns the methods that actors call. The work is done elsewhere: letters by the post office, incarnations
by the lifecycle.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from actors.address import Address, check_actor_name
from actors.asks import Answerable, Pending, Reply
from actors.cell import Cell, State
from actors.clock import Clock
from actors.delivery import Delivery
from actors.errors import ActorsError, RuntimeStopped, UnknownActor
from actors.failures.dead_letters import Reason
from actors.failures.supervision import Restart
from actors.handlers import Handlers, Request
from actors.mailbox import MailboxPolicy
from actors.retry import Asker
from actors.timers import Timer, Timers
from actors.transport.base import Transport

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.lifecycle import Lifecycle
    from actors.patterns.directory import DirectoryClient

Answer = TypeVar("Answer")


class Context:
    """An actor's access to its runtime; only for the runtime's own thread, `post` excepted.

    What was begun through it belongs to the actor's present incarnation: when it crashes or stops, its
    timers, asks, watches and readers end, and the asks that it owes an answer fail.
    """

    def __init__(
        self,
        *,
        cell: Cell,
        office: Delivery,
        lifecycle: Lifecycle,
        timers: Timers,
        transport: Transport,
        clock: Clock,
        post: Callable[[Address, object], None],
    ) -> None:
        self.address = cell.address
        self._clock = clock
        self.now: Callable[[], float] = clock.now
        """Monotonic seconds."""
        self.reply_handle: Callable[[], Reply] = cell.defer_reply
        """The right to answer the ask that is being handled, later; see that it is used, or dropped.

        For a message that was told it leads nowhere: the answer is counted as a dead letter.
        """
        self._cell = cell
        self._office = office
        self._lifecycle = lifecycle
        self._timers = timers
        self._transport = transport
        self._post = post

    @property
    def sender(self) -> Address | None:
        """Who told the message that is being handled; None when it was this process's runtime, or a timer.

        Its `actor` is empty when it was another process's runtime, as for a program that merely asks.
        """
        return self._cell.queued[1]

    @property
    def incarnation(self) -> int:
        """Which incarnation of its process this actor is in; a restarted actor is in the same one."""
        return self._transport.incarnation

    def tell(self, to: Address, message: object) -> None:
        """Send a message: at most once, in order with what this actor told `to` before.

        To an actor of this process goes the object itself, so that neither side may change it any
        more; to another process, its encoding at this moment, which leaves when the turn ends.
        Raises CodecError when it can't be encoded.
        """
        self._office.tell(self.address, to, message)

    def flush(self) -> None:
        """Let what was told so far in this turn leave now, before something that takes long is begun."""
        self._office.outbox.flush()

    def answer_all(self, answers: Sequence[tuple[Answerable, object]]) -> None:
        """Send all these replies: as one `send` after another, in less time."""
        self._office.answer_all(answers)

    @overload
    def ask(
        self, to: Address, message: Request[Answer], timeout_seconds: float | None
    ) -> Pending[Answer]: ...
    @overload
    def ask(self, to: Address, message: object, timeout_seconds: float | None) -> Pending[Any]: ...
    def ask(self, to: Address, message: object, timeout_seconds: float | None) -> Pending[Any]:
        """Send a message that wants a reply; without a timeout it waits for as long as the target lives.

        Fails with AskTimeout, or earlier with TargetDown, Undeliverable or AskRefused. The callbacks given to
        `Pending.then` run like handlers of this actor, and not at all once this incarnation is over. In an
        `async def` handler, await it.
        """
        cell = self._cell
        return self._office.ask(self.address, to, message, timeout_seconds, cell.run_callback, cell.asks)

    def asker(self) -> Asker:
        """On this incarnation's behalf: for what makes asks of its own, such as a Router."""
        cell = self._cell
        return Asker(
            self._office,
            self.address,
            self._clock,
            self._timers,
            run=cell.run_callback,
            asks=cell.asks,
            timer_group=cell.timers,
        )

    @property
    def directory(self) -> DirectoryClient:
        """The names and groups of this actor's system; raises ActorsError where there are none."""
        from actors.patterns.directory import DirectoryClient

        if self._office.directory is None:
            raise ActorsError(
                f"the runtime of {self.address.process} has no directory: give it the address of one, as"
                " ProcessSystem does"
            )
        return DirectoryClient(self, self._office.directory)

    def reply(self, message: object) -> None:
        """Answer the message that is being handled: with the reply to an ask, or a tell to its sender.

        A second answer to an ask is a dead letter. An ask that its handler neither answers, stashes
        nor keeps the `reply_handle` of fails at once, as it could not be answered any more.
        """
        cell = self._cell
        message_handled, sender, correlation = cell.queued[:3]
        if cell.pending_ask:
            assert sender is not None, "an ask comes from somewhere"
            cell.pending_ask = 0
            self._office.answer(sender, correlation, message)
        elif sender is None or correlation:
            reason = Reason.ANSWERED_BEFORE if correlation else Reason.NO_REPLY_EXPECTED
            to = sender or self._office.itself
            self._office.dead_letters.add(reason, to, self.address, type(message_handled).__qualname__)
        else:
            self.tell(sender, message)

    def refuse(self, reason: str) -> None:
        """Answer the ask that is being handled with a failure: AskRefused, with that reason."""
        self.reply_handle().refuse(reason)

    def create_task(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine beside this actor's handlers, for at most as long as this incarnation lasts.

        What it raises is a crash. Only in a process with an asyncio loop; raises ActorsError in others.
        """
        self._lifecycle.begin(self._cell, coroutine, alone=False)

    def after(self, seconds: float, what: object, *, key: Hashable = None) -> Timer:
        """Once, after so many seconds: call `what`, or, if it can't be called, tell it to this actor.

        A timer with a key takes the place of the one before with that key, and nothing comes of
        one that was cancelled, not even a message that waits already.
        """
        deadline = self.now() + seconds
        if key is not None:
            return self._keyed(key, deadline, None, what)
        return self._timers.at(deadline, self._timed(what), group=self._cell.timers)

    def every(self, seconds: float, what: object, *, key: Hashable = None) -> Timer:
        """Like `after`, again and again. Firings that were missed are skipped, not made up for."""
        deadline = self.now() + seconds
        if key is not None:
            return self._keyed(key, deadline, seconds, what)
        action = self._timed(what)
        return self._timers.at(deadline, action, period_seconds=seconds, group=self._cell.timers)

    def cancel_timer(self, key: Hashable) -> None:
        """Cancel the timer of that key; does nothing when there is none."""
        timer = self._cell.keyed_timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def has_timer(self, key: Hashable) -> bool:
        """Will the timer of that key still fire?"""
        return key in self._cell.keyed_timers

    def _keyed(self, key: Hashable, deadline: float, period_seconds: float | None, what: object) -> Timer:
        self.cancel_timer(key)
        cell = self._cell

        def fire() -> None:
            if cell.keyed_timers.get(key) is not timer:
                return  # Cancelled, or replaced, while this waited in the mailbox.
            if period_seconds is None:
                del cell.keyed_timers[key]
            if callable(what):
                what()
            else:
                cell.handle_own(what)

        timer = self._timers.at(
            deadline, partial(cell.run_callback, fire), period_seconds=period_seconds, group=cell.timers
        )
        cell.keyed_timers[key] = timer
        return timer

    def _timed(self, what: object) -> Callable[[], None]:
        if callable(what):
            return partial(self._lifecycle.visit, self._cell, "a timer", what)
        return partial(self._cell.put_own, what)

    def post(self, message: object) -> None:
        """Tell this actor something from another thread; never refused for a full mailbox."""
        self._post(self.address, message)

    def spawn(
        self,
        factory: Callable[[], Actor],
        name: str,
        *,
        restart: Restart | None = None,
        mailbox: MailboxPolicy | None = None,
    ) -> Address:
        """Start a child `name`, addressed as this actor's name, a slash, and its own.

        `factory` makes a new object for each of its incarnations; the first starts in this turn. What
        happens when it fails is this actor's `supervision`, where `restart` deviates for this child.
        """
        if self._cell.state not in (State.RUNNING, State.AWAITING):
            raise RuntimeStopped(f"{self.address} is ending, and starts no actor")
        return self._lifecycle.spawn(self._cell, factory, name, restart, mailbox)

    def stop(self, address: Address | None = None) -> None:
        """End a child for good, now; or, without an address, this actor after the present message.

        What waits in its mailbox becomes dead letters. Raises UnknownActor for one that is not a child.
        """
        cell = self._cell
        if address is None or address == self.address:
            if cell.state in (State.RUNNING, State.AWAITING):
                cell.state = State.LEAVING
            return
        child = cell.children.get(address.actor)
        if child is None or child.address != address:
            raise UnknownActor(f"{address} is no child of {self.address}")
        self._lifecycle.stop(child, "its parent stopped it")

    def watch(self, address: Address) -> None:
        """Be told Terminated when that actor is gone for good: at once, if it can't be reached."""
        self._office.watch(self._cell, address)

    def unwatch(self, address: Address) -> None:
        """Take back `watch`."""
        self._office.unwatch(self._cell, address)

    def link(self, address: Address) -> None:
        """Fail when that actor does, and let it fail when this one does, while both incarnations last.

        An actor that has a handler for Exit is told of the end instead. One that stops, or is stopped, does
        not make the other fail.
        """
        self._office.links.link(self._cell, address)

    def unlink(self, address: Address) -> None:
        """Take back `link`, at both ends."""
        self._office.links.unlink(self._cell, address)

    def watch_process(self, process: str) -> None:
        """Be told ProcessUp and ProcessDown of it; ProcessUp at once, if it is up."""
        self._office.watch_process(self._cell, process)

    def unwatch_process(self, process: str) -> None:
        """Take back `watch_process`."""
        self._office.unwatch_process(self._cell, process)

    def become(self, handlers: Handlers) -> None:
        """Handle messages by another table, from the next one on, until `become`, `unbecome` or a crash."""
        self._cell.behaviour = self._lifecycle.handlers_of(self._cell, handlers)

    def unbecome(self) -> None:
        """Return to the actor's own table."""
        self._cell.behaviour = self._cell.table

    def stash(self) -> None:
        """Put the message that is being handled aside, unanswered; a full stash makes it a dead letter."""
        self._cell.stash()

    def unstash_all(self) -> None:
        """Handle next what was put aside, in the order in which it came. A crash does the same."""
        self._cell.unstash_all()

    def answer_to(self, alias: str) -> None:
        """Be told what other processes tell an actor of that name, too, for as long as this one lives."""
        self._office.aliases[check_actor_name(alias)] = self._cell

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Keep a connection to a process; see Transport.connect."""
        self._transport.connect(process, endpoint, public_key)

    def disconnect(self, process: str) -> None:
        """Forget the connection to a process."""
        self._transport.disconnect(process)

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback`, like a handler of this actor, while `fd` is readable."""
        self._cell.readers.add(fd)
        self._transport.add_reader(fd, partial(self._lifecycle.visit, self._cell, "a reader", callback))

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`."""
        if fd in self._cell.readers:
            self._cell.readers.remove(fd)
            self._transport.remove_reader(fd)
