"""At which of its addresses each member is tried.

Owns the connections to members: to the newest known address of each, and, while a member does not
answer there, to earlier ones in turn. An open connection is not closed for a newer address. Knows
nothing of where the addresses come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.errors import TransportError
from raft.core.types import NodeId
from raft.node.members.peers import Peers
from raft.node.reporter import Journal
from raft.protocol.registry import process_of

if TYPE_CHECKING:
    from actors.context import Context

RETRY_SECONDS: Final = 1.0
OLDER_MAX: Final = 2
"""So many earlier addresses of a member are remembered: that in the log, and the one on the command line."""


class MemberAddresses:
    """Keeps this node connected to all members passed to `admit`."""

    def __init__(self, peers: Peers, context: Context, journal: Journal) -> None:
        self._peers = peers
        self._context = context
        self._journal = journal
        self._unmet: dict[NodeId, str] = {}  # Members that can't be connected to, and why.
        self._older: dict[NodeId, list[str]] = {}
        self._tried: dict[NodeId, str] = {}
        self._looking = False

    def admit(self, peer: NodeId, endpoint: str) -> None:
        """Set the newest known address of a member."""
        before = self._peers.endpoints.get(peer)
        if not self._peers.add(peer, endpoint):
            return
        if before is not None:
            self.also(peer, before)
        if before is None or peer not in self._peers.up:
            self._connect(peer, endpoint)

    def also(self, peer: NodeId, endpoint: str) -> None:
        """Add an older address, used while a member doesn't answer at the newest."""
        older = self._older.setdefault(peer, [])
        if endpoint not in older:
            older.append(endpoint)
            del older[:-OLDER_MAX]
        if not self._looking:
            self._looking = True
            self._context.after(RETRY_SECONDS, self._check)

    def forget(self, peer: NodeId) -> None:
        """It is no longer a member."""
        for known in (self._unmet, self._older, self._tried):
            known.pop(peer, None)

    def meet(self, peer: NodeId, endpoint: str) -> str:
        """Keep a connection to a process; or return why that is impossible."""
        try:
            self._context.connect(process_of(peer), endpoint)
        except TransportError as error:
            return str(error)
        self._context.watch_process(process_of(peer))
        return ""

    def _connect(self, peer: NodeId, endpoint: str) -> None:
        """Connect to a member, now or later: that it cannot be is no reason for this node to fail.

        Its key may not be in this node's list yet, or an older version let a wrong endpoint into the log.
        """
        self._tried[peer] = endpoint
        reason = self.meet(peer, endpoint)
        if not reason:
            self._unmet.pop(peer, None)
            return
        if self._unmet.get(peer) != reason:
            self._unmet[peer] = reason
            text = f"cannot connect to n{peer}, and tries again every {RETRY_SECONDS:g} s: {reason}"
            self._journal.event("unconnected", text, peer=peer, endpoint=endpoint)
        self._context.after(RETRY_SECONDS, lambda: self._connect_again(peer, endpoint))

    def _connect_again(self, peer: NodeId, endpoint: str) -> None:
        if peer in self._unmet and self._tried.get(peer) == endpoint:
            self._connect(peer, endpoint)

    def _check(self) -> None:
        """Try the next address of members that are down; forget the older ones of those up at the newest."""
        for peer, older in list(self._older.items()):
            newest, tried = self._peers.endpoints.get(peer), self._tried.get(peer)
            if newest is None or (peer in self._peers.up and tried == newest):
                del self._older[peer]
            elif peer not in self._peers.up:
                places = [newest, *(place for place in older if place != newest)]
                at = places.index(tried) if tried in places else -1
                self._connect(peer, places[(at + 1) % len(places)])
        self._looking = bool(self._older)
        if self._looking:
            self._context.after(RETRY_SECONDS, self._check)
