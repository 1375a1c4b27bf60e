"""When to ask for votes ahead of the election timeout: at a leader's death, and at the start.

Owns the waits, and who goes first. A campaign ahead of time is harmless, for it begins with pre-votes,
which nobody who hears a leader grants. Knows nothing of how a death is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from actors.timers import Timer
from raft.core.messages import PreVote, RequestVote, TimeoutNow
from raft.core.raft import Raft
from raft.core.types import NO_NODE, NodeId, Role, Term
from raft.node.peers import Peers

# Everybody who saw the leader die may campaign. The first in rank does so at once, and its pre-votes
# have reached the second before that one would begin.
RANK_SECONDS = 0.004
JITTER_SECONDS = 0.001
RANKS_MAX = 10
# After a rival was granted a pre-vote or a vote: as long as an election takes on a busy machine.
BACK_OFF_SECONDS = 0.025
AGAIN_SECONDS = 0.012
TRIES_MAX = 6
EARLY_SECONDS_MAX = 0.1


After = Callable[[float, Callable[[], None]], Timer]


class FastElection:
    """A few campaigns at short intervals while no leader is known; then the election timeout takes over.

    `campaign` is called at most `TRIES_MAX` times after one `begin`.
    """

    def __init__(
        self,
        *,
        node: int,
        random: Random,
        after: After,
        campaign: Callable[[], None],
    ) -> None:
        self._node = node
        self._random = random
        self._after = after
        self._campaign = campaign
        self._timer: Timer | None = None
        self._tries = 0

    @property
    def active(self) -> bool:
        """A campaign is to come."""
        return self._timer is not None

    def begin(self, voters: Collection[int], dead: int = 0) -> None:
        """There is no leader, because `dead` died or because nobody has ever led; begins once, not anew.

        May call `campaign` before it returns.
        """
        if self._timer is None and self._node in voters:
            self._tries = 0
            place = rank(self._node, voters, dead)
            if place == 0:
                self._try()
            else:
                self._wait(RANK_SECONDS * min(place, RANKS_MAX))

    def back_off(self) -> None:
        """A rival may win: give it the time."""
        if self._timer is not None:
            self._wait(BACK_OFF_SECONDS)

    def end(self) -> None:
        """There is a leader."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._after(seconds + self._random.uniform(0, JITTER_SECONDS), self._try)

    def _try(self) -> None:
        self._timer = None
        self._tries += 1
        self._campaign()
        if self._tries < TRIES_MAX:
            # A fresh draw each time, and a wider one, or those who tied tie again.
            self._wait(AGAIN_SECONDS * self._tries * self._random.uniform(1, 2))


def rank(node: int, voters: Collection[int], dead: int) -> int:
    """The node's place among the voters that follow `dead`, round and round: 0 for the next one."""
    return sorted(voters, key=lambda voter: (voter <= dead, voter)).index(node)


class Failover:
    """Sees to it that somebody leads soon; `allowed` switches all of it off."""

    def __init__(
        self,
        raft: Raft,
        peers: Peers,
        *,
        allowed: bool,
        random: Random,
        now: Callable[[], float],
        after: After,
    ) -> None:
        self._raft = raft
        self._peers = peers
        self._allowed = allowed
        self._now = now
        self._quick = FastElection(node=raft.id, random=random, after=after, campaign=self._campaign)
        self._early: dict[NodeId, tuple[float, PreVote]] = {}
        self._candidate_term: Term = 0
        self.postponed: TimeoutNow | None = None
        """The leader's wish that cannot be fulfilled yet."""

    def peer_up(self) -> None:
        """With a quorum connected and nobody leading there is nothing to wait for."""
        if self._allowed and self._raft.leader == NO_NODE and self._peers.quorum_up:
            self._quick.begin(self._peers.voters)

    def leader_gone(self, leader: NodeId) -> bool:
        """The leader has died or is no member any more; is anything done about it before the timeout?"""
        if not self._allowed:
            return False
        self._raft.forget_leader()
        self._quick.begin(self._peers.voters, dead=leader)
        self._answer_early()
        return True

    def asked_to_lead(self, message: TimeoutNow) -> None:
        """The leader hands over: now, or once the configuration to be elected by is applied here."""
        self.postponed = message
        self.campaign_if_asked()

    def campaign_if_asked(self) -> bool:
        """Campaign if the leader wishes it and it was not possible before; whether that was so."""
        message = self.postponed
        if message is None or self._raft.log.has_conf_change_to_apply():
            return False
        self.postponed = None
        self._raft.step(message)
        return True

    def leader_known(self) -> None:
        """There is nothing left to hurry for."""
        self._candidate_term = 0
        self._quick.end()

    def vote_requested(self, message: PreVote | RequestVote) -> None:
        """To be told of before the core, which ignores a pre-vote as long as it believes in its leader."""
        if self._raft.log.is_up_to_date(message.last_index, message.last_term):
            self._quick.back_off()
        if isinstance(message, RequestVote):
            self._candidate_term = message.term
        if isinstance(message, PreVote) and self._raft.leader != NO_NODE:
            self._early[message.sender] = (self._now(), message)

    def _answer_early(self) -> None:
        """Some have heard of the death before us, and were ignored: answer them now."""
        early, self._early = self._early, {}
        oldest = self._now() - EARLY_SECONDS_MAX
        for asked_at, message in early.values():
            if asked_at >= oldest and message.sender in self._peers.up:
                self.vote_requested(message)
                self._raft.step(message)

    def _campaign(self) -> None:
        if self._raft.leader != NO_NODE or self._awaits_votes():
            return
        if self._candidate_term == self._raft.term:
            # It may have won, and on a busy machine not have said so yet: those who voted for it would grant
            # a pre-vote for the next term, and it would lose its leadership at once. Wait once more.
            self._candidate_term = 0
            return
        self._raft.campaign()

    def _awaits_votes(self) -> bool:
        """Votes in earnest have been asked for, and some who can be reached have not answered yet."""
        if self._raft.role is not Role.CANDIDATE:
            return False
        return any(peer not in self._raft.tracker.votes for peer in self._peers.up & {*self._peers.voters})
