"""Messages of the core to other nodes, each in its form and at its time.

Owns the way from the core to the runtime. Knows nothing of why a message is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core.messages import AppendEntries, InstallSnapshot, Message
from raft.core.raft import Raft
from raft.node.lull import Lull
from raft.wire import address_of, pack_append

if TYPE_CHECKING:
    from actors.context import Context

SNAPSHOT_SECONDS_MAX = 5.0


class Outgoing:
    """Sends what may be sent."""

    def __init__(self, raft: Raft, context: Context) -> None:
        self._raft = raft
        self._context = context
        self._lull = Lull(context.after, self._send_append)

    def send(self, message: Message) -> None:
        """Send a message to whom it is for, another node."""
        if type(message) is AppendEntries:
            self._lull.pass_on(message)
            return
        self._context.tell(address_of(message.to), message)
        if type(message) is InstallSnapshot:
            # Nothing tells that it was lost on the way; without a word from the follower, try again.
            peer = message.to
            self._context.after(SNAPSHOT_SECONDS_MAX, lambda: self._raft.report_snapshot(peer, False))

    def _send_append(self, message: AppendEntries) -> None:
        self._context.tell(address_of(message.to), pack_append(message))
