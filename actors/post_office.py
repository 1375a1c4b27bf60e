"""How a message finds its mailbox, here or in another process, and what comes back.

Owns tell, ask, answer and death watch, for both directions. Knows nothing of when actors run or
how they are started.
"""

from __future__ import annotations

from typing import Any, Final

from actors.address import Address
from actors.asks import Asks, Pending, Runner
from actors.cell import Cell
from actors.clock import Clock
from actors.codec import Registry, decode_frame
from actors.crashes import CrashReport
from actors.dead_letters import DeadLetters, Reason
from actors.envelope import (
    Envelope,
    Inspect,
    ProcessDown,
    ProcessUp,
    Refused,
    Terminated,
    Unwatch,
    Watch,
)
from actors.errors import AskFailed, CodecError
from actors.mailbox import Letter
from actors.outbox import Outbox
from actors.timers import Timers
from actors.transport import PeerDown, PeerUp, Received, Transport

_SENDERS_KEPT_MAX: Final = 1024


class PostOffice:
    """The addresses of one process, and its connections to all others."""

    def __init__(self, transport: Transport, registry: Registry, clock: Clock, timers: Timers) -> None:
        self.name = transport.name
        self.itself = Address(self.name, "")
        self.cells: dict[str, Cell] = {}
        self.aliases: dict[str, Cell] = {}  # Other names that actors answer to.
        self.dead_letters = DeadLetters()
        self.asks = Asks(transport.incarnation, clock, timers)
        self.outbox = Outbox(transport, registry, self.asks, self.dead_letters)
        self.peers: dict[str, int] = {}
        self._registry = registry
        self._senders: dict[str, dict[str, Address]] = {}
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
        group: set[Pending] | None = None,
    ) -> Pending:
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
        """Send the reply to an ask."""
        if to.process != self.name:
            self.outbox.put(to, "", -correlation, message)
        elif not self.asks.settle(self.name, correlation, message):
            self.dead_letters.add(Reason.UNASKED_REPLY, to, None, type(message).__qualname__)

    def answer_refused(self, to: Address, correlation: int, reason: str, *, delivered: bool) -> None:
        """Tell an asker that no reply will come."""
        self.answer(to, correlation, Refused(reason, delivered))

    def refuse(self, letter: Letter, reason: str, *, delivered: bool) -> None:
        """Tell the sender of a letter that no reply will come, if it was an ask."""
        _, sender, correlation = letter
        if correlation and sender is not None:
            self.answer_refused(sender, correlation, reason, delivered=delivered)

    def undelivered(self, to: Address, letter: Letter, reason: Reason) -> None:
        """Count a dead letter, and let its sender know if it was an ask."""
        message, sender, _ = letter
        self.dead_letters.add(reason, to, sender, type(message).__qualname__)
        self.refuse(letter, reason, delivered=False)

    def watch(self, cell: Cell, target: Address) -> None:
        """Tell `cell` once when `target` is gone: an ask whose answer is the end."""
        if target in cell.watches:
            return
        pending = self.ask(cell.address, target, Watch(), None)

        def tell_the_end(reason: str) -> None:
            cell.watches.pop(target, None)
            cell.put_urgent(Terminated(target, reason))

        def on_reply(reply: Any) -> None:
            tell_the_end(reply.reason if type(reply) is Terminated else "unknown")

        def on_failure(failure: AskFailed) -> None:
            tell_the_end(str(failure))

        cell.watches[target] = pending
        pending.then(on_reply, on_failure)

    def unwatch(self, cell: Cell, target: Address) -> None:
        """Take back `watch`."""
        pending = cell.watches.pop(target, None)
        if pending is None:
            return
        pending.cancel()
        if target.process == self.name:
            self._forget_watcher(target.actor, cell.address, pending.correlation)
        else:
            self.outbox.put(target, cell.name, 0, Unwatch(pending.correlation))

    def watch_process(self, cell: Cell, process: str) -> None:
        """Tell `cell` when `process` comes and goes; at once, if it is there."""
        self._process_watchers.setdefault(process, {})[cell] = None
        incarnation = self.peers.get(process)
        if incarnation is not None:
            cell.put_urgent(ProcessUp(process, incarnation))

    def unwatch_process(self, cell: Cell, process: str) -> None:
        """Take back `watch_process`."""
        watchers = self._process_watchers.get(process, {})
        watchers.pop(cell, None)
        if not watchers:
            self._process_watchers.pop(process, None)

    def unwatch_processes(self, cell: Cell) -> None:
        """Take back all that `cell` asked of `watch_process`."""
        for process in list(self._process_watchers):
            self.unwatch_process(cell, process)

    def receive(self, event: Received | PeerUp | PeerDown) -> None:
        """Act on what the transport has reported."""
        if type(event) is Received:
            self._open_frame(event.process, event.payload)
        elif type(event) is PeerUp:
            self._peer_up(event.process, event.incarnation)
        elif type(event) is PeerDown:
            self._peer_down(event.process, event.reason)

    def _open_frame(self, process: str, payload: bytes) -> None:
        try:
            envelopes = decode_frame(payload)
        except CodecError:
            self.dead_letters.add(Reason.UNDECODABLE, self.itself, Address(process, ""), "frame")
            return
        senders = self._senders.setdefault(process, {})
        if len(senders) > _SENDERS_KEPT_MAX:
            senders.clear()
        cells, decode = self.cells, self._registry.decode
        for envelope in envelopes:
            sender = senders.get(envelope.sender)
            if sender is None:
                sender = senders[envelope.sender] = Address(process, envelope.sender)
            try:
                message = decode(envelope.tag, envelope.payload)
            except CodecError:
                letter = (envelope.payload, sender, max(envelope.correlation, 0))
                self.undelivered(Address(self.name, envelope.to), letter, Reason.UNDECODABLE)
                continue
            correlation = envelope.correlation
            if correlation < 0 or envelope.tag < 0:
                self._deliver_special(envelope, sender, message)
                continue
            cell = cells.get(envelope.to) or self._called(envelope.to)
            if cell is None:
                to = Address(self.name, envelope.to)
                self.undelivered(to, (message, sender, correlation), Reason.NO_SUCH_ACTOR)
            else:
                cell.put((message, sender, correlation))

    def _called(self, alias: str) -> Cell | None:
        """The living actor that answers to another name than its own."""
        cell = self.aliases.get(alias)
        return cell if cell is not None and self.cells.get(cell.name) is cell else None

    def _deliver_special(self, envelope: Envelope, sender: Address, message: object) -> None:
        to = Address(self.name, envelope.to)
        if envelope.correlation > 0:
            self._deliver_ask(to, (message, sender, envelope.correlation))
        elif envelope.correlation < 0:
            if not self.asks.settle(sender.process, -envelope.correlation, message):
                self.dead_letters.add(Reason.UNASKED_REPLY, to, sender, type(message).__qualname__)
        elif type(message) is Unwatch:
            self._forget_watcher(envelope.to, sender, message.watch)
        elif type(message) is CrashReport and message.address.process == sender.process:
            self.tell(sender, to, message)
        else:
            # Whoever tells an actor of somebody's death must be its own runtime.
            self.undelivered(to, (message, sender, 0), Reason.UNDECODABLE)

    def _deliver_ask(self, to: Address, letter: Letter) -> None:
        message, sender, correlation = letter
        assert sender is not None, "an ask comes from somewhere"
        cell = self.cells.get(to.actor)
        if cell is None:
            if type(message) is Watch:
                self.answer(sender, correlation, Terminated(to, Reason.NO_SUCH_ACTOR))
            else:
                self.undelivered(to, letter, Reason.NO_SUCH_ACTOR)
        elif type(message) is Inspect:
            self.answer(sender, correlation, cell.info())
        elif type(message) is Watch:
            cell.watchers[sender, correlation] = None
        else:
            cell.put(letter)

    def _forget_watcher(self, actor: str, watcher: Address, correlation: int) -> None:
        cell = self.cells.get(actor)
        if cell is not None:
            cell.watchers.pop((watcher, correlation), None)

    def _peer_up(self, process: str, incarnation: int) -> None:
        known = self.peers.get(process)
        if known is not None and known != incarnation:
            self._peer_down(process, "replaced by a new life")
        self.peers[process] = incarnation
        for cell in self._process_watchers.get(process, ()):
            cell.put_urgent(ProcessUp(process, incarnation))

    def _peer_down(self, process: str, reason: str) -> None:
        self.peers.pop(process, None)
        self._senders.pop(process, None)
        self.asks.fail_process(process, reason)
        for cell in self.cells.values():
            for watcher in [key for key in cell.watchers if key[0].process == process]:
                del cell.watchers[watcher]
            for debt in [debt for debt in cell.debts if debt.to.process == process]:
                debt.drop()
        for cell in self._process_watchers.get(process, ()):
            cell.put_urgent(ProcessDown(process, reason))
