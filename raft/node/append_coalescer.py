"""Appends without entries, which only tell how far the log is committed: held back for a moment.

Owns the wait. Under load the next append follows at once and tells the same, so that half of all
messages need not be sent, nor answered. Knows nothing of why an append is empty; held for so short a
time, a probe does its work as well.
"""

from __future__ import annotations

from collections.abc import Callable

from raft.core.messages import AppendEntries
from raft.core.types import NodeId

COALESCE_SECONDS = 0.005


class AppendCoalescer:
    """The empty appends that wait, one for each peer; any later append to that peer takes its place."""

    def __init__(
        self,
        after: Callable[[float, Callable[[], None]], object],
        send: Callable[[AppendEntries], None],
    ) -> None:
        self._after = after
        self._send = send
        self._held: dict[NodeId, AppendEntries] = {}
        self._waiting = False

    def pass_on(self, message: AppendEntries) -> None:
        """Send an append now if it has entries, else when nothing has followed it for a while."""
        if message.entries:
            self._held.pop(message.to, None)
            self._send(message)
            return
        self._held[message.to] = message
        if not self._waiting:
            self._waiting = True
            self._after(COALESCE_SECONDS, self._end)

    def _end(self) -> None:
        self._waiting = False
        held, self._held = self._held, {}
        for message in held.values():
            self._send(message)
