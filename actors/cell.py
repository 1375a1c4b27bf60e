"""What surrounds one actor: its mailbox, its present incarnation, and all that ends with that incarnation.

Owns how letters become calls of handlers. Knows nothing of when a cell runs and
what becomes of an exception (see lifecycle), or of how letters travel (see post_office).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.address import Address
from actors.asks import Pending, Reply
from actors.coroutines import RunningCoroutine
from actors.envelope import ActorInfo, Exit, ProcessDown, ProcessUp, Terminated
from actors.errors import LinkedActorDown
from actors.failures.dead_letters import Reason
from actors.failures.supervision import Supervisor
from actors.mailbox import Mailbox, QueuedMessage
from actors.timers import Timer
from actors.transport.base import IncarnationUsed

if TYPE_CHECKING:
    from actors.actor import Actor, Handlers
    from actors.context import Context
    from actors.delivery import Delivery
    from actors.lifecycle import Schedule


class State(enum.Enum):
    """Where a cell is between its creation and its end."""

    STARTING = "starting"  # scheduled; its actor is made when it runs
    RUNNING = "running"
    AWAITING = "awaiting"  # a coroutine of its runs, which its messages wait for
    LEAVING = "leaving"  # has asked to be stopped; the present handler is the last
    RESTARTING = "restarting"  # crashed or was taken along; waits for its backoff
    STOPPED = "stopped"


class Callback(msgspec.Struct, frozen=True):
    """A letter to the actor's own cell: call this, in its turn."""

    call: Callable[[], None]


LIFECYCLE_MESSAGES: Final = frozenset((Exit, Terminated, ProcessUp, ProcessDown, IncarnationUsed))
NO_MESSAGE: Final[QueuedMessage] = (None, None, 0)


class Cell:
    """One actor through all of its incarnations."""

    __slots__ = (
        "_office",
        "_schedule",
        "actor",
        "address",
        "asks",
        "behaviour",
        "children",
        "context",
        "coroutines",
        "entered",
        "factory",
        "handled",
        "keyed_timers",
        "last_error",
        "linked_by",
        "links",
        "mailbox",
        "parent",
        "pending_ask",
        "pending_replies",
        "queued",
        "readers",
        "restarts",
        "scheduled",
        "stashed",
        "state",
        "supervisor",
        "table",
        "timers",
        "touched",
        "unanswered",
        "watchers",
        "watches",
    )

    def __init__(
        self,
        address: Address,
        factory: Callable[[], Actor],
        *,
        parent: Cell | None,
        mailbox: Mailbox,
        office: Delivery,
        schedule: Schedule,
    ) -> None:
        self.address = address
        self.factory = factory
        self.parent = parent
        self.mailbox = mailbox
        self.context: Context
        self._office = office
        self._schedule = schedule
        self.scheduled = False
        self.touched = False
        self.state = State.STARTING
        self.children: dict[str, Cell] = {}
        self.supervisor: Supervisor
        self.watchers: dict[tuple[Address, int], None] = {}
        self.handled = 0
        self.restarts = 0
        self.unanswered = 0  # asks that a handler neither answered, stashed nor kept
        self.last_error: str | None = None
        # From here on: what belongs to one incarnation.
        self.actor: Any = None
        self.entered = False
        self.table: Handlers = {}  # the actor's own
        self.behaviour: Handlers = {}
        self.queued: QueuedMessage = NO_MESSAGE
        self.pending_ask = 0  # the correlation of the ask that is being handled, until it is answered
        self.stashed: list[QueuedMessage] = []
        self.timers: set[Timer] = set()
        self.keyed_timers: dict[Hashable, Timer] = {}
        self.coroutines: dict[RunningCoroutine, None] = {}
        self.asks: set[Pending[Any]] = set()
        self.pending_replies: dict[Reply, None] = {}
        self.links: dict[Address, Pending[Any]] = {}
        self.linked_by: dict[Address, int] = {}
        self.watches: dict[Address, Pending[Any]] = {}
        self.readers: set[int] = set()

    @property
    def name(self) -> str:
        """The actor's name, which begins with its parent's."""
        return self.address.actor

    @property
    def wants_to_run(self) -> bool:
        """Is there something to do that may be done now?"""
        mailbox = self.mailbox
        if self.state is State.RUNNING:
            return bool(mailbox.ordinary or mailbox.urgent)
        return self.state is State.STARTING

    def put(self, queued: QueuedMessage) -> None:
        """Let a letter wait; one that finds no place is a dead letter."""
        lost = self.mailbox.put(queued)
        if lost is not None:
            self._office.undelivered(self.address, lost, Reason.MAILBOX_FULL)
        if not self.scheduled:
            self.enqueue()

    def put_all(self, letters: Sequence[QueuedMessage]) -> None:
        """As `put` for each of them, in their order."""
        for lost in self.mailbox.put_all(letters):
            self._office.undelivered(self.address, lost, Reason.MAILBOX_FULL)
        if not self.scheduled:
            self.enqueue()

    def put_counted(self, queued: tuple[Any, Address | None, int, int]) -> None:
        """As `put`, for a letter that knows its bytes."""
        for lost in self.mailbox.put_counted(queued):
            self._office.undelivered(self.address, lost, Reason.MAILBOX_FULL)
        if not self.scheduled:
            self.enqueue()

    def put_own(self, message: object, sender: Address | None = None) -> None:
        """Let a message wait that the actor itself has caused."""
        self.mailbox.put_own((message, sender, 0))
        self.enqueue()

    def put_urgent(self, message: object) -> None:
        """Let a message of the runtime wait, before others."""
        self.mailbox.put_urgent((message, None, 0))
        self.enqueue()

    def run_callback(self, call: Callable[[], None]) -> None:
        """Call `call` in the actor's turn."""
        self.put_own(Callback(call))

    def enqueue(self) -> None:
        """Ask for a run, unless that was done already."""
        if not self.scheduled:
            self.scheduled = True
            self._schedule.ready.append(self)

    def touch(self) -> None:
        """Ask for `on_turn_end`, once a turn."""
        self.touched = True
        self._schedule.touched.append(self)

    def handle(self, messages_max: int) -> None:
        """Handle so many letters, or all, or until the actor asks to be stopped or raises."""
        urgent, ordinary = self.mailbox.urgent, self.mailbox.ordinary
        # None that is counted comes while others are handled, as frames are opened at another time.
        counted = self.mailbox.bytes > 0
        actor = self.actor
        running = State.RUNNING
        handled = 0
        try:
            while handled < messages_max and self.state is running:
                if urgent:
                    queued = urgent.popleft()
                elif ordinary:
                    queued = ordinary.popleft()
                else:
                    break
                handled += 1
                if counted:
                    self.mailbox.take_from_count(queued)
                self.queued = queued
                self.pending_ask = queued[2]
                message = queued[0]
                handler = self.behaviour.get(type(message))
                if handler is None:
                    self._without_handler(queued)
                else:
                    handler(actor, message)
                    if self.pending_ask:
                        self.refuse_pending_ask("not answered")
        finally:
            self.handled += handled

    def _without_handler(self, queued: QueuedMessage) -> None:
        message = queued[0]
        if type(message) is Callback:
            message.call()
        elif type(message) is Exit:
            if message.failed:
                raise LinkedActorDown(f"{message.address}, which it is linked to: {message.reason}")
        else:
            self.pending_ask = 0
            self._office.undelivered(self.address, queued, Reason.NO_HANDLER)

    def handle_own(self, message: object) -> None:
        """Handle a message that the actor itself has caused, now, in its turn."""
        self.queued = (message, None, 0)
        handler = self.behaviour.get(type(message))
        if handler is None:
            self._without_handler(self.queued)
        else:
            handler(self.actor, message)

    def refuse_pending_ask(self, reason: str) -> None:
        """Tell the asker of the present letter that it won't be answered; does nothing when it was."""
        if self.pending_ask:
            self.pending_ask = 0
            self.unanswered += 1
            self._office.refuse(self.queued, reason, delivered=True)

    def stash(self) -> None:
        """Put the present letter aside, with its claim to an answer."""
        if self.mailbox.has_room_aside(len(self.stashed)):
            self.stashed.append(self.queued)
            self.mailbox.add_to_count(self.queued)
        else:
            self._office.undelivered(self.address, self.queued, Reason.STASH_FULL)
        self.pending_ask = 0

    def unstash_all(self) -> None:
        """Handle next what was put aside."""
        self.mailbox.put_back(self.stashed)
        self.stashed.clear()
        self.enqueue()

    def defer_reply(self) -> Reply:
        """Turn the present letter's claim into a debt.

        A message that was told, though others ask it, has no claim: its answer will be a dead letter.
        """
        queued = self.queued
        sender, correlation = queued[1], queued[2]
        if not correlation:
            return Reply(sender or self._office.itself, 0, self._answer_to_a_tell)
        assert sender is not None and self.pending_ask, "the message being handled was answered already"
        self.pending_ask = 0
        debts = self.pending_replies
        reply = Reply(sender, correlation, self._office.answer, debts)
        debts[reply] = None
        return reply

    def _answer_to_a_tell(self, to: Address, _correlation: int, answer: object) -> None:
        self._office.dead_letters.add(Reason.NO_REPLY_EXPECTED, to, self.address, type(answer).__qualname__)

    def open_asks(self) -> Iterator[tuple[Address, int]]:
        """The asks that this actor has not answered: in its mailbox, in its stash, and as debts."""
        for queued_messages in (self.mailbox.ordinary, self.stashed):
            for queued in queued_messages:
                if queued[2] and queued[1] is not None:
                    yield queued[1], queued[2]
        for pending_reply in self.pending_replies:
            yield pending_reply.to, pending_reply.correlation
        for running in self.coroutines:
            if running.pending_ask and running.queued[1] is not None:
                yield running.queued[1], running.pending_ask
        yield from self.linked_by.items()

    def end_incarnation(self, reason: str, *, failed: bool) -> None:
        """Undo everything that belongs to the present incarnation, and let those who wait for it know."""
        self.refuse_pending_ask(reason)
        for pending_reply in list(self.pending_replies):
            pending_reply.drop()
            self._office.answer_refused(pending_reply.to, pending_reply.correlation, reason, delivered=True)
        for running in self.coroutines:
            if running.pending_ask:
                self._office.refuse(running.queued, reason, delivered=True)
            running.cancel()
        self.coroutines.clear()
        for timer in list(self.timers):
            timer.cancel()
        self.keyed_timers.clear()
        if self.links or self.linked_by:
            self._office.links.end(self, reason, failed=failed)
        for address in list(self.watches):
            self._office.unwatch(self, address)
        self.mailbox.withdraw(lambda message: type(message) in LIFECYCLE_MESSAGES)
        self._office.unwatch_processes(self)
        for pending in list(self.asks):
            pending.cancel()
        self.unstash_all()
        self.actor = None
        self.entered = False
        self.table = self.behaviour = {}
        self.queued = NO_MESSAGE

    def info(self) -> ActorInfo:
        """What can be seen from outside."""
        return ActorInfo(
            address=self.address,
            state=self.state.value,
            behaviour=tuple(sorted(_name_of(kind) for kind in self.behaviour)),
            mailbox_depth=len(self.mailbox),
            stashed=len(self.stashed),
            owed=len(self.pending_replies),
            handled=self.handled,
            dropped=self.mailbox.dropped,
            restarts=self.restarts,
            children=tuple(self.children),
            last_error=self.last_error,
        )


def _name_of(kind: object) -> str:
    return str(getattr(kind, "__qualname__", type(kind).__qualname__))
