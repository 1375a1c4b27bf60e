"""Requests that came while no leader was known: admitted again as soon as there is one.

Owns which requests wait, how many, and for how long. So a client is told who leads as soon as this node
knows it, and need not ask one node after the other; a node that becomes leader takes what waits at once. What
waits is in no log: a refusal, or a retry at another node, is safe. Knows nothing of what a request asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raft.core.raft import Raft
from raft.core.types import NO_NODE, Role, Term
from raft.node.requests.proposals import Answerable
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
        self._held: list[tuple[Command | Query, Answerable]] = []
        self._timer: Timer | None = None
        self._term: Term = 0  # Since which the first one waits.
        self._ending = False

    @property
    def may_hold(self) -> bool:
        """Whether no node leads for the moment, and there is room for another request."""
        return len(self._held) < HELD_MAX and not self._ending and self._is_leaderless

    @property
    def _is_leaderless(self) -> bool:
        """Whether leadership is being handed over, or no leader is known."""
        raft = self._raft
        return raft.transferee != NO_NODE if raft.role is Role.LEADER else raft.leader == NO_NODE

    def hold(self, request: Command | Query, reply: Answerable) -> None:
        """Admit a request later."""
        self._held.append((request, reply))
        if self._timer is None:
            leads, self._term = self._raft.role is Role.LEADER, self._raft.term
            self._timer = self._after(HANDOVER_SECONDS_MAX if leads else LEADERLESS_SECONDS_MAX, self.end)

    def release(self) -> bool:
        """Admit what waits, if there is a leader now; returns whether anything did."""
        if not self._held or self._is_leaderless:
            return False
        self.end()
        return True

    def end(self) -> None:
        """Admit or refuse what waits: a leader is known, or it takes too long, or the node stops."""
        held, self._held = self._held, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ending = True
        stays = self._raft.role is Role.LEADER and self._raft.term == self._term
        for request, reply in held:
            if stays:
                self._refuse(reply)
            else:
                self._admit(request, reply)
        self._ending = False
