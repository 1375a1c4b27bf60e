"""Messages of the core to other nodes, each in its form and at its time.

Owns the way from the core to the runtime. Knows nothing of why a message is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from raft.core.messages import AppendEntries, InstallSnapshot, Message
from raft.core.types import Entry
from raft.node.append_coalescer import AppendCoalescer
from raft.node.snapshots.sender import Transfers
from raft.protocol.registry import address_of, pack_append, pack_entries

if TYPE_CHECKING:
    from actors.context import Context


class MessageSender:
    """Sends what may be sent."""

    def __init__(self, context: Context, transfers: Transfers) -> None:
        self._context = context
        self._transfers = transfers
        self._coalescer = AppendCoalescer(context.after, self._send_append)
        self._entries: list[Entry] = []
        self._packed: list[Raw] = []

    def send(self, message: Message) -> None:
        """Send a message to whom it is for, another node."""
        if type(message) is AppendEntries:
            self._coalescer.pass_on(message)
        elif type(message) is InstallSnapshot:
            self._transfers.begin(message)
        else:
            self._context.tell(address_of(message.to), message)

    def _send_append(self, message: AppendEntries) -> None:
        entries, before = message.entries, self._entries
        # Most followers are sent the same entries in turn. Of one log, same ends are the same all through.
        if not (len(entries) == len(before) > 0 and entries[0] is before[0] and entries[-1] is before[-1]):
            self._entries, self._packed = entries, pack_entries(entries)
        self._context.tell(address_of(message.to), pack_append(message, self._packed))
