"""Messages of the core to other nodes, each in its form and at its time.

Owns the way from the core to the runtime. Knows nothing of why a message is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core.messages import AppendEntries, InstallSnapshot, Message
from raft.node.lull import Lull
from raft.node.transfers import Transfers
from raft.wire import address_of, pack_append

if TYPE_CHECKING:
    from actors.context import Context


class Outgoing:
    """Sends what may be sent."""

    def __init__(self, context: Context, transfers: Transfers) -> None:
        self._context = context
        self._transfers = transfers
        self._lull = Lull(context.after, self._send_append)

    def send(self, message: Message) -> None:
        """Send a message to whom it is for, another node."""
        if type(message) is AppendEntries:
            self._lull.pass_on(message)
        elif type(message) is InstallSnapshot:
            self._transfers.begin(message)
        else:
            self._context.tell(address_of(message.to), message)

    def _send_append(self, message: AppendEntries) -> None:
        self._context.tell(address_of(message.to), pack_append(message))
