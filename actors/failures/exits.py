"""Links: two actors of which each fails when the other does, as in OTP.

Owns who is linked to whom. A link is an ask in each direction, whose answer is the Exit of the other: so
it crosses processes, and breaks when they lose each other. It belongs to one incarnation of both. An actor
with a handler for Exit is told instead of failing (OTP's trap_exit). Knows nothing of how incarnations end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from actors.address import Address
from actors.envelope import Exit, Link, Unwatch
from actors.errors import AskFailed

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.delivery import Delivery


class Links:
    """The links of one process's actors to others, here or elsewhere."""

    def __init__(self, office: Delivery) -> None:
        self._office = office

    def link(self, cell: Cell, target: Address) -> None:
        """Link an actor of this process to another one; does nothing when they are linked."""
        if target in cell.links or target == cell.address:
            return
        pending = self._office.asks.open(target, None)
        cell.links[target] = pending
        pending.then(partial(self._told, cell, target), partial(self._lost, cell, target))
        self._office.ask_for_runtime(cell, target, Link(), pending.correlation)

    def accept(self, cell: Cell, asker: Address, correlation: int) -> None:
        """Another actor has linked itself to one of this process, which links itself back.

        Only in this process and in one system: a stranger could end an actor by linking it and failing.
        """
        if asker.process != self._office.name and self._office.directory is None:
            refusal = Exit(cell.address, "links are accepted within one system only", failed=True)
            self._office.answer(asker, correlation, refusal)
            return
        cell.linked_by[asker] = correlation
        self.link(cell, asker)

    def unlink(self, cell: Cell, target: Address) -> None:
        """Take a link back, at both ends."""
        cell.mailbox.withdraw(lambda message: type(message) is Exit and message.address == target)
        cell.linked_by.pop(target, None)
        pending = cell.links.pop(target, None)
        if pending is not None:
            pending.cancel()
            self._office.tell_runtime(cell, target, Unwatch(pending.correlation))

    def forget(self, cell: Cell, asker: Address, correlation: int) -> None:
        """The other end has taken the link back."""
        if cell.linked_by.get(asker) == correlation:
            del cell.linked_by[asker]
            pending = cell.links.pop(asker, None)
            if pending is not None:
                pending.cancel()

    def end(self, cell: Cell, reason: str, *, failed: bool) -> None:
        """An incarnation has ended: tell those that are linked to it."""
        for pending in list(cell.links.values()):
            pending.cancel()
        cell.links.clear()
        linked_by, cell.linked_by = cell.linked_by, {}
        for asker, correlation in linked_by.items():
            self._office.tell_end(asker, correlation, Exit(cell.address, reason, failed))

    def _told(self, cell: Cell, target: Address, reply: object) -> None:
        exit_ = reply if type(reply) is Exit else Exit(target, "unknown", failed=True)
        self._broken(cell, target, exit_)

    def _lost(self, cell: Cell, target: Address, failure: AskFailed) -> None:
        self._broken(cell, target, Exit(target, str(failure), failed=True))

    def _broken(self, cell: Cell, target: Address, exit_: Exit) -> None:
        cell.links.pop(target, None)
        cell.linked_by.pop(target, None)
        cell.put_urgent(exit_)
