"""How a message finds its mailbox, here or in another process, and what comes back.

Owns tell, ask, answer and death watch, for both directions. Knows nothing of when actors run or
how they are started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from actors.address import Address
from actors.asks import Answerable, Asks, Pending, Reply, Runner
from actors.cell import LIFECYCLE_MESSAGES, Cell, State
from actors.clock import Clock
from actors.codec import Encodable, Registry, read_envelopes
from actors.envelope import (
    ACTORS_TOLD_MAX,
    DIRECTORY_TAG_MAX,
    OPEN_ASKS_MAX,
    Envelope,
    Exit,
    Inspect,
    Link,
    OpenAsks,
    ProcessDown,
    ProcessInfo,
    ProcessUp,
    Refused,
    Resync,
    Taken,
    Terminated,
    Undelivered,
    Unwatch,
    Watch,
)
from actors.errors import AskFailed, CodecError
from actors.failures.crash_reports import CrashReport
from actors.failures.dead_letters import DeadLetters, Reason
from actors.failures.exits import Links
from actors.failures.refused_tells import RefusedTells
from actors.mailbox import QueuedMessage
from actors.timers import Timer, Timers
from actors.transport.base import IncarnationUsed, PeerDown, PeerUp, Received, Transport, TransportEvent
from actors.transport.outbox import Outbox

PROBE_SECONDS: Final = 1.0
UNCOUNTED_BYTES_MAX: Final = 1024
"""Messages of a frame that are no longer than this on average count in mailboxes as messages only."""
_PARTED_KEPT_MAX: Final = 4096
Judge = Callable[[object], object | None]
"""What is answered instead to a message that its sender may not send; None for one that it may."""


class Delivery:
    """The addresses of one process, and its connections to all others."""

    def __init__(self, transport: Transport, registry: Registry, clock: Clock, timers: Timers) -> None:
        self.name = transport.name
        self.itself = Address(self.name, "")
        self.cells: dict[str, Cell] = {}
        self.aliases: dict[str, Cell] = {}  # Other names that actors answer to.
        self.dead_letters = DeadLetters()
        self.links = Links(self)
        self.asks = Asks(transport.incarnation, clock, timers)
        self.outbox = Outbox(transport, registry, self.asks, self.dead_letters, clock, timers)
        self.outbox.on_resync = self._say_again
        self.refused_tells = RefusedTells(self)
        self.outbox.on_refused_tells = self.refused_tells.note_own
        self.directory: Address | None = None
        self.peers: dict[str, int] = {}
        self.judges: Mapping[str, Judge | None] | None = None
        """By process, who says what it may not ask for; see Runtime."""
        self.process_requests: dict[type, Callable[[Address, int, Any], None]] = {
            Inspect: lambda sender, correlation, _inspect: self.answer(sender, correlation, self.info())
        }
        """What is asked of this process as a whole, at its address without an actor, and what answers it."""
        self._parted: dict[str, int] = {}
        self._clock = clock
        self._timers = timers
        self._probe: Timer | None = None
        self._registry = registry
        self._transport = transport
        self._process_watchers: dict[str, dict[Cell, None]] = {}

    def tell(self, sender: Address | None, to: Address, message: object) -> None:
        """Send a message; one to another process leaves when the turn ends."""
        if to.process != self.name:
            self.outbox.put(to, "" if sender is None else sender.actor, 0, message)
            return
        cell = self.cells.get(to.actor)
        if cell is None:
            self.undelivered(to, (message, sender, 0), Reason.NO_SUCH_ACTOR)
        elif cell.address is sender:
            cell.put_own(message, sender)
        else:
            cell.put((message, sender, 0))

    def ask(
        self,
        sender: Address,
        to: Address,
        message: object,
        timeout_seconds: float | None,
        run: Runner | None = None,
        group: set[Pending[Any]] | None = None,
    ) -> Pending[Any]:
        """Send a message that wants a reply; without a timeout it waits for as long as the target lives."""
        pending = self.asks.open(to, timeout_seconds, run, group)
        if to.process == self.name:
            self._deliver_ask(to, (message, sender, pending.correlation))
            return pending
        try:
            self.outbox.put(to, sender.actor, pending.correlation, message)
        except CodecError:
            pending.cancel()
            raise
        return pending

    def answer(self, to: Address, correlation: int, message: object) -> None:
        """Send the reply to an ask; when it can't be encoded the asker is told so instead."""
        if to.process == self.name:
            self._settle_here(to, correlation, message)
            return
        try:
            self.outbox.put(to, "", -correlation, message)
        except CodecError as error:
            self.dead_letters.add(Reason.UNENCODABLE, to, None, type(message).__qualname__)
            self.answer_refused(to, correlation, f"its answer cannot be sent: {error}", delivered=True)

    def answer_all(self, answers: Sequence[tuple[Answerable, object]]) -> None:
        """As `send` of each of these replies; those to one process are encoded together, in less time."""
        if len(answers) == 1:
            answers[0][0].send(answers[0][1])
            return
        tags, by_process = self._registry.tags, dict[str, list[Encodable]]()
        for reply, message in answers:
            tag = tags.get(type(message))
            if (
                tag is None
                or type(reply) is not Reply
                or not reply.correlation
                or (to := reply.to).process == self.name
            ):
                reply.send(message)
            elif reply.claim():
                if (put := by_process.get(to.process)) is None:
                    put = by_process[to.process] = []
                put.append((to.actor, "", -reply.correlation, tag, message))
        for process, put in by_process.items():
            if not self.outbox.put_all(process, put):
                for actor, _, correlation, _, message in put:
                    self.answer(Address(process, actor), -correlation, message)

    def answer_refused(self, to: Address, correlation: int, reason: str, *, delivered: bool) -> None:
        """Tell an asker that no reply will come."""
        self._answer_for_runtime(to, correlation, Refused(reason, delivered))

    def tell_end(self, watcher: Address, correlation: int, end: Terminated | Exit) -> None:
        """Tell a watcher, by the correlation of its watch, that an actor of this process is gone."""
        self._answer_for_runtime(watcher, correlation, end)

    def _answer_for_runtime(
        self, to: Address, correlation: int, message: Refused | Terminated | Exit
    ) -> None:
        if to.process == self.name:
            self._settle_here(to, correlation, message)
        else:
            self.outbox.put_system(to, "", -correlation, message)

    def _settle_here(self, to: Address, correlation: int, message: object) -> None:
        if not self.asks.settle(self.name, correlation, message):
            self._unasked(to, None, message)

    def refuse(self, queued: QueuedMessage, reason: str, *, delivered: bool) -> None:
        """Tell the sender of a letter that no reply will come, if it was an ask."""
        sender, correlation = queued[1:3]
        if correlation and sender is not None:
            self.answer_refused(sender, correlation, reason, delivered=delivered)

    def undelivered(self, to: Address, queued: QueuedMessage, reason: Reason, detail: str = "") -> None:
        """Count a dead letter, and let its sender know if it was an ask."""
        message, sender = queued[:2]
        if reason is Reason.MAILBOX_FULL and sender is not None and not queued[2]:
            self.refused_tells.note(sender, to, reason, 1)
        self.dead_letters.add(reason, to, sender, type(message).__qualname__)
        self.refuse(queued, f"{reason}: {detail}" if detail else reason, delivered=False)

    def watch(self, cell: Cell, target: Address) -> None:
        """Tell `cell` once when `target` is gone: an ask whose answer is the end."""
        if target in cell.watches:
            return
        pending = self.asks.open(target, None)

        def tell_the_end(reason: str) -> None:
            cell.watches.pop(target, None)
            cell.put_urgent(Terminated(target, reason))

        def on_reply(reply: Any) -> None:
            tell_the_end(reply.reason if type(reply) is Terminated else "unknown")

        def on_failure(failure: AskFailed) -> None:
            tell_the_end(str(failure))

        cell.watches[target] = pending
        pending.then(on_reply, on_failure)
        self.ask_for_runtime(cell, target, Watch(), pending.correlation)

    def ask_for_runtime(self, cell: Cell, target: Address, message: Watch | Link, correlation: int) -> None:
        """Ask another actor's runtime for its end, by an ask that is open; a silent process is probed."""
        if target.process == self.name:
            self._deliver_ask(target, (message, cell.address, correlation))
        else:
            self.outbox.put_system(target, cell.name, correlation, message)
            self._probe_later()

    def unwatch(self, cell: Cell, target: Address) -> None:
        """Take back `watch`; an end that waits in the mailbox is not told any more either."""
        cell.mailbox.withdraw(lambda message: type(message) is Terminated and message.address == target)
        pending = cell.watches.pop(target, None)
        if pending is None:
            return
        pending.cancel()
        self.tell_runtime(cell, target, Unwatch(pending.correlation))

    def tell_runtime(self, cell: Cell, target: Address, message: Unwatch) -> None:
        """Take back what `ask_for_runtime` has asked."""
        if target.process == self.name:
            self._forget_watcher(target.actor, cell.address, message.watch)
        else:
            self.outbox.put_system(target, cell.name, 0, message)

    def watch_process(self, cell: Cell, process: str) -> None:
        """Tell `cell` when `process` comes and goes; at once, if it is there."""
        self._process_watchers.setdefault(process, {})[cell] = None
        incarnation = self.peers.get(process)
        if incarnation is not None:
            cell.put_urgent(ProcessUp(process, incarnation))

    def unwatch_process(self, cell: Cell, process: str) -> None:
        """Take back `watch_process`; what waits in the mailbox is not told any more either."""
        news = (ProcessUp, ProcessDown)
        cell.mailbox.withdraw(lambda message: type(message) in news and message.process == process)
        watchers = self._process_watchers.get(process, {})
        watchers.pop(cell, None)
        if not watchers:
            self._process_watchers.pop(process, None)

    def unwatch_processes(self, cell: Cell) -> None:
        """Take back all that `cell` asked of `watch_process`."""
        for process in list(self._process_watchers):
            self.unwatch_process(cell, process)

    def receive(self, event: TransportEvent) -> None:
        """Act on what the transport has reported."""
        if type(event) is Received:
            self._open_frame(event.process, event.payload)
        elif type(event) is PeerUp:
            self._peer_up(event.process, event.incarnation)
        elif type(event) is PeerDown:
            self._peer_down(event.process, event.reason)
        elif type(event) is IncarnationUsed:
            for cell in self._process_watchers.get(event.process, ()):
                cell.put_urgent(event)

    def _open_frame(self, process: str, payload: bytes) -> None:
        envelopes, broken = read_envelopes(payload)
        if broken:
            self.dead_letters.add(
                Reason.UNDECODABLE, self.itself, Address(process, ""), "part of a frame", broken
            )
        decode = self._registry.decode
        size = len(payload)
        counted = size > UNCOUNTED_BYTES_MAX and size > UNCOUNTED_BYTES_MAX * len(envelopes)
        judge = None if self.judges is None else self.judges[process]
        cell, name, sender = None, None, None
        letters: list[QueuedMessage] = []  # One after another for `cell`, which is called `name`.
        for envelope in envelopes:
            correlation, to = envelope.correlation, envelope.to
            if to != name or correlation < 0 or envelope.tag < 0:
                if letters and cell is not None:
                    cell.put_all(letters)  # Before what this one leads to, which may also start an actor.
                    letters = []
                name = None
            try:
                message = decode(envelope.tag, envelope.payload)
            except CodecError as error:
                self._undecodable(envelope, Address(process, envelope.sender), error)
                continue
            if correlation < 0:
                if not self.asks.settle(process, -correlation, message):
                    self._unasked(Address(self.name, to), Address(process, envelope.sender), message)
                continue
            if sender is None or envelope.sender != sender.actor:
                sender = Address(process, envelope.sender)
            if envelope.tag < 0:
                self._deliver_special(envelope, sender, message)
            elif judge is not None and (refusal := judge(message)) is not None:
                self._forbid(Address(self.name, to), (message, sender, correlation), refusal)
            else:
                if name is None:
                    cell, name = self._cell_of(to), to
                if cell is None:
                    queued = (message, sender, correlation)
                    self.undelivered(Address(self.name, to), queued, Reason.NO_SUCH_ACTOR)
                elif counted:
                    cell.put_counted((message, sender, correlation, len(envelope.payload)))
                else:
                    letters.append((message, sender, correlation))
        if letters and cell is not None:
            cell.put_all(letters)

    def _cell_of(self, name: str) -> Cell | None:
        cell = self.aliases.get(name)  # As clients of a cluster do; it may have stopped.
        return cell if cell is not None and cell.state is not State.STOPPED else self.cells.get(name)

    def _unasked(self, to: Address, sender: Address | None, message: object) -> None:
        self.dead_letters.add(Reason.UNASKED_REPLY, to, sender, type(message).__qualname__)

    def _forbid(self, to: Address, queued: QueuedMessage, refusal: object) -> None:
        """Answer in the actor's place what its asker may not ask for."""
        message, sender, correlation = queued[:3]
        self.dead_letters.add(Reason.FORBIDDEN, to, sender, type(message).__qualname__)
        if correlation and sender is not None:
            self.answer(sender, correlation, refusal)

    def _undecodable(self, envelope: Envelope, sender: Address, error: CodecError) -> None:
        to = Address(self.name, envelope.to)
        if envelope.correlation >= 0:
            queued = (envelope.payload, sender, envelope.correlation)
            self.undelivered(to, queued, Reason.UNDECODABLE, str(error))
            return
        self.dead_letters.add(Reason.UNDECODABLE, to, sender, "reply")
        unread = Refused(f"its answer cannot be read here: {error}", delivered=True)
        self.asks.settle(sender.process, -envelope.correlation, unread)

    def _deliver_special(self, envelope: Envelope, sender: Address, message: object) -> None:
        to = Address(self.name, envelope.to)
        if envelope.correlation:
            self._deliver_ask(to, (message, sender, envelope.correlation))
        elif type(message) is Unwatch:
            self._forget_watcher(envelope.to, sender, message.watch)
        elif type(message) is Resync:
            self._forget_watchers(sender.process)
            self._say_again(sender.process)
        elif type(message) is Undelivered and message.to.process == sender.process:
            self.dead_letters.add(f"{message.reason} there", message.to, to, "tell", message.count)
            self.refused_tells.tell_sender(to, message)
        elif type(message) is OpenAsks:
            self._refuse_unknown(sender.process, message.correlations)
        elif type(message) is CrashReport and message.address.process == sender.process:
            self.tell(sender, to, message)
        elif envelope.tag <= DIRECTORY_TAG_MAX:
            self._deliver_told(to, sender, message)
        else:
            # Only its own runtime tells an actor that another one has ended.
            self.undelivered(to, (message, sender, 0), Reason.UNDECODABLE)

    def _deliver_told(self, to: Address, sender: Address, message: object) -> None:
        cell = self.cells.get(to.actor)
        if cell is None:
            self.undelivered(to, (message, sender, 0), Reason.NO_SUCH_ACTOR)
        else:
            cell.put((message, sender, 0))

    def _deliver_ask(self, to: Address, queued: QueuedMessage) -> None:
        message, sender, correlation = queued[:3]
        assert sender is not None, "an ask comes from somewhere"
        cell = self.cells.get(to.actor)
        if type(message) is Taken:
            self.answer(sender, correlation, message)
        elif cell is None:
            if not to.actor and (answer := self.process_requests.get(type(message))) is not None:
                answer(sender, correlation, message)
            elif type(message) is Watch:
                self.answer(sender, correlation, Terminated(to, Reason.NO_SUCH_ACTOR))
            elif type(message) is Link:
                self.answer(sender, correlation, Exit(to, Reason.NO_SUCH_ACTOR, failed=True))
            else:
                self.undelivered(to, queued, Reason.NO_SUCH_ACTOR)
        elif type(message) is Inspect:
            self.answer(sender, correlation, cell.info())
        elif type(message) is Watch:
            cell.watchers[sender, correlation] = None
        elif type(message) is Link:
            self.links.accept(cell, sender, correlation)
        elif type(message) in LIFECYCLE_MESSAGES:
            self.undelivered(to, queued, Reason.UNDECODABLE)  # Only the actor's own runtime says such things.
        else:
            cell.put(queued)

    def info(self) -> ProcessInfo:
        """This process as seen from outside."""
        cells = sorted(self.cells.values(), key=lambda cell: -len(cell.mailbox))
        return ProcessInfo(
            process=self.name,
            incarnation=self._transport.incarnation,
            actors_count=len(cells),
            actors=tuple(cell.info() for cell in cells[:ACTORS_TOLD_MAX]),
            open_asks=len(self.asks),
            dead_letters=dict(self.dead_letters.counts),
            recent_dead_letters=tuple(self.dead_letters.recent),
            dropped_frames=dict(self._transport.counters),
        )

    def _forget_watcher(self, actor: str, watcher: Address, correlation: int) -> None:
        cell = self.cells.get(actor)
        if cell is not None:
            cell.watchers.pop((watcher, correlation), None)
            if cell.linked_by:
                self.links.forget(cell, watcher, correlation)

    def _peer_up(self, process: str, incarnation: int) -> None:
        known = self.peers.get(process)
        if known is not None and known != incarnation:
            self._peer_down(process, "replaced by a new incarnation")
        self.peers[process] = incarnation
        self.outbox.peer_up(process)
        if self._parted.pop(process, None) == incarnation:
            # We gave it up, and it may never have noticed.
            self.outbox.put_system(Address(process, ""), "", 0, Resync())
            self._say_again(process)
        for cell in self._process_watchers.get(process, ()):
            cell.put_urgent(ProcessUp(process, incarnation))

    def _peer_down(self, process: str, reason: str) -> None:
        incarnation = self.peers.pop(process, None)
        if incarnation is not None:
            self._parted[process] = incarnation
            if len(self._parted) > _PARTED_KEPT_MAX:
                del self._parted[next(iter(self._parted))]
        self.outbox.peer_down(process)
        self.asks.fail_process(process, reason)
        self._forget_watchers(process)
        for cell in self.cells.values():
            for pending_reply in [
                pending_reply for pending_reply in cell.pending_replies if pending_reply.to.process == process
            ]:
                pending_reply.drop()
        for cell in self._process_watchers.get(process, ()):
            cell.put_urgent(ProcessDown(process, reason))

    def _forget_watchers(self, process: str) -> None:
        for cell in self.cells.values():
            for watcher in [key for key in cell.watchers if key[0].process == process]:
                del cell.watchers[watcher]

    def _say_again(self, process: str) -> None:
        """Tell a process what we wait for there."""
        watching = set()
        for cell in self.cells.values():
            for target, pending in cell.watches.items():
                if target.process == process:
                    watching.add(pending.correlation)
                    self.outbox.put_system(target, cell.name, pending.correlation, Watch())
        asked = [correlation for correlation in self.asks.open_at(process) if correlation not in watching]
        for start in range(0, len(asked), OPEN_ASKS_MAX):
            some = OpenAsks(tuple(asked[start : start + OPEN_ASKS_MAX]))
            self.outbox.put_system(Address(process, ""), "", 0, some)

    def _refuse_unknown(self, process: str, correlations: tuple[int, ...]) -> None:
        """Let a process know which of its asks will never be answered here."""
        if not correlations:
            return
        known = {
            correlation
            for cell in self.cells.values()
            for sender, correlation in cell.open_asks()
            if sender.process == process
        }
        for correlation in correlations:
            if correlation > 0 and correlation not in known:
                reason = "it was lost when the connection between the two processes was"
                self.answer_refused(Address(process, ""), correlation, reason, delivered=True)

    def _probe_later(self) -> None:
        if self._probe is None:
            self._probe = self._timers.at(self._clock.now() + PROBE_SECONDS, self._probe_watched)

    def _probe_watched(self) -> None:
        """Send something to each process in which an actor is watched: that it is gone may show only then."""
        self._probe = None
        cells = self.cells.values()
        watched = {target.process for cell in cells for target in (*cell.watches, *cell.links)} - {self.name}
        for process in watched:
            self.outbox.put(Address(process, ""), "", 0, OpenAsks(()))
        if watched:
            self._probe_later()
