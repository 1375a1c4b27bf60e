"""Requests that came while no leader was known: admitted again as soon as there is one.

Owns which requests wait, how many, and for how long, and which node will probably lead next: that is the one
to which leadership is being transferred, or for which this node has voted. Clients are sent there at once,
wait there until it is elected, and are taken into its first append: they need not ask one node after the
other. What waits is in no log, so a refusal, or a retry at another node, is safe. Knows nothing of what a
request asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.asks import Answerable
from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role, Term
from raft.protocol.client import Command, Query

if TYPE_CHECKING:
    from actors.timers import Timer

# As long as an election takes after a leader's death was seen. Longer would be at the cost of clients that
# another node could serve, and of time-outs that would run out instead of ending in a refusal.
LEADERLESS_SECONDS_MAX = 0.02
HANDOVER_SECONDS_MAX = 0.3
HELD_MAX = 4_096


class HeldRequests:
    """Requests that wait for a leader; `admit` takes one up again, or refuses it if there is none in time.

    `refuse` is for those that came during a hand-over which has failed: this leader may be cut off.
    """

    def __init__(
        self,
        raft: Raft,
        *,
        after: Callable[[float, Callable[[], None]], Timer],
        admit: Callable[[Command | Query, Answerable], None],
        refuse: Callable[[Answerable], None],
    ) -> None:
        self._raft = raft
        self._after = after
        self._admit = admit
        self._refuse = refuse
        self.waiting: list[tuple[Command | Query, Answerable]] = []
        """What is held; each turn looks whether there is anything."""
        self._timer: Timer | None = None
        self._handover_term: Term = 0  # The term of this leader, if the first one came during its hand-over.
        self._ending = False
        self.led_term: Term = 0
        """The last term of which a leader is known."""

    @property
    def successor(self) -> NodeId:
        """The other node that will probably lead next; NO_NODE if none is known, or one leads already."""
        raft = self._raft
        if raft.role is Role.LEADER:
            peer = raft.tracker.progress.get(raft.transferee)
            # It was asked to campaign once it had the whole log.
            return raft.transferee if peer is not None and peer.match == raft.log.last else NO_NODE
        # Without a leader in its term so far; the one of an earlier term has lost its leadership.
        elected = raft.leader != NO_NODE or self.led_term == raft.term
        return NO_NODE if elected or raft.vote == raft.id else raft.vote

    @property
    def may_hold(self) -> bool:
        """Whether no node leads for the moment, and there is room for another request."""
        return len(self.waiting) < HELD_MAX and not self._ending and self._is_leaderless

    @property
    def _is_leaderless(self) -> bool:
        """Whether leadership is being handed over, or no leader is known."""
        raft = self._raft
        return raft.transferee != NO_NODE if raft.role is Role.LEADER else raft.leader == NO_NODE

    def hold(self, request: Command | Query, reply: Answerable) -> None:
        """Admit a request later."""
        self.waiting.append((request, reply))
        if self._timer is None:
            leads = self._raft.role is Role.LEADER
            self._handover_term = self._raft.term if leads else 0
            self._timer = self._after(HANDOVER_SECONDS_MAX if leads else LEADERLESS_SECONDS_MAX, self.end)

    def release(self) -> None:
        """Admit what waits, if a node leads now, or if it is known which one probably will."""
        if not self._is_leaderless or self.successor != NO_NODE:
            self.end()

    def end(self) -> None:
        """Admit or refuse what waits: a leader is known, or it takes too long, or the node stops."""
        held, self.waiting = self.waiting, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ending = True
        raft = self._raft
        stays = raft.role is Role.LEADER and raft.term == self._handover_term and self.successor == NO_NODE
        for request, reply in held:
            if stays:
                self._refuse(reply)
            else:
                self._admit(request, reply)
        self._ending = False
