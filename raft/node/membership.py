"""Changes of the configuration as they are applied: who votes now, and where the new ones listen.

Owns the step from a committed entry to a changed membership. Knows nothing of how a change comes to be
proposed, or of whether it is safe.
"""

from __future__ import annotations

from collections.abc import Callable

from raft.core.changes import decode_conf_change
from raft.core.errors import ConfChangeRefused
from raft.core.raft import Raft
from raft.core.types import Entry, NodeId, Snapshot
from raft.node.peers import Peers, decode_endpoints
from raft.node.reporting import Journal


class Membership:
    """Keeps the core and the peers in step with the log; `meet` is called for each member that is new."""

    def __init__(
        self, raft: Raft, peers: Peers, meet: Callable[[NodeId, str], None], journal: Journal
    ) -> None:
        self._raft = raft
        self._peers = peers
        self._meet = meet
        self._journal = journal

    def apply(self, entry: Entry) -> None:
        """Apply a committed change."""
        try:
            change = decode_conf_change(entry)
            conf_state = self._raft.apply_conf_change(change, entry.index)
        except ConfChangeRefused as refused:
            # Alike on every replica: an entry that changes nothing, not a crash.
            self._journal.event("conf-change-refused", str(refused), index=entry.index)
            return
        self._peers.voters = conf_state.voters
        for peer, endpoint in decode_endpoints(change.as_v2().context).items():
            if self._peers.add(peer, endpoint):
                self._meet(peer, endpoint)

    def restored(self, snapshot: Snapshot) -> None:
        """A snapshot has brought its configuration along; the core has switched to it already."""
        self._peers.voters = snapshot.conf_state.voters
