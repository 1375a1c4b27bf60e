"""Tells that were refused: who is told that what it told was not taken.

A tell has no answer, so a sender that floods a full mailbox or an unknown process would never notice. What is
refused in a turn is noted by sender, target and reason, and said once when the turn ends.

Owns what is noted until then, and the way of that word to a sender: to its actor, if that handles it, or to
another process. Knows nothing of why a tell was refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.address import Address
from actors.envelope import Undelivered

if TYPE_CHECKING:
    from actors.delivery import Delivery

NOTED_MAX: Final = 1024


class RefusedTells:
    """Those of one process's actors, and of others that told them something."""

    def __init__(self, office: Delivery) -> None:
        self._office = office
        self.noted: dict[tuple[Address, Address, str], int] = {}
        """Since the last `tell`: by sender, target and reason, how many."""
        self.by_no_actor: dict[Address, str] = {}
        """Of those that came from no actor: the last reason, by target."""

    def note(self, sender: Address, to: Address, reason: str, count: int) -> None:
        """So many tells were refused."""
        key = (sender, to, reason)
        if key in self.noted or len(self.noted) < NOTED_MAX:
            self.noted[key] = self.noted.get(key, 0) + count

    def note_own(self, sender: str, to: Address, reason: str, count: int) -> None:
        """So many tells of an actor here, by its name, were refused."""
        self.note(Address(self._office.name, sender), to, reason, count)

    def tell(self) -> None:
        """Let the senders know: an actor here, if it handles that, or another process."""
        noted, self.noted = self.noted, {}
        for (sender, to, reason), count in noted.items():
            told = Undelivered(to, reason, count)
            if sender.process == self._office.name:
                self.tell_sender(sender, told)
            else:
                self._office.outbox.put(sender, "", 0, told)

    def tell_sender(self, sender: Address, told: Undelivered) -> None:
        """Let a sender of this process know."""
        if not sender.actor:
            if len(self.by_no_actor) >= NOTED_MAX:
                self.by_no_actor.clear()
            self.by_no_actor[told.to] = told.reason
            return
        cell = self._office.cells.get(sender.actor)
        if cell is not None and Undelivered in cell.behaviour:
            cell.put((told, None, 0))
